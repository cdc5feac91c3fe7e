//! `files`: files of the host that answer requests.

use std::path::{Path, PathBuf};

use super::{concept, table_value};
use crate::value::{HeaderValue, Pairs, TemplateText, Text, Token, choices};

concept! {
    /// Files that answer GET and HEAD, with conditions, ranges, `ETag` and `Last-Modified`. Paths are
    /// decoded and never lead out of the root; links lead where they lead.
    Files, "files";

    /// The folder that paths are looked for in; a relative one lies beside the configuration.
    root: Option<TemplateText> = None, example = Some("\"/srv/www\"");
    /// The file itself, in place of `root`.
    file: Option<TemplateText> = None, example = Some("\"/srv/robots.txt\"");
    /// What is taken off the begin of paths, at a boundary of segments, before they are looked for.
    strip: String = String::new(), example = Some("\"/static/\"");
    /// Files that answer for a folder, the first that is there; one that begins with a slash is a path that a
    /// route is looked for with.
    index: Vec<String> = vec!["index.html".to_owned()], example = Some("[\"index.html\", \"index.htm\"]");
    /// A path that a route is looked for with, for a folder that has no file of `index`; without it such a
    /// folder is listed or answered with 403.
    without_index: Option<TemplateText> = None, example = Some("\"/index.php${target}\"");
    /// Paths to look for, the first that is there, in place of the request's own. One that ends with a
    /// slash is a folder.
    tries: Vec<TemplateText> = Vec::new(), key = "try", example = Some("[\"${path}\", \"${path}/\"]");
    /// What happens when there is none: a status such as `=404`, a path that a route is looked for with, or
    /// with `@` a name: a route is looked for with the variable `goto` set to it.
    otherwise: Option<TemplateText> = None, example = Some("\"/index.html\"");
    /// Whether folders without an index are listed; else they are answered with 403.
    autoindex: bool = false, example = Some("true");
    /// Media types by extension, before those that are known anyway.
    types: Pairs<Token, HeaderValue> = Pairs::default(), example = Some("{ wasm = \"application/wasm\" }");
    /// Whether a table of common extensions is looked at.
    common_types: bool = true, example = Some("false");
    /// The media type of files whose extension is not known; none when empty.
    default_type: HeaderValue = HeaderValue::parse("application/octet-stream").unwrap_or_default(),
        example = Some("\"text/plain\"");
    /// Whether files have an `ETag`.
    etag: bool = true, example = Some("false");
    /// When `If-Modified-Since` means that the client has the file.
    modified_since: ModifiedSince = ModifiedSince::Before, example = Some("\"exact\"");
    /// How many ranges one request may ask for; 0 = ranges are not known.
    ranges_max: u16 = 32, example = Some("1");
    /// Files with a coding that lie beside a file and are sent to clients that take it, the first that is
    /// there: `.zst`, `.br`, `.gz`.
    precompressed: Vec<Precompressed> = Vec::new(), example = Some("[\"br\", \"gzip\"]");
    /// Whether caches are told that such a file depends on the client (`Vary`).
    precompressed_vary: bool = true;
    /// Whether clients get it that do not take it.
    precompressed_always: bool = false, example = Some("true");
    /// Whether a route is looked for again with the path of the index.
    reroute_index: bool = false, example = Some("true");
    /// Whether the redirection to a folder's path with its slash names scheme, host and
    /// port.
    absolute_redirects: bool = false, example = Some("true");
}
table_value!(Files);

choices! {
    /// A coding of files that lie beside others.
    Precompressed {
        /// zstd, `.zst`.
        Zstd = "zstd",
        /// Brotli, `.br`.
        Brotli = "br",
        /// gzip, `.gz`.
        Gzip = "gzip",
    }
}

choices! {
    /// When `If-Modified-Since` means that the client has the file.
    ModifiedSince {
        /// The file was not modified after it.
        Before = "before",
        /// The file was modified at exactly that time.
        Exact = "exact",
        /// Never.
        Off = "off",
    }
}

impl Files {
    /// The folder or file as a template, from where the process runs.
    pub(crate) fn place(&self) -> String {
        let text = self.file.as_ref().or(self.root.as_ref());
        let text = text.map(TemplateText::as_str).unwrap_or_default();
        if text.is_empty() || text.starts_with('/') || text.starts_with('$') {
            return text.to_owned();
        }
        let origin = self.origin();
        let beside = Path::new(&*origin.file).parent().map(Path::to_owned);
        let beside: PathBuf = beside.unwrap_or_default();
        let folder = beside.display().to_string().replace('$', "$$");
        Path::new(&folder).join(text).display().to_string()
    }
}
