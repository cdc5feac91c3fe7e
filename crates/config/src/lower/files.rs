//! Files as the rule engine wants them.

use std::sync::Arc;

use clearway_rules::ast;

use crate::model::{Files, ModifiedSince, Precompressed, TemplateText};

impl Files {
    pub(crate) fn lowered(&self) -> ast::Action {
        let template = |text: &str| {
            ast::Template::parse(text).unwrap_or_else(|_| ast::Template::literal(text))
        };
        let otherwise = self.otherwise.as_ref().map(|text| {
            let text = text.as_str();
            match text.strip_prefix('=').map(str::parse) {
                Some(Ok(status)) => ast::Otherwise::Status(status),
                // A status that is none is refused where rules are compiled.
                Some(Err(_)) => ast::Otherwise::Status(0),
                None if text.starts_with('@') => ast::Otherwise::Named(text.to_owned()),
                None => ast::Otherwise::Path(template(text)),
            }
        });
        let types = self.types.iter();
        let types = types.map(|(extension, media_type)| {
            let extension = extension.as_str().to_ascii_lowercase();
            (extension, media_type.as_str().to_owned())
        });
        let settings = ast::FileSettings {
            index: self.index.clone(),
            reroutes_index: self.reroute_index,
            autoindex: self.autoindex,
            types: types.collect(),
            common_types: self.common_types,
            default_type: self.default_type.as_str().to_owned(),
            etag: self.etag,
            modified_since: match self.modified_since {
                ModifiedSince::Before => ast::ModifiedSince::Before,
                ModifiedSince::Exact => ast::ModifiedSince::Exact,
                ModifiedSince::Off => ast::ModifiedSince::Off,
            },
            ranges_max: usize::from(self.ranges_max),
            precompressed: self
                .precompressed
                .iter()
                .map(|coding| match coding {
                    Precompressed::Zstd => ("zstd", ".zst"),
                    Precompressed::Brotli => ("br", ".br"),
                    Precompressed::Gzip => ("gzip", ".gz"),
                })
                .collect(),
            precompressed_vary: self.precompressed_vary,
            precompressed_always: self.precompressed_always,
            absolute_redirects: self.absolute_redirects,
        };
        ast::Action::Files(Box::new(ast::Files {
            root: template(&self.place()),
            is_file: self.file.is_some(),
            strip: self.strip.clone(),
            tries: self
                .tries
                .iter()
                .map(TemplateText::as_str)
                .map(template)
                .collect(),
            otherwise,
            without_index: self
                .without_index
                .as_ref()
                .map(|text| template(text.as_str())),
            settings: Arc::new(settings),
        }))
    }
}
