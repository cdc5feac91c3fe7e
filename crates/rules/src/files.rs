//! Which file answers: what is asked of whoever can look at the disk, and what follows when it finds nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use clearway_base::intern::Name;
use clearway_http::Edits;

use crate::action::path;
use crate::ast::Template;
use crate::scratch::Scratch;

/// Files that answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// The folder, or the file itself where `is_file`.
    pub root: Template,
    /// Whether `root` is the file itself.
    pub is_file: bool,
    /// What is taken off the begin of paths before they are looked for below the root.
    pub strip: String,
    /// Paths to try, in order, in place of the request's own; one with a slash at its end is a
    /// folder.
    pub tries: Vec<Template>,
    /// What happens when none of those in `tries` is there.
    pub otherwise: Option<Otherwise>,
    /// A path that a route is looked for with for a folder that has no index.
    pub without_index: Option<Template>,
    /// The rest.
    pub settings: Arc<FileSettings>,
}

/// What happens when there is no file.
#[derive(Clone, Debug, PartialEq)]
pub enum Otherwise {
    /// This status.
    Status(u16),
    /// A route is looked for again, with this path and query.
    Path(Template),
    /// A route is looked for again, with the variable `goto` set to this.
    Named(String),
}

/// How files are served, whichever they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent settings, read by name"
)]
pub struct FileSettings {
    /// Files that answer for a folder; one that begins with a slash is a path that a route is looked
    /// for with.
    pub index: Vec<String>,
    /// Whether a route is looked for again with the path of the index.
    pub reroutes_index: bool,
    /// Whether folders without an index are listed.
    pub autoindex: bool,
    /// Media types by extensions in lower case.
    pub types: BTreeMap<String, String>,
    /// Whether extensions that do not stand in `types` are looked up in a table of common ones.
    pub common_types: bool,
    /// The media type of all others; none when empty.
    pub default_type: String,
    /// Whether files have an `ETag`.
    pub etag: bool,
    /// What becomes of `If-Modified-Since`.
    pub modified_since: ModifiedSince,
    /// How many ranges one request may ask for; 0 = ranges are not known.
    pub ranges_max: usize,
    /// Codings of files that lie beside others, with what their names end with.
    pub precompressed: Vec<(&'static str, &'static str)>,
    /// Whether caches are told that such a file depends on the client.
    pub precompressed_vary: bool,
    /// Whether clients get it that do not take it.
    pub precompressed_always: bool,
    /// Whether redirections to folders name scheme and host.
    pub absolute_redirects: bool,
}

/// What becomes of `If-Modified-Since`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModifiedSince {
    /// The file was not modified after it (RFC 9110 section 13.1.3).
    #[default]
    Before,
    /// The file was modified at exactly that time.
    Exact,
    /// It is not looked at.
    Off,
}

/// The file a request is answered with, as rules know it: nothing of it was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How it is served.
    pub settings: Arc<FileSettings>,
    /// The folder, or the file itself where `is_file`.
    pub root: Vec<u8>,
    /// Whether `root` is the file itself.
    pub is_file: bool,
    /// What is taken off the begin of paths.
    pub strip: Vec<u8>,
    /// The path of the request, decoded.
    pub path: Vec<u8>,
    /// The query, without `?`.
    pub query: Option<Vec<u8>>,
    /// Paths to try in place of it.
    pub tries: Vec<Try>,
    /// Where to look when there is none.
    pub otherwise: Option<Elsewhere>,
    /// The path to look for a route with for a folder that has no index.
    pub without_index: Option<Vec<u8>>,
}

/// A path to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// It, decoded, without the slash that makes it a folder.
    pub path: Vec<u8>,
    /// Whether it has to be a folder; else it must not be one.
    pub is_folder: bool,
}

/// What happens when there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// This status.
    Status(u16),
    /// A route is looked for again, with this path and query.
    Path(Vec<u8>),
    /// A route is looked for again, with the variable `goto` set to this.
    Named(Vec<u8>),
}

impl Wanted {
    /// Where a path lies; `None` when it would lead out of the root, or is no path of a file system.
    #[must_use]
    pub fn place(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut place = self.root.clone();
        if !self.is_file {
            let ends = |rest: &&[u8]| {
                rest.is_empty() || rest.starts_with(b"/") || self.strip.ends_with(b"/")
            };
            let below = path.strip_prefix(self.strip.as_slice()).filter(ends);
            let below = below.unwrap_or(path);
            let climbs = |part: &[u8]| part == b"..";
            if below.split(|&byte| byte == b'/').any(climbs) {
                return None;
            }
            if !below.is_empty() && !below.starts_with(b"/") && !place.ends_with(b"/") {
                place.push(b'/');
            }
            let below = match place.last() {
                Some(b'/') => below.strip_prefix(b"/").unwrap_or(below),
                Some(_) | None => below,
            };
            place.extend_from_slice(below);
        }
        (!place.contains(&0)).then_some(place)
    }
}

/// Text of a path as it stands in a target.
#[must_use]
pub fn escaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(byte);
        } else {
            let digit = |value: u8| *b"0123456789ABCDEF".get(usize::from(value)).unwrap_or(&b'0');
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

impl Scratch {
    /// Notes where a request goes that is to be routed again; `false` when HTTP does not allow it.
    pub fn send_elsewhere(&mut self, to: &Elsewhere, edits: &mut Edits) -> bool {
        self.set_rerouted();
        match to {
            Elsewhere::Status(_) => false,
            Elsewhere::Path(target) => {
                // Where it was to go before counts no longer.
                if self.variable(Name::new("goto")).is_some() {
                    self.set_variable(Name::new("goto"), b"");
                }
                path::take_target(self, target, edits).is_ok()
            }
            Elsewhere::Named(name) => {
                self.set_variable(Name::new("goto"), name);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(root: &str, strip: &str) -> Wanted {
        Wanted {
            settings: Arc::default(),
            root: root.into(),
            is_file: false,
            strip: strip.into(),
            path: Vec::new(),
            query: None,
            tries: Vec::new(),
            otherwise: None,
            without_index: None,
        }
    }

    #[test]
    fn paths_stay_below_the_root() {
        for (root, strip, path, place) in [
            ("/srv", "", "/a.txt", Some("/srv/a.txt")),
            ("/srv/", "", "/a/b", Some("/srv/a/b")),
            ("/srv", "", "/", Some("/srv/")),
            ("/srv/", "/x/", "/x/a", Some("/srv/a")),
            ("/srv", "/x", "/x/a", Some("/srv/a")),
            // What is taken off ends with a segment.
            ("/srv", "/x", "/xy", Some("/srv/xy")),
            ("/srv/", "/x", "/x../etc", Some("/srv/x../etc")),
            ("/srv/f.txt", "/one", "/one", Some("/srv/f.txt")),
            ("/srv", "", "/../etc/passwd", None),
            ("/srv", "/x/", "/x/../etc", None),
            ("/srv", "", "/a/..", None),
            ("/srv", "", "/a\0b", None),
            ("/srv", "", "/..a/b..", Some("/srv/..a/b..")),
        ] {
            let found = wanted(root, strip).place(path.as_bytes());
            assert_eq!(found.as_deref(), place.map(str::as_bytes), "{root} {path}");
        }
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escaped(b"/a b/\xc3\xa4%"), b"/a%20b/%C3%A4%25");
        assert_eq!(escaped(b"/~x.y-z_"), b"/~x.y-z_");
    }
}
