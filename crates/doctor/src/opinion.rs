//! What a judge thinks of one cause: what speaks for it, what against, what is missing, what mends it.

use clearway_outcome::Party;

use crate::cause::Cause;
use crate::evidence::{Fact, Probe};

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// It fits, and so may other causes.
    Possible,
    /// It fits clearly better than others.
    Likely,
    /// Something proves it.
    Certain,
}

impl Confidence {
    /// Stable name for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// Where a remedy is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// On the server's host.
    Server,
    /// On the balancer's host.
    Clearway,
    /// At the client.
    Client,
    /// In the configuration.
    Config,
}

impl Site {
    /// Where somebody acts.
    #[must_use]
    pub fn of(party: Party) -> Self {
        match party {
            Party::Client => Self::Client,
            Party::ClearwayHost | Party::Network => Self::Clearway,
            Party::ServerHost | Party::Application => Self::Server,
            Party::Configuration => Self::Config,
        }
    }

    /// Stable name for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Clearway => "clearway",
            Self::Client => "client",
            Self::Config => "config",
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What, as an imperative clause.
    pub words: String,
    /// The command, or the line of configuration; may be empty.
    pub command: String,
    /// Where.
    pub on: Site,
    /// Whether a probe has proved that it helps.
    pub is_verified: bool,
}

/// What one fact weighs.
const STRONG: i32 = 40;
const FAIR: i32 = 20;
const HINT: i32 = 8;

/// What a judge thinks of one cause.
#[derive(Clone, Debug)]
pub struct Opinion {
    /// Of which.
    pub cause: Cause,
    score: i32,
    /// Of the kinds that the failures may be of, so many per cent are what the cause shows as.
    share: i32,
    is_proven: bool,
    is_ruled_out: bool,
    /// A sentence in place of the page's title.
    pub summary: Option<String>,
    /// What speaks for it.
    pub evidence: Vec<Fact>,
    /// What speaks against it.
    pub against: Vec<Fact>,
    /// What is not known, as clauses.
    pub missing: Vec<String>,
    /// What would tell, the most telling first.
    pub probes: Vec<Probe>,
    /// What mends it, the first first.
    pub fixes: Vec<Fix>,
}

impl Opinion {
    /// None yet: it is as likely as it is frequent.
    #[must_use]
    pub fn of(cause: Cause) -> Self {
        Self {
            cause,
            score: i32::from(cause.page().often) * 2,
            share: 100,
            is_proven: false,
            is_ruled_out: false,
            summary: None,
            evidence: Vec::new(),
            against: Vec::new(),
            missing: Vec::new(),
            probes: Vec::new(),
            fixes: Vec::new(),
        }
    }

    /// The failures are of kinds that a log does not tell apart, and only so many per cent of these kinds
    /// are what the cause shows as.
    pub(crate) fn discount(&mut self, share: i32) {
        self.share = share;
        self.score -= HINT * (100 - share) / 200;
    }

    /// What a fact weighs. That the failures are of some kinds says as much as kinds among these are the
    /// cause's own.
    fn weight(&self, fact: &Fact, most: i32) -> i32 {
        if fact.is_kind_alone {
            (most * self.share / 100).max(HINT)
        } else {
            most
        }
    }

    /// This proves it: no other cause of the catalogue leads to it.
    pub fn proof(&mut self, fact: Fact) {
        self.is_proven = true;
        self.score += 2 * STRONG;
        self.evidence.push(fact);
    }

    /// This speaks for it, and for hardly anything else.
    pub fn strong(&mut self, fact: Fact) {
        self.score += self.weight(&fact, STRONG);
        self.evidence.push(fact);
    }

    /// This speaks for it, and for a few others.
    pub fn fair(&mut self, fact: Fact) {
        self.score += self.weight(&fact, FAIR);
        self.evidence.push(fact);
    }

    /// This fits.
    pub fn hint(&mut self, fact: Fact) {
        self.score += HINT;
        self.evidence.push(fact);
    }

    /// This says something, but nothing for or against.
    pub fn note(&mut self, fact: Fact) {
        self.evidence.push(fact);
    }

    /// This speaks against it.
    pub fn against(&mut self, fact: Fact) {
        self.score -= FAIR;
        self.against.push(fact);
    }

    /// This speaks against it, and hardly leaves room.
    pub fn strongly_against(&mut self, fact: Fact) {
        self.score -= STRONG;
        self.is_proven = false;
        self.against.push(fact);
    }

    /// This cannot be with it.
    pub fn rule_out(&mut self) {
        self.is_ruled_out = true;
    }

    /// This is not known and would matter.
    pub fn missing(&mut self, words: impl Into<String>) {
        self.missing.push(words.into());
    }

    /// This would tell.
    pub fn wants(&mut self, probe: Probe) {
        self.probes.push(probe);
    }

    /// This mends it.
    pub fn fix(&mut self, on: Site, words: impl Into<String>, command: impl Into<String>) {
        self.fixes.push(Fix {
            words: words.into(),
            command: command.into(),
            on,
            is_verified: false,
        });
    }

    /// This mends it, as a probe has shown.
    pub fn verified_fix(&mut self, on: Site, words: impl Into<String>, command: impl Into<String>) {
        self.fixes.push(Fix {
            words: words.into(),
            command: command.into(),
            on,
            is_verified: true,
        });
    }

    /// In place of the page's title.
    pub fn say(&mut self, summary: impl Into<String>) {
        self.summary = Some(summary.into());
    }

    /// Whether it is proven and nothing rules it out.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.is_proven && !self.is_ruled_out
    }

    /// Whether it cannot be.
    #[must_use]
    pub fn is_ruled_out(&self) -> bool {
        self.is_ruled_out
    }

    /// How much speaks for it.
    #[must_use]
    pub fn score(&self) -> i32 {
        self.score
    }
}
