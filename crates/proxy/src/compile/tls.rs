//! TLS of listeners and backends: certificates are read, settings compiled.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clearway_config::Diagnostic;
use clearway_config::model::{
    Backend, BackendTls, CertificateFiles, Config, HostPattern, Listener, ListenerTls, Mode,
    Origin, Server, ServerAddress, ServerProtocol, TlsProfile,
};
use clearway_net::tls::{
    self, Certificates, ClientAuth, ClientSettings, ClientTls, FileEvent, FileProblem, Files,
    Obtained, Profile, ServerName, ServerSettings, ServerTls, Source, Trust,
};
use clearway_rules::Value;
use clearway_rules::ast::{Definitions, Fetch};

use crate::board::ListenerEntry;
use crate::issuance::Issuance;
use crate::plan::{BackendTlsPlan, ListenerTlsPlan};

/// Code of the diagnostics about certificates and keys.
const CERTIFICATE: &str = "certificate";

fn failed(origin: &Origin, problem: &FileProblem) -> Diagnostic {
    Diagnostic::error(CERTIFICATE, origin, problem.to_string())
}

fn profile(profile: TlsProfile) -> Profile {
    match profile {
        TlsProfile::Modern => Profile::Modern,
        TlsProfile::Intermediate => Profile::Intermediate,
    }
}

fn source(files: &CertificateFiles) -> Source {
    let source = source_of(files);
    let names = files.names.iter().map(ToString::to_string);
    let except = files.except.iter().map(|name| format!("!{name}"));
    let names: Vec<String> = names.chain(except).collect();
    match names.is_empty() {
        true => source,
        false => Source::Named(Box::new(source), names),
    }
}

fn source_of(files: &CertificateFiles) -> Source {
    let certificate = files.certificate.clone();
    if files.is_directory() {
        return Source::Directory(certificate);
    }
    match (&files.key, &files.ocsp) {
        (Some(key), ocsp) => Source::Pair {
            certificate,
            key: key.clone(),
            ocsp: ocsp.clone(),
        },
        (None, None) => Source::Combined(certificate),
        (None, Some(ocsp)) => Source::Pair {
            key: certificate.clone(),
            certificate,
            ocsp: Some(ocsp.clone()),
        },
    }
}

/// What a listener agrees on when the configuration is silent.
fn alpn(settings: &ListenerTls, listener: &Listener) -> Vec<Vec<u8>> {
    match (&settings.alpn, listener.mode) {
        (Some(own), _) => own.iter().map(|p| p.as_bytes().to_vec()).collect(),
        (None, Mode::Tcp) => Vec::new(),
        // Old clients offer the older version alone.
        (None, Mode::Http) => {
            let all: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];
            let from = usize::from(!listener.http2);
            all.iter().skip(from).map(|name| name.to_vec()).collect()
        }
    }
}

/// Compiles a listener's TLS; certificates that cannot be read at first are errors.
pub(super) fn listener(
    settings: &ListenerTls,
    listener: &Listener,
    entry: &ListenerEntry,
    issuance: Option<Arc<dyn Issuance>>,
) -> Result<ListenerTlsPlan, Vec<Diagnostic>> {
    let issuance = issuance.filter(|_| settings.is_automatic());
    let texts = |names: &[HostPattern]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let obtained = issuance.as_ref().map(|issuance| Obtained {
        issued: Arc::clone(issuance.issued()),
        names: texts(&settings.acme),
        on_demand: texts(&settings.on_demand),
    });
    let origin = settings.origins.field_or_section("certificates");
    let mut files = Files::new(settings.certificates.iter().map(source).collect());
    let mut diagnostics: Vec<Diagnostic> = files
        .look()
        .iter()
        .filter_map(|event| match event {
            FileEvent::Failed { problem, .. } => Some(failed(origin, problem)),
            FileEvent::Loaded(..) | FileEvent::Gone(_) => None,
        })
        .collect();
    let certificates = Certificates::refusing(
        settings.strict_names,
        obtained,
        texts(&settings.refused_names),
    );
    certificates.replace(files.usable());
    let client_auth = settings.client_certificates.as_ref().and_then(|clients| {
        let origin = clients.origins.field_or_section("ca");
        let roots = note(tls::certificates(&clients.ca), origin, &mut diagnostics)?;
        let origin = clients.origins.field_or_section("crl");
        let revoked = match &clients.crl {
            Some(path) => note(tls::revocation_lists(path), origin, &mut diagnostics)?,
            None => Vec::new(),
        };
        Some(ClientAuth {
            roots,
            revoked,
            optional: clients.optional,
        })
    });
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let whole = |words: String| vec![Diagnostic::error("tls", settings.origins.section(), words)];
    let kept = match settings.resumption {
        true => {
            let kept = entry.sessions(client_auth.as_ref(), settings.early_data);
            Some(kept.map_err(whole)?)
        }
        false => None,
    };
    let server = ServerTls::new(
        &ServerSettings {
            profile: profile(settings.profile),
            alpn: alpn(settings, listener),
            post_quantum: settings.post_quantum,
            client_auth,
            sessions: kept.as_ref().map(|kept| kept.sessions.clone()),
            key_log: settings.key_log.clone(),
        },
        certificates,
    )
    .map_err(whole)?;
    Ok(ListenerTlsPlan {
        server,
        files: Mutex::new(files),
        issuance,
        sessions: kept,
    })
}

/// The value, or nothing and a diagnostic.
fn note<T>(
    read: Result<T, FileProblem>,
    origin: &Origin,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(problem) => {
            diagnostics.push(failed(origin, &problem));
            None
        }
    }
}

/// Compiles a backend's TLS, or takes over what was compiled before when nothing has changed.
pub(super) fn backend(
    settings: &BackendTls,
    protocol: ServerProtocol,
    named: &Definitions,
    before: Option<(&Backend, &BackendTls, &Arc<BackendTlsPlan>)>,
) -> Result<Arc<BackendTlsPlan>, Diagnostic> {
    let files: Vec<PathBuf> = files_of(settings).collect();
    let marks = tls::marks(files.iter().map(PathBuf::as_path));
    if let Some((written, tls, plan)) = before
        && tls == settings
        && written.protocol == protocol
        && plan.marks == marks
    {
        return Ok(Arc::clone(plan));
    }
    let at = |key: &str| settings.origins.field_or_section(key);
    let trust = match (&settings.ca, settings.verify) {
        (_, false) => Trust::Nobody,
        (Some(path), true) => {
            Trust::Roots(tls::certificates(path).map_err(|p| failed(at("ca"), &p))?)
        }
        (None, true) => Trust::System(tls::system_roots().map_err(|words| {
            Diagnostic::error(CERTIFICATE, settings.origins.section(), words)
                .hint("name the authority of the servers' certificates with `ca`")
        })?),
    };
    let revoked = match &settings.crl {
        Some(path) => tls::revocation_lists(path).map_err(|p| failed(at("crl"), &p))?,
        None => Vec::new(),
    };
    let certificate = match &settings.certificate {
        Some(written) => {
            let mut files = Files::new(vec![source(written)]);
            for event in files.look() {
                if let FileEvent::Failed { problem, .. } = event {
                    return Err(failed(at("certificate"), &problem));
                }
            }
            files.usable().pop()
        }
        None => None,
    };
    let client = ClientTls::new(&ClientSettings {
        trust,
        revoked,
        certificate,
        alpn: match protocol {
            ServerProtocol::Http1
            | ServerProtocol::Fastcgi
            | ServerProtocol::Scgi
            | ServerProtocol::Uwsgi => Vec::new(),
            ServerProtocol::H2 => vec![b"h2".to_vec()],
            ServerProtocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        },
        profile: profile(settings.profile),
        post_quantum: settings.post_quantum,
        key_log: settings.key_log.clone(),
        verify_name: settings.verify_name,
        send_name: settings.send_name,
    })
    .map_err(|words| Diagnostic::error("tls", settings.origins.section(), words))?;
    let name = match &settings.server_name_from {
        Some(fetch) => {
            let value = Fetch::parse(fetch.as_str()).and_then(|f| Value::compile(&f, named));
            let origin = at("server_name_from");
            Some(value.map_err(|words| Diagnostic::error("server_name_from", origin, words))?)
        }
        None => None,
    };
    Ok(Arc::new(BackendTlsPlan {
        check: client.offering(&[b"h2", b"http/1.1"]),
        check_h2: client.offering(&[b"h2"]),
        http1: client.offering(&[b"http/1.1"]),
        client,
        name,
        marks,
    }))
}

/// Files that are read when a Plan is compiled and not looked at afterwards: authorities, lists of revoked
/// certificates, what is shown to servers.
pub(super) fn files(config: &Config) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for clients in config
        .listeners
        .iter()
        .filter_map(|l| l.tls.as_ref()?.client_certificates.as_ref())
    {
        all.push(clients.ca.clone());
        all.extend(clients.crl.clone());
    }
    let backends = config.backends.iter().filter_map(|b| b.tls.as_ref());
    all.extend(backends.flat_map(files_of));
    let servers = config.backends.iter().flat_map(|b| &b.servers);
    let own = servers.filter_map(|server| server.tls.as_ref()?.on());
    all.extend(own.flat_map(files_of));
    all
}

fn files_of(settings: &BackendTls) -> impl Iterator<Item = PathBuf> {
    let own = settings.certificate.as_ref();
    // The key may lie beside.
    let key = own.map(|c| match &c.key {
        Some(key) => key.clone(),
        None => c.certificate.with_extension("key"),
    });
    let files = [
        settings.ca.clone(),
        settings.crl.clone(),
        own.map(|c| c.certificate.clone()),
        key,
    ];
    files.into_iter().flatten()
}

/// The name that a server is asked for, and its certificate has to have.
pub(super) fn name_of(
    settings: &BackendTls,
    server: &Server,
    target: &clearway_net::connect::Target,
) -> Result<ServerName<'static>, Diagnostic> {
    let (text, origin) = match (&settings.server_name, &server.address, target) {
        (Some(name), ..) => (
            name.to_string(),
            settings.origins.field_or_section("server_name"),
        ),
        (None, ServerAddress::Name { host, .. }, _) => (host.clone(), server.origin()),
        (None, _, clearway_net::connect::Target::Ip(address)) => {
            (address.ip().to_string(), server.origin())
        }
        // Nobody looks at the name.
        (None, _, clearway_net::connect::Target::Unix(_))
            if !settings.verify || !settings.verify_name =>
        {
            ("localhost".to_owned(), server.origin())
        }
        (None, _, clearway_net::connect::Target::Unix(_)) => {
            let origin = settings.origins.section();
            let message = "a server on a Unix socket has no name that its certificate could have";
            return Err(Diagnostic::error("tls", origin, message).expected("`server_name`"));
        }
    };
    tls::server_name(&text).map_err(|words| Diagnostic::error("tls", origin, words))
}
