//! Where a `proxy_pass` leads: its scheme, host and port, with variables replaced as far as the file says
//! what they are.

use super::scope::Scope;
use crate::survey::{Spoke, units};
use crate::syntax::nginx::Directive;

/// More values of one `proxy_pass` are not looked at.
const CANDIDATES_MAX: usize = 16;

/// More variables in one `proxy_pass` are not replaced.
const ROUNDS_MAX: usize = 8;

/// Variables that end the host where they follow it directly.
const OF_THE_PATH: &[&str] = &[
    "request_uri",
    "uri",
    "document_uri",
    "is_args",
    "args",
    "query_string",
];

/// One place that a `proxy_pass` may lead to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Destination {
    /// Whether TLS is spoken.
    pub(super) tls: bool,
    /// Host and port as they are written, or `unix:` and a path.
    pub(super) authority: String,
    /// Whether a path is written behind the host.
    pub(super) has_path: bool,
}

impl Destination {
    /// The path of a Unix socket.
    pub(super) fn socket(&self) -> Option<&str> {
        self.authority.strip_prefix("unix:")
    }

    /// The host, and the port that is written or usual.
    pub(super) fn host_and_port(&self, speaks: Spoke) -> (String, u16) {
        let (host, port) = units::host_and_port(&self.authority);
        let usual = match speaks {
            Spoke::Http1 | Spoke::Http2 if self.tls => 443,
            Spoke::Http1 | Spoke::Http2 => 80,
            Spoke::Tcp | Spoke::FastCgi | Spoke::Uwsgi | Spoke::Scgi => 0,
        };
        (host, if port == 0 { usual } else { port })
    }

    /// Whether a variable is left whose value is not known.
    pub(super) fn is_open(&self) -> bool {
        self.authority.contains('$')
    }
}

/// Everywhere that the argument of a `…_pass` may lead to.
pub(super) fn destinations(argument: &str, scope: &Scope<'_>) -> Vec<Destination> {
    let mut done: Vec<Destination> = Vec::new();
    for text in values(argument, scope) {
        let destination = parse(&text);
        if !destination.authority.is_empty() && !done.contains(&destination) {
            done.push(destination);
        }
    }
    done
}

/// The texts that an argument with variables may stand for. A variable of which nothing is known stays.
pub(super) fn values(argument: &str, scope: &Scope<'_>) -> Vec<String> {
    let mut texts = vec![argument.to_owned()];
    for _ in 0..ROUNDS_MAX {
        let mut next = Vec::new();
        for text in &texts {
            match replaced(text, scope) {
                Some(mut values) => next.append(&mut values),
                None => next.push(text.clone()),
            }
        }
        next.truncate(CANDIDATES_MAX);
        if next == texts {
            break;
        }
        texts = next;
    }
    texts
}

/// The text with its first known variable replaced by each of its values.
fn replaced(text: &str, scope: &Scope<'_>) -> Option<Vec<String>> {
    let mut before = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('$') {
        before.push_str(head);
        let (name, after) = variable(tail);
        let values = known(name, scope);
        if !name.is_empty() && !values.is_empty() {
            let whole = |value: String| format!("{before}{value}{after}");
            return Some(values.into_iter().map(whole).collect());
        }
        before.push('$');
        rest = tail;
    }
    None
}

/// The name of a variable at the begin of a text (behind its `$`), and what follows.
fn variable(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name, after);
    }
    let after = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    (text.strip_suffix(after).unwrap_or_default(), after)
}

/// The values that the file gives a variable, by `set`, `map` and the like.
fn known(name: &str, scope: &Scope<'_>) -> Vec<String> {
    let is_named = |word: Option<&str>| word.and_then(|word| word.strip_prefix('$')) == Some(name);
    let mut values = Vec::new();
    for level in scope.levels() {
        collect_sets(level.iter().copied(), &is_named, &mut values);
        for directive in level {
            let is_source = match directive.name.text.as_str() {
                "map" | "split_clients" => is_named(directive.argument(1)),
                // `geo` may name an address before the variable.
                "geo" => is_named(directive.arguments.last().map(|word| word.text.as_str())),
                _ => false,
            };
            if is_source {
                values.extend(results(directive));
            }
        }
        if !values.is_empty() {
            break;
        }
    }
    values.truncate(CANDIDATES_MAX);
    values
}

/// `set` of a block, and of the `if`s in it.
fn collect_sets<'a>(
    level: impl Iterator<Item = &'a Directive>,
    is_named: &dyn Fn(Option<&str>) -> bool,
    values: &mut Vec<String>,
) {
    for directive in level {
        if directive.is("set") && is_named(directive.argument(0)) {
            values.push(directive.argument(1).unwrap_or_default().to_owned());
        } else if directive.is("if") {
            // Conditions do not stand in each other.
            let sets = directive.inner().iter().filter(|inner| inner.is("set"));
            let sets = sets.filter(|set| is_named(set.argument(0)));
            values.extend(sets.filter_map(|set| set.argument(1).map(str::to_owned)));
        }
    }
}

/// What the lines of a `map`, `geo` or `split_clients` give.
fn results(map: &Directive) -> impl Iterator<Item = String> {
    let settings = [
        "hostnames",
        "volatile",
        "include",
        "ranges",
        "delete",
        "proxy",
        "proxy_recursive",
    ];
    let lines = map.inner().iter();
    lines
        .filter(move |line| !settings.contains(&line.name.text.as_str()))
        .filter_map(|line| line.argument(0).map(str::to_owned))
        .filter(|value| !value.is_empty())
}

fn parse(text: &str) -> Destination {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", text),
    };
    let tls = matches!(scheme, "https" | "grpcs" | "suwsgi");
    if let Some(path) = rest.strip_prefix("unix:") {
        let (path, after) = path.split_once(':').unwrap_or((path, ""));
        return Destination {
            tls,
            authority: format!("unix:{path}"),
            has_path: !after.is_empty(),
        };
    }
    let (authority, path) = match rest.split_once(['/', '?']) {
        Some((authority, _)) => (authority, true),
        None => (rest, false),
    };
    let cut = without_path(authority);
    Destination {
        tls,
        authority: cut.to_owned(),
        has_path: path || cut != authority,
    }
}

/// A host without the variables of the path that follow it directly, as in `http://app$request_uri`.
fn without_path(authority: &str) -> &str {
    let Some(before) = authority.find('$').and_then(|at| authority.get(..at)) else {
        return authority;
    };
    let tail = authority.strip_prefix(before).unwrap_or_default();
    let (name, _) = variable(tail.strip_prefix('$').unwrap_or_default());
    let is_group = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    if !before.is_empty() && (OF_THE_PATH.contains(&name) || is_group) {
        before
    } else {
        authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(argument: &str, file: &str) -> Vec<String> {
        let tree = crate::syntax::nginx::read("t", file);
        let scope = Scope::default().inside(&tree.directives);
        let shown = |destination: Destination| {
            let tls = if destination.tls { "+" } else { "" };
            format!("{tls}{}", destination.authority)
        };
        destinations(argument, &scope)
            .into_iter()
            .map(shown)
            .collect()
    }

    #[test]
    fn schemes_sockets_and_paths() {
        assert_eq!(all("https://a:8443/x?y", ""), ["+a:8443"]);
        assert_eq!(all("http://unix:/run/a.sock:/x", ""), ["unix:/run/a.sock"]);
        assert_eq!(all("http://app$request_uri", ""), ["app"]);
        assert_eq!(all("http://app:80$1", ""), ["app:80"]);
        assert_eq!(all("http://app-$tier:80/", ""), ["app-$tier:80"]);
        assert_eq!(all("grpcs://[::1]:50051", ""), ["+[::1]:50051"]);
        assert_eq!(all("127.0.0.1:9000", ""), ["127.0.0.1:9000"]);
        assert_eq!(all("", ""), Vec::<String>::new());
    }

    #[test]
    fn variables_that_the_file_knows() {
        let file = "set $h app; if ($x) { set $h app2; } set $p ${h}:80; map $y $m { default one; z two; }";
        assert_eq!(all("http://$p", file), ["app:80", "app2:80"]);
        assert_eq!(all("$scheme://$m", file), ["one", "two"]);
        assert_eq!(all("http://$host$request_uri", file), ["$host$request_uri"]);
        assert_eq!(all("http://$a", "set $a $a$a;"), ["$a".repeat(9)]);
    }
}
