//! gRPC: calls over HTTP/2 whose outcome is told in trailers.

use std::time::Duration;

use clearway_http::{Known, Version};
use clearway_outcome::{Fault, GrpcStatus, Side, grpc_timeout_us};
use clearway_telemetry::proxy_status;

use super::Exchange;

impl Exchange<'_> {
    /// Whether the request is a call of gRPC.
    pub(super) fn is_grpc(&self) -> bool {
        let head = &self.request.head;
        head.version == Version::Http2
            && head
                .field(Known::ContentType, self.lease.filled())
                .is_some_and(is_grpc_type)
    }

    /// How long the client waits for a call, if it says so.
    pub(super) fn grpc_deadline(&self) -> Option<Duration> {
        if !self.is_grpc() {
            return None;
        }
        let value = self
            .request
            .head
            .header("grpc-timeout", self.lease.filled())?;
        grpc_timeout_us(value).map(Duration::from_micros)
    }

    /// The reply for a failed call: a status of gRPC in the place of an error page.
    pub(super) fn encode_grpc_fault(&mut self, fault: &Fault, status: u16) -> Vec<u8> {
        let grpc = GrpcStatus::of_fault(fault, status);
        self.grpc_status = Some(grpc);
        let received = self.request.attempts.last().map_or(0, |a| a.status);
        let mut told = Vec::with_capacity(64);
        proxy_status::write(fault, received, &mut told);
        let mut out = Vec::with_capacity(256);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: {}\r\nGrpc-Message: {}\r\nX-Request-Id: {}\r\n",
            grpc.0,
            fault.kind.code(),
            self.id
        );
        out.extend_from_slice(head.as_bytes());
        if !told.is_empty() {
            out.extend_from_slice(b"Proxy-Status: ");
            out.extend_from_slice(&told);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// Ends the response of a call that was cut with a status behind what came: a client would take the
    /// reset of a stream for a word about itself. Messages have lengths, so that none looks whole that
    /// is not.
    pub(super) fn end_grpc(&mut self, fault: &Fault) {
        if fault.side == Side::Client || !self.is_grpc() {
            return;
        }
        let grpc = GrpcStatus::of_fault(fault, fault.kind.status());
        let trailers = format!(
            "grpc-status: {}\r\ngrpc-message: {}\r\nx-request-id: {}\r\n",
            grpc.0,
            fault.kind.code(),
            self.id
        );
        let stream = self.conn.stream.h2_mut();
        if stream.is_some_and(|stream| stream.finish(trailers.as_bytes()).is_ok()) {
            self.grpc_status = Some(grpc);
        }
    }

    /// Takes note of the status in the head of a response that has nothing behind it.
    pub(super) fn note_grpc_head(&mut self, buf: &[u8]) {
        if self.is_grpc() {
            let status = self.request.response.header("grpc-status", buf);
            self.grpc_status = status.and_then(GrpcStatus::parse);
        }
    }

    /// Takes note of the status in the trailers of a response, a line each.
    pub(super) fn note_grpc_trailers(&mut self, trailers: &[u8]) {
        if !self.is_grpc() {
            return;
        }
        let line = trailers
            .split(|&b| b == b'\n')
            .find_map(|line| line.strip_prefix(b"grpc-status:"));
        if let Some(value) = line {
            self.grpc_status = GrpcStatus::parse(value.trim_ascii());
        }
    }
}

/// Whether a content type is that of gRPC, whatever its messages are written in. Others begin alike,
/// such as that of gRPC-Web, which has its status in the body.
fn is_grpc_type(value: &[u8]) -> bool {
    let rest = value.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.trim_ascii_start(), [] | [b'+' | b';', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_from_what_begins_alike() {
        for value in ["", "+proto", ";charset=utf-8", " ; charset=utf-8"] {
            assert!(is_grpc_type(format!("application/grpc{value}").as_bytes()));
        }
        for value in ["-web", "-web+proto", "-web-text", "x"] {
            assert!(!is_grpc_type(format!("application/grpc{value}").as_bytes()));
        }
        assert!(!is_grpc_type(b"application/json"));
    }
}
