//! Which file answers.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clearway_http::coding;
use clearway_rules::{Elsewhere, OnDisk, Wanted, escaped};

use super::{Body, Found, listing, media_type};

/// What there is.
pub(crate) enum Look {
    /// A file.
    Found(Box<Found>),
    /// The folder's path lacks its slash: this is where it is.
    Folder(Vec<u8>),
    /// A route is to be looked for again.
    Elsewhere(Elsewhere),
    /// Nothing that could be sent.
    Status(u16),
}

/// Looks for what a request wants.
///
/// `accept` is what the client says of codings.
pub(crate) fn look(wanted: &Wanted, accept: &[u8]) -> Look {
    if wanted.path.contains(&0) {
        return Look::Status(400);
    }
    if wanted.tries.is_empty() {
        let looked = serve(wanted, &wanted.path, accept);
        return match (&wanted.otherwise, looked) {
            (Some(otherwise), Look::Status(404)) => elsewhere(otherwise),
            (_, looked) => looked,
        };
    }
    for tried in &wanted.tries {
        let Some(place) = wanted.place(&tried.path) else {
            continue;
        };
        let there = std::fs::metadata(as_path(&place)).ok();
        if there.is_some_and(|there| there.is_dir() == tried.is_folder) {
            return serve(wanted, &tried.path, accept);
        }
    }
    match &wanted.otherwise {
        Some(otherwise) => elsewhere(otherwise),
        None => Look::Status(404),
    }
}

fn elsewhere(otherwise: &Elsewhere) -> Look {
    match otherwise {
        Elsewhere::Status(status) => Look::Status(*status),
        other @ (Elsewhere::Path(_) | Elsewhere::Named(_)) => Look::Elsewhere(other.clone()),
    }
}

/// The file at a path, or what answers for the folder there.
fn serve(wanted: &Wanted, path: &[u8], accept: &[u8]) -> Look {
    let Some(place) = wanted.place(path) else {
        return Look::Status(404);
    };
    if path.ends_with(b"/") && !wanted.is_file {
        return folder(wanted, (path, &place), accept);
    }
    let there = match std::fs::metadata(as_path(&place)) {
        Ok(there) => there,
        Err(error) => return Look::Status(status_of(&error)),
    };
    if there.is_dir() {
        let mut to = escaped(path);
        to.push(b'/');
        return Look::Folder(to);
    }
    // What blocks when it is opened, or has no end, is nothing for clients.
    if !there.is_file() {
        return Look::Status(404);
    }
    match open_best(wanted, &place, accept) {
        Ok(found) => Look::Found(Box::new(found)),
        Err(error) => Look::Status(status_of(&error)),
    }
}

fn folder(wanted: &Wanted, (path, place): (&[u8], &[u8]), accept: &[u8]) -> Look {
    for index in &wanted.settings.index {
        if index.starts_with('/') {
            return Look::Elsewhere(Elsewhere::Path(with_query(wanted, index.as_bytes())));
        }
        let file = [place, index.as_bytes()].concat();
        match std::fs::metadata(as_path(&file)) {
            Ok(there) if there.is_file() => {}
            Ok(_) => continue,
            Err(error) if status_of(&error) == 404 => continue,
            Err(error) => return Look::Status(status_of(&error)),
        }
        if wanted.settings.reroutes_index {
            let path = escaped(&[path, index.as_bytes()].concat());
            return Look::Elsewhere(Elsewhere::Path(with_query(wanted, &path)));
        }
        return match open_best(wanted, &file, accept) {
            Ok(found) => Look::Found(Box::new(found)),
            Err(error) => Look::Status(status_of(&error)),
        };
    }
    match std::fs::metadata(as_path(place)) {
        Ok(there) if !there.is_dir() => return Look::Status(404),
        Ok(_) => {}
        Err(error) => return Look::Status(status_of(&error)),
    }
    if let Some(path) = &wanted.without_index {
        return Look::Elsewhere(Elsewhere::Path(path.clone()));
    }
    if !wanted.settings.autoindex {
        return Look::Status(403);
    }
    match listing::page(as_path(place), path) {
        Ok(text) => Look::Found(Box::new(Found {
            settings: wanted.settings.clone(),
            body: Body::Text(text),
            media_type: "text/html".to_owned(),
            modified: None,
            etag: None,
            coding: None,
            varies: false,
        })),
        Err(error) => Look::Status(status_of(&error)),
    }
}

fn with_query(wanted: &Wanted, path: &[u8]) -> Vec<u8> {
    match &wanted.query {
        Some(query) => [path, b"?", query].concat(),
        None => path.to_vec(),
    }
}

/// The file, or one beside it with a coding that the client takes.
fn open_best(wanted: &Wanted, place: &[u8], accept: &[u8]) -> io::Result<Found> {
    let settings = &wanted.settings;
    let mut varies = false;
    for (coding, end) in &settings.precompressed {
        let takes = coding::quality(accept, coding).is_some_and(|quality| quality > 0);
        let takes = takes || settings.precompressed_always;
        if !takes && !settings.precompressed_vary {
            continue;
        }
        let Ok(beside) = open(wanted, &[place, end.as_bytes()].concat()) else {
            continue;
        };
        varies |= settings.precompressed_vary && !settings.precompressed_always;
        if takes {
            return Ok(Found {
                media_type: media_type(settings, place),
                coding: Some(coding),
                varies,
                ..beside
            });
        }
    }
    let mut found = open(wanted, place)?;
    found.varies = varies;
    Ok(found)
}

fn open(wanted: &Wanted, place: &[u8]) -> io::Result<Found> {
    let file = File::open(as_path(place))?;
    // What counts is what was opened, not what lay there before.
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let modified = u64::try_from(there.mtime()).ok();
    Ok(Found {
        settings: wanted.settings.clone(),
        media_type: media_type(&wanted.settings, place),
        modified,
        etag: wanted.settings.etag.then(|| etag(&there)),
        body: Body::File(file, there.len()),
        coding: None,
        varies: false,
    })
}

/// Time and size: what changes one of them without the other is rare enough.
fn etag(there: &Metadata) -> String {
    format!("\"{:x}-{:x}\"", there.mtime(), there.len())
}

/// What lies at a path.
pub(crate) fn on_disk(path: &[u8]) -> Option<OnDisk> {
    if path.contains(&0) {
        return None;
    }
    let there = std::fs::metadata(as_path(path)).ok()?;
    let kind = match there.file_type() {
        kind if kind.is_file() => "file",
        kind if kind.is_dir() => "folder",
        _ => "other",
    };
    Some(OnDisk {
        kind,
        executable: there.mode() & 0o100 != 0,
    })
}

fn as_path(place: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(place))
}

fn status_of(error: &io::Error) -> u16 {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::EINVAL | libc::ELOOP) => 404,
        Some(libc::EACCES | libc::EPERM) => 403,
        Some(libc::EMFILE | libc::ENFILE) => 503,
        Some(_) => 500,
        // What was found out here.
        None => 404,
    }
}
