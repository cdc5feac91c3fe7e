//! `timeouts`: how long everybody may take.

use std::time::Duration;

use super::overridable;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

overridable! {
    /// How long everybody may take. `"0s"` means no limit; it is warned about, because a connection
    /// whose other end has vanished then stays for ever.
    Timeouts, TimeoutOverrides, "timeouts";

    /// Client: silence between two requests on a kept connection.
    client_idle: Duration = seconds(60);
    /// Client: from the first byte of a request (or the connection's begin) to the end of its head.
    request_head: Duration = seconds(10);
    /// Client: between two reads of a request body.
    request_body: Duration = seconds(30);
    /// Client: between two writes of a response.
    client_write: Duration = seconds(30);
    /// Server: until the connection is made.
    connect: Duration = seconds(5), example = Some("\"500ms\"");
    /// Waiting for a server that has a free slot (`maxconn`).
    queue: Duration = seconds(10);
    /// Server: between two writes of a request.
    server_write: Duration = seconds(30);
    /// Server: from the end of the request to the end of the response's head.
    response: Duration = seconds(60);
    /// Server: between two reads of a response body.
    server_idle: Duration = seconds(60);
    /// Tunnels (upgraded connections, `mode = "tcp"`): silence on both sides.
    tunnel: Duration = seconds(3_600);
    /// Tunnels: how long one side may go on after the other has ended.
    half_closed: Duration = seconds(10);
    /// Client: until the PROXY header is complete.
    proxy_header: Duration = seconds(5);
    /// Client: until the TLS handshake is complete.
    tls_handshake: Duration = seconds(10);
    /// A whole request with all its attempts, up to an upgrade; `"0s"` = no limit.
    total: Duration = seconds(0), example = Some("\"2m\"");
}

macro_rules! listed {
    ($name:ident, $type:ty; $other:ident, $other_type:ty; $($field:ident),+) => {
        listed!(@ $name, $type: $($field),+);
        listed!(@ $other, $other_type: $($field),+);
    };
    (@ $name:ident, $type:ty: $($field:ident),+) => {
        impl $name {
            /// Every time-out with its key.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, $type)> {
                [$((stringify!($field), self.$field)),+].into_iter()
            }
        }
    };
}

listed! {
    Timeouts, Duration;
    TimeoutOverrides, Option<Duration>;
    client_idle, request_head, request_body, client_write, connect, queue, server_write, response,
    server_idle, tunnel, half_closed, proxy_header, tls_handshake, total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Section;

    #[test]
    fn every_time_out_is_listed() {
        let keys: Vec<&str> = Timeouts::OWN.iter().map(|spec| spec.key).collect();
        let all = Timeouts::default();
        assert_eq!(all.all().map(|(key, _)| key).collect::<Vec<_>>(), keys);
        let none = TimeoutOverrides::default();
        assert_eq!(none.all().map(|(key, _)| key).collect::<Vec<_>>(), keys);
    }

    #[test]
    fn the_narrowest_place_wins() {
        let base = Timeouts::default();
        let listener = TimeoutOverrides {
            connect: Some(seconds(1)),
            response: Some(seconds(2)),
            ..TimeoutOverrides::default()
        };
        let route = TimeoutOverrides {
            connect: Some(seconds(3)),
            ..TimeoutOverrides::default()
        };
        let resolved = base.resolved(&[&listener, &route]);
        assert_eq!(
            (resolved.connect, resolved.response),
            (seconds(3), seconds(2))
        );
        assert_eq!(resolved.queue, base.queue);
        assert_eq!(base.resolved(&[]), base);
    }
}
