//! What is done with the bodies of a route, and which of them it is done with. No I/O.

use clearway_config::model::{CodingName, Compression, Proxied, ReplaceBody, Route};
use clearway_http::{Edits, RequestHead, ResponseHead, coding};
use clearway_rules::ast::{self, Definitions};
use clearway_rules::{Gate, Phrase};

use crate::files::condition::seconds;

/// The codings there are.
pub(crate) type Coding = CodingName;

/// What is done with the bodies of a route.
pub(crate) struct BodyPlan {
    pub(crate) compression: Compression,
    /// Holds for clients that get no coding.
    pub(crate) spared: Option<Gate>,
    pub(crate) replace: Option<ReplacePlan>,
}

/// Texts that are put in place of others.
pub(crate) struct ReplacePlan {
    pub(crate) texts: Vec<(Vec<u8>, Phrase)>,
    pub(crate) once: bool,
    pub(crate) types: Vec<String>,
    pub(crate) keeps_validators: bool,
}

impl BodyPlan {
    /// What is done with bodies in a place; none when nothing is.
    ///
    /// # Errors
    /// A sentence about a template that cannot work.
    pub(crate) fn new(
        compression: Compression,
        route: Option<&Route>,
        named: &Definitions,
    ) -> Result<Option<Self>, String> {
        let replace = route.and_then(|route| route.replace_body.as_ref());
        if compression.algorithms.is_empty() && !compression.unpack && replace.is_none() {
            return Ok(None);
        }
        let agents = &compression.except_agents;
        let spared = if agents.is_empty() {
            None
        } else {
            let test = ast::Condition::Test {
                fetch: ast::Fetch::Header("user-agent".to_owned()),
                test: ast::Test::Regex(agents.iter().map(ToString::to_string).collect()),
                ignore_case: true,
            };
            Some(Gate::compile(&test, named)?)
        };
        Ok(Some(Self {
            replace: replace
                .map(|replace| ReplacePlan::new(replace, named))
                .transpose()?,
            compression,
            spared,
        }))
    }
}

impl ReplacePlan {
    fn new(settings: &ReplaceBody, named: &Definitions) -> Result<Self, String> {
        let texts = settings.texts.iter().map(|text| {
            let template = ast::Template::parse(text.to.as_str()).unwrap_or_default();
            Ok((
                text.find.clone().into_bytes(),
                Phrase::compile(&template, named)?,
            ))
        });
        Ok(Self {
            texts: texts.collect::<Result<_, String>>()?,
            once: settings.once,
            types: settings.types.clone(),
            keeps_validators: settings.keeps_validators,
        })
    }

    /// Whether it is for a response.
    pub(crate) fn is_for(&self, response: &Shown<'_>) -> bool {
        !matches!(response.status, 204 | 206 | 304)
            && response.first("content-encoding").is_none()
            && fits(&self.types, response.first("content-type"))
    }
}

/// A response as its client is to see it: its head with what rules have changed.
pub(crate) struct Shown<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a ResponseHead,
    pub(crate) buf: &'a [u8],
    pub(crate) edits: &'a Edits,
}

impl<'a> Shown<'a> {
    /// The values of the fields with a name, in lower case.
    pub(crate) fn all(&self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let (buf, name) = (self.buf, name.as_bytes());
        let is_kept = !self.edits.drops(name);
        let came = self
            .head
            .fields
            .iter()
            .filter(move |f| is_kept && f.name.of(buf).eq_ignore_ascii_case(name));
        let written = self.edits.written();
        let written = written.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        came.map(move |f| f.value.of(buf))
            .chain(written.map(|(_, value)| value))
    }

    /// The value of the first of them.
    pub(crate) fn first(&self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Whether one of the words between commas of a field is this one, whatever its argument.
    fn lists(&self, name: &'a str, word: &str) -> bool {
        self.all(name).any(|value| {
            value.split(|&b| b == b',').any(|item| {
                let item = item.split(|&b| b == b'=').next().unwrap_or_default();
                item.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
            })
        })
    }
}

/// What is said about the coding of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The coding that it gets.
    pub(crate) coding: Option<Coding>,
    /// It depends on what the client takes.
    pub(crate) varies: bool,
    /// gzip is taken off.
    pub(crate) unpacks: bool,
}

/// Which coding a response gets, whose body is so long if that is known, and is changed anyway or not.
pub(crate) fn judge(
    settings: &Compression,
    (request, buf): (&RequestHead, &[u8]),
    response: &Shown<'_>,
    len: Option<u64>,
    now: u64,
) -> Judgement {
    let accept = request.header("accept-encoding", buf).unwrap_or_default();
    let mut judgement = Judgement::default();
    let packed = response.first("content-encoding");
    if packed.is_some() {
        let is_gzip = packed.is_some_and(|name| name.eq_ignore_ascii_case(b"gzip"));
        if settings.unpack && is_gzip && !response.lists("cache-control", "no-transform") {
            judgement.varies = settings.vary;
            judgement.unpacks = coding::quality(accept, "gzip").is_none_or(|q| q == 0);
        }
        return judgement;
    }
    let is_old = request.version == clearway_http::Version::Http10;
    let is_eligible = !settings.algorithms.is_empty()
        && settings.statuses.contains(&response.status)
        && response.first("content-range").is_none()
        && len.is_none_or(|len| len >= settings.min_bytes && len > 0)
        && fits(&settings.types, response.first("content-type"))
        && !response.lists("cache-control", "no-transform");
    if !is_eligible {
        return judgement;
    }
    judgement.varies = settings.vary;
    let comes_by_proxy = request.header("via", buf).is_some();
    if (is_old && !settings.http10)
        || (comes_by_proxy && !is_for_proxies(settings, (request, buf), response, now))
    {
        return judgement;
    }
    let mut best = 0;
    for coding in &settings.algorithms {
        let quality = coding::quality(accept, coding.name()).unwrap_or(0);
        if quality > best {
            best = quality;
            judgement.coding = Some(*coding);
        }
    }
    // Who likes the body as it is better gets it so.
    if coding::named(accept, "identity").is_some_and(|identity| identity > best) {
        judgement.coding = None;
    }
    judgement
}

/// Whether a client takes one of the codings.
pub(crate) fn takes_any(settings: &Compression, request: &RequestHead, buf: &[u8]) -> bool {
    let accept = request.header("accept-encoding", buf).unwrap_or_default();
    let mut codings = settings.algorithms.iter();
    codings.any(|coding| coding::quality(accept, coding.name()).is_some_and(|q| q > 0))
}

fn is_for_proxies(
    settings: &Compression,
    (request, buf): (&RequestHead, &[u8]),
    response: &Shown<'_>,
    now: u64,
) -> bool {
    settings.proxied.iter().any(|when| match when {
        Proxied::Any => true,
        Proxied::Expired => response
            .first("expires")
            .is_some_and(|value| is_past(value, response.first("date"), now)),
        Proxied::NoCache => response.lists("cache-control", "no-cache"),
        Proxied::NoStore => response.lists("cache-control", "no-store"),
        Proxied::Private => response.lists("cache-control", "private"),
        Proxied::NoLastModified => response.first("last-modified").is_none(),
        Proxied::NoEtag => response.first("etag").is_none(),
        Proxied::Auth => request.header("authorization", buf).is_some(),
    })
}

/// Whether `Expires` names no time after that of the response.
fn is_past(expires: &[u8], date: Option<&[u8]>, now: u64) -> bool {
    let now = date.and_then(seconds).unwrap_or(now);
    seconds(expires).is_none_or(|expires| expires <= now)
}

/// Whether a media type is one of those.
pub(crate) fn fits(types: &[String], media_type: Option<&[u8]>) -> bool {
    let Some(value) = media_type else {
        return types.iter().any(|known| known == "*");
    };
    let own = value
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    types.iter().any(|known| match known.strip_suffix('*') {
        Some(begin) => own
            .get(..begin.len())
            .is_some_and(|own| own.eq_ignore_ascii_case(begin.as_bytes())),
        None => own.eq_ignore_ascii_case(known.as_bytes()),
    })
}
