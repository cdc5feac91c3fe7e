//! Users who prove who they are by a password (RFC 7617).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clearway_base::hash::Set;
use clearway_http::Known;

use crate::secret::Secret;
use crate::view::View;

/// How many of those who were right are remembered: more would not be asked for at the same time.
const REMEMBERED: usize = 1_024;

/// Name and password that a request gives, with a colon between.
pub(crate) fn named(view: &View<'_>) -> Option<Vec<u8>> {
    let value = view.head.field(Known::Authorization, view.buf)?;
    let (scheme, coded) = value.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    STANDARD.decode(coded.trim_ascii()).ok()
}

/// Users, compiled.
#[derive(Debug)]
pub(crate) struct Users {
    users: Box<[(Vec<u8>, Secret)]>,
    /// What belongs to this table alone, so that what is remembered says nothing elsewhere.
    pepper: [u8; 16],
    /// Sums of names and passwords that were right, where finding that out takes long.
    right: RwLock<Set<[u8; 32]>>,
}

impl Users {
    /// # Errors
    /// A sentence about the user whose password is no such thing.
    pub(crate) fn new(list: &[(String, String)]) -> Result<Self, String> {
        let user = |(name, password): &(String, String)| {
            if name.contains(':') {
                return Err(format!("{name:?} cannot be the name of a user"));
            }
            let secret = Secret::parse(password);
            let secret = secret.map_err(|words| format!("the password of {name}: {words}"))?;
            Ok((name.as_bytes().to_vec(), secret))
        };
        let random = RandomState::new();
        let mut pepper = [0; 16];
        for (half, seed) in pepper.chunks_mut(8).zip([1_u8, 2]) {
            half.copy_from_slice(&random.hash_one(seed).to_le_bytes());
        }
        Ok(Self {
            users: list.iter().map(user).collect::<Result<_, _>>()?,
            pepper,
            right: RwLock::default(),
        })
    }

    /// Whether a request names one of them with the right password.
    pub(crate) fn knows(&self, view: &View<'_>) -> bool {
        let Some(pair) = named(view) else {
            return false;
        };
        let Some(colon) = pair.iter().position(|&byte| byte == b':') else {
            return false;
        };
        let (name, password) = (&pair[..colon], &pair[colon + 1..]);
        let Some((_, secret)) = self.users.iter().find(|(known, _)| known == name) else {
            // It takes as long as with a name that is known.
            if let Some((_, secret)) = self.users.first() {
                secret.fits(password);
            }
            return false;
        };
        if !secret.is_slow() {
            return secret.fits(password);
        }
        let sum = self.sum(&pair);
        let known = self.right.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&sum) {
            return true;
        }
        drop(known);
        let fits = secret.fits(password);
        if fits {
            let mut right = self.right.write().unwrap_or_else(PoisonError::into_inner);
            if right.len() >= REMEMBERED {
                right.clear();
            }
            right.insert(sum);
        }
        fits
    }

    fn sum(&self, pair: &[u8]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(&self.pepper);
        context.update(pair);
        context.finish().as_ref().try_into().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    fn knows(users: &Users, header: &str) -> bool {
        let asked = get("/", &[header]);
        users.knows(&asked.view())
    }

    #[test]
    fn users_are_known_by_name_and_password() {
        let list = [
            ("anna".to_owned(), "pass:wort".to_owned()),
            (
                "bert".to_owned(),
                "$1$abcdefgh$eKehL.s8tG6zTf8hBtmEF.".to_owned(),
            ),
        ];
        let users = Users::new(&list).unwrap();
        let basic = |pair: &str| format!("Authorization: Basic {}", STANDARD.encode(pair));
        for _ in 0..2 {
            assert!(knows(&users, &basic("anna:pass:wort")));
            assert!(knows(&users, &basic("bert:geheim")));
            assert!(!knows(&users, &basic("bert:geheim2")));
        }
        assert!(knows(
            &users,
            &basic("anna:pass:wort").replace("Basic", "bAsIc ")
        ));
        for bad in ["anna:", "anna", "carl:geheim", "bert:pass:wort", ":"] {
            assert!(!knows(&users, &basic(bad)), "{bad}");
        }
        for bad in [
            "Authorization: Bearer x",
            "Authorization: Basic ?",
            "X: y",
            "Authorization: B",
        ] {
            assert!(!knows(&users, bad), "{bad}");
        }
    }

    #[test]
    fn damaged_hashes_and_impossible_names_are_refused() {
        let one = |name: &str, password: &str| {
            Users::new(&[(name.to_owned(), password.to_owned())]).unwrap_err()
        };
        assert!(one("a:b", "x").contains("a:b"));
        let words = one("anna", "$9$secret");
        assert!(
            words.contains("anna") && !words.contains("secret"),
            "{words}"
        );
    }
}
