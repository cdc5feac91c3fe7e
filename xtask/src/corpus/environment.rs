//! Variables of templates and of the environment: values that fit where they stand.

/// Puts values in for `$NAME` and `${NAME}` with names in capital letters, but for those that `is_known`.
pub(super) fn fill(text: &str, is_known: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after.strip_prefix('{');
        let inner = braced.unwrap_or(after);
        let end = inner
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(inner.len());
        let (name, mut behind) = inner.split_at(end);
        let is_whole = braced.is_none() || behind.starts_with(['}', '-', ':']);
        if !is_whole || !is_capital(name) || is_known(name) {
            out.push('$');
            rest = after;
            continue;
        }
        if braced.is_some() {
            // What is behind a dash is what holds without a value.
            behind = behind.split_once('}').map_or("", |(_, behind)| behind);
        }
        let value = value(name, &out);
        out.push_str(&value);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Whether a name is that of a variable of the environment.
pub(super) fn is_capital(name: &str) -> bool {
    let is_capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(is_capital)
}

/// A value by the words of a name and by what stands before it.
fn value(name: &str, before: &str) -> String {
    let has = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    let is_port = before.trim_end_matches('"').ends_with(':');
    let value = if is_port || name.ends_with("PORT") {
        "8080"
    } else if has(&["PROTOCOL", "SCHEME", "PROTO"]) {
        "http"
    } else if has(&["PATH", "URI", "ROOT", "DIR", "WEBROOT", "FILE", "PREFIX"]) {
        // One for each name: a certificate and its key are two files.
        return format!("/stub/{}", name.to_ascii_lowercase());
    } else if has(&["IP", "DNS", "RESOLVER", "NAMESERVER", "BIND"]) {
        "127.0.0.1"
    } else if has(&[
        "MAXCONN",
        "COUNT",
        "LIMIT",
        "CPUS",
        "THREADS",
        "NBTHREAD",
        "TIMEOUT",
        "RATE",
        "PROCESSES",
        "CONNECTIONS",
        "WEIGHT",
    ]) {
        "100"
    } else if has(&["SIZE"]) {
        "1m"
    } else if before.ends_with("proxy_pass ") {
        "http://stub.example"
    } else {
        "stub.example"
    };
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_places() {
        let fill = |text| fill(text, |name| name == "OWN");
        assert_eq!(fill("bind *:$PUBLIC ssl"), "bind *:8080 ssl");
        assert_eq!(
            fill("proxy_pass $REMOTE;"),
            "proxy_pass http://stub.example;"
        );
        assert_eq!(fill("http://${UP_HOST}:${UP}"), "http://stub.example:8080");
        assert_eq!(fill("root ${WEB_ROOT:-/srv};"), "root /stub/web_root;");
        assert_eq!(fill("$OWN $host ${host} $1 $"), "$OWN $host ${host} $1 $");
    }
}
