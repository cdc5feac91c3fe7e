//! Media types by extension.

use clearway_rules::FileSettings;

/// The media type of a file by its name; empty when it is to have none.
pub(crate) fn media_type(settings: &FileSettings, place: &[u8]) -> String {
    let name = place.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let dot = name.iter().rposition(|&b| b == b'.');
    let extension = dot.and_then(|dot| std::str::from_utf8(name.get(dot + 1..)?).ok());
    let Some(extension) = extension.map(str::to_ascii_lowercase) else {
        return settings.default_type.clone();
    };
    if let Some(own) = settings.types.get(&extension) {
        return own.clone();
    }
    let common = COMMON.iter().filter(|_| settings.common_types);
    let mut common = common.filter(|(_, all)| all.split(' ').any(|one| one == extension));
    match common.next() {
        Some((media_type, _)) => (*media_type).to_owned(),
        None => settings.default_type.clone(),
    }
}

/// What browsers and feed readers ask for.
const COMMON: &[(&str, &str)] = &[
    ("text/html; charset=utf-8", "html htm shtml"),
    ("text/css; charset=utf-8", "css"),
    ("text/javascript; charset=utf-8", "js mjs"),
    ("text/plain; charset=utf-8", "txt text log conf ini"),
    ("text/markdown; charset=utf-8", "md markdown"),
    ("text/csv; charset=utf-8", "csv"),
    ("text/calendar; charset=utf-8", "ics"),
    ("text/vcard; charset=utf-8", "vcf"),
    ("text/vtt; charset=utf-8", "vtt"),
    ("text/xml; charset=utf-8", "xml xsl xsd"),
    ("application/json", "json map"),
    ("application/ld+json", "jsonld"),
    ("application/manifest+json", "webmanifest"),
    ("application/geo+json", "geojson"),
    ("application/yaml", "yaml yml"),
    ("application/toml", "toml"),
    ("application/atom+xml", "atom"),
    ("application/rss+xml", "rss"),
    ("application/xhtml+xml", "xhtml"),
    ("application/wasm", "wasm"),
    ("application/pdf", "pdf"),
    ("application/rtf", "rtf"),
    ("application/epub+zip", "epub"),
    ("application/zip", "zip"),
    ("application/gzip", "gz tgz"),
    ("application/x-bzip2", "bz2"),
    ("application/x-xz", "xz"),
    ("application/zstd", "zst"),
    ("application/x-tar", "tar"),
    ("application/x-7z-compressed", "7z"),
    ("application/vnd.rar", "rar"),
    ("application/java-archive", "jar war ear"),
    ("application/vnd.android.package-archive", "apk"),
    ("application/vnd.debian.binary-package", "deb"),
    ("application/x-rpm", "rpm"),
    ("application/msword", "doc"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.ms-powerpoint", "ppt"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "pptx",
    ),
    ("application/vnd.oasis.opendocument.text", "odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("application/vnd.oasis.opendocument.presentation", "odp"),
    ("application/vnd.apple.mpegurl", "m3u8"),
    ("application/dash+xml", "mpd"),
    ("application/x-x509-ca-cert", "crt pem der"),
    ("image/png", "png"),
    ("image/jpeg", "jpg jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("image/svg+xml", "svg svgz"),
    ("image/x-icon", "ico"),
    ("image/bmp", "bmp"),
    ("image/tiff", "tif tiff"),
    ("image/apng", "apng"),
    ("image/heic", "heic"),
    ("image/jxl", "jxl"),
    ("font/woff", "woff"),
    ("font/woff2", "woff2"),
    ("font/ttf", "ttf"),
    ("font/otf", "otf"),
    ("font/collection", "ttc"),
    ("application/vnd.ms-fontobject", "eot"),
    ("audio/mpeg", "mp3"),
    ("audio/mp4", "m4a"),
    ("audio/ogg", "ogg oga opus"),
    ("audio/wav", "wav"),
    ("audio/flac", "flac"),
    ("audio/aac", "aac"),
    ("audio/midi", "mid midi"),
    ("audio/webm", "weba"),
    ("video/mp4", "mp4 m4v"),
    ("video/mpeg", "mpeg mpg"),
    ("video/webm", "webm"),
    ("video/ogg", "ogv"),
    ("video/quicktime", "mov"),
    ("video/x-msvideo", "avi"),
    ("video/x-matroska", "mkv"),
    ("video/mp2t", "ts"),
    ("video/3gpp", "3gp"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_the_extension() {
        let mut settings = FileSettings {
            common_types: true,
            default_type: "application/octet-stream".to_owned(),
            ..FileSettings::default()
        };
        settings
            .types
            .insert("css".to_owned(), "text/css".to_owned());
        for (place, wanted) in [
            ("/srv/a.html", "text/html; charset=utf-8"),
            ("/srv/a.HTML", "text/html; charset=utf-8"),
            ("/srv/a.css", "text/css"),
            ("/srv/a.tar.gz", "application/gzip"),
            ("/srv/a.b/none", "application/octet-stream"),
            ("/srv/a.unknown", "application/octet-stream"),
            ("/srv/a.", "application/octet-stream"),
        ] {
            assert_eq!(media_type(&settings, place.as_bytes()), wanted, "{place}");
        }
        settings.common_types = false;
        assert_eq!(media_type(&settings, b"a.png"), "application/octet-stream");
    }

    #[test]
    fn every_extension_stands_once() {
        let mut all: Vec<&str> = COMMON.iter().flat_map(|(_, all)| all.split(' ')).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
