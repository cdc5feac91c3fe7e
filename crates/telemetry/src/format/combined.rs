//! NGINX's `combined`: address, time, request, status, body bytes, referer, user agent.

use clearway_base::clock::{self, Civil};
use clearway_outcome::{Address, Record};

use super::common_log_time;
use crate::escape;

/// Appends the record as one line.
pub fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    match record.client {
        Address::Ip(address) => out.extend_from_slice(address.ip().to_string().as_bytes()),
        Address::Unix => out.extend_from_slice(b"unix:"),
    }
    out.extend_from_slice(b" - - [");
    let ended = clock::wall_of(record.started).saturating_add(record.timings.total_us);
    out.extend_from_slice(common_log_time(&Civil::from_unix_micros(ended)).as_bytes());
    out.extend_from_slice(b" +0000] \"");
    if !record.method.is_empty() {
        escape::nginx(record.method, out);
        out.push(b' ');
        escape::nginx(record.target, out);
        out.push(b' ');
        out.extend_from_slice(record.protocol.name().as_bytes());
    }
    out.extend_from_slice(b"\" ");
    out.extend_from_slice(format!("{:03} {}", record.status, record.body_out).as_bytes());
    for text in [record.referer, record.user_agent] {
        out.extend_from_slice(b" \"");
        if text.is_empty() {
            out.push(b'-');
        } else {
            escape::nginx(text, out);
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn lines_have_the_shape_of_nginx() {
        let mut out = Vec::new();
        write(&sample::record(&[]), &mut out);
        let line = String::from_utf8(out).unwrap();
        let (head, tail) = line.split_once("] ").unwrap();
        assert!(head.starts_with("192.0.2.7 - - ["), "{line}");
        assert!(head.ends_with("+0000"), "{line}");
        assert_eq!(tail, "\"GET /a?b=1 HTTP/1.1\" 200 12 \"-\" \"curl/8\"\n");
    }
}
