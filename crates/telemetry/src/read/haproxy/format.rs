//! HAProxy's `log-format` (configuration manual, section 8.2.6) as a template.

use crate::read::field::Field;
use crate::read::template::{self, Parts, Template};
use crate::read::{TemplateError, scan};

/// Compiles `%name`, `%{flags}name`, `%[expression]`; `%%` is a per cent sign, a backslash keeps what
/// follows it as it is.
pub(super) fn compile(text: &str) -> Result<Template, TemplateError> {
    let mut parts = Parts::default();
    let mut rest = text.as_bytes();
    let mut quotes = false;
    while let Some(first) = rest.first() {
        if *first == b'\\' {
            parts.literal(rest.get(1..2).unwrap_or_default());
            rest = rest.get(2..).unwrap_or_default();
            continue;
        }
        if *first != b'%' {
            let end = rest
                .iter()
                .take_while(|byte| !matches!(byte, b'%' | b'\\'))
                .count();
            let (literal, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
            parts.literal(literal);
            rest = after;
            continue;
        }
        let at = text.len() - rest.len();
        let after = rest.get(1..).unwrap_or_default();
        if let Some(after) = after.strip_prefix(b"%") {
            parts.literal(b"%");
            rest = after;
            continue;
        }
        let item = Item::of(after).ok_or(TemplateError::Unended(at))?;
        rest = item.after;
        let is_quoted = quotes || scan::has(item.flags, "+Q");
        if item.name == b"o" {
            // Sets flags for what follows and writes nothing.
            quotes = is_quoted;
            continue;
        }
        parts.field(item.field(), is_quoted);
    }
    parts.template()
}

/// One field, behind its `%`.
struct Item<'a> {
    flags: &'a [u8],
    name: &'a [u8],
    is_expression: bool,
    after: &'a [u8],
}

impl<'a> Item<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let mut text = text;
        let mut flags: &[u8] = b"";
        // A name for structured logs, then flags.
        if let Some(inside) = text.strip_prefix(b"(") {
            text = scan::split(inside, b")")?.1;
        }
        if let Some(inside) = text.strip_prefix(b"{") {
            (flags, text) = scan::split(inside, b"}")?;
        }
        if let Some(inside) = text.strip_prefix(b"[") {
            let (name, after) = scan::split(inside, b"]")?;
            return Some(Self {
                flags,
                name,
                is_expression: true,
                after,
            });
        }
        let end = text
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        let (name, after) = text.split_at_checked(end)?;
        Some(Self {
            flags,
            name,
            is_expression: false,
            after,
        })
    }

    fn field(&self) -> Field {
        if self.is_expression {
            let (base, _) = template::up_to(self.name, b',');
            return expression(base);
        }
        match self.name {
            b"ci" => Field::Client,
            b"cp" | b"sp" => Field::Port,
            b"si" => Field::Address,
            b"s" => Field::Server,
            b"b" => Field::Backend,
            b"f" | b"ft" => Field::Listener,
            b"t" | b"tr" | b"T" | b"Tl" | b"trg" | b"trl" | b"Ts" => Field::Time,
            b"ST" => Field::Status,
            b"U" => Field::RequestBytes,
            b"ts" | b"tsc" => Field::State,
            b"TR" => Field::HeadMs,
            b"Tw" => Field::QueueMs,
            b"Tc" => Field::ConnectMs,
            b"Tr" => Field::WaitMs,
            b"Ta" | b"Tt" => Field::TotalMs,
            b"r" => Field::Request,
            b"HM" => Field::Method,
            b"HU" | b"HP" | b"HPO" => Field::Target,
            b"ID" => Field::Id,
            b"rc" => Field::Retries,
            _ => Field::Skip,
        }
    }
}

fn expression(base: &[u8]) -> Field {
    match base {
        b"bc_err" => Field::ErrorNumber,
        b"bc_err_name" => Field::ErrorName,
        b"bc_err_str" => Field::ErrorText,
        b"ssl_bc_err" | b"ssl_bc_err_str" => Field::TlsError,
        b"term_events" => Field::Events,
        b"unique-id" => Field::Id,
        b"src" => Field::Client,
        b"src_port" => Field::Port,
        b"status" | b"txn.status" => Field::Status,
        b"method" => Field::Method,
        b"path" | b"url" | b"pathq" => Field::Target,
        b"be_name" => Field::Backend,
        b"srv_name" => Field::Server,
        b"fe_name" => Field::Listener,
        b"req.hdr(host)" | b"hdr(host)" | b"capture.req.hdr(host)" => Field::Host,
        b"req.hdr(user-agent)" | b"hdr(user-agent)" => Field::Agent,
        _ => Field::Skip,
    }
}
