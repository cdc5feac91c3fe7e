//! What a request costs as a configuration grows: server blocks of nginx.conf, entries of a map of
//! haproxy.cfg.

use std::fmt::Write;

use super::Bench;
use super::case::KEPT;
use super::configuration;
use super::load::Generator;
use super::peer::{Origin, Peer, Proxy, Shape, Start};
use super::report::{Outcome, Row};

/// What there is more and more of.
#[derive(Clone, Copy)]
enum Of {
    ServerBlocks,
    MapEntries,
}

/// Each with few of them and with many.
const SIZES: [(Of, [u32; 2]); 2] = [
    (Of::ServerBlocks, [10, 5_000]),
    (Of::MapEntries, [10, 10_000]),
];

/// Runs Clearway with little and with much of each, rounds interleaved.
///
/// # Errors
/// When it does not start or the load fails.
pub(super) fn run(bench: &Bench, origin: &Origin) -> Result<Outcome, String> {
    let generator = Generator::new(&bench.folder, &bench.cores.load, &bench.tls)?;
    let shape = Shape::http();
    let mut outcome = Outcome::default();
    for (of, sizes) in SIZES {
        let mut running = Vec::new();
        for size in sizes {
            let (peer, name) = match of {
                Of::ServerBlocks => (Peer::ClearwayNginx, "server blocks"),
                Of::MapEntries => (Peer::ClearwayHaproxy, "map entries"),
            };
            let start = Start {
                peer,
                shape: &shape,
                origin: origin.port,
                cores: &bench.cores.proxy,
                tls: &bench.tls,
            };
            let make = |port: u16| text(bench, &start, port, of, size);
            let mut proxy = Proxy::spawn_with(&bench.programs, &start, &bench.folder, make)?;
            proxy.process.wait_for_port(proxy.port)?;
            generator.run(proxy.port, KEPT, 1)?;
            running.push((proxy, Row::new(&format!("{size} {name}"))));
        }
        for _ in 0..bench.rounds {
            running.rotate_left(1);
            for (proxy, row) in &mut running {
                let pids = proxy.process.tree();
                row.add(generator.measure(proxy.port, KEPT, bench.seconds, &pids)?);
            }
        }
        let mut rows: Vec<Row> = running.into_iter().map(|(_, row)| row).collect();
        rows.sort_by_key(|row| row.label.len());
        if let [few, many] = rows.as_slice() {
            outcome.notes.push(many.compared(few, "µs/request"));
        }
        outcome.rows.extend(rows);
    }
    Ok(outcome)
}

/// The configuration: what the load asks for is the last of all.
fn text(bench: &Bench, start: &Start<'_>, port: u16, of: Of, size: u32) -> Result<String, String> {
    let mut more = String::new();
    let told = |error: std::fmt::Error| error.to_string();
    match of {
        Of::ServerBlocks => {
            for index in 1..size {
                writeln!(
                    more,
                    "  server {{ listen 127.0.0.1:{port}; server_name h{index}.example; \
                     location / {{ return 404; }} }}"
                )
                .map_err(told)?;
            }
            let text = configuration::nginx(start, port, &bench.programs, &bench.folder)?;
            let own = format!("listen 127.0.0.1:{port} backlog=4096;\n    server_name 127.0.0.1;");
            let text = text.replacen(&format!("listen 127.0.0.1:{port} backlog=4096;"), &own, 1);
            Ok(text.replacen("  server {", &format!("{more}  server {{"), 1))
        }
        Of::MapEntries => {
            for index in 1..size {
                writeln!(more, "h{index}.example app{index}").map_err(told)?;
            }
            writeln!(more, "127.0.0.1:{port} app0").map_err(told)?;
            let map = bench.folder.write(&format!("hosts-{size}.map"), more)?;
            let chosen = format!(
                "  use_backend %[req.hdr(host),lower,map({},none)]\n  default_backend none\n",
                map.display()
            );
            let text = configuration::haproxy(start, port);
            Ok(text.replacen("  default_backend app0\n", &chosen, 1) + "\nbackend none\n")
        }
    }
}
