//! Converters: what a value goes through on its way from a fetch to a test or a text.
//!
//! `${header:host|lower|field(1,":")}` takes a header, makes it lower case and takes what stands before
//! the first colon. One list gives the spellings, the documentation and the code. To add one: a
//! function in a file of this folder that reads the arguments and returns the code, and an entry in
//! the list.

mod encode;
mod hash;
mod number;
mod parts;
mod target;
mod text;

use std::fmt;
use std::sync::Arc;

use clearway_base::intern::Name;

use crate::fetch::Context;
use crate::map::MapTable;
use crate::table::{Table, What};

/// A converter as it is written: a name and arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Convert {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Convert {
    /// A converter without arguments.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::with(name, &[])
    }

    /// A converter with arguments.
    #[must_use]
    pub fn with(name: &str, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    /// Reads `name` or `name(a,"b")`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((name, rest)) = text.split_once('(') else {
            return Ok(Self::new(text.trim()));
        };
        let Some(inner) = rest.trim_end().strip_suffix(')') else {
            return Err(format!("{text:?} lacks a closing parenthesis"));
        };
        Ok(Self {
            name: name.trim().to_owned(),
            arguments: arguments(inner)?,
        })
    }
}

/// The written form, which [`Convert::parse`] reads back.
impl fmt::Display for Convert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.arguments.is_empty() {
            return Ok(());
        }
        f.write_str("(")?;
        for (index, argument) in self.arguments.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:".contains(&b);
            if !argument.is_empty() && argument.bytes().all(is_plain) {
                f.write_str(argument)?;
            } else {
                write!(
                    f,
                    "\"{}\"",
                    argument.replace('\\', "\\\\").replace('"', "\\\"")
                )?;
            }
        }
        f.write_str(")")
    }
}

/// Arguments between commas; one in double quotes may hold anything, with `\"` and `\\`.
fn arguments(text: &str) -> Result<Vec<String>, String> {
    let (mut all, mut current) = (Vec::new(), String::new());
    let mut chars = text.chars();
    let mut is_quoted = false;
    while let Some(next) = chars.next() {
        match next {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => current.extend(chars.next()),
            ',' if !is_quoted => all.push(std::mem::take(&mut current)),
            _ => current.push(next),
        }
    }
    if is_quoted {
        return Err(format!("a quote in {text:?} is not closed"));
    }
    all.push(current);
    Ok(all)
}

/// Cuts an expression at a mark that stands outside of quotes and parentheses.
pub(crate) fn split(text: &str, mark: char) -> Option<(&str, &str)> {
    let (mut is_quoted, mut is_escaped, mut depth) = (false, false, 0_u32);
    for (at, next) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match next {
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            _ if next == mark && depth == 0 => {
                let rest = text.get(at + next.len_utf8()..).unwrap_or_default();
                return Some((text.get(..at).unwrap_or_default(), rest));
            }
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Writes what becomes of a value; `false` when nothing does.
pub(crate) type Code = Box<dyn Fn(&[u8], &mut Vec<u8>) -> bool + Send + Sync>;

/// Arguments to code.
type Make = fn(&[String]) -> Result<Code, String>;

/// What an argument begins with that is the value of a variable.
const VARIABLE: &str = "var:";

/// Those that take values of variables: what is made of them anew each time costs nothing.
const WITH_VARIABLES: [&str; 13] = [
    "add", "sub", "mul", "div", "mod", "and", "or", "xor", "concat", "is", "strcmp", "add_item",
    "hmac",
];

/// A compiled converter.
pub(crate) struct Converter {
    name: &'static str,
    how: How,
}

enum How {
    Code(Code),
    /// Some of the arguments are values of variables.
    Anew(Make, Box<[Argument]>),
    /// A number of a table.
    Table(Arc<Table>, What),
    /// Whether it is the value of a variable.
    Same(Name),
    /// What lies at a path; with `true` whether it may be run.
    OnDisk(bool),
    /// A map, and what it yields when no entry fits.
    Map(Arc<MapTable>, Option<Box<[u8]>>),
}

enum Argument {
    Text(String),
    Variable(Name),
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Converter {
    /// # Errors
    /// A sentence about a name that is not known or arguments that do not fit.
    pub(crate) fn new(
        written: &Convert,
        map: impl FnOnce(&str) -> Result<Arc<MapTable>, String>,
        table: impl FnOnce(&str) -> Result<Arc<Table>, String>,
    ) -> Result<Self, String> {
        let known = REFERENCE.iter().find(|doc| doc.name == written.name);
        let Some(doc) = known else {
            let names: Vec<&str> = REFERENCE.iter().map(|doc| doc.name).collect();
            let (name, names) = (&written.name, names.join(", "));
            return Err(format!("{name:?} is no converter; known are {names}"));
        };
        let count = written.arguments.len();
        if !(doc.least..=doc.most).contains(&count) {
            let (least, most) = (doc.least, doc.most);
            let wanted = match (least, most) {
                (0, 0) => "no argument".to_owned(),
                (least, most) if least == most => format!("{least} argument(s)"),
                (least, most) => format!("{least} to {most} arguments"),
            };
            return Err(format!("{} takes {wanted}, not {count}", doc.name));
        }
        let arguments = &written.arguments;
        let how = if doc.name == "map" {
            let name = arguments.first().map_or("", |name| name.trim());
            let default = arguments.get(1).map(|text| text.as_bytes().into());
            How::Map(map(name)?, default)
        } else if doc.name == "table" {
            let mut words = arguments.iter().map(|text| text.trim());
            let table = table(words.next().unwrap_or_default())?;
            let words: Vec<&str> = words.collect();
            How::Table(table, What::parse(&words)?)
        } else if doc.name == "same_secret" {
            let name = arguments.first().map_or("", |name| name.trim());
            How::Same(Name::new(name.strip_prefix(VARIABLE).unwrap_or(name)))
        } else if doc.name == "on_disk" {
            How::OnDisk(arguments.first().is_some_and(|word| word == "executable"))
        } else if WITH_VARIABLES.contains(&doc.name)
            && arguments.iter().any(|text| text.starts_with(VARIABLE))
        {
            How::Anew(
                doc.make,
                arguments.iter().map(|text| Argument::new(text)).collect(),
            )
        } else {
            let code = (doc.make)(arguments);
            How::Code(code.map_err(|message| format!("{}: {message}", doc.name))?)
        };
        Ok(Self {
            name: doc.name,
            how,
        })
    }

    /// Writes what becomes of a value; `false` when nothing does.
    pub(crate) fn apply(&self, at: &Context<'_>, value: &[u8], out: &mut Vec<u8>) -> bool {
        match &self.how {
            How::Code(code) => code(value, out),
            How::Anew(make, arguments) => {
                let text = |argument: &Argument| match argument {
                    Argument::Text(text) => text.clone(),
                    Argument::Variable(name) => {
                        let value = at.scratch.variable(*name).unwrap_or_default();
                        String::from_utf8_lossy(value).into_owned()
                    }
                };
                let arguments: Vec<String> = arguments.iter().map(text).collect();
                make(&arguments).is_ok_and(|code| code(value, out))
            }
            How::Table(table, what) => {
                let now = clearway_base::clock::now();
                let row = match what.makes() {
                    true => table.enter(value, now),
                    false => table.look(value, now),
                };
                let number = what.of(table, row.as_ref());
                if let Some(number) = number {
                    out.extend_from_slice(number.to_string().as_bytes());
                }
                number.is_some()
            }
            How::Same(name) => {
                let other = at.scratch.variable(*name).unwrap_or_default();
                // All bytes are looked at, whichever differ.
                let differs = value.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
                let is_same = differs == 0 && value.len() == other.len();
                out.push(if is_same { b'1' } else { b'0' });
                true
            }
            How::OnDisk(asks_executable) => {
                let found = at.view.around.and_then(|around| around.on_disk(value));
                let Some(found) = found else { return false };
                let text = match asks_executable {
                    true if found.executable => "1",
                    true => "0",
                    false => found.kind,
                };
                out.extend_from_slice(text.as_bytes());
                true
            }
            How::Map(map, default) => {
                let found = map.look_up(at, value, &mut |found| {
                    out.extend_from_slice(found);
                    true
                });
                if !found && let Some(default) = default {
                    out.extend_from_slice(default);
                }
                found || default.is_some()
            }
        }
    }
}

impl Argument {
    fn new(text: &str) -> Self {
        match text.strip_prefix(VARIABLE) {
            Some(name) => Self::Variable(Name::new(name.trim())),
            None => Self::Text(text.to_owned()),
        }
    }
}

/// One line of the reference of converters.
#[derive(Clone, Copy)]
pub struct ConvertDoc {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, as words.
    pub arguments: &'static str,
    /// What it does.
    pub summary: &'static str,
    least: usize,
    most: usize,
    make: Make,
}

macro_rules! converters {
    ($($(#[doc = $doc:literal])+ $name:literal ($arguments:literal) $least:literal $most:literal $make:path;)+) => {
        /// The reference, one entry per converter.
        pub const REFERENCE: &[ConvertDoc] = &[
            $(ConvertDoc { name: $name, arguments: $arguments, summary: concat!($($doc,)+),
                least: $least, most: $most, make: $make },)+
        ];
    };
}

converters! {
    /// ASCII letters in lower case.
    "lower" ("") 0 0 text::lower;
    /// ASCII letters in upper case.
    "upper" ("") 0 0 text::upper;
    /// The part with a number, from 1, or from the end with a negative one, between any of the
    /// delimiters; with a third argument so many parts, 0 = all that follow.
    "field" ("NUMBER,DELIMITERS[,COUNT]") 2 3 text::field;
    /// As `field`, but several delimiters in a row are one.
    "word" ("NUMBER,DELIMITERS[,COUNT]") 2 3 text::word;
    /// What a regular expression matches replaced; `\1` is a group of it. Flags: `i` whatever the
    /// case, `g` each time.
    "regsub" ("REGEX,TEXT[,FLAGS]") 2 3 text::regsub;
    /// So many bytes from an offset; to the end without a count.
    "bytes" ("OFFSET[,COUNT]") 1 2 text::bytes;
    /// Without these characters at the begin.
    "ltrim" ("CHARACTERS") 1 1 text::ltrim;
    /// Without these characters at the end.
    "rtrim" ("CHARACTERS") 1 1 text::rtrim;
    /// What a `[map.NAME]` has for the value; when no entry fits, its default, then this one.
    "map" ("NAME[,DEFAULT]") 1 2 text::map;
    /// A number that a `[table.NAME]` has for the value, or `exists`, `trackers`, `idle` or `left`, as
    /// `tracked` has it; with `inc` it is counted up first, with `clear` it is 0 afterwards.
    "table" ("NAME,WHAT[,TURN]") 2 3 text::map;
    /// What lies at this path of the file system: `file`, `folder` or `other`; nothing when nothing does. With
    /// `executable`: 1 when its owner may run it, else 0.
    "on_disk" ("[WHAT]") 0 1 text::on_disk;
    /// With texts before and behind. Here, in comparisons and in arithmetic `var:NAME` as an argument is
    /// the value of a variable.
    "concat" ("BEFORE,AFTER") 2 2 text::concat;
    /// A text added behind a delimiter, which only stands where there was something before; with a third
    /// argument that text behind it.
    "add_item" ("DELIMITER,TEXT[,AFTER]") 2 3 text::add_item;
    /// 1 when the value is that of a variable, else 0; how long that takes does not tell where they differ.
    "same_secret" ("VARIABLE") 1 1 text::map;
    /// 1 when the value is this text, else 0.
    "is" ("TEXT") 1 1 text::is;
    /// 0 when the value is this text, else a number below or above 0, by the order of bytes.
    "strcmp" ("TEXT") 1 1 text::compare;
    /// Of the languages that a client accepts (RFC 9110 section 12.5.4) the one that it prefers of
    /// these, which have semicolons between.
    "language" ("NAMES[,DEFAULT]") 1 2 parts::language;
    /// The host of `host:port`.
    "host_only" ("") 0 0 parts::host_only;
    /// The port of `host:port`; 0 when there is none.
    "port_only" ("") 0 0 parts::port_only;
    /// What stands at a path such as `$.a.b[0]` in a document of JSON; with `int` only if it is a number.
    "json_query" ("PATH[,KIND]") 1 2 parts::json_query;
    /// Seconds since 1970 as a date in UTC, by the letters of `strftime`.
    "utime" ("FORMAT[,OFFSET]") 1 2 parts::utime;
    /// Seconds since 1970 as a date in a header (RFC 9110 section 5.6.7).
    "http_date" ("[OFFSET]") 0 1 parts::http_date;
    /// One text when the value is true (not empty, 0 or `false`), else another.
    "iif" ("TRUE,FALSE") 2 2 text::iif;
    /// The value of a parameter in a query, between delimiters (`&`).
    "param" ("NAME[,DELIMITERS]") 1 2 text::param;
    /// The value when it is an address, else nothing.
    "ip" ("") 0 0 text::ip;
    /// The network that an address is in, by prefix length or mask: of IPv4, and of IPv6.
    "network" ("IPV4[,IPV6]") 1 2 text::network;
    /// The number that the value begins with; 0 where it begins with none, nothing
    /// where it is empty.
    "int" ("") 0 0 number::int;
    /// Count of bytes.
    "length" ("") 0 0 number::length;
    /// Count of the bytes before the first zero byte.
    "text_length" ("") 0 0 number::text_length;
    /// Sum.
    "add" ("NUMBER") 1 1 number::add;
    /// Difference.
    "sub" ("NUMBER") 1 1 number::sub;
    /// Product.
    "mul" ("NUMBER") 1 1 number::mul;
    /// Quotient; by zero the greatest number.
    "div" ("NUMBER") 1 1 number::div;
    /// Rest of a division; by zero zero.
    "mod" ("NUMBER") 1 1 number::rem;
    /// Negated number.
    "neg" ("") 0 0 number::neg;
    /// 1 for a number other than 0, else 0.
    "bool" ("") 0 0 number::bool;
    /// 0 for a number other than 0, else 1.
    "not" ("") 0 0 number::not;
    /// 1 for an odd number, else 0.
    "odd" ("") 0 0 number::odd;
    /// 1 for an even number, else 0.
    "even" ("") 0 0 number::even;
    /// Bits of both.
    "and" ("NUMBER") 1 1 number::and;
    /// Bits of either.
    "or" ("NUMBER") 1 1 number::or;
    /// Bits of one of both.
    "xor" ("NUMBER") 1 1 number::xor;
    /// Bits turned round.
    "cpl" ("") 0 0 number::cpl;
    /// Base64 (RFC 4648 section 4).
    "base64" ("") 0 0 encode::base64;
    /// What Base64 says; nothing where it is none.
    "b64dec" ("") 0 0 encode::b64dec;
    /// Base64 for URLs without padding (RFC 4648 section 5).
    "ub64enc" ("") 0 0 encode::ub64enc;
    /// What Base64 for URLs says.
    "ub64dec" ("") 0 0 encode::ub64dec;
    /// Groups of so many bytes as decimal numbers with a delimiter between; with an argument of 1 what is
    /// left at the end is dropped.
    "be2dec" ("DELIMITER,BYTES[,DROP]") 2 3 encode::be2dec;
    /// The same in hexadecimal, in upper case.
    "be2hex" ("[DELIMITER,BYTES[,DROP]]") 0 3 encode::be2hex;
    /// The bytes that hexadecimal says; nothing where it is none.
    "unhex" ("") 0 0 encode::unhex;
    /// One of the ways in which a target can be written differently brought into one form, by the names that
    /// HAProxy has for them.
    "normalize" ("WAY[,OPTION]") 1 2 target::normalize;
    /// Hexadecimal in upper case.
    "hex" ("") 0 0 encode::hex;
    /// A number in hexadecimal, in upper case, of at least four digits.
    "int2hex" ("") 0 0 encode::int2hex;
    /// The bytes of an address in hexadecimal, in upper case.
    "ip2hex" ("") 0 0 encode::ip2hex;
    /// The number that hexadecimal says.
    "hex2i" ("") 0 0 encode::hex2i;
    /// Percent signs resolved; with an argument of 1 `+` is a space everywhere, else in the query alone.
    "url_dec" ("[FORM]") 0 1 encode::url_dec;
    /// What a query must not hold written with percent signs.
    "url_enc" ("[SET]") 0 1 encode::url_enc;
    /// Escaped for a string of JSON. The bytes are characters each (`ascii`), or UTF-8: `utf8` yields nothing
    /// where they are none, `utf8s` leaves out what is none.
    "json" ("[ENCODING]") 0 1 encode::json;
    /// CRC-32 (that of gzip). An argument of 1 spreads the bits of this sum and of those
    /// below; 2 spreads them further.
    "crc32" ("[AVALANCHE]") 0 1 hash::crc32;
    /// CRC-32C (Castagnoli).
    "crc32c" ("[AVALANCHE]") 0 1 hash::crc32c;
    /// The hash DJB2.
    "djb2" ("[AVALANCHE]") 0 1 hash::djb2;
    /// The hash SDBM.
    "sdbm" ("[AVALANCHE]") 0 1 hash::sdbm;
    /// The hash WT6.
    "wt6" ("[AVALANCHE]") 0 1 hash::wt6;
    /// The hash XXH32.
    "xxh32" ("[SEED]") 0 1 hash::xxh32;
    /// The hash XXH64, as a number with a sign.
    "xxh64" ("[SEED]") 0 1 hash::xxh64;
    /// The hash XXH3, as a number with a sign.
    "xxh3" ("[SEED]") 0 1 hash::xxh3;
    /// The hash MurmurHash2, which parts clients as `split_clients` of NGINX does.
    "murmur2" ("") 0 0 hash::murmur2;
    /// SHA-1, as bytes.
    "sha1" ("") 0 0 hash::sha1;
    /// SHA-2 with so many bits (256), as bytes.
    "sha2" ("[BITS]") 0 1 hash::sha2;
    /// A digest by name (`md5`, `sha1`, `sha224`, `sha256`, `sha384`, `sha512`), as bytes.
    "digest" ("NAME") 1 1 hash::digest;
    /// A code that proves who sent the value (RFC 2104), by digest and key in Base64, as bytes.
    "hmac" ("NAME,KEY") 2 2 hash::hmac;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(written: &Convert) -> Result<Converter, String> {
        Converter::new(
            written,
            |name| Err(format!("no map {name}")),
            |name| Err(format!("no table {name}")),
        )
    }

    fn convert(written: &str, value: &str) -> Option<String> {
        if let Some((first, second)) = split(written, '|') {
            // What is between may be bytes that are no text.
            let (first, second) = (Convert::parse(first), Convert::parse(second));
            let steps = [
                new(&first.unwrap()).unwrap(),
                new(&second.unwrap()).unwrap(),
            ];
            let (request, scratch) = (crate::testing::get("/", &[]), crate::Scratch::default());
            let view = request.view();
            let at = Context::for_tests(&view, &scratch);
            let mut value = value.as_bytes().to_vec();
            for step in steps {
                let mut out = Vec::new();
                assert!(step.apply(&at, &value, &mut out));
                value = out;
            }
            return Some(String::from_utf8(value).unwrap());
        }
        let converter = new(&Convert::parse(written).unwrap()).unwrap();
        let request = crate::testing::get("/", &[]);
        let (view, scratch) = (request.view(), crate::Scratch::default());
        let at = Context::for_tests(&view, &scratch);
        let mut out = Vec::new();
        let is_there = converter.apply(&at, value.as_bytes(), &mut out);
        is_there.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_are_converted() {
        for (written, value, wanted) in [
            ("lower", "AbÖ", Some("abÖ")),
            ("upper", "ab", Some("AB")),
            ("field(1,:)", "a:b:c", Some("a")),
            ("field(2,\":,\")", "a:b,c", Some("b")),
            ("field(-1,:)", "a:b:c", Some("c")),
            ("field(2,:,0)", "a:b:c", Some("b:c")),
            ("field(2,:,2)", "a:b:c:d", Some("b:c")),
            ("field(-2,:,2)", "a:b:c:d", Some("b:c")),
            ("field(2,:)", "a::b", Some("")),
            ("field(4,:)", "a:b:c", None),
            ("word(2,:)", "a::b", Some("b")),
            ("word(-1,:)", "a:b:", Some("b")),
            ("word(3,:)", "a::b", None),
            ("regsub(^/api,\"\",i)", "/API/x", Some("/x")),
            ("regsub(\"o\",0)", "foo", Some("f0o")),
            ("regsub(\"o\",0,g)", "foo", Some("f00")),
            ("regsub(\"(a)(b)\",\"\\\\2\\\\1\")", "xab", Some("xba")),
            ("bytes(1,2)", "abcd", Some("bc")),
            ("bytes(2)", "abcd", Some("cd")),
            ("bytes(9)", "abcd", None),
            ("ltrim(\" \")", "  a ", Some("a ")),
            ("rtrim(\" \")", "  a ", Some("  a")),
            ("concat(\"<\",\">\")", "a", Some("<a>")),
            ("iif(yes,no)", "1", Some("yes")),
            ("iif(yes,no)", "0", Some("no")),
            ("param(b)", "a=1&b=2", Some("2")),
            ("param(c)", "a=1&b=2", None),
            ("network(24)", "192.0.2.7", Some("192.0.2.0")),
            ("network(24,64)", "2001:db8:0:1::2", Some("2001:db8:0:1::")),
            ("length", "abc", Some("3")),
            ("add(2)", "3", Some("5")),
            ("sub(5)", "3", Some("-2")),
            ("mul(2)", "3", Some("6")),
            ("div(2)", "7", Some("3")),
            ("mod(2)", "7", Some("1")),
            ("neg", "7", Some("-7")),
            ("not", "0", Some("1")),
            ("bool", "5", Some("1")),
            ("odd", "5", Some("1")),
            ("add(1)", "x", None),
            ("base64", "ab", Some("YWI=")),
            ("b64dec", "YWI=", Some("ab")),
            ("b64dec", "%", None),
            ("ub64enc", "??>", Some("Pz8-")),
            ("hex", "aK", Some("614B")),
            ("hex2i", "ff", Some("255")),
            ("url_dec", "/a%20b+?c+d", Some("/a b+?c d")),
            ("url_dec(1)", "a+b", Some("a b")),
            ("url_enc", "a b&", Some("a%20b%26")),
            ("json", "a\"b\n", Some("a\\\"b\\n")),
            ("crc32", "abc", Some("891568578")),
        ] {
            assert_eq!(
                convert(written, value).as_deref(),
                wanted,
                "{written} {value:?}"
            );
        }
    }

    #[test]
    fn values_are_summed_up_and_taken_apart() {
        for (written, value, wanted) in [
            ("crc32c", "123456789", Some("3808858755")),
            ("djb2", "abc", Some("193485963")),
            ("sdbm", "a", Some("97")),
            (
                "digest(md5)|hex",
                "abc",
                Some("900150983CD24FB0D6963F7D28E17F72"),
            ),
            ("int", "12px", Some("12")),
            ("int", "px", Some("0")),
            ("strcmp(abc)", "abd", Some("1")),
            ("strcmp(abc)", "ab", Some("-1")),
            (
                "language(\"de;en\",xx)",
                "fr, en;q=0.5, de;q=0.4",
                Some("en"),
            ),
            ("language(de,xx)", "fr", Some("xx")),
            ("language(de,xx)", "de;q=4294968", Some("de")),
            ("host_only", "[::1]:80", Some("[::1]")),
            ("port_only", "a.test:80", Some("80")),
            ("port_only", "a.test", Some("0")),
            (
                "json_query(\"$.a[1].b\")",
                "{\"a\":[0,{\"b\":\"x\"}]}",
                Some("x"),
            ),
            ("json_query(\"$.a\",int)", "{\"a\":\"x\"}", None),
            (
                "utime(\"%F %T %j %a\")",
                "951827696",
                Some("2000-02-29 12:34:56 060 Tue"),
            ),
            (
                "http_date",
                "784111777",
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
            ),
        ] {
            assert_eq!(
                convert(written, value).as_deref(),
                wanted,
                "{written} {value:?}"
            );
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for written in [
            Convert::new("lower"),
            Convert::with("field", &["1", ":"]),
            Convert::with("regsub", &["^/(a|b)\\.\"x", "", "i"]),
            Convert::with("rtrim", &["}"]),
        ] {
            assert_eq!(Convert::parse(&written.to_string()), Ok(written));
        }
    }

    #[test]
    fn mistakes_are_told() {
        for bad in [
            "lover",
            "field(1)",
            "field(x,:)",
            "regsub(\"(\",x)",
            "lower(1)",
            "network(33)",
        ] {
            assert!(new(&Convert::parse(bad).unwrap()).is_err(), "{bad}");
        }
        assert!(Convert::parse("field(1").is_err());
        assert!(Convert::parse("field(\"1)").is_err());
    }

    #[test]
    fn expressions_are_cut_outside_of_quotes() {
        assert_eq!(split("a|b", '|'), Some(("a", "b")));
        assert_eq!(split("a(\"|\\\"|\")|b", '|'), Some(("a(\"|\\\"|\")", "b")));
        assert_eq!(split("a(|)", '|'), None);
    }
}
