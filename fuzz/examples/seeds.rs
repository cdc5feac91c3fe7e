//! Writes something to begin with for each fuzz target into `corpus/`, where cargo-fuzz looks for it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_outcome::{
    Address, Attempt, CertificateVerdict, Evidence, Fault, FaultKind, Phase, Protocol, Record,
    RequestId, RetryRefusal, Side, Signal, TcpFacts, Timings, TlsFacts,
};
use clearway_telemetry::codec::encode;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

type Seeds = Result<Vec<Vec<u8>>, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    for (target, seeds) in [
        ("client_hello", cut(hellos()?)),
        ("certificate_facts", certificates()?),
        ("spoken", owned(SPOKEN)),
        ("http1_request", cut(owned(REQUESTS))),
        ("http1_response", cut(owned(RESPONSES))),
        ("chunked", cut(owned(CHUNKED))),
        ("proxy_protocol", owned(PROXY_HEADERS)),
        ("record_codec", records()?),
        ("h2_session", frames()),
        ("pem", pem()?),
        ("log_lines", numbered(LINES)),
        ("doctor_files", numbered(FILES)),
        ("foreign", foreign()),
        ("foreign_condition", numbered(CONDITIONS)),
        ("foreign_log_format", numbered(LOG_FORMATS)),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        std::fs::create_dir_all(&folder)?;
        for (at, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at}")), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}

/// A line or two of each log.
const LINES: &[&[u8]] = &[
    b"192.0.2.7:4000 [21/Nov/2026:07:30:00.123] web app/s1 0/0/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"\n",
    b"Server app/s1 is DOWN, reason: Layer7 wrong status, code: 404, info: \"x\", check duration: 0ms. 0 active\n",
    b"2026/11/21 07:30:00 [error] 1#1: *2 connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.7, server: x, request: \"GET /a HTTP/1.1\", upstream: \"http://10.0.0.2:8080/a\", host: \"x\"\n",
    b"192.0.2.7 - - [21/Nov/2026:07:30:00 +0000] \"GET /a HTTP/1.1\" 502 157 \"-\" \"curl\"\n",
    b"[2026-11-21T07:30:00.123Z] \"GET / HTTP/1.1\" 503 UF 0 91 7 - \"-\" \"curl/8\" \"abc\" \"x\" \"10.0.0.2:8080\"\n",
];
/// A configuration and a log.
const FILES: &[&[u8]] = &[
    b"defaults\n mode http\nbackend app\n server s1 10.0.0.2:8080 check\n\n---\n192.0.2.7:4000 [21/Nov/2026:07:30:00.123] web app/s1 0/0/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"\n",
    b"http { upstream app { server 10.0.0.2:8080; } server { location / { proxy_pass http://app; } } }\n\n---\n2026/11/21 07:30:00 [error] 1#1: *2 upstream timed out (110: Connection timed out) while connecting to upstream, client: 192.0.2.7, server: x, request: \"GET /a HTTP/1.1\", upstream: \"http://10.0.0.2:8080/a\", host: \"x\"\n",
];

/// HAProxy's and NGINX's by turns; behind the bar what follows `if`, or an entry of a map.
const CONDITIONS: &[&[u8]] = &[
    b"path_beg -i /api /v2|it !{ src 10.0.0.0/8 } or { method POST }",
    b"$http_user_agent|~*bot",
    b"req.hdr(host),lower,field(1,:) -m dom example.org|{ hdr_cnt(cookie) gt 2 }",
    b"$request_method = POST|hostnames",
    b"src,ipmask(24) -m ip 192.0.2.0/24 10.0.0.1|it || !it",
    b"$args ~* \"(a|b)=(?<it>[0-9]+)\"|*.example.org",
];
/// HAProxy's and NGINX's by turns.
const LOG_FORMATS: &[&[u8]] = &[
    b"%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc %hr %hs %{+Q}r",
    b"$remote_addr - $remote_user [$time_local] \\\"$request\\\" ${status}x $body_bytes_sent",
    b"%{+json}o %[req.hdr(x),lower,json(utf8)] %[var(txn.a)] %%",
    b"{\\\"a\\\":\\\"$http_x\\\",\\\"b\\\":$request_time}",
];

/// Each behind a byte that says how it is taken.
fn numbered(texts: &[&[u8]]) -> Vec<Vec<u8>> {
    let with = |(at, text): (usize, &&[u8])| {
        let first = u8::try_from(at).unwrap_or_default();
        [&[first][..], text].concat()
    };
    texts.iter().enumerate().map(with).collect()
}

/// Frames as curl sends them: settings, a window, a request; then one with a body and trailers.
fn frames() -> Vec<Vec<u8>> {
    let frame = |kind: u8, flags: u8, stream: u32, body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
    };
    let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 1, 0, 0]);
    let window = frame(8, 0, 0, &[0, 1, 0, 0]);
    // GET, https, /, :authority a.test: RFC 7541 section 6.
    let get = b"\x82\x87\x84\x41\x06a.test";
    let post = b"\x83\x87\x84\x41\x06a.test\x0f\x0d\x012";
    let one = [&settings[..], &window, &frame(1, 5, 1, get)].concat();
    let two = [
        &one[..],
        &frame(1, 4, 3, post),
        &frame(0, 0, 3, b"ok"),
        &frame(1, 5, 3, b"\x00\x01x\x01y"),
        &frame(3, 0, 1, &[0, 0, 0, 8]),
        &frame(6, 0, 0, &[0; 8]),
        &frame(7, 0, 0, &[0; 8]),
    ];
    vec![one.clone(), two.concat()]
}

/// A chain with its key, in one text and in two.
fn pem() -> Seeds {
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(["a.test".to_owned()])?.self_signed(&key)?;
    let (chain, key) = (leaf.pem(), key.serialize_pem());
    Ok(vec![
        format!("{chain}{key}").into_bytes(),
        format!("{chain}\0{key}").into_bytes(),
    ])
}

fn owned(seeds: &[&[u8]]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.to_vec()).collect()
}

/// Each seed at once, and in pieces: see `clearway_fuzz::pieces`.
fn cut(seeds: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let ways = [&[0_u8, 0], &[3, 7]];
    let all = seeds
        .iter()
        .flat_map(|seed| ways.map(|way| [way, &seed[..]].concat()));
    all.collect()
}

fn hellos() -> Seeds {
    let mut seeds = Vec::new();
    for (name, alpn, versions) in [
        (
            "api.example.org",
            &["h2", "http/1.1"][..],
            rustls::ALL_VERSIONS,
        ),
        ("192.0.2.7", &[], &[&rustls::version::TLS12][..]),
    ] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name)?)?;
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes)?;
        let message = &bytes[5..];
        let fragments = message.chunks(200).map(|fragment| {
            let len = u16::try_from(fragment.len())
                .unwrap_or_default()
                .to_be_bytes();
            [&[22, 3, 1], &len[..], fragment].concat()
        });
        let fragments: Vec<_> = fragments.collect();
        seeds.push(fragments.concat());
        seeds.push(bytes);
    }
    seeds.push(b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10".to_vec());
    seeds.push(b"GET / HTTP/1.1\r\n\r\n".to_vec());
    Ok(seeds)
}

fn certificates() -> Seeds {
    let mut params =
        CertificateParams::new(vec!["a.example.org".to_owned(), "192.0.2.7".to_owned()])?;
    let name = &mut params.distinguished_name;
    name.push(DnType::OrganizationName, "Example, Inc.");
    name.push(
        DnType::from_oid(&[1, 2, 840, 113_549, 1, 9, 1]),
        "a@example.org",
    );
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(2));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.org".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    params.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
        uris: vec!["http://example.org/crl".to_owned()],
    }];
    params.use_authority_key_identifier_extension = true;
    let rich = params.self_signed(&KeyPair::generate()?)?;
    let plain = CertificateParams::default().self_signed(&KeyPair::generate()?)?;
    Ok(vec![rich.der().to_vec(), plain.der().to_vec()])
}

fn records() -> Seeds {
    let server = Name::new("10.0.0.2:8080");
    let facts = |der: &[u8]| clearway_net::tls::facts::certificate(der);
    let tls = TlsFacts {
        version: 0x0304,
        cipher: 0x1301,
        server_name: "api.example.org".to_owned(),
        alpn: b"h2".to_vec(),
        resumed: true,
        certificate: certificates()?.first().and_then(|der| facts(der)),
        verdict: CertificateVerdict::Refused,
        refusal: "has expired".to_owned(),
        ..TlsFacts::default()
    };
    let mut attempt = Attempt::begin(server, server, server, Stamp(1_000));
    let fault = Fault::new(FaultKind::ServerTlsAlert, Phase::Tls, Side::Server);
    attempt.fault = Some(
        fault
            .with_errno(104)
            .with_signal(Some(Signal::TlsAlert(48))),
    );
    attempt.refusal = Some(RetryRefusal::NoServer);
    let mut evidence = Evidence {
        tcp: Some(TcpFacts::default()),
        tls: Some(Box::new(tls.clone())),
        ..Evidence::default()
    };
    evidence.keep_first(b"SSH-2.0-OpenSSH_9.2\r\n");
    attempt.evidence = Some(Box::new(evidence));
    let mut record = Record {
        id: RequestId(77),
        started: Stamp(1_000),
        client: Address::Ip("192.0.2.7:4000".parse()?),
        listener: server,
        route: server,
        backend: server,
        protocol: Protocol::Http11,
        tls: None,
        method: b"GET",
        target: b"/a?b=1",
        host: b"example.org",
        referer: b"",
        user_agent: b"curl/8",
        grpc_status: None,
        status: 200,
        bytes_in: 80,
        bytes_out: 160,
        body_out: 12,
        timings: Timings::default(),
        attempts: &[],
        fault: None,
        connections: (3, 2),
    };
    let mut seeds = vec![Vec::new(); 2];
    encode(&record, &mut seeds[0]);
    let attempts = [attempt];
    (record.tls, record.attempts, record.fault) = (Some(&tls), &attempts, attempts[0].fault);
    encode(&record, &mut seeds[1]);
    Ok(seeds)
}

const SPOKEN: &[&[u8]] = &[
    b"\x15\x03\x03\0\x02\x02\x28",
    b"\x16\x03\x03\0\x7a\x02\0",
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
    b"GET / HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01",
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    b"220 mail.example.org ESMTP\r\n",
    b"\x4a\0\0\0\x0a8.0.36\0",
    b"\x45\0\0\0\xff\x6a\x04",
    b"E\0\0\0\x84SFATAL\0",
    b"-ERR unknown command",
    b"PROXY TCP4 192.0.2.1",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"<!DOCTYPE html>",
    b"\x01\x06\0\x01",
];

const REQUESTS: &[&[u8]] = &[
    b"GET /a?b=1 HTTP/1.1\r\nHost: example.org\r\nCookie: a=b\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    b"POST http://example.org:80/ HTTP/1.1\r\nhost:example.org:80\r\ncontent-length: 12\r\nExpect: 100-continue\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [2001:db8::7]:80\r\nTransfer-Encoding: Chunked\r\nTE: trailers\r\nTrailer: x\r\nConnection: TE, x-a\r\nX-A: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"\r\nHEAD / HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

const RESPONSES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nDate: x\r\n\r\n",
    b"HTTP/1.0 404\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"\x15\x03\x03\0\x02\x02\x28",
];

const CHUNKED: &[&[u8]] = &[
    b"5\r\nhello\r\n0\r\n\r\n",
    b"00A;a=\"b\"\r\n0123456789\r\n0;x\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\nnext",
    b"ffffffffffffffff\r\n",
];

const PROXY_HEADERS: &[&[u8]] = &[
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x0f\xa0\x01\xbb",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
];

/// The golden cases of foreign languages: an even byte before HAProxy's, an odd one before NGINX's.
fn foreign() -> Vec<Vec<u8>> {
    let folder = "../crates/config/tests/foreign";
    let seed = |(which, name): (u8, &str)| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(folder)
            .join(name);
        let mut seed = vec![which];
        seed.extend(std::fs::read(path).unwrap_or_default());
        seed
    };
    let names = [
        (0, "web.cfg"),
        (0, "odd.cfg"),
        (1, "web.conf"),
        (1, "odd.conf"),
    ];
    names.map(seed).to_vec()
}
