//! Hooks and updates that fail, in words; a real name server that takes updates.

use std::process::Command;

use clearway_testkit::TempDir;
use clearway_testkit::process::{Process, program};
use clearway_testkit::wait::LIMIT;

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn record() -> TxtRecord {
    TxtRecord {
        owner: "_acme-challenge.example.org".to_owned(),
        value: "value-1_x".to_owned(),
    }
}

fn shell(script: &str, timeout: Duration) -> DnsProvider {
    let hook = Hook {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned(), "hook".to_owned()],
        environment: vec![("TOKEN".to_owned(), "secret".to_owned())],
        timeout,
    };
    DnsProvider {
        via: Via::Exec(hook),
        propagation: Propagation::None,
    }
}

fn present(provider: &DnsProvider) -> Result<(), Failure> {
    block_on(provider.present(&record(), &Clock::wall()))
}

#[test]
fn a_hook_gets_arguments_and_environment() {
    let folder = TempDir::new();
    let out = folder.file("out");
    let script = format!(r#"echo "$1 $2 $3|$ACME_ACTION $ACME_NAME $ACME_VALUE|$TOKEN" >> {out}"#);
    let provider = shell(&script, LIMIT);
    present(&provider).unwrap();
    block_on(provider.cleanup(&record(), &Clock::wall())).unwrap();
    block_on(provider.settle(
        &record(),
        &Lookup::new(&clearway_net::dns::Settings::default()),
    ))
    .unwrap();
    let line = |action: &str| {
        let call = format!("{action} _acme-challenge.example.org value-1_x");
        format!("{call}|{call}|secret\n")
    };
    let told = std::fs::read_to_string(out).unwrap();
    assert_eq!(told, line("present") + &line("cleanup"));
    assert!(!format!("{provider:?}").contains("secret"));
}

#[test]
fn a_failed_hook_tells_its_last_lines() {
    let script =
        "for i in 1 2 3 4 5 6 7; do echo line $i; done; printf 'no \\033[1mauth\\n' >&2; exit 3";
    let failure = present(&shell(script, LIMIT)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hook);
    let told = failure.to_string();
    assert!(told.contains("exit status: 3"), "{told}");
    assert!(
        told.ends_with("line 4 | line 5 | line 6 | line 7 | no  [1mauth"),
        "{told}"
    );
    let silent = present(&shell("exit 1", LIMIT)).unwrap_err();
    assert!(
        silent.to_string().ends_with("it printed nothing"),
        "{silent}"
    );
    let lost = DnsProvider {
        via: Via::Exec(Hook {
            program: "/no/such/program".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            timeout: LIMIT,
        }),
        propagation: Propagation::None,
    };
    let told = present(&lost).unwrap_err().to_string();
    assert!(
        told.contains("`/no/such/program present") && told.contains("cannot be run"),
        "{told}"
    );
}

#[test]
fn a_hook_that_hangs_is_killed_with_its_children() {
    let folder = TempDir::new();
    let pid = folder.file("pid");
    // The child keeps the pipes open after its parent is gone.
    let script = format!("sleep 1000 & echo $! > {pid}; wait");
    let failure = present(&shell(&script, Duration::from_millis(300))).unwrap_err();
    assert!(
        failure.to_string().contains("did not end within"),
        "{failure}"
    );
    let child = std::fs::read_to_string(pid).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    clearway_testkit::wait::until("the child is gone", || {
        // What nobody waits for stays as a zombie.
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

/// BIND with a zone that one key may change.
struct Bind {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0LCAzMiBieXRlcyBsb25n";

impl Bind {
    fn start() -> Self {
        let folder = TempDir::new();
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let zone = "$TTL 60\n@ SOA ns.example.org. admin.example.org. 1 60 60 600 60\n@ NS ns\nns A 127.0.0.1\n";
        folder.write("zone", zone);
        let config = format!(
            r#"options {{ directory "{here}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
pid-file none; session-keyfile none; recursion no; dnssec-validation no; notify no; }};
controls {{ }};
key "update" {{ algorithm hmac-sha512; secret "{SECRET}"; }};
key "reader" {{ algorithm hmac-sha256; secret "{SECRET}"; }};
zone "example.org" {{ type primary; file "zone"; allow-update {{ key "update"; }}; }};
"#,
            here = folder.path().display(),
            port = address.port(),
        );
        let mut command = Command::new(program("named", "bind9"));
        command.args(["-g", "-n", "1", "-c", &folder.write("named.conf", &config)]);
        let process = Process::start(command);
        let is_up = |line: &str| line.ends_with(" running").then_some(());
        let up = process.stderr.find(LIMIT, is_up);
        assert!(
            up.is_some(),
            "BIND does not start: {}",
            process.stderr.text()
        );
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }

    fn provider(&self, key: Option<TsigKey>, zone: Option<&str>) -> DnsProvider {
        DnsProvider {
            via: Via::Update(Update {
                server: self.address,
                zone: zone.map(str::to_owned),
                key,
                ttl: 60,
                timeout: Duration::from_secs(5),
            }),
            propagation: Propagation::Visible {
                servers: vec![self.address],
                within: Duration::from_millis(200),
                every: Duration::from_millis(20),
            },
        }
    }
}

fn key(name: &str, algorithm: TsigAlgorithm, secret: &str) -> Option<TsigKey> {
    Some(TsigKey::new(name, algorithm, secret).unwrap())
}

#[test]
fn records_are_added_beside_others_and_removed_alone() {
    let bind = Bind::start();
    let provider = bind.provider(key("update", TsigAlgorithm::HmacSha512, SECRET), None);
    let (one, two) = (
        record(),
        TxtRecord {
            value: "two".to_owned(),
            ..record()
        },
    );
    let lookup = Lookup::new(&clearway_net::dns::Settings::default());
    let clock = Clock::wall();
    block_on(async {
        let shown = |record: TxtRecord| async move { shows(bind.address, &record).await.unwrap() };
        provider.present(&one, &clock).await.unwrap();
        provider.present(&two, &clock).await.unwrap();
        assert!(shown(one.clone()).await && shown(two.clone()).await);
        provider.settle(&one, &lookup).await.unwrap();
        provider.cleanup(&one, &clock).await.unwrap();
        assert!(!shown(one.clone()).await && shown(two.clone()).await);
        provider.cleanup(&one, &clock).await.unwrap();
        let failure = provider.settle(&one, &lookup).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotVisible);
        assert!(
            failure.to_string().ends_with("it does not show it"),
            "{failure}"
        );
    });
}

#[test]
fn refused_updates_say_why() {
    let bind = Bind::start();
    let good = || key("update", TsigAlgorithm::HmacSha512, SECRET);
    let wrong_secret = key("update", TsigAlgorithm::HmacSha512, "b3RoZXI=");
    let unknown = key("nobody", TsigAlgorithm::HmacSha256, SECRET);
    let reader = key("reader", TsigAlgorithm::HmacSha256, SECRET);
    for (key, zone, part) in [
        (
            wrong_secret,
            None,
            "another secret or algorithm for the key update",
        ),
        (unknown, None, "does not know the key nobody"),
        (reader, None, "may not change this name"),
        (None, None, "may not change this name"),
        (good(), Some("example.com"), "not in the zone example.com"),
        (
            good(),
            Some("org"),
            "not the primary server of the zone org",
        ),
    ] {
        let failure = present(&bind.provider(key, zone)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Update);
        assert!(
            failure.to_string().contains(part),
            "{part:?} is not in {failure}"
        );
    }
    // A clock that is wrong by more than the signature allows.
    let late = Clock::new(|| Clock::wall().now() - 1_000);
    let provider = bind.provider(good(), None);
    let told = block_on(provider.present(&record(), &late))
        .unwrap_err()
        .to_string();
    assert!(told.contains("the clock of 127.0.0.1"), "{told}");
}

#[test]
fn a_name_server_that_is_not_there_is_named() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let provider = DnsProvider {
        via: Via::Update(Update {
            server: nobody,
            zone: Some("example.org".to_owned()),
            key: None,
            ttl: 60,
            timeout: Duration::from_millis(100),
        }),
        propagation: Propagation::None,
    };
    let told = present(&provider).unwrap_err().to_string();
    assert!(told.contains(&nobody.to_string()), "{told}");
    assert!(TsigKey::new("a..b", TsigAlgorithm::HmacSha256, SECRET).is_err());
    assert!(TsigKey::new("a", TsigAlgorithm::HmacSha256, "?").is_err());
}
