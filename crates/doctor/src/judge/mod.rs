//! Judges: one per cause, in the file of its stage. Each says which faults its cause shows as, what speaks
//! for it, what rules it out, which probe tells, and what mends it.

use clearway_outcome::{FaultKind, Remark};

use crate::case::View;
use crate::cause::{Cause, Stage};
use crate::opinion::Opinion;

mod body;
mod capacity;
mod client;
mod config;
mod connect;
mod dns;
mod head;
mod health;
mod pool;
mod reach;
mod route;
mod send;
mod tls;
mod wait;

/// Who judges one cause.
pub(crate) struct Judge {
    /// The cause.
    pub(crate) cause: Cause,
    /// Faults that it may show as; failures of other kinds are not its own.
    pub(crate) shows_as: &'static [FaultKind],
    /// Remarks of logs that it may show as.
    pub(crate) remarked: &'static [Remark],
    /// Whether it may show as an error that the server itself sends.
    pub(crate) is_servers_own: bool,
    /// Weighs the evidence.
    pub(crate) weigh: fn(&View<'_>, &mut Opinion),
}

impl Judge {
    const fn new(
        cause: Cause,
        shows_as: &'static [FaultKind],
        weigh: fn(&View<'_>, &mut Opinion),
    ) -> Self {
        Self {
            cause,
            shows_as,
            remarked: &[],
            is_servers_own: false,
            weigh,
        }
    }

    /// It may show as these remarks of logs, too.
    const fn remarked(self, remarked: &'static [Remark]) -> Self {
        Self { remarked, ..self }
    }

    /// It may show as an error that the server itself sends, too.
    const fn servers_own(self) -> Self {
        Self {
            is_servers_own: true,
            ..self
        }
    }

    /// How many per cent of the kinds that the failures may be of are this cause's.
    fn share(&self, view: &View<'_>) -> i32 {
        let (mut all, mut own) = (0, 0);
        for kind in view.kinds() {
            all += 1;
            own += i32::from(self.shows_as.contains(&kind));
        }
        if all == 0 { 100 } else { 100 * own / all }
    }

    fn concerns(&self, view: &View<'_>) -> bool {
        let group = view.group;
        view.kinds().any(|kind| self.shows_as.contains(&kind))
            || group
                .remark
                .is_some_and(|remark| self.remarked.contains(&remark))
            || self.is_servers_own && group.is_servers_own()
    }
}

fn judges(stage: Stage) -> &'static [Judge] {
    match stage {
        Stage::Config => config::JUDGES,
        Stage::Dns => dns::JUDGES,
        Stage::Route => route::JUDGES,
        Stage::Connect => connect::JUDGES,
        Stage::Tls => tls::JUDGES,
        Stage::Send => send::JUDGES,
        Stage::Wait => wait::JUDGES,
        Stage::Head => head::JUDGES,
        Stage::Body => body::JUDGES,
        Stage::Pool => pool::JUDGES,
        Stage::Health => health::JUDGES,
        Stage::Capacity => capacity::JUDGES,
        Stage::Client => client::JUDGES,
    }
}

/// What all judges think that have to do with the failures, the best first.
pub(crate) fn opinions(view: &View<'_>) -> Vec<Opinion> {
    let mut out: Vec<Opinion> = Stage::ALL
        .iter()
        .flat_map(|stage| judges(*stage))
        .filter(|judge| judge.concerns(view))
        .map(|judge| {
            let mut opinion = Opinion::of(judge.cause);
            if view
                .group
                .remark
                .is_some_and(|remark| judge.remarked.contains(&remark))
            {
                // Words of a log that say so themselves.
                opinion.strong(view.seen());
            }
            opinion.discount(judge.share(view));
            (judge.weigh)(view, &mut opinion);
            opinion
        })
        .collect();
    out.sort_by_key(|opinion| {
        let proven = !opinion.is_proven();
        let out = opinion.is_ruled_out();
        (out, proven, -opinion.score(), opinion.cause)
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_one_judge_in_the_file_of_its_stage() {
        for &cause in Cause::ALL {
            let own = judges(cause.stage())
                .iter()
                .filter(|judge| judge.cause == cause);
            assert_eq!(own.count(), 1, "{cause}");
        }
        let all: usize = Stage::ALL.iter().map(|stage| judges(*stage).len()).sum();
        assert_eq!(all, Cause::ALL.len());
    }
}
