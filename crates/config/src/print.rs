//! Native text from any Config: what differs from the defaults, in the order of the reference page.

use crate::model::Config;
use crate::value::{Section, Spec, Value};
use crate::words;

/// Prints a configuration. Reading the text again gives an equal one.
#[must_use]
pub fn print(config: &Config) -> String {
    let mut out = String::new();
    single("process", &config.process, &mut out);
    single("admin", &config.admin, &mut out);
    single("log", &config.log, &mut out);
    single("incidents", &config.incidents, &mut out);
    single("resolver", &config.resolver, &mut out);
    single("acme", &config.acme, &mut out);
    single("timeouts", &config.timeouts, &mut out);
    single("limits", &config.limits, &mut out);
    single("compression", &config.compression, &mut out);
    if !config.errors.is_empty() {
        begin("[errors]", &mut out);
        for (key, page) in &config.errors {
            let mut text = String::new();
            page.print(&Spec::NONE, &mut text);
            let key = crate::value::Text::text(key);
            out.push_str(&format!("{} = {text}\n", words::key(&key)));
        }
    }
    for map in &config.maps {
        begin(&format!("[map.{}]", words::key(&map.name)), &mut out);
        fields(map, &mut out);
    }
    for table in &config.tables {
        begin(&format!("[table.{}]", words::key(&table.name)), &mut out);
        fields(table, &mut out);
    }
    for limit in &config.rate_limits {
        let name = words::key(&limit.name);
        begin(&format!("[rate_limit.{name}]"), &mut out);
        fields(limit, &mut out);
    }
    for limit in &config.concurrency_limits {
        let name = words::key(&limit.name);
        begin(&format!("[concurrency_limit.{name}]"), &mut out);
        fields(limit, &mut out);
    }
    for cache in &config.caches {
        begin(&format!("[cache.{}]", words::key(&cache.name)), &mut out);
        fields(cache, &mut out);
    }
    for listener in &config.listeners {
        begin(
            &format!("[listener.{}]", words::key(&listener.name)),
            &mut out,
        );
        fields(listener, &mut out);
    }
    for route in &config.routes {
        begin("[[route]]", &mut out);
        fields(route, &mut out);
    }
    for backend in &config.backends {
        begin(
            &format!("[backend.{}]", words::key(&backend.name)),
            &mut out,
        );
        fields(backend, &mut out);
    }
    out
}

/// A section that is there once; left out when it says nothing.
fn single<S: Section>(name: &str, section: &S, out: &mut String) {
    if *section != S::default() {
        begin(&format!("[{name}]"), out);
        fields(section, out);
    }
}

fn begin(header: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(header);
    out.push('\n');
}

fn fields<S: Section>(section: &S, out: &mut String) {
    for field in section.printed() {
        if !field.is_default {
            out.push_str(&format!("{} = {}\n", words::key(field.key), field.text));
        }
    }
}

#[cfg(test)]
mod tests {
    use clearway_base::rng::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        Backend, CacheStore, ConcurrencyLimit, ErrorPages, Listener, Map, RateLimit, Route,
    };
    use crate::value::Section;

    fn list<S: Section>(rng: &mut Rng) -> Vec<S> {
        (0..rng.below(4)).map(|_| S::sample_section(rng)).collect()
    }

    /// Names of sections are keys of a table, so they differ.
    fn distinct<S>(sections: Vec<S>, name: fn(&S) -> String) -> Vec<S> {
        let mut kept: Vec<S> = Vec::new();
        for section in sections {
            if kept.iter().all(|other| name(other) != name(&section)) {
                kept.push(section);
            }
        }
        kept
    }

    fn sample(seed: u64) -> Config {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        Config {
            process: Section::sample_section(rng),
            admin: Section::sample_section(rng),
            log: Section::sample_section(rng),
            incidents: Section::sample_section(rng),
            resolver: Section::sample_section(rng),
            acme: Section::sample_section(rng),
            timeouts: Section::sample_section(rng),
            limits: Section::sample_section(rng),
            compression: Section::sample_section(rng),
            errors: <ErrorPages as Value>::sample(rng, &Spec::NONE),
            maps: distinct(list::<Map>(rng), |m| m.name.to_string()),
            tables: distinct(list::<crate::model::Table>(rng), |t| t.name.to_string()),
            rate_limits: distinct(list::<RateLimit>(rng), |l| l.name.to_string()),
            concurrency_limits: distinct(list::<ConcurrencyLimit>(rng), |l| l.name.to_string()),
            caches: distinct(list::<CacheStore>(rng), |c| c.name.to_string()),
            listeners: distinct(list::<Listener>(rng), |l| l.name.to_string()),
            routes: list::<Route>(rng),
            backends: distinct(list::<Backend>(rng), |b| b.name.to_string()),
        }
    }

    /// Reads without the checks of the whole: random names do not refer to each other.
    fn read(text: &str) -> (Config, Vec<crate::Diagnostic>) {
        let lines = crate::diagnostic::Lines::new("t", text);
        let (entries, mut errors) = crate::syntax::native::read(text, &lines);
        let mut reader = crate::value::Reader::new(&lines);
        let config = crate::lower::config(&entries, &mut reader);
        errors.append(&mut reader.diagnostics);
        (config, errors)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_printed_reads_as_the_same(seed: u64) {
            let config = sample(seed);
            let text = print(&config);
            let (again, errors) = read(&text);
            prop_assert_eq!(errors, [], "{}", text);
            prop_assert!(again == config, "{}\nbecomes\n{}", text, print(&again));
        }
    }

    #[test]
    fn defaults_are_left_out() {
        assert_eq!(print(&Config::default()), "");
        let text = "[listener.web]\nbind = [\"*:8080\"]\n\n[backend.app]\nservers = [\"127.0.0.1:9001\"]\n";
        let (config, errors) = read(text);
        assert_eq!(errors, []);
        assert_eq!(print(&config), text);
    }
}
