//! The real program, started as a user starts it, over real sockets.
//!
//! One program holds all of them, since each links the whole library of test tools: a file of its own
//! for each would take the linker's time and disk space forty times.

mod access_logs;
mod acme;
mod bad_days;
mod balancing;
mod bodies;
mod caches;
mod cli;
mod doctor;
mod faults;
mod faults_client;
mod files;
mod forwarded;
mod gateways;
mod grpc;
mod guises;
mod h2_conformance;
mod haproxy_interfaces;
mod health;
mod http2;
mod http2_websocket;
mod http_basics;
mod http_bodies;
mod http_switching;
mod incidents;
mod l4;
mod limits;
mod logs;
mod named_servers;
mod names;
mod protocols;
mod real_peers;
mod reload;
mod retries;
mod routing;
mod rules;
mod scale;
mod strict;
mod tables;
mod tls_client_certificates;
mod tls_client_faults;
mod tls_data;
mod tls_early;
mod tls_files;
mod tls_http;
mod tls_names;
mod tls_programs;
mod tls_server_faults;
mod tls_sessions;
mod tls_watch;
