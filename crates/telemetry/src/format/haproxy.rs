//! HAProxy's `httplog` and `tcplog` (configuration manual, section 8.2), without the syslog header.

use clearway_base::clock::{self, Civil};
use clearway_outcome::{Protocol, Record};

use super::common_log_time;
use crate::escape;
use crate::line::termination;

/// Appends the record as one line: `httplog`, or `tcplog` for layer 4.
pub fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    let client = match record.client.ip() {
        Some(_) => record.client.to_string(),
        None => "unix:1".to_owned(),
    };
    push(out, &client);
    out.extend_from_slice(b" [");
    let started = Civil::from_unix_micros(clock::wall_of(record.started));
    let time = common_log_time(&started);
    push(out, &format!("{time}.{:03}", started.micro / 1_000));
    let last = record.attempts.last();
    let server = last.map_or("<NOSRV>", |attempt| attempt.server.as_str());
    let backend = if record.backend.is_none() {
        record.listener
    } else {
        record.backend
    };
    push(out, &format!("] {} {backend}/{server} ", record.listener));
    let total = millis(Some(record.timings.total_us));
    let queue = millis(last.map(|a| a.queued_us.unwrap_or(0)));
    let connect = millis(
        last.and_then(|a| Some(a.connected_us? - a.queued_us.unwrap_or(0).min(a.connected_us?))),
    );
    let retries = record.attempts.len().saturating_sub(1);
    let (open, in_flight) = record.connections;
    let letters = String::from_utf8_lossy(&termination(record)).into_owned();
    let counts = format!("{open}/{open}/{in_flight}/{in_flight}/{retries} 0/0");
    if record.protocol == Protocol::Tcp {
        push(
            out,
            &format!(
                "{queue}/{connect}/{total} {} {letters} {counts}\n",
                record.bytes_out
            ),
        );
        return;
    }
    let wait =
        millis(last.and_then(|a| Some(a.first_byte_us?.saturating_sub(a.sent_us.unwrap_or(0)))));
    let head = millis(Some(record.timings.head_us));
    let status = if record.status == 0 {
        "-1".to_owned()
    } else {
        record.status.to_string()
    };
    push(
        out,
        &format!(
            "{head}/{queue}/{connect}/{wait}/{total} {status} {} - - {letters}-- {counts} \"",
            record.bytes_out
        ),
    );
    if record.method.is_empty() {
        out.extend_from_slice(b"<BADREQ>");
    } else {
        escape::haproxy(record.method, out);
        out.push(b' ');
        escape::haproxy(record.target, out);
        out.push(b' ');
        push(out, record.protocol.name());
    }
    out.extend_from_slice(b"\"\n");
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Whole milliseconds; -1 for a phase that was not reached.
fn millis(micros: Option<u64>) -> i64 {
    micros.map_or(-1, |us| i64::try_from(us / 1_000).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn lines_have_the_shape_of_httplog_and_tcplog() {
        let attempts = [sample::failed_attempt()];
        let mut record = sample::record(&attempts);
        (record.fault, record.status) = (attempts[0].fault, 502);
        let mut out = Vec::new();
        write(&record, &mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(line.starts_with("192.0.2.7:4000 ["), "{line}");
        let tail = line.split_once("] ").unwrap().1;
        assert_eq!(
            tail,
            "web app/a 0/0/-1/-1/5 502 160 - - SC-- 3/3/2/2/0 0/0 \"GET /a?b=1 HTTP/1.1\"\n"
        );
        record.protocol = Protocol::Tcp;
        let mut out = Vec::new();
        write(&record, &mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(
            line.ends_with("] web app/a 0/-1/5 160 SC 3/3/2/2/0 0/0\n"),
            "{line}"
        );
    }
}
