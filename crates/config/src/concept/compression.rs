//! `compression`: bodies coded for clients that say they take it.

use super::overridable;
use crate::value::{RegexText, choices};

/// Media types of texts, which become a quarter or less.
const TEXTS: [&str; 4] = [
    "text/*",
    "application/javascript",
    "application/json",
    "image/svg+xml",
];

overridable! {
    /// Bodies of responses coded for clients that say they take it (`Accept-Encoding`). What has a coding
    /// already, is a part of something, says `no-transform` or answers HEAD stays as it is. An `ETag`
    /// becomes a weak one.
    Compression, CompressionOverrides, "compression";

    /// The codings, the first of which is taken where a client likes several as well; `[]` = none.
    algorithms: Vec<CodingName> = Vec::new(), example = Some("[\"zstd\", \"br\", \"gzip\"]");
    /// Media types, without their parameters; `*` at the end stands for any more, alone also for
    /// responses without a type.
    types: Vec<String> = TEXTS.map(str::to_owned).to_vec(), example = Some("[\"text/*\"]");
    /// Bodies that are known to be smaller stay as they are.
    min_bytes: u64 = 1_024, bytes = true;
    /// How hard gzip and deflate try.
    gzip_level: u32 = 5, range = Some((1.0, 9.0));
    /// How hard br tries.
    brotli_level: u32 = 4, range = Some((0.0, 11.0));
    /// How hard zstd tries.
    zstd_level: u32 = 3, range = Some((1.0, 19.0));
    /// Statuses of responses that are coded.
    statuses: Vec<u16> = vec![200, 201, 202, 203, 403, 404], range = Some((200.0, 599.0));
    /// Whether caches on the way are told that the coding depends on the client
    /// (`Vary: Accept-Encoding`).
    vary: bool = true;
    /// Whether responses to HEAD say of coding what those to GET would (RFC 9110 section 9.3.2).
    heads: bool = true, example = Some("false");
    /// Whether clients that speak HTTP/1.0 get codings too.
    http10: bool = false, example = Some("true");
    /// Responses that are coded although the request came by a proxy (`Via`).
    proxied: Vec<Proxied> = vec![Proxied::Any], example = Some("[\"expired\", \"no-store\"]");
    /// Clients that get no coding, by their `User-Agent`.
    except_agents: Vec<RegexText> = Vec::new(), example = Some("[\"MSIE [4-6]\\\\.\"]");
    /// Whether servers are not told which codings the client takes, so that they leave the work here.
    offload: bool = false, example = Some("true");
    /// Whether gzip is taken off for clients that do not take it.
    unpack: bool = false, example = Some("true");
}

choices! {
    /// A coding of bodies.
    CodingName {
        /// zstd (RFC 8878).
        Zstd = "zstd",
        /// Brotli (RFC 7932).
        Brotli = "br",
        /// gzip (RFC 1952).
        Gzip = "gzip",
        /// zlib (RFC 1950), which HTTP calls deflate.
        Deflate = "deflate",
    }
}

choices! {
    /// Which responses are coded although the request came by a proxy.
    Proxied {
        /// All of them.
        Any = "any",
        /// Those whose `Expires` keeps caches from storing them.
        Expired = "expired",
        /// Those whose `Cache-Control` says `no-cache`.
        NoCache = "no-cache",
        /// Those whose `Cache-Control` says `no-store`.
        NoStore = "no-store",
        /// Those whose `Cache-Control` says `private`.
        Private = "private",
        /// Those without `Last-Modified`.
        NoLastModified = "no_last_modified",
        /// Those without `ETag`.
        NoEtag = "no_etag",
        /// Those to requests with `Authorization`.
        Auth = "auth",
    }
}
