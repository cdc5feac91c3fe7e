//! What a folder holds, as a page.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clearway_rules::escaped;

use super::http_date;

/// Entries of a folder that are listed at most: a page is made in memory.
const ENTRIES_MAX: usize = 10_000;

/// Characters of a name that are shown.
const NAME_MAX: usize = 50;

struct Entry {
    name: Vec<u8>,
    is_folder: bool,
    there: Metadata,
}

/// Lists the folder that lies at `place` for the decoded path that was asked for.
pub(crate) fn page(place: &Path, path: &[u8]) -> io::Result<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(place)?.take(ENTRIES_MAX) {
        let name = entry?.file_name().as_bytes().to_vec();
        if name.starts_with(b".") {
            continue;
        }
        // A link counts as what it leads to; one that leads nowhere, as itself.
        let at = place.join(OsStr::from_bytes(&name));
        let Ok(there) = std::fs::metadata(&at).or_else(|_| std::fs::symlink_metadata(&at)) else {
            continue;
        };
        entries.push(Entry {
            is_folder: there.is_dir(),
            name,
            there,
        });
    }
    entries.sort_by(|a, b| (!a.is_folder, &a.name).cmp(&(!b.is_folder, &b.name)));
    let title = text(path);
    let mut out = format!(
        "<html>\r\n<head><title>Index of {title}</title></head>\r\n<body>\r\n\
         <h1>Index of {title}</h1><hr><pre><a href=\"../\">../</a>\r\n"
    );
    for entry in &entries {
        line(entry, &mut out);
    }
    out.push_str("</pre><hr></body>\r\n</html>\r\n");
    Ok(out.into_bytes())
}

fn line(entry: &Entry, out: &mut String) {
    let slash = if entry.is_folder { "/" } else { "" };
    let mut link = String::from_utf8_lossy(&escaped(&entry.name)).replace('\'', "%27");
    if link.contains(':') {
        // Else it would be taken for a scheme.
        link.insert_str(0, "./");
    }
    let name = String::from_utf8_lossy(&entry.name);
    let wide = name.chars().count() + slash.len();
    let (shown, fill) = if wide > NAME_MAX {
        let short: String = name.chars().take(NAME_MAX - 3).collect();
        (format!("{}..&gt;", text(short.as_bytes())), 0)
    } else {
        (format!("{}{slash}", text(name.as_bytes())), NAME_MAX - wide)
    };
    let size = if entry.is_folder {
        "-".to_owned()
    } else {
        entry.there.len().to_string()
    };
    let time = minute(u64::try_from(entry.there.mtime()).unwrap_or(0));
    out.push_str(&format!(
        "<a href=\"{}{slash}\">{shown}</a>{:fill$} {time} {size:>19}\r\n",
        text(link.as_bytes()),
        ""
    ));
}

/// `14-Nov-2023 22:13`.
fn minute(seconds: u64) -> String {
    let date = http_date(seconds);
    let part = |from: usize, to: usize| {
        String::from_utf8_lossy(date.get(from..to).unwrap_or_default()).into_owned()
    };
    format!(
        "{}-{}-{} {}",
        part(5, 7),
        part(8, 11),
        part(12, 16),
        part(17, 22)
    )
}

/// Bytes as text of a page.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
