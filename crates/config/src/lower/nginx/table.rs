//! Every directive with what becomes of it.

/// What becomes of a directive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It is done where it is looked for.
    Done,
    Equivalent(&'static str),
    Harmless(&'static str),
    Ineffective(&'static str),
    Refused(&'static str),
}

use Fate::{Done, Equivalent, Harmless, Ineffective, Refused};

const SPEED: &str = "a matter of speed";
const SERVICE: &str = "a matter of the service";
const STREAMED: &str = "bodies are streamed with back-pressure";
const TLS: &str = "TLS 1.2 and 1.3 are spoken as Mozilla's intermediate profile says";

const HTTP2: &str = "a word of older versions; limits of connections and heads hold";
const PUSHED: &str = "browsers no longer take what is pushed";

/// What becomes of a directive by its name; `None` when it is not known.
pub(super) fn fate(name: &str) -> Option<Fate> {
    let found = TABLE.iter().find(|(known, _)| *known == name);
    if let Some((_, fate)) = found {
        return Some(*fate);
    }
    if name.contains("_by_lua") || name.starts_with("lua_") {
        return Some(Refused("programs in Lua are not run"));
    }
    if name.starts_with("js_") || name.starts_with("perl_") {
        return Some(Refused("programs are not run"));
    }
    if name.starts_with("vhost_traffic_status") {
        return Some(Ineffective("the admin API and its metrics tell the same"));
    }
    // What is said of one way of passing on is said of the others.
    let rest = ["fastcgi_", "uwsgi_", "scgi_", "grpc_"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    match rest {
        Some("param" | "split_path_info" | "index" | "keep_conn" | "pass_request_headers") => {
            Some(Done)
        }
        Some("catch_stderr") => Some(Harmless("what scripts complain about is in receipts")),
        Some(rest) => {
            let found = TABLE.iter().find(|(known, _)| {
                known
                    .strip_prefix("proxy_")
                    .is_some_and(|known| known == rest)
            });
            found.map(|(_, fate)| *fate)
        }
        None => None,
    }
}

const TABLE: &[(&str, Fate)] = &[
    // Blocks and what makes them.
    ("http", Done),
    ("server", Done),
    ("location", Done),
    ("upstream", Done),
    ("events", Done),
    ("types", Done),
    ("map", Done),
    ("include", Done),
    ("if", Done),
    ("listen", Done),
    ("server_name", Done),
    ("proxy_pass", Done),
    ("return", Done),
    ("rewrite", Done),
    ("set", Done),
    ("break", Done),
    ("allow", Done),
    ("deny", Done),
    ("add_header", Done),
    ("expires", Done),
    ("error_page", Done),
    ("internal", Done),
    ("recursive_error_pages", Done),
    ("valid_referers", Done),
    ("fastcgi_intercept_errors", Done),
    ("uwsgi_intercept_errors", Done),
    ("grpc_intercept_errors", Done),
    (
        "chunked_transfer_encoding",
        Equivalent("HTTP/1.1 has chunks where a length is not known"),
    ),
    ("referer_hash_max_size", Harmless(SPEED)),
    ("referer_hash_bucket_size", Harmless(SPEED)),
    ("http2", Done),
    ("satisfy", Done),
    // The proxy.
    ("proxy_set_header", Done),
    ("proxy_hide_header", Done),
    (
        "proxy_pass_header",
        Equivalent("headers of servers are passed on"),
    ),
    ("proxy_redirect", Done),
    ("proxy_connect_timeout", Done),
    ("proxy_read_timeout", Done),
    ("proxy_send_timeout", Done),
    ("proxy_next_upstream", Done),
    ("proxy_next_upstream_tries", Done),
    ("proxy_next_upstream_timeout", Done),
    (
        "proxy_http_version",
        Equivalent("HTTP/1.1 is spoken with servers, connections are kept"),
    ),
    ("proxy_buffering", Equivalent(STREAMED)),
    ("proxy_request_buffering", Equivalent(STREAMED)),
    ("proxy_buffers", Harmless(STREAMED)),
    ("proxy_buffer_size", Done),
    ("proxy_busy_buffers_size", Harmless(STREAMED)),
    ("proxy_max_temp_file_size", Harmless(STREAMED)),
    ("proxy_temp_file_write_size", Harmless(STREAMED)),
    ("proxy_temp_path", Harmless(STREAMED)),
    ("proxy_headers_hash_max_size", Harmless(SPEED)),
    ("proxy_headers_hash_bucket_size", Harmless(SPEED)),
    (
        "proxy_socket_keepalive",
        Equivalent("broken connections are found by time-outs"),
    ),
    ("proxy_ssl_verify", Done),
    ("proxy_ssl_trusted_certificate", Done),
    ("proxy_ssl_certificate", Done),
    ("proxy_ssl_certificate_key", Done),
    ("proxy_ssl_crl", Done),
    ("proxy_ssl_name", Done),
    ("proxy_ssl_server_name", Done),
    ("proxy_ssl_protocols", Equivalent(TLS)),
    ("proxy_ssl_ciphers", Equivalent(TLS)),
    ("proxy_ssl_session_reuse", Harmless(SPEED)),
    (
        "proxy_ssl_verify_depth",
        Harmless("chains are followed to a known authority"),
    ),
    ("proxy_intercept_errors", Done),
    ("proxy_ignore_client_abort", Done),
    ("proxy_ignore_headers", Done),
    ("proxy_cache", Done),
    ("proxy_cache_path", Done),
    ("proxy_cache_valid", Done),
    ("proxy_cache_key", Done),
    ("proxy_cache_bypass", Done),
    ("proxy_no_cache", Done),
    ("proxy_cache_use_stale", Done),
    ("proxy_cache_lock", Done),
    (
        "proxy_cache_lock_age",
        Harmless("who waited too long asks the server too"),
    ),
    ("proxy_cache_lock_timeout", Done),
    ("proxy_cache_methods", Done),
    ("proxy_cache_min_uses", Done),
    ("proxy_cache_revalidate", Done),
    (
        "proxy_cache_background_update",
        Ineffective("who asks first for something stale waits for the new response"),
    ),
    (
        "proxy_cache_convert_head",
        Equivalent("requests by HEAD find what was kept of GET"),
    ),
    (
        "proxy_cache_max_range_offset",
        Harmless("a part of what is not kept is asked of the server"),
    ),
    ("proxy_store", Ineffective("nothing is stored")),
    ("proxy_limit_rate", Done),
    ("proxy_method", Refused("the method stays what it is")),
    ("proxy_set_body", Refused("the body stays what it is")),
    ("proxy_pass_request_headers", Done),
    ("proxy_pass_request_body", Done),
    ("proxy_cookie_path", Done),
    ("proxy_cookie_domain", Done),
    ("proxy_cookie_flags", Done),
    ("proxy_bind", Done),
    // Upstreams.
    ("least_conn", Done),
    ("ip_hash", Done),
    ("hash", Done),
    ("random", Done),
    ("keepalive", Done),
    ("keepalive_requests", Done),
    ("keepalive_time", Done),
    ("zone", Harmless("servers are shared by all workers")),
    ("least_time", Done),
    ("sticky", Ineffective("clients do not stick to servers")),
    ("ntlm", Ineffective("connections are not bound to clients")),
    // Clients.
    ("client_max_body_size", Done),
    ("client_body_timeout", Done),
    ("client_header_timeout", Done),
    ("send_timeout", Done),
    ("keepalive_timeout", Done),
    ("large_client_header_buffers", Done),
    ("client_header_buffer_size", Harmless(SPEED)),
    ("client_body_buffer_size", Harmless(STREAMED)),
    ("client_body_temp_path", Harmless(STREAMED)),
    (
        "client_body_in_file_only",
        Ineffective("bodies are not written to files"),
    ),
    ("client_body_in_single_buffer", Harmless(STREAMED)),
    (
        "keepalive_disable",
        Harmless("it is about browsers of long ago"),
    ),
    (
        "lingering_close",
        Equivalent("connections are always closed with care"),
    ),
    (
        "lingering_time",
        Equivalent("connections are always closed with care"),
    ),
    (
        "lingering_timeout",
        Equivalent("connections are always closed with care"),
    ),
    (
        "reset_timedout_connection",
        Harmless("a matter of the kernel's memory"),
    ),
    (
        "ignore_invalid_headers",
        Equivalent("what HTTP does not allow is refused all the same"),
    ),
    ("underscores_in_headers", Done),
    (
        "merge_slashes",
        Equivalent("slashes are merged where paths are compared"),
    ),
    ("server_name_in_redirect", Done),
    ("port_in_redirect", Done),
    ("absolute_redirect", Done),
    ("server_tokens", Equivalent("the version is never told")),
    ("real_ip_header", Done),
    ("set_real_ip_from", Done),
    ("real_ip_recursive", Done),
    ("limit_req", Done),
    ("limit_req_zone", Done),
    ("limit_req_status", Done),
    ("limit_req_log_level", Harmless("there is no such limit")),
    ("limit_conn", Done),
    ("limit_req_dry_run", Done),
    ("limit_conn_dry_run", Done),
    ("limit_conn_log_level", Harmless("a line of the log")),
    ("limit_conn_zone", Done),
    ("limit_conn_status", Done),
    ("limit_rate", Done),
    ("limit_rate_after", Done),
    ("limit_except", Done),
    ("auth_basic", Done),
    ("auth_basic_user_file", Done),
    ("auth_request", Done),
    ("auth_request_set", Done),
    ("mirror", Done),
    ("mirror_request_body", Done),
    ("sub_filter", Done),
    ("sub_filter_once", Done),
    ("sub_filter_types", Done),
    ("sub_filter_last_modified", Done),
    ("gzip", Done),
    ("gzip_types", Done),
    ("gzip_vary", Done),
    ("gzip_proxied", Done),
    ("gzip_comp_level", Done),
    ("gzip_min_length", Done),
    ("gzip_buffers", Harmless(STREAMED)),
    ("gzip_http_version", Done),
    ("gzip_disable", Done),
    ("gzip_static", Done),
    ("gunzip", Done),
    ("brotli", Done),
    ("brotli_types", Done),
    ("brotli_comp_level", Done),
    ("brotli_min_length", Done),
    ("brotli_static", Done),
    ("brotli_buffers", Harmless(STREAMED)),
    ("brotli_window", Harmless("how far back is looked is fixed")),
    ("gzip_window", Harmless("how far back is looked is fixed")),
    ("gzip_hash", Harmless(SPEED)),
    ("gzip_no_buffer", Harmless(SPEED)),
    ("postpone_gzipping", Harmless(SPEED)),
    ("gunzip_buffers", Harmless(STREAMED)),
    ("charset", Done),
    ("charset_types", Done),
    (
        "override_charset",
        Ineffective("what servers say of their texts is passed on"),
    ),
    ("source_charset", Refused("texts are not recoded")),
    ("charset_map", Refused("texts are not recoded")),
    ("stub_status", Done),
    ("empty_gif", Done),
    ("secure_link", Done),
    ("secure_link_md5", Done),
    (
        "secure_link_secret",
        Refused("links with a word in their path are not known here"),
    ),
    // TLS.
    ("ssl", Done),
    ("ssl_certificate", Done),
    ("ssl_certificate_key", Done),
    ("ssl_client_certificate", Done),
    ("ssl_verify_client", Done),
    ("ssl_crl", Done),
    (
        "ssl_trusted_certificate",
        Harmless("it is about verifying stapled responses"),
    ),
    (
        "ssl_verify_depth",
        Harmless("chains are followed to a known authority"),
    ),
    ("ssl_protocols", Done),
    ("ssl_ciphers", Equivalent(TLS)),
    ("ssl_prefer_server_ciphers", Equivalent(TLS)),
    ("ssl_ecdh_curve", Equivalent(TLS)),
    ("ssl_conf_command", Equivalent(TLS)),
    (
        "ssl_dhparam",
        Harmless("key exchange with finite fields is not used"),
    ),
    (
        "ssl_session_cache",
        Harmless("sessions are resumed by tickets"),
    ),
    (
        "ssl_session_timeout",
        Harmless("sessions are resumed for some hours"),
    ),
    ("ssl_session_tickets", Done),
    (
        "ssl_session_ticket_key",
        Harmless("keys change by themselves"),
    ),
    ("ssl_buffer_size", Harmless(SPEED)),
    ("ssl_early_data", Done),
    (
        "ssl_stapling",
        Equivalent("OCSP responses beside certificates are stapled"),
    ),
    (
        "ssl_stapling_verify",
        Equivalent("OCSP responses beside certificates are stapled"),
    ),
    (
        "ssl_stapling_file",
        Harmless("OCSP responses beside certificates are stapled"),
    ),
    ("ssl_reject_handshake", Done),
    (
        "ssl_password_file",
        Refused("keys with passwords cannot be read"),
    ),
    (
        "http2_max_concurrent_streams",
        Harmless("a limit of its own holds"),
    ),
    (
        "http2_push_preload",
        Harmless("nobody does that any longer"),
    ),
    (
        "http3",
        Harmless("HTTP/3 is not spoken, nor is it promised"),
    ),
    (
        "quic_retry",
        Harmless("HTTP/3 is not spoken, nor is it promised"),
    ),
    // Files.
    ("root", Done),
    ("alias", Done),
    ("index", Done),
    ("try_files", Done),
    ("autoindex", Done),
    ("default_type", Done),
    ("sendfile", Harmless(SPEED)),
    ("sendfile_max_chunk", Harmless(SPEED)),
    ("aio", Harmless(SPEED)),
    ("aio_write", Harmless(SPEED)),
    ("directio", Harmless(SPEED)),
    ("output_buffers", Harmless(SPEED)),
    ("open_file_cache", Harmless(SPEED)),
    ("open_file_cache_valid", Harmless(SPEED)),
    ("open_file_cache_min_uses", Harmless(SPEED)),
    ("open_file_cache_errors", Harmless(SPEED)),
    ("etag", Done),
    ("if_modified_since", Done),
    ("max_ranges", Done),
    ("disable_symlinks", Refused("links lead where they lead")),
    ("log_not_found", Harmless("a line of the log")),
    ("log_subrequest", Harmless("a line of the log")),
    ("slice", Refused("responses are kept as a whole")),
    // Logs.
    ("access_log", Done),
    ("log_format", Done),
    (
        "error_log",
        Equivalent("failures are told on standard error, each with its cause"),
    ),
    ("rewrite_log", Harmless("a line of the log")),
    // The process.
    ("user", Done),
    ("worker_processes", Done),
    (
        "worker_connections",
        Harmless("the limit of open files decides"),
    ),
    ("worker_rlimit_nofile", Harmless(SERVICE)),
    ("worker_rlimit_core", Harmless(SERVICE)),
    ("worker_cpu_affinity", Harmless(SERVICE)),
    ("worker_priority", Harmless(SERVICE)),
    ("worker_shutdown_timeout", Done),
    ("working_directory", Harmless(SERVICE)),
    ("multi_accept", Harmless(SPEED)),
    ("accept_mutex", Harmless(SPEED)),
    ("use", Harmless(SPEED)),
    ("pid", Harmless("the command line names it")),
    ("lock_file", Harmless(SPEED)),
    (
        "daemon",
        Harmless("the command line says whether to stay in the foreground"),
    ),
    ("master_process", Harmless("one process serves and reloads")),
    (
        "load_module",
        Harmless("what it brings is told where it is used"),
    ),
    ("env", Harmless(SERVICE)),
    ("thread_pool", Harmless(SPEED)),
    ("timer_resolution", Harmless(SPEED)),
    ("pcre_jit", Harmless(SPEED)),
    ("tcp_nopush", Harmless(SPEED)),
    ("tcp_nodelay", Harmless(SPEED)),
    ("types_hash_max_size", Harmless(SPEED)),
    ("types_hash_bucket_size", Harmless(SPEED)),
    ("server_names_hash_max_size", Harmless(SPEED)),
    ("server_names_hash_bucket_size", Harmless(SPEED)),
    ("variables_hash_max_size", Harmless(SPEED)),
    ("variables_hash_bucket_size", Harmless(SPEED)),
    ("map_hash_max_size", Harmless(SPEED)),
    ("map_hash_bucket_size", Harmless(SPEED)),
    ("connection_pool_size", Harmless(SPEED)),
    ("request_pool_size", Harmless(SPEED)),
    ("postpone_output", Harmless(SPEED)),
    ("msie_padding", Harmless("it is about browsers of long ago")),
    ("resolver", Done),
    ("resolver_timeout", Done),
    ("geo", Done),
    ("split_clients", Done),
    ("fastcgi_pass", Done),
    ("uwsgi_pass", Done),
    ("scgi_pass", Done),
    ("grpc_pass", Done),
    ("memcached_pass", Refused("memcached is not spoken")),
    ("stream", Done),
    ("mail", Refused("mail is not spoken")),
    ("dav_methods", Refused("files are not written")),
    ("more_set_headers", Done),
    ("more_clear_headers", Done),
    ("more_set_input_headers", Done),
    ("more_clear_input_headers", Done),
    ("http2_max_field_size", Harmless(HTTP2)),
    ("http2_max_header_size", Harmless(HTTP2)),
    ("http2_max_requests", Harmless(HTTP2)),
    ("http2_max_concurrent_pushes", Harmless(PUSHED)),
    ("http2_push", Harmless(PUSHED)),
    ("http2_recv_timeout", Harmless(HTTP2)),
    ("http2_idle_timeout", Harmless(HTTP2)),
    ("http2_recv_buffer_size", Harmless(SPEED)),
    ("http2_body_preread_size", Harmless(SPEED)),
    ("http2_chunk_size", Harmless(SPEED)),
    ("http2_pool_size", Harmless(SPEED)),
    ("http2_streams_index_size", Harmless(SPEED)),
    (
        "spdy_headers_comp",
        Harmless("nobody speaks SPDY any longer"),
    ),
    ("spdy_chunk_size", Harmless("nobody speaks SPDY any longer")),
];
