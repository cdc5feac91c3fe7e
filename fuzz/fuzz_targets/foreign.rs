//! Configurations of other balancers as they are to be run: whatever stands in them, every directive is told
//! once, and what they become reads as the same in Clearway's own language.

#![no_main]

use std::collections::BTreeMap;

use clearway_config::foreign::{self, Environment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    let made = if which % 2 == 0 {
        let mut environment = Environment::new(BTreeMap::<String, String>::new());
        foreign::haproxy_text("x.cfg", &text, &mut environment)
    } else {
        foreign::nginx_text("x.conf", &text)
    };
    let mut places: Vec<_> = made
        .directives
        .iter()
        .map(|directive| {
            (
                &directive.origin.file,
                directive.origin.line,
                directive.origin.column,
            )
        })
        .collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), count);
    if made.loaded.has_errors() {
        return;
    }
    let printed = clearway_config::print::print(&made.loaded.config);
    let again = clearway_config::parse("converted", &printed);
    assert!(again.config == made.loaded.config, "{printed}");
});
