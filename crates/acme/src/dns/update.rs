//! Dynamic updates (RFC 2136), signed with TSIG (RFC 8945).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm as Algorithm, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};

use super::{TxtRecord, wire};
use crate::clock::Clock;
use crate::encoding;
use crate::failure::{Failure, FailureKind};

/// By how many seconds the clocks may differ (RFC 8945 section 10 recommends this).
const FUDGE: u16 = 300;

/// Where and how updates are sent.
#[derive(Clone, Debug)]
pub struct Update {
    /// The primary name server of the zone.
    pub server: SocketAddr,
    /// The zone; asked for when `None`.
    pub zone: Option<String>,
    /// The key that signs updates.
    pub key: Option<TsigKey>,
    /// How long the record may be kept by resolvers, in seconds.
    pub ttl: u32,
    /// How long one exchange may take.
    pub timeout: Duration,
}

/// A key shared with the name server.
#[derive(Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name, as the name server knows it.
    pub name: String,
    /// How it signs.
    pub algorithm: TsigAlgorithm,
    secret: Vec<u8>,
}

impl TsigKey {
    /// Takes the secret in base64, as `tsig-keygen` writes it.
    ///
    /// # Errors
    /// When it is no base64 or the name no DNS name; the secret is not repeated.
    pub fn new(name: &str, algorithm: TsigAlgorithm, secret: &str) -> Result<Self, String> {
        let secret = encoding::base64(secret)?;
        dns_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            algorithm,
            secret,
        })
    }

    fn signer(&self) -> Result<TSigner, String> {
        let algorithm = match self.algorithm {
            TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
            TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
            TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
        };
        let name = dns_name(&self.name)?;
        TSigner::new(self.secret.clone(), algorithm, name, FUDGE).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsigKey")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// How a key signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

#[derive(Clone, Copy)]
pub(super) enum Change {
    Add,
    Delete,
}

impl Update {
    /// Adds or removes a record. Others of the same name stay.
    pub(super) async fn change(
        &self,
        change: Change,
        record: &TxtRecord,
        clock: &Clock,
    ) -> Result<(), Failure> {
        self.try_change(change, record, clock).await.map_err(|why| {
            let told = format!("the DNS update of {} failed: {why}", record.owner);
            Failure::new(FailureKind::Update, told)
        })
    }

    async fn try_change(
        &self,
        change: Change,
        record: &TxtRecord,
        clock: &Clock,
    ) -> Result<(), String> {
        let owner = dns_name(&record.owner)?;
        let zone = match &self.zone {
            Some(zone) => dns_name(zone)?,
            None => self.find_zone(&owner).await?,
        };
        if !zone.zone_of(&owner) {
            return Err(format!("it is not in the zone {zone}"));
        }
        let mut message = self.message(change, &owner, zone.clone(), &record.value);
        let verifier = match &self.key {
            Some(key) => message
                .finalize(&key.signer()?, clock.now())
                .map_err(|error| error.to_string())?,
            None => None,
        };
        let bytes = message.to_vec().map_err(|error| error.to_string())?;
        let reply = wire::exchange(self.server, &bytes, self.timeout).await?;
        let answer = Message::from_vec(&reply)
            .map_err(|error| format!("the answer of {} is broken: {error}", self.server))?;
        if answer.response_code != ResponseCode::NoError {
            return Err(self.refusal(&answer, &zone));
        }
        if let Some(mut verifier) = verifier {
            verifier.verify(&reply).map_err(|error| {
                format!(
                    "the answer of {} is not signed as it should be: {error}",
                    self.server
                )
            })?;
        }
        Ok(())
    }

    /// RFC 2136 section 2.5.1 and 2.5.4.
    fn message(&self, change: Change, owner: &Name, zone: Name, value: &str) -> Message {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(zone, RecordType::SOA));
        let text = RData::TXT(TXT::new(vec![value.to_owned()]));
        let mut record = Record::from_rdata(owner.clone(), self.ttl, text);
        if matches!(change, Change::Delete) {
            record.dns_class = DNSClass::NONE;
            record.ttl = 0;
        }
        message.add_authority(record);
        message
    }

    /// The zone a name is in, from the SOA record that comes with any answer of its server.
    async fn find_zone(&self, owner: &Name) -> Result<Name, String> {
        let answer = wire::query(self.server, owner.clone(), RecordType::SOA, self.timeout).await?;
        answer
            .answers
            .iter()
            .chain(&answer.authorities)
            .find(|record| record.record_type() == RecordType::SOA)
            .map(|record| record.name.clone())
            .ok_or_else(|| format!("{} does not say in which zone it is", self.server))
    }

    fn refusal(&self, answer: &Message, zone: &Name) -> String {
        let server = self.server;
        let signed = answer.signature().and_then(|record| record.data.error);
        let key = self.key.as_ref().map_or("", |key| key.name.as_str());
        match (signed, answer.response_code) {
            (Some(TsigError::BadKey), _) => format!("{server} does not know the key {key}"),
            (Some(TsigError::BadSig), _) => {
                format!("{server} has another secret or algorithm for the key {key}")
            }
            (Some(TsigError::BadTime), _) => {
                format!("the clock of {server} and that of this host differ by more than {FUDGE} s")
            }
            (_, ResponseCode::Refused) => {
                format!("{server} refused it: the key may not change this name")
            }
            (_, ResponseCode::NotAuth | ResponseCode::NotZone) => {
                format!(
                    "{server} is not the primary server of the zone {zone}, or the key is wrong"
                )
            }
            (_, code) => format!("{server} answered {code}"),
        }
    }
}

/// A name, absolute whether it ends in a dot or not.
fn dns_name(text: &str) -> Result<Name, String> {
    let absolute = format!("{}.", text.trim_end_matches('.'));
    Name::from_ascii(absolute)
        .map_err(|error| format!("`{}` is no DNS name: {error}", text.escape_debug()))
}
