//! `errors`: pages in place of the short texts of error replies.

use std::path::{Path, PathBuf};

use super::{concept, table_value};
use crate::value::{BodyText, ErrorKey, HeaderName, HeaderValue, Pairs, TemplateText, Text};

/// Pages by status or fault.
pub type ErrorPages = Pairs<ErrorKey, ErrorPage>;

concept! {
    /// A page that replaces the short text of an error reply. `errors` is a table from a status
    /// (`"503"`) or the code of a fault (`all_servers_down`, which goes before its status) to one.
    ErrorPage, "error page";

    /// The text.
    body: Option<String> = None, example = Some("\"Back in a minute.\"");
    /// The file with the text; a relative path is looked for beside the configuration.
    file: Option<PathBuf> = None, example = Some("\"pages/503.html\"");
    /// The text with values of the request, in place of `body`.
    template: Option<BodyText> = None, example = Some("\"No ${path} here.\"");
    /// Further headers.
    headers: Pairs<HeaderName, TemplateText> = Pairs::default(),
        example = Some("{ retry-after = \"60\" }");
    /// Media type of the text.
    content_type: HeaderValue = HeaderValue::parse("text/plain; charset=utf-8").unwrap_or_default(),
        example = Some("\"text/html; charset=utf-8\"");
    /// The status to send in place of the usual one.
    status: Option<u16> = None, range = Some((200.0, 599.0)), example = Some("503");
    /// Whether the connection is ended without an answer.
    drop: bool = false, example = Some("true");
}
table_value!(ErrorPage);

impl ErrorPage {
    /// The file with the text, from where the process runs.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        let file = self.file.as_deref()?;
        let beside = Path::new(&*self.origin().file).parent();
        Some(beside.map_or_else(|| file.to_owned(), |folder| folder.join(file)))
    }

    /// The text, from the file if there is one; `None` where the usual short text stays.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn content(&self) -> std::io::Result<Option<Vec<u8>>> {
        match self.path() {
            Some(path) => std::fs::read(path).map(Some),
            None => Ok(self.body.clone().map(String::into_bytes)),
        }
    }
}
