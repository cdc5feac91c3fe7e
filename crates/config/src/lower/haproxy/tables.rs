//! Stick tables: `stick-table`, what is tracked and counted, `stick`, and what is asked of tables.

use std::borrow::Cow;

use clearway_rules::ast::{Convert, Datum, Fetch, Piece, Template};

use super::acl;
use super::proxy::{At, Proxy};
use super::rules::Phase;
use super::sample::{self, Call, Kind};
use crate::diagnostic::Origins;
use crate::lower::build;
use crate::lower::notes::Notes;
use crate::model::{
    Actions, Condition, Config, Identifier, Persistence, Rule, Stick, StoredText, Table, TableKey,
    Tally, Track, TrackUntil,
};
use crate::survey::units;
use crate::syntax::haproxy::{Line, Section};
use crate::value::{DatumText, Text};

/// What stands between the name of a section of peers and that of one of its tables. No name has it.
const OF_PEERS: char = '@';

/// The name of a table here.
pub(super) fn name(written: &str) -> String {
    written.replace('/', &OF_PEERS.to_string())
}

/// `stick-table …`: the words behind it.
pub(super) fn table(line: &Line, words: &[&str], name: &str, notes: &mut Notes) -> Option<Table> {
    let mut table = Table {
        name: Identifier::parse(name).unwrap_or_default(),
        size: 0,
        origins: Origins::new(line.origin()),
        ..Table::default()
    };
    let wrong = |notes: &mut Notes, message: String| {
        notes.wrong(&line.origin(), message, "type, size, expire and store");
    };
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        match word {
            "type" => match key(value()) {
                Some((key, length)) => {
                    table.key = key;
                    table.length = length;
                    if words.next_if_eq(&"len").is_some()
                        && let Some(length) = words.next().and_then(|text| text.parse().ok())
                    {
                        table.length = length;
                    }
                }
                None => wrong(notes, "no such type of keys".to_owned()),
            },
            "size" => match units::size(value()) {
                Some(size) => table.size = usize::try_from(size).unwrap_or(usize::MAX),
                None => wrong(notes, "the size is no number".to_owned()),
            },
            "expire" => match units::haproxy_time(value()) {
                Some(time) => table.expire = Some(time).filter(|time| !time.is_zero()),
                None => wrong(notes, "expire needs a time".to_owned()),
            },
            "nopurge" => table.keep_when_full = true,
            "peers" => {
                value();
                notes.equivalent("entries are not told to other hosts: each has its own");
            }
            "srvkey" | "write-to" => {
                value();
            }
            "store" => {
                for text in parts(value()) {
                    if let Err(message) = store(text, &mut table) {
                        wrong(notes, message);
                    }
                }
            }
            other => wrong(notes, format!("{other:?} is nothing that tables have")),
        }
    }
    if table.size == 0 {
        wrong(notes, "a table needs a size".to_owned());
        return None;
    }
    Some(table)
}

fn key(word: &str) -> Option<(TableKey, usize)> {
    Some(match word {
        "ip" | "ipv4" => (TableKey::Ip, 32),
        "ipv6" => (TableKey::Ipv6, 32),
        "integer" => (TableKey::Integer, 32),
        // The default counts the zero at the end.
        "string" => (TableKey::String, 31),
        "binary" => (TableKey::Binary, 32),
        _ => return None,
    })
}

/// Adds what is stored, once.
fn store(text: &str, table: &mut Table) -> Result<(), String> {
    let stored = clearway_rules::ast::Stored::parse(text, units::haproxy_time)?;
    let text = StoredText::parse(&stored.to_string()).map_err(|problem| problem.message)?;
    let is_known = |known: &StoredText| {
        crate::lower::rules::stored(known.as_str()).is_ok_and(|known| known.datum == stored.datum)
    };
    if !table.store.iter().any(is_known) {
        table.store.push(text);
    }
    Ok(())
}

/// Parts between commas that stand outside of parentheses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
}

/// The tables of a section of peers.
pub(super) fn peers(section: &Section, config: &mut Config, notes: &mut Notes) {
    for line in &section.lines {
        notes.begin(line.origin(), line.text());
        let words: Vec<&str> = line.texts(0).collect();
        match words.as_slice() {
            ["table", own, rest @ ..] => {
                let name = format!("{}{OF_PEERS}{own}", section.name());
                config.tables.extend(table(line, rest, &name, notes));
            }
            [
                "peer" | "server" | "bind" | "default-bind" | "default-server" | "log" | "shards",
                ..,
            ] => {
                notes.equivalent("entries are not told to other hosts: each has its own");
            }
            ["enabled" | "disabled", ..] => notes.harmless("nothing is told to other hosts"),
            _ => notes.refused("such a line is not known here"),
        }
    }
}

/// `stick-table` in a proxy.
pub(super) fn own(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let name = proxy.name.clone();
    if let Some(table) = table(line, rest, &name, notes) {
        proxy.table = Some(At::new(table, line));
    }
}

/// Whether an action is one of this file.
pub(super) fn is_action(name: &str) -> bool {
    name.starts_with("track-sc")
        || ["sc-inc-gp", "sc-add-gp", "sc-set-gp"]
            .iter()
            .any(|known| name.starts_with(known))
}

/// The rule of an action about what is tracked; `connection` = as long as the connection is open.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn rule(
    line: &Line,
    phase: Phase,
    words: &[&str],
    mut condition: Condition,
    (proxy, of_connection): (&Proxy, bool),
) -> Result<Rule, String> {
    let Some((name, arguments)) = words.split_first() else {
        return Err("an action is missing".to_owned());
    };
    let mut actions = Actions::default();
    let key = if let Some(counter) = name.strip_prefix("track-sc") {
        actions.track = vec![track(counter, arguments, proxy, of_connection)?];
        "track"
    } else {
        actions.tally = vec![tally(name, arguments)?];
        "tally"
    };
    if phase == Phase::Response {
        // It waits for the response though it may not look at it.
        let status = build::value(build::test_of(&Fetch::Status));
        condition = build::all_of(vec![condition, status]);
    }
    Ok(build::rule(condition, actions, key, &line.origin()))
}

/// The variable that says that the rules for connections have let a connection in.
const LET_IN: &str = "sess.let_in";

/// A rule that looks at a connection once: with its first request.
pub(super) fn once(mut rule: Rule) -> Rule {
    let let_in = build::value(build::test_of(&Fetch::Variable(LET_IN.to_owned())));
    rule.when = build::all_of(vec![build::not(let_in), rule.when]);
    rule
}

/// What notes that a connection was let in, behind the rules that are looked at once.
pub(super) fn let_in(rules: &[Rule]) -> Option<Rule> {
    let is_once = |rule: &&Rule| rule.when.looks_at(LET_IN_TEST);
    let last = rules.iter().rfind(is_once)?;
    let pair = (
        crate::value::Token::parse(LET_IN).ok()?,
        crate::model::TemplateText::parse("1").ok()?,
    );
    let actions = Actions {
        set_variables: crate::model::Pairs(vec![pair]),
        ..Actions::default()
    };
    let origin = last.actions.origins.section();
    Some(build::rule(
        Condition::default(),
        actions,
        "set_variables",
        origin,
    ))
}

/// How the test of [`LET_IN`] begins.
const LET_IN_TEST: &str = "var:sess.let_in";

fn counter(text: &str) -> Result<u8, String> {
    let counter = text.trim().parse().ok();
    counter
        .filter(|counter| *counter < clearway_rules::table::COUNTERS_MAX)
        .ok_or_else(|| format!("{text:?} is no number of a counter"))
}

fn track(
    number: &str,
    words: &[&str],
    proxy: &Proxy,
    of_connection: bool,
) -> Result<Track, String> {
    let Some((expression, rest)) = words.split_first() else {
        return Err("a key is missing".to_owned());
    };
    let table = match rest {
        [] => name(&proxy.name),
        ["table", table] => name(table),
        _ => return Err(format!("{:?} stands behind the key", rest.join(" "))),
    };
    Ok(Track {
        counter: counter(number)?,
        table,
        key: build::fetch_text(&sample::read(expression)?.fetch)?,
        until: match of_connection {
            true => TrackUntil::Connection,
            false => TrackUntil::Response,
        },
        ..Track::default()
    })
}

/// `sc-inc-gpc0(0)`, `sc-add-gpc(1,0) 5`, `sc-set-gpt0(0) EXPRESSION`.
fn tally(name: &str, values: &[&str]) -> Result<Tally, String> {
    let (name, inner) = name.split_once('(').unwrap_or((name, "0"));
    let arguments: Vec<&str> = inner.trim_end_matches(')').split(',').collect();
    let (verb, what) = name
        .strip_prefix("sc-")
        .and_then(|rest| rest.split_once('-'))
        .ok_or_else(|| format!("the action {name:?} is not known here"))?;
    let datum = Datum::of(what).ok_or_else(|| format!("{what:?} is nothing that tables store"))?;
    let (what, number) = match (datum.is_many(), arguments.as_slice()) {
        (true, [index, number, ..]) => (format!("{what}.{}", index.trim()), *number),
        (false, [number, ..]) => (what.to_owned(), *number),
        _ => return Err(format!("{name} needs a number and a counter")),
    };
    let value = match (verb, values) {
        ("inc", []) => "1".to_owned(),
        (_, [value, ..]) if value.parse::<u64>().is_ok() => (*value).to_owned(),
        (_, [_, ..]) => {
            let sample = sample::read(&values.join(","))?;
            Template::new([Piece::Fetch(sample.fetch)]).to_string()
        }
        (_, []) => return Err(format!("{name} needs a number")),
    };
    let value = crate::model::TemplateText::parse(&value).map_err(|problem| problem.message)?;
    let (add, set) = match verb {
        "set" => (None, Some(value)),
        _ => (Some(value), None),
    };
    Ok(Tally {
        counter: counter(number)?,
        what: DatumText::parse(&what).map_err(|problem| problem.message)?,
        add,
        set,
        ..Tally::default()
    })
}

/// `stick on|match|store-request|store-response KEY [table T] [if …]`.
pub(super) fn stick(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let (words, condition) = match acl::of_line(rest, &proxy.acls) {
        Ok(found) => found,
        Err(message) => return notes.refused(message),
    };
    let [kind, expression, rest @ ..] = words else {
        return notes.wrong(&line.origin(), "a key is missing", "");
    };
    let (find, store) = match *kind {
        "on" => (true, true),
        "match" => (true, false),
        "store-request" | "store-response" => (false, true),
        other => {
            return notes.wrong(&line.origin(), format!("{other:?} is no way to stick"), "");
        }
    };
    let table = match rest {
        ["table", table] => name(table),
        _ => name(&proxy.name),
    };
    let key = sample::read(expression).and_then(|sample| build::fetch_text(&sample.fetch));
    let key = match key {
        Ok(key) => key,
        Err(message) => return notes.refused(message),
    };
    let stick = Stick {
        table,
        key,
        find,
        store,
        ..Stick::default()
    };
    let actions = Actions {
        stick: vec![stick],
        ..Actions::default()
    };
    let rule = build::rule(condition, actions, "stick", &line.origin());
    proxy.sticks.push(rule);
}

/// `force-persist` and `ignore-persist`.
pub(super) fn persist(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let condition = match acl::of_line(rest, &proxy.acls) {
        Ok((_, condition)) => condition,
        Err(message) => return notes.refused(message),
    };
    let persist = match line.word(0) {
        "force-persist" => Persistence::Force,
        _ => Persistence::Ignore,
    };
    let actions = Actions {
        persist: Some(persist),
        ..Actions::default()
    };
    let rule = build::rule(condition, actions, "persist", &line.origin());
    proxy.sticks.push(rule);
}

/// Puts tables into the model, with servers in those that rules stick by.
pub(super) fn settle(proxies: &[Proxy], config: &mut Config) {
    let own = proxies.iter().filter_map(|proxy| proxy.table.as_ref());
    config.tables.extend(own.map(|table| table.value.clone()));
    let rules = proxies.iter().flat_map(|proxy| &proxy.sticks);
    let names: Vec<&str> = rules
        .flat_map(|rule| &rule.actions.stick)
        .map(|stick| stick.table.as_str())
        .collect();
    for table in &mut config.tables {
        if names.contains(&table.name.as_str()) {
            for text in ["server_id", "server_key"] {
                let added = store(text, table);
                debug_assert!(added.is_ok(), "{text}");
            }
        }
    }
}

/// What is asked of tables by the part of its name behind `sc_`, `src_` or `table_`.
enum Question {
    /// A number of an entry.
    Of(String, Kind),
    /// The same, in units of 1024.
    Kilo(String),
}

/// Reads what is asked; `index` is the number of one of many.
fn question(name: &str, index: &str) -> Option<Question> {
    let many = |what: &str| match index {
        "" => what.to_owned(),
        index => format!("{what}.{index}"),
    };
    let number = |text: String| Some(Question::Of(text, Kind::Number));
    match name {
        "kbytes_in" => return Some(Question::Kilo("bytes_in_cnt".to_owned())),
        "kbytes_out" => return Some(Question::Kilo("bytes_out_cnt".to_owned())),
        "tracked" => return Some(Question::Of("exists".to_owned(), Kind::Truth)),
        "trackers" => return number("trackers".to_owned()),
        "idle" => return number("idle".to_owned()),
        "expire" => return number("left".to_owned()),
        _ => {}
    }
    for (verb, turn) in [("get_", ""), ("inc_", ",inc"), ("clr_", ",clear")] {
        if let Some(what) = name.strip_prefix(verb) {
            let datum = Datum::of(what).filter(|datum| datum.name().starts_with("gp"))?;
            return number(format!("{}{turn}", many(datum.name())));
        }
    }
    let datum = Datum::of(name).filter(|datum| {
        datum.shape() != clearway_rules::table::Shape::Server && !name.starts_with("bytes_in_c")
    })?;
    number(many(datum.name()))
}

/// Whether the number of one of many is the first argument.
fn has_index(name: &str) -> bool {
    let name = name.trim_start_matches("get_");
    let name = name.trim_start_matches("inc_").trim_start_matches("clr_");
    matches!(name, "gpc" | "gpt" | "gpc_rate")
}

fn kilo() -> Convert {
    Convert::with("div", &["1024"])
}

/// What a name with arguments asks of tables, as a fetch; none when it is about something else.
pub(super) fn fetch(call: &Call) -> Option<Result<(Fetch, Kind), String>> {
    let word = call.name.as_str();
    match word {
        "table_cnt" => return Some(Ok((Fetch::TableUsed(name(call.argument(0))), Kind::Number))),
        "table_avl" => {
            return Some(Ok((Fetch::TableFree(name(call.argument(0))), Kind::Number)));
        }
        "src_updt_conn_cnt" => {
            let table = name(call.argument(0));
            let convert = Convert::with("table", &[&table, "conn_cnt", "inc"]);
            return Some(Ok((Fetch::Source.through(vec![convert]), Kind::Number)));
        }
        _ => {}
    }
    if let Some(what) = word.strip_prefix("src_") {
        let (index, table) = match has_index(what) {
            true => (call.argument(0), call.argument(1)),
            false => ("", call.argument(0)),
        };
        let converters = of_table(question(what, index)?, table);
        return Some(Ok((Fetch::Source.through(converters), Kind::Number)));
    }
    let rest = word.strip_prefix("sc")?;
    let (number, what) = rest.split_once('_')?;
    let mut arguments = call.arguments.iter().map(|text| text.trim());
    let mut next = || arguments.next().unwrap_or_default();
    let index = if has_index(what) { next() } else { "" };
    let question = question(what, index)?;
    let number = if number.is_empty() { next() } else { number };
    let table = next();
    if let Err(message) = counter(number) {
        return Some(Err(message));
    }
    // With a table it is about the same key there.
    if !table.is_empty() && what != "tracked" {
        let key = Fetch::TrackedKey(number.to_owned());
        return Some(Ok((key.through(of_table(question, table)), Kind::Number)));
    }
    Some(Ok(match question {
        Question::Of(what, kind) => (Fetch::Tracked(format!("{number},{what}")), kind),
        Question::Kilo(what) => {
            let fetch = Fetch::Tracked(format!("{number},{what}"));
            (fetch.through(vec![kilo()]), Kind::Number)
        }
    }))
}

/// The converters that ask a table.
fn of_table(question: Question, table: &str) -> Vec<Convert> {
    let (what, more) = match question {
        Question::Of(what, _) => (what, None),
        Question::Kilo(what) => (what, Some(kilo())),
    };
    let table = name(table);
    let arguments: Vec<&str> = [table.as_str()]
        .into_iter()
        .chain(what.split(','))
        .collect();
    let mut all = vec![Convert::with("table", &arguments)];
    all.extend(more);
    all
}

/// What the converters `table_…` and `in_table` stand for; none when it is another one.
pub(super) fn converter(call: &Call) -> Option<(Vec<Convert>, Option<Kind>)> {
    if call.name == "in_table" {
        let table = name(call.argument(0));
        let convert = Convert::with("table", &[&table, "exists"]);
        return Some((vec![convert], Some(Kind::Truth)));
    }
    let what = call.name.strip_prefix("table_")?;
    let (index, table) = match has_index(what) {
        true => (call.argument(0), call.argument(1)),
        false => ("", call.argument(0)),
    };
    let question = question(what, index)?;
    Some((of_table(question, table), Some(Kind::Number)))
}

/// A line in which what is asked of the table of the section itself names it.
pub(super) fn with_own<'l>(line: &'l Line, section: &str) -> Cow<'l, Line> {
    let asks = |text: &str| text.contains("src_") || text.contains("table_");
    if !line.words.iter().any(|word| asks(&word.text)) {
        return Cow::Borrowed(line);
    }
    let mut line = line.clone();
    for word in &mut line.words {
        if asks(&word.text) {
            word.text = named(&word.text, section);
        }
    }
    Cow::Owned(line)
}

fn named(text: &str, section: &str) -> String {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let (mut out, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let end = rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        out.push_str(word);
        rest = tail;
        let what = word.strip_prefix("src_");
        let is_asked = what
            .is_some_and(|what| what == "updt_conn_cnt" || question(what, "").is_some())
            || matches!(word, "table_cnt" | "table_avl");
        if is_asked {
            let many = what.is_some_and(has_index);
            let inner = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            match inner {
                None => out.push_str(&format!("({section})")),
                Some(("", tail)) => {
                    out.push_str(&format!("({section})"));
                    rest = tail;
                }
                Some((index, tail)) if many && !index.contains(',') => {
                    out.push_str(&format!("({index},{section})"));
                    rest = tail;
                }
                Some(_) => {}
            }
        }
        let end = rest.find(is_letter).unwrap_or(rest.len());
        let (between, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        out.push_str(between);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_section_is_named() {
        for (text, wanted) in [
            ("src_conn_cur", "src_conn_cur(web)"),
            ("src_get_gpc0()", "src_get_gpc0(web)"),
            ("src_get_gpc(2),add(1)", "src_get_gpc(2,web),add(1)"),
            ("%[src_conn_cnt]x", "%[src_conn_cnt(web)]x"),
            ("src_conn_cnt(other)", "src_conn_cnt(other)"),
            ("src_blocked", "src_blocked"),
            ("my_src_conn_cnt", "my_src_conn_cnt"),
        ] {
            assert_eq!(named(text, "web"), wanted);
        }
    }

    #[test]
    fn questions_are_read() {
        let read = |text: &str| sample::read(text).map(|sample| sample.fetch.to_string());
        let ok = |text: &str| Ok::<_, String>(text.to_owned());
        assert_eq!(read("sc0_http_req_rate"), ok("tracked:0,http_req_rate"));
        assert_eq!(read("sc_get_gpc(3,1)"), ok("tracked:1,gpc.3"));
        assert_eq!(read("sc_inc_gpc0(2)"), ok("tracked:2,gpc0,inc"));
        assert_eq!(
            read("sc_conn_cnt(0,t)"),
            ok("tracked_key:0|table(t,conn_cnt)")
        );
        assert_eq!(
            read("src_kbytes_in(t)"),
            ok("client_ip|table(t,bytes_in_cnt)|div(1024)")
        );
        assert_eq!(
            read("src,table_http_req_rate(p/t)"),
            ok("client_ip|table(\"p@t\",http_req_rate)")
        );
        assert_eq!(read("src,in_table(t)"), ok("client_ip|table(t,exists)"));
        assert!(read("sc_nothing(0)").is_err());
    }
}
