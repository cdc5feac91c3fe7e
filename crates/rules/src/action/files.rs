//! Files: which one a request is to be answered with.

use std::sync::Arc;

use clearway_http::uri;

use crate::ast::{Piece, Template};
use crate::compile::Compiler;
use crate::fetch::{Context, Text};
use crate::files::{Elsewhere, FileSettings, Files, Otherwise, Try, Wanted};
use crate::scratch::Scratch;
use crate::view::{Flow, LocalReply, View};

/// An answer with a file.
#[derive(Debug)]
pub(crate) struct Serve {
    root: Text,
    is_file: bool,
    strip: Vec<u8>,
    /// Paths, and whether a slash behind it makes it a folder.
    tries: Vec<(Text, bool)>,
    otherwise: Option<Then>,
    without_index: Option<Text>,
    settings: Arc<FileSettings>,
}

/// What follows when there is none.
#[derive(Debug)]
enum Then {
    Status(u16),
    Path(Text),
    Named(Vec<u8>),
}

impl Serve {
    /// # Errors
    /// Values that are not known, a status that is no error's.
    pub(super) fn new(files: &Files, compiler: &mut Compiler<'_>) -> Result<Self, String> {
        let text = |template: &Template, compiler: &mut Compiler<'_>| compiler.text(template);
        let otherwise = match &files.otherwise {
            None => None,
            Some(Otherwise::Status(status)) if (200..600).contains(status) => {
                Some(Then::Status(*status))
            }
            Some(Otherwise::Status(status)) => return Err(format!("{status} is no status")),
            Some(Otherwise::Path(path)) => Some(Then::Path(text(path, compiler)?)),
            Some(Otherwise::Named(name)) => Some(Then::Named(name.as_bytes().to_vec())),
        };
        let tries: Result<_, String> = files.tries.iter().map(|t| tried(t, compiler)).collect();
        let root = text(&files.root, compiler)?;
        if root.constant() == Some(b"") {
            return Err("files lie in a folder or are one: it lacks a name".to_owned());
        }
        Ok(Self {
            root,
            is_file: files.is_file,
            strip: files.strip.as_bytes().to_vec(),
            tries: tries?,
            otherwise,
            without_index: match &files.without_index {
                Some(path) => Some(text(path, compiler)?),
                None => None,
            },
            settings: Arc::clone(&files.settings),
        })
    }

    /// What a request asks for.
    pub(super) fn to(&self, view: &View<'_>, scratch: &Scratch) -> Flow {
        let at = Context::for_templates(view, scratch);
        let written = |text: &Text| {
            let mut out = Vec::new();
            text.write_decoded(&at, &mut out);
            out
        };
        let root = written(&self.root);
        if climbs(&root, self.root.first_literal()) {
            return Flow::Reply(LocalReply::rewrite_invalid());
        }
        let mut path = Vec::new();
        uri::decode(scratch.path(view), &mut path);
        let otherwise = self.otherwise.as_ref().map(|then| match then {
            Then::Status(status) => Elsewhere::Status(*status),
            Then::Named(name) => Elsewhere::Named(name.clone()),
            Then::Path(text) => {
                let mut out = Vec::new();
                text.write(&at, &mut out);
                Elsewhere::Path(out)
            }
        });
        Flow::Files(Box::new(Wanted {
            settings: Arc::clone(&self.settings),
            root,
            is_file: self.is_file,
            strip: self.strip.clone(),
            path,
            query: scratch.query(view).map(<[u8]>::to_vec),
            tries: self
                .tries
                .iter()
                .map(|(text, is_folder)| Try {
                    path: written(text),
                    is_folder: *is_folder,
                })
                .collect(),
            otherwise,
            without_index: self.without_index.as_ref().map(|text| {
                let mut out = Vec::new();
                text.write(&at, &mut out);
                out
            }),
        }))
    }
}

/// A path to try. The slash at its end is what is written, not what a value of the request ends with.
fn tried(template: &Template, compiler: &mut Compiler<'_>) -> Result<(Text, bool), String> {
    let mut pieces = template.pieces().to_vec();
    let mut is_folder = false;
    if let Some(Piece::Text(text)) = pieces.last_mut()
        && let Some(rest) = text.strip_suffix('/')
    {
        *text = rest.to_owned();
        is_folder = true;
    }
    let text = compiler.text(&Template::new(pieces))?;
    Ok((text, is_folder))
}

/// Whether a folder or file that values of the request stand in leads upwards, behind what is
/// written before the first of them.
fn climbs(root: &[u8], written: Option<&[u8]>) -> bool {
    let end = written.map_or(0, <[u8]>::len);
    let begin = root
        .get(..end)
        .and_then(|before| before.iter().rposition(|&byte| byte == b'/'));
    let rest = root.get(begin.unwrap_or(0)..).unwrap_or_default();
    end < root.len() && rest.split(|&byte| byte == b'/').any(|part| part == b"..")
}
