//! What resolvers said when they were asked on purpose.

use std::net::IpAddr;

use crate::case::View;
use crate::evidence::Lookup;

/// What resolvers said when they were asked on purpose.
pub(super) struct Answers<'a> {
    pub(super) all: &'a [Lookup],
}

impl<'a> Answers<'a> {
    pub(super) fn of(view: &View<'a>) -> Self {
        Self {
            all: view.lookups(),
        }
    }

    pub(super) fn codes(&self) -> impl Iterator<Item = u16> + 'a {
        self.all.iter().filter_map(|lookup| lookup.rcode)
    }

    /// Whether somebody answered.
    pub(super) fn is_known(&self) -> bool {
        self.codes().next().is_some()
    }

    pub(super) fn any_says(&self, code: u16) -> bool {
        self.codes().any(|said| said == code)
    }

    /// Whether everybody who answered said one of these.
    pub(super) fn all_say(&self, codes: &[u16]) -> bool {
        self.is_known() && self.codes().all(|said| codes.contains(&said))
    }

    /// The same of the name as it stands, without search domains.
    pub(super) fn absolute_say(&self, codes: &[u16]) -> bool {
        let mut said = self
            .all
            .iter()
            .filter(|lookup| !lookup.is_searched)
            .filter_map(|lookup| lookup.rcode)
            .peekable();
        said.peek().is_some() && said.all(|code| codes.contains(&code))
    }

    /// Whether everybody was asked in vain.
    pub(super) fn is_silent(&self) -> bool {
        !self.all.is_empty() && !self.is_known()
    }

    pub(super) fn addresses(&self, which: impl Fn(&Lookup) -> bool) -> Vec<IpAddr> {
        let mut out: Vec<IpAddr> = self
            .all
            .iter()
            .filter(|lookup| which(lookup))
            .flat_map(|lookup| lookup.addresses.iter().copied())
            .collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Every address that was said.
    pub(super) fn fresh(&self) -> Vec<IpAddr> {
        self.addresses(|_| true)
    }

    /// Whether everybody who gave addresses of a family gave the same ones, and everybody answered: names
    /// whose answers take turns are not taken for moved ones.
    pub(super) fn agree(&self) -> bool {
        let with = |family: &str| -> Vec<Vec<IpAddr>> {
            let said = self
                .all
                .iter()
                .filter(|l| l.family == family && !l.addresses.is_empty());
            said.map(|lookup| {
                let mut sorted = lookup.addresses.clone();
                sorted.sort_unstable();
                sorted
            })
            .collect()
        };
        let same = |sets: Vec<Vec<IpAddr>>| sets.windows(2).all(|pair| pair.first() == pair.last());
        self.all.iter().all(|lookup| lookup.rcode.is_some())
            && same(with("A"))
            && same(with("AAAA"))
    }

    /// A resolver that names the address and another that names only others.
    pub(super) fn disagreeing(&self, address: IpAddr) -> Option<(&'a str, &'a str)> {
        let knows = self
            .all
            .iter()
            .find(|lookup| lookup.addresses.contains(&address))?;
        let other = self.all.iter().find(|lookup| {
            lookup.resolver != knows.resolver
                && lookup.asked == knows.asked
                && lookup.family == knows.family
                && lookup.rcode == Some(0)
                && !lookup.addresses.contains(&address)
        })?;
        Some((&knows.resolver, &other.resolver))
    }

    /// The name as it was asked for.
    pub(super) fn name(&self) -> &'a str {
        let asked = self
            .all
            .iter()
            .find(|lookup| !lookup.is_searched)
            .or_else(|| self.all.first());
        asked.map_or("the name", |lookup| lookup.asked.trim_end_matches('.'))
    }

    fn resolvers_of(&self, which: impl Fn(&Lookup) -> bool) -> String {
        let mut out: Vec<&str> = self
            .all
            .iter()
            .filter(|l| which(l))
            .map(|l| l.resolver.as_str())
            .collect();
        out.sort_unstable();
        out.dedup();
        out.join(" and ")
    }

    /// The resolvers that answered.
    pub(super) fn resolvers(&self) -> String {
        self.resolvers_of(|lookup| lookup.rcode.is_some())
    }

    /// The resolvers that were asked.
    pub(super) fn asked(&self) -> String {
        self.resolvers_of(|_| true)
    }

    /// What was said, for a reader.
    pub(super) fn words(&self) -> String {
        let fresh = self.fresh();
        if !fresh.is_empty() {
            return format!("{} leads to {} now", self.name(), list(&fresh));
        }
        let code = self.codes().next().unwrap_or(0);
        let said = match code {
            0 => "an answer without addresses".to_owned(),
            2 => "SERVFAIL".to_owned(),
            3 => "NXDOMAIN".to_owned(),
            5 => "REFUSED".to_owned(),
            other => format!("code {other}"),
        };
        format!("for {} there is {said} now", self.name())
    }
}

/// A few addresses for a reader.
pub(super) fn list(addresses: &[IpAddr]) -> String {
    let words: Vec<String> = addresses.iter().take(4).map(ToString::to_string).collect();
    let more = if addresses.len() > 4 { ", …" } else { "" };
    format!("{}{more}", words.join(", "))
}
