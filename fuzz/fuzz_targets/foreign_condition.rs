//! Conditions of other balancers: an ACL of haproxy.cfg and what follows `if`, the parentheses of `if` in
//! nginx.conf. The rest of the file is sound, so that all of the input reaches what reads conditions.

#![no_main]

use clearway_fuzz::assert_told_and_printed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((language, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text).replace(['\r', '\n', '\0'], " ");
    let (acl, line) = text.split_once('|').unwrap_or((&text, "it"));
    let file = if language % 2 == 0 {
        format!(
            "defaults\n mode http\nfrontend web\n bind :80\n acl it {acl}\n http-request deny if {line}\n \
             use_backend app if {{ {acl} }}\nbackend app\n server s 10.0.0.2:8080\n"
        )
    } else {
        format!(
            "http {{ map {acl} $it {{ default 0; {line} 1; }}\n server {{ listen 80; if ({acl}) {{ return 403; }}\n \
             location / {{ return 200; }} }} }}\n"
        )
    };
    assert_told_and_printed(*language, &file);
});
