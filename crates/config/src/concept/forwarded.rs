//! `forwarded`: what servers are told about the client.

use super::{concept, table_value};
use crate::value::{OrOff, Token, choices};

concept! {
    /// What servers are told about the client.
    Forwarding, "forwarded";

    /// What happens to `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`. What clients outside
    /// `trusted` sent in them is never passed on.
    x_forwarded: XForwarded = XForwarded::Append;
    /// Whether `Forwarded` (RFC 7239) is written as well.
    forwarded: bool = false, example = Some("true");
    /// The name in `Via`, by which loops are found, or `"off"`.
    via: OrOff<Token> = OrOff::On(Token::new("clearway")), example = Some("\"edge-1\"");
}
table_value!(Forwarding);

choices! {
    /// What happens to the `X-Forwarded-*` fields.
    XForwarded {
        /// The client's address is added to what trusted clients sent.
        Append = "append",
        /// What was sent is replaced.
        Replace = "replace",
        /// They are passed on as they came, whoever sent them: servers must not believe them.
        Keep = "keep",
        /// They are passed on as they came from trusted clients, and removed from others.
        Off = "off",
    }
}
