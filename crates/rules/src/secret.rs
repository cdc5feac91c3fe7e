//! Passwords as they are written in files: plain, or hashed in one of the forms of crypt(3), `htpasswd`
//! and LDAP.
//!
//! Comparing takes the same time wherever the difference stands. Not here: hashing new ones, and yescrypt.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha_crypt::Params;

/// The alphabet of crypt(3).
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Rounds of SHA-crypt where none are written.
const ROUNDS: u32 = 5_000;

/// The costs of bcrypt that are taken: one more doubles the time, which a worker spends.
const BCRYPT_COST_MAX: u32 = 14;

/// A password, or what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The password itself.
    Plain(Vec<u8>),
    /// `$1$` and `$apr1$`, with the mark and the salt.
    Md5(&'static [u8], Vec<u8>, String),
    /// `$5$`.
    Sha256(Params, Vec<u8>, String),
    /// `$6$`.
    Sha512(Params, Vec<u8>, String),
    /// `$2y$` and the like, as a whole.
    Bcrypt(String),
    /// `{SHA}` and `{SSHA}`, with the salt.
    Sha1(Vec<u8>, Vec<u8>),
}

impl Secret {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence about a hash that is not known or damaged. It does not repeat the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let sha1 = text
            .strip_prefix("{SHA}")
            .or_else(|| text.strip_prefix("{SSHA}"));
        if let Some(coded) = sha1 {
            let bytes = STANDARD.decode(coded).ok();
            let parts = bytes
                .as_deref()
                .and_then(|bytes| bytes.split_at_checked(20));
            let (hash, salt) = parts.ok_or("the hash is damaged")?;
            return Ok(Self::Sha1(hash.to_vec(), salt.to_vec()));
        }
        if let Some(plain) = text.strip_prefix("{PLAIN}") {
            return Ok(Self::Plain(plain.as_bytes().to_vec()));
        }
        let Some((kind, rest)) = text.strip_prefix('$').and_then(|rest| rest.split_once('$'))
        else {
            return Ok(Self::Plain(text.as_bytes().to_vec()));
        };
        let own = |text: &str| text.as_bytes().to_vec();
        match kind {
            "1" | "apr1" => {
                let (salt, hash) = rest.split_once('$').ok_or("the hash is damaged")?;
                let mark: &[u8] = if kind == "1" { b"$1$" } else { b"$apr1$" };
                Ok(Self::Md5(mark, own(salt), hash.to_owned()))
            }
            "5" | "6" => {
                let (rounds, rest) = match rest.strip_prefix("rounds=") {
                    Some(rest) => rest.split_once('$').ok_or("the hash is damaged")?,
                    None => ("", rest),
                };
                let rounds = match rounds {
                    "" => ROUNDS,
                    text => text.parse().map_err(|_| "the number of rounds is none")?,
                };
                let rounds = rounds.clamp(Params::ROUNDS_MIN, Params::ROUNDS_MAX);
                let params = Params::new(rounds).map_err(|error| error.to_string())?;
                let (salt, hash) = rest.split_once('$').ok_or("the hash is damaged")?;
                Ok(match kind {
                    "5" => Self::Sha256(params, own(salt), hash.to_owned()),
                    _ => Self::Sha512(params, own(salt), hash.to_owned()),
                })
            }
            "2" | "2a" | "2b" | "2x" | "2y" => {
                let cost = rest.split_once('$').and_then(|(cost, _)| cost.parse().ok());
                match cost {
                    Some(4..=BCRYPT_COST_MAX) if rest.len() == 56 => {
                        Ok(Self::Bcrypt(text.to_owned()))
                    }
                    Some(4..=BCRYPT_COST_MAX) | None => Err("the hash is damaged".to_owned()),
                    Some(_) => Err(format!(
                        "bcrypt with a cost above {BCRYPT_COST_MAX} takes too long"
                    )),
                }
            }
            other => Err(format!(
                "hashes of the kind ${other}$ are not known: $1$, $apr1$, $2y$, $5$, $6$, {{SHA}}, {{SSHA}} and {{PLAIN}} are"
            )),
        }
    }

    /// Whether comparing takes long.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Sha1(..) => false,
            Self::Md5(..) | Self::Sha256(..) | Self::Sha512(..) | Self::Bcrypt(_) => true,
        }
    }

    /// Whether this is the password.
    pub(crate) fn fits(&self, password: &[u8]) -> bool {
        match self {
            Self::Plain(known) => same(known, password),
            Self::Md5(mark, salt, hash) => {
                same(md5_crypt(mark, salt, password).as_bytes(), hash.as_bytes())
            }
            Self::Sha256(params, salt, hash) => {
                let sum = sha_crypt::sha256_crypt(password, salt, *params);
                same(&encode(&sum, (0, 10, 20), 10, (2, 0, 1)), hash.as_bytes())
            }
            Self::Sha512(params, salt, hash) => {
                let sum = sha_crypt::sha512_crypt(password, salt, *params);
                same(&encode(&sum, (0, 21, 42), 21, (1, 2, 0)), hash.as_bytes())
            }
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Sha1(hash, salt) => {
                let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
                context.update(password);
                context.update(salt);
                same(context.finish().as_ref(), hash)
            }
        }
    }
}

/// Whether two texts are the same, in a time that depends on their lengths alone.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A sum of SHA-crypt in its own letters: groups of three bytes, of which each follows from the one
/// before by adding one and taking another order; what is left at last.
fn encode(
    sum: &[u8],
    first: (usize, usize, usize),
    groups: usize,
    order: (usize, usize, usize),
) -> Vec<u8> {
    let at = |index: usize| sum.get(index).copied().unwrap_or_default();
    let (mut out, mut places) = (Vec::with_capacity(88), [first.0, first.1, first.2]);
    for _ in 0..groups {
        letters([at(places[0]), at(places[1]), at(places[2])], 4, &mut out);
        places = [places[order.0], places[order.1], places[order.2]].map(|place| place + 1);
    }
    match sum.len() {
        32 => letters([0, at(31), at(30)], 3, &mut out),
        _ => letters([0, 0, at(63)], 2, &mut out),
    }
    out
}

fn letters(bytes: [u8; 3], count: usize, out: &mut Vec<u8>) {
    let mut word = bytes
        .iter()
        .fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
    for _ in 0..count {
        out.extend(ALPHABET.get(word & 63));
        word >>= 6;
    }
}

/// `$1$` and, with another mark, `$apr1$`.
fn md5_crypt(mark: &[u8], salt: &[u8], password: &[u8]) -> String {
    let salt = salt.get(..8).unwrap_or(salt);
    let sum = |parts: &[&[u8]]| -> [u8; 16] {
        let mut hash = Md5::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    };
    let other = sum(&[password, salt, password]);
    let mut text = [password, mark, salt].concat();
    text.extend(other.iter().cycle().take(password.len()));
    let mut bits = password.len();
    while bits > 0 {
        let byte = match bits & 1 {
            1 => 0,
            _ => password.first().copied().unwrap_or_default(),
        };
        text.push(byte);
        bits >>= 1;
    }
    let mut state = sum(&[&text]);
    for round in 0..1_000 {
        let (begin, end): (&[u8], &[u8]) = match round & 1 {
            1 => (password, &state),
            _ => (&state, password),
        };
        let salt = if round % 3 == 0 { &[] } else { salt };
        let middle = if round % 7 == 0 { &[] } else { password };
        state = sum(&[begin, salt, middle, end]);
    }
    let mut out = Vec::with_capacity(22);
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        letters([state[a], state[b], state[c]], 4, &mut out);
    }
    letters([0, 0, state[11]], 2, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by openssl passwd and crypt(3), all of the same word.
    const HASHES: [&str; 10] = [
        "geheim",
        "{PLAIN}geheim",
        "$1$abcdefgh$eKehL.s8tG6zTf8hBtmEF.",
        "$apr1$abcdefgh$bw9gEObk10asetVLiysIZ0",
        "$5$abcdefgh$azU9PNNJw9essBuwq5yihWY9lFXM0dF54Ph4sAxX.YB",
        "$5$rounds=1000$salz$85nSlJy4c4u0PE4Gk4Y6IWZuMrdUY56oeDOJ2rT98hB",
        "$6$abcdefgh$msgktWxVAbjjh3X7lA5LaM7dS/ZfABJL6T4qcRsnjcOTj0kptUvZcrvrXIoO5fgPA9xz6UnF2To2Y7jGc/IZY/",
        "$6$rounds=1000$salz$6bd2YswVk/FKdGb9Pfx7J3540abG6au5qdmMYngeOWTaHEAYJAeaMwc.JESj78qrdcw3v9kjfLJk6mS98dXon/",
        "$2b$04$abcdefghijklmnopqrstuuPWRtT5yx7FBi4dcf6ROhboeNunUrLQ.",
        "{SHA}kGByAB793z4R5tK1eC9Hd/4Dhzk=",
    ];

    #[test]
    fn every_form_knows_its_password_and_no_other() {
        for hash in HASHES {
            let secret = Secret::parse(hash).unwrap();
            assert!(secret.fits(b"geheim"), "{hash}");
            for wrong in [&b""[..], b"geheiM", b"geheim ", b"gehei"] {
                assert!(!secret.fits(wrong), "{hash}");
            }
        }
    }

    #[test]
    fn what_is_damaged_or_not_known_is_refused() {
        for bad in [
            "$1$",
            "$5$x",
            "$6$rounds=x$a$b",
            "$y$j9T$a$b",
            "$2y$99$abc",
            "$2y$10$abc",
            "{SHA}?",
            "{SSHA}YQ==",
        ] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Secret::parse("$"), Ok(Secret::Plain(b"$".to_vec())));
    }
}
