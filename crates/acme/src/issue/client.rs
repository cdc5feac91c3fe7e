//! HTTPS to an authority: trust roots of our choice, a limit for each answer, and an eye on its headers.
//!
//! One client serves one try at one issuer, so that what it has seen belongs to that try.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::clock::{Clock, span};
use crate::encoding::one_line;
use crate::failure::{Failure, FailureKind};
use crate::settings::Roots;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Directories, orders and chains are a few kilobytes.
const BODY_MAX: usize = 1 << 20;

/// A smaller difference of clocks troubles nobody.
const SKEW_MIN: u64 = 10 * 60;

/// What the last answer of an authority said besides its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Facts>>);

#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    status: Option<u16>,
    retry_at: Option<u64>,
    /// Our clock minus theirs, in seconds.
    skew: Option<i64>,
}

impl Seen {
    fn facts(&self) -> Facts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of the last answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.facts().status
    }

    /// When the last answer wants to be asked again (RFC 9110 section 10.2.3).
    pub(crate) fn retry_at(&self) -> Option<u64> {
        self.facts().retry_at
    }

    /// That the clocks differ, if they do by much.
    pub(crate) fn clock_hint(&self) -> Option<String> {
        let skew = self.facts().skew?;
        let differ = skew.unsigned_abs();
        (differ >= SKEW_MIN).then(|| {
            let side = if skew > 0 { "ahead of" } else { "behind" };
            format!(
                "the clock of this host is {} {side} the authority's",
                span(differ)
            )
        })
    }

    fn note(&self, status: u16, headers: &HeaderMap, now: u64) {
        let date = |value: &HeaderValue| {
            let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
            Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
        };
        let retry_at = headers.get(RETRY_AFTER).and_then(|value| {
            match value.to_str().ok()?.trim().parse::<u64>() {
                Ok(seconds) => Some(now.saturating_add(seconds)),
                Err(_) => date(value),
            }
        });
        let skew = headers.get(DATE).and_then(date).and_then(|theirs| {
            i64::try_from(now)
                .ok()?
                .checked_sub(i64::try_from(theirs).ok()?)
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Facts {
            status: Some(status),
            retry_at,
            skew,
        };
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Facts::default();
    }

    #[cfg(test)]
    pub(crate) fn set_for_test(
        &self,
        status: Option<u16>,
        retry_at: Option<u64>,
        skew: Option<i64>,
    ) {
        *self.0.lock().unwrap() = Facts {
            status,
            retry_at,
            skew,
        };
    }
}

/// Why an HTTP exchange failed.
#[derive(Debug)]
pub(crate) enum HttpError {
    /// The authority's name has no address.
    Resolve(String),
    /// No connection.
    Connect(String),
    /// The TLS handshake failed.
    Tls(String),
    /// No answer within so many seconds.
    Timeout(u64),
    /// The answer has more bytes than this.
    TooLarge(usize),
    /// The connection ended early.
    Broken(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(why) | Self::Connect(why) | Self::Tls(why) | Self::Broken(why) => {
                f.write_str(why)
            }
            Self::Timeout(limit) => write!(f, "no answer within {limit} s"),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
        }
    }
}

impl std::error::Error for HttpError {}

type Https = Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>;

/// The HTTP side of one try.
pub(crate) struct AcmeHttp {
    https: Https,
    seen: Seen,
    clock: Clock,
}

impl AcmeHttp {
    /// A client that trusts `roots`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn new(roots: &Roots, clock: &Clock, seen: &Seen) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(FailureKind::Internal, format!("TLS: {error}")))?
            .with_root_certificates(read_roots(roots)?)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        Ok(Self {
            https: Client::builder(TokioExecutor::new()).build(connector),
            seen: seen.clone(),
            clock: clock.clone(),
        })
    }
}

fn read_roots(roots: &Roots) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Roots::Pem(text) => {
            for root in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let added = root
                    .map_err(|error| error.to_string())
                    .and_then(|root| store.add(root).map_err(|error| error.to_string()));
                if let Err(why) = added {
                    let told = format!("the issuer's trust roots cannot be read: {why}");
                    return Err(Failure::new(FailureKind::Settings, told));
                }
            }
        }
    }
    if store.is_empty() {
        let told = "there is no trust root for the issuer";
        return Err(Failure::new(FailureKind::Settings, told));
    }
    Ok(store)
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        mut request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        // RFC 8555 section 6.1 wants to know the program, not only the library.
        let agent = HeaderValue::from_static(concat!("clearway/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let (https, seen, clock) = (self.https.clone(), self.seen.clone(), self.clock.clone());
        Box::pin(async move {
            seen.forget();
            let answered = tokio::time::timeout(ANSWER, exchange(&https, request)).await;
            let (parts, body) = answered
                .unwrap_or(Err(HttpError::Timeout(ANSWER.as_secs())))
                .map_err(|error| Error::Other(Box::new(error)))?;
            seen.note(parts.status.as_u16(), &parts.headers, clock.now());
            Ok(BytesResponse {
                parts,
                body: Box::new(body),
            })
        })
    }
}

async fn exchange(
    https: &Https,
    request: http::Request<BodyWrapper<Bytes>>,
) -> Result<(http::response::Parts, Bytes), HttpError> {
    let host = request.uri().host().unwrap_or("").to_owned();
    let answer = https
        .request(request)
        .await
        .map_err(|error| reason(&error, &host))?;
    let (parts, body) = answer.into_parts();
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => Ok((parts, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::TooLarge(BODY_MAX)),
        Err(error) => Err(HttpError::Broken(one_line(&error.to_string(), 200))),
    }
}

/// Finds the cause at the bottom of an error.
fn reason(error: &hyper_util::client::legacy::Error, host: &str) -> HttpError {
    let mut bottom = error.to_string();
    let mut is_name = false;
    let mut at: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(cause) = at {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return HttpError::Tls(one_line(&format!("{host}: {tls}"), 300));
        }
        let text = cause.to_string();
        is_name |= text.contains("dns error");
        bottom = text;
        // The source of an I/O error is that of what it wraps, which would be skipped.
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        at = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    let told = one_line(&format!("{host}: {bottom}"), 300);
    if is_name {
        HttpError::Resolve(told)
    } else if error.is_connect() {
        HttpError::Connect(told)
    } else {
        HttpError::Broken(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn waits_come_in_seconds_or_as_a_date() {
        let seen = Seen::default();
        seen.note(429, &headers(&[(RETRY_AFTER, "120")]), 1_000);
        assert_eq!((seen.status(), seen.retry_at()), (Some(429), Some(1_120)));
        let date = "Thu, 01 Jan 2026 00:00:00 GMT";
        seen.note(503, &headers(&[(RETRY_AFTER, date)]), 1_000);
        assert_eq!(seen.retry_at(), Some(1_767_225_600));
        seen.note(503, &headers(&[(RETRY_AFTER, "soon")]), 1_000);
        assert_eq!(seen.retry_at(), None);
    }

    #[test]
    fn clocks_that_differ_by_minutes_are_told() {
        let seen = Seen::default();
        let date = headers(&[(DATE, "Thu, 01 Jan 2026 00:00:00 GMT")]);
        seen.note(200, &date, 1_767_225_600 + 60);
        assert_eq!(seen.clock_hint(), None);
        seen.note(200, &date, 1_767_225_600 + 7_200);
        assert!(seen.clock_hint().unwrap().contains("2 h ahead of"));
        seen.note(200, &date, 1_767_225_600 - 86_400);
        assert!(seen.clock_hint().unwrap().contains("1 d behind"));
    }

    #[test]
    fn roots_that_are_none_are_refused() {
        for text in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let failure = read_roots(&Roots::Pem(text.to_owned())).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Settings);
        }
    }
}
