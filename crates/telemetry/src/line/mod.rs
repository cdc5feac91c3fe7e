//! Lines of access logs as a template says them: text with `${…}` in it.
//!
//! What a Record holds is written by whoever writes the log. What it does not hold (headers, cookies,
//! variables, a connection's local address) the worker gives along with the Record when the request
//! ends, and only where a log asks for it: see [`parcel`]. [`reference`] lists the names of the former
//! and of what workers are asked for; other names are those of the rules' fetches.

mod asked;
mod fixed;
mod layout;
pub mod parcel;
mod state;
mod template;
mod value;

pub use asked::Asked;
pub use fixed::Fixed;
pub use layout::Layout;
pub use state::termination;
pub use template::{Given, Line, Template, TemplateError};
pub use value::Value;

/// One line of the reference of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueDoc {
    /// The word.
    pub spelling: &'static str,
    /// What HAProxy's `log-format` calls it; empty when it has no word for it.
    pub haproxy: &'static str,
    /// What NGINX's `log_format` calls it; empty when it has no word for it.
    pub nginx: &'static str,
    /// What it is.
    pub summary: &'static str,
}

/// The one value with an argument that only logs know.
const SENT: ValueDoc = ValueDoc {
    spelling: "sent_header:NAME",
    haproxy: "",
    nginx: "$sent_http_NAME",
    summary: " A header of the response as it was sent to the client, with everything that rules did.",
};

/// Every value that only logs know, in the order of the tables.
pub fn reference() -> impl Iterator<Item = &'static ValueDoc> {
    let tables = Value::REFERENCE.iter().chain(Asked::REFERENCE);
    tables.chain(std::iter::once(&SENT))
}

macro_rules! escapes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $write:path,)+) => {
        /// How bytes of strangers are made harmless in a line.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Escape { #[default] $($(#[doc = $doc])+ $variant,)+ }

        impl Escape {
            /// Every way.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in the configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is, as a sentence.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }

            /// Appends `bytes`, made harmless.
            pub fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
                match self { $(Self::$variant => $write(bytes, out),)+ }
            }
        }
    };
}

escapes! {
    /// As NGINX does by default: quotes, backslashes, controls and all beyond ASCII as `\xHH`.
    Nginx = "nginx" crate::escape::nginx,
    /// As the inside of a JSON string.
    Json = "json" crate::escape::json,
    /// As HAProxy does in requests: quotes, `#`, controls and all beyond ASCII as `#HH`.
    Haproxy = "haproxy" crate::escape::haproxy,
    /// As HAProxy does in captured headers: `{`, `|` and `}` as well.
    HaproxyCapture = "haproxy_capture" crate::escape::haproxy_capture,
    /// Controls alone, as `\xHH`: without them a line could be made to look like two.
    None = "none" crate::escape::controls,
}
