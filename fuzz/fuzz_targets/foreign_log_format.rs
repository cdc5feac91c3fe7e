//! Formats of logs and other strings with values in them: `log-format` and headers of haproxy.cfg, `log_format`
//! and `return` of nginx.conf.

#![no_main]

use clearway_fuzz::assert_told_and_printed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((language, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text).replace(['\r', '\n', '\0'], " ");
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    let file = if language % 2 == 0 {
        format!(
            "defaults\n mode http\n log 127.0.0.1:514 local0\nfrontend web\n bind :80\n log-format \"{quoted}\"\n \
             http-request set-header X-It \"{quoted}\"\n default_backend app\nbackend app\n server s 10.0.0.2:8080\n"
        )
    } else {
        format!(
            "http {{ log_format it \"{quoted}\"; access_log a.log it;\n server {{ listen 80; \
             location / {{ return 200 \"{quoted}\"; }} }} }}\n"
        )
    };
    assert_told_and_printed(*language, &file);
});
