//! Who answers challenges: the smallest HTTP and TLS servers over [`Answers`].

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use clearway_acme::Answers;
use clearway_net::tls::CHALLENGE_ALPN;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

/// Serves http-01; ends with the test's process.
pub(crate) fn http(answers: &Arc<Answers>) -> SocketAddr {
    let answers = Arc::clone(answers);
    serve(move |stream| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or("").to_owned();
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line)?;
        }
        let (status, body) = match answers.http_path(&path) {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", Arc::from("no such thing")),
        };
        write!(
            reader.get_mut(),
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    })
}

/// Serves tls-alpn-01; ends with the test's process.
pub(crate) fn tls(answers: &Arc<Answers>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(Arc::clone(answers))));
    config.alpn_protocols = vec![CHALLENGE_ALPN.to_vec()];
    let config = Arc::new(config);
    serve(move |mut stream| {
        let mut connection =
            ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        connection.send_close_notify();
        connection.complete_io(&mut stream).map(drop)
    })
}

fn serve(
    handle: impl Fn(std::net::TcpStream) -> std::io::Result<()> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away in the middle is its own business.
            drop(handle(stream));
        }
    });
    address
}

#[derive(Debug)]
struct Resolver(Arc<Answers>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let answer = self.0.tls(hello.server_name()?)?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&answer.key).ok()?;
        Some(Arc::new(CertifiedKey::new(answer.chain.clone(), key)))
    }
}
