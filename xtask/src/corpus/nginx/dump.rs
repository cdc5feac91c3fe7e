//! What `nginx -T` prints: a configuration with the files that it includes behind it, each under its name.

use super::words;

/// How deep files include others.
const DEPTH_MAX: usize = 8;

/// Puts the files of a dump into the places where they are included; any other text stays as it is.
pub(super) fn assembled(text: &str) -> String {
    let mut sections: Vec<(&str, String)> = vec![("", String::new())];
    for line in text.lines() {
        let name = line.strip_prefix("# configuration file ");
        match name.and_then(|name| name.strip_suffix(':')) {
            Some(name) => sections.push((name, String::new())),
            None => {
                if let Some((_, section)) = sections.last_mut() {
                    section.push_str(line);
                    section.push('\n');
                }
            }
        }
    }
    if sections.len() < 2 {
        return text.to_owned();
    }
    // What stands before the first name is the main file, unless that is named as well.
    let has_begin = !words::directives(&sections[0].1).is_empty();
    let main = sections.remove(usize::from(!has_begin));
    let mut out = main.1;
    for _ in 0..DEPTH_MAX {
        let directives = words::directives(&out);
        let places: Vec<_> = directives
            .iter()
            .filter(|one| one.name() == "include")
            .filter_map(|one| one.word(1))
            .map(|(named, at)| (named.to_owned(), at))
            .collect();
        let mut changed = false;
        for (named, at) in places.into_iter().rev() {
            let files: Vec<&str> = sections
                .iter()
                .filter(|(name, _)| is_like(&named, name))
                .map(|(_, text)| text.as_str())
                .collect();
            let begin = out
                .get(..at.start)
                .and_then(|before| before.rfind("include"));
            let end = out.get(at.end..).and_then(|rest| rest.find(';'));
            if let (Some(begin), Some(end), false) = (begin, end, files.is_empty()) {
                out.replace_range(begin..=at.end + end, &files.concat());
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    out
}

/// Whether a name is one that an `include` means; a relative one is below the folder of the configuration.
fn is_like(pattern: &str, name: &str) -> bool {
    let whole = match pattern.starts_with('/') {
        true => pattern.to_owned(),
        false => format!("/etc/nginx/{pattern}"),
    };
    match whole.split_once('*') {
        Some((begin, end)) => {
            let rest = name.strip_prefix(begin);
            rest.and_then(|rest| rest.strip_suffix(end))
                .is_some_and(|middle| !middle.contains('/'))
        }
        None => whole == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_dump_go_where_they_are_included() {
        let dump = "events {}\nhttp {\n include mime.types;\n include /etc/nginx/conf.d/*.conf;\n}\n\
            # configuration file /etc/nginx/mime.types:\ntypes {}\n\
            # configuration file /etc/nginx/conf.d/a.conf:\nserver { include part; }\n\
            # configuration file /etc/nginx/part:\nlisten 80;\n";
        let whole = assembled(dump);
        let flat: String = whole.split_whitespace().collect();
        assert_eq!(flat, "events{}http{types{}server{listen80;}}");
        assert_eq!(assembled("http {}"), "http {}");
    }
}
