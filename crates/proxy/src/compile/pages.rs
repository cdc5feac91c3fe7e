//! Pages of errors.

use clearway_base::hash::Map;
use clearway_config::model::{ErrorKey, ErrorPages as PagesConfig};
use clearway_outcome::FaultKind;
use clearway_rules::ast::Definitions;

use crate::plan::{ErrorPage, ErrorPages};

/// Pages of several places, the more special ones last.
///
/// # Errors
/// A file that cannot be read, a value or header that cannot stand in a page.
pub(super) fn compile(lists: &[&PagesConfig], named: &Definitions) -> Result<ErrorPages, String> {
    let mut by_fault: Map<FaultKind, ErrorPage> = Map::default();
    let mut by_status: Map<u16, ErrorPage> = Map::default();
    for (key, page) in lists.iter().flat_map(|pages| &pages.0) {
        let body = page.content().map_err(|error| {
            format!(
                "the error page {} cannot be read: {error}",
                page.path().unwrap_or_default().display()
            )
        })?;
        let page = ErrorPage {
            status: page.status,
            content_type: page.content_type.to_string(),
            body,
            dressed: page.page(named)?,
            is_template: page.template.is_some(),
            drop: page.drop,
        };
        match key {
            ErrorKey::Status(status) => by_status.insert(*status, page),
            ErrorKey::Fault(kind) => by_fault.insert(*kind, page),
        };
    }
    Ok(ErrorPages {
        by_fault,
        by_status,
    })
}
