//! Probes: first looks at servers that nobody has complained of, then whatever the cases ask for.

use std::collections::VecDeque;
use std::future::Future;

use clearway_base::clock;
use clearway_config::survey::Spoke;
use clearway_control::examine::{self, Reach};
use clearway_doctor::evidence::Where;
use clearway_doctor::{Case, Subject};
use clearway_net::connect::Target;
use clearway_net::dns::{DnsFault, Resolver, Settings};
use clearway_outcome::{FaultKind, Speaker};
use tokio::task::JoinSet;

use super::Examination;
use super::look::{self, Complaint, Glance, Seen, What};
use super::reach::{self, Written};
use super::sources::{Sources, Spot};
use super::terminal::Progress;

/// Most servers that are probed.
const SERVERS: usize = 200;
/// Servers that are probed at a time.
const AT_ONCE: usize = 8;
/// Most probes of one server: more than a balancer under load makes.
const PROBES: usize = 30;
/// Servers of which it is strange that not one answers.
const SEVERAL: usize = 3;
/// Most addresses of one name that are probed.
const ADDRESSES: usize = 4;

/// Probes what may be probed.
pub(super) fn run(on: &mut Examination, sources: &Sources) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return on.trouble(&format!("no probe can be made: {error}")),
    };
    if on.options.no_probe {
        if !sources.spots.is_empty() {
            on.trouble("a server was named and --no-probe forbids to look at it");
        } else if !on.docket.surveys().is_empty() {
            on.note("No connection was made to any server (--no-probe).".to_owned());
        }
        return;
    }
    runtime.block_on(all(on, sources));
}

async fn all(on: &mut Examination, sources: &Sources) {
    let mut prober = Prober {
        resolver: Resolver::new(&Settings::default()),
        plans: Vec::new(),
        progress: Progress::new(),
    };
    prober.written(on).await;
    for spot in &sources.spots {
        prober.spot(on, spot).await;
    }
    prober.first_looks(on).await;
    on.docket.settle();
    prober.cases(on).await;
}

/// A server that may be probed.
struct Plan {
    subject: Subject,
    /// Whose configuration it stands in.
    speaker: Speaker,
    glance: Glance,
    /// Whether TLS is tried when it is asked for.
    may_change: bool,
    /// The name whose address it is.
    name: String,
    seen: Option<Seen>,
}

struct Prober {
    resolver: Resolver,
    plans: Vec<Plan>,
    progress: Progress,
}

impl Prober {
    /// Servers of configurations.
    async fn written(&mut self, on: &mut Examination) {
        let surveys = on.docket.surveys().to_vec();
        for survey in &surveys {
            for backend in &survey.backends {
                for server in backend.servers.iter().filter(|server| !server.down) {
                    let written = Written {
                        survey,
                        backend,
                        server,
                    };
                    if self.plans.len() >= SERVERS {
                        return on.note(format!(
                            "Only the first {SERVERS} servers of the configuration were probed."
                        ));
                    }
                    self.plan(on, written).await;
                }
            }
        }
    }

    async fn plan(&mut self, on: &mut Examination, written: Written<'_>) {
        let (backend, server) = (written.backend, written.server);
        // A variable stands for whatever a request brings.
        if server.host.is_empty() || server.host.contains(['$', '%', '{']) {
            return;
        }
        let subject = Subject {
            speaker: written.survey.speaker,
            backend: backend.name.clone(),
            server: server.name.clone(),
            address: server.address(),
        };
        let targets = if server.is_unix {
            vec![Target::Unix(server.host.clone().into())]
        } else {
            match self.resolve(&server.host, server.port).await {
                Ok(targets) => targets,
                Err(fault) => return unresolved(on, &subject, &fault),
            }
        };
        let limit = backend.timeouts.response.value;
        for target in targets {
            if let Target::Ip(address) = &target {
                on.docket.know(&server.host, address.ip());
            }
            let (reach, trouble) = written.reach(target.clone());
            if let Some(words) = trouble {
                on.note(words);
            }
            let address = look::target_words(&target);
            let known = self.plans.iter().any(|plan| {
                plan.subject.backend == subject.backend && plan.subject.address == address
            });
            if known {
                continue;
            }
            let own = Subject {
                address,
                ..subject.clone()
            };
            let mut case = Case::open(own.clone());
            case.set_survey(std::sync::Arc::new(written.survey.clone()));
            let check = written.check().filter(|check| {
                let port = check.port.as_ref().map_or(server.port, |port| port.value);
                port == server.port && check.tls.value == backend.tls.is_some()
            });
            self.plans.push(Plan {
                speaker: subject.speaker,
                subject: own,
                glance: Glance {
                    asks: asks(written),
                    reach,
                    case,
                    limit_ms: limit.and_then(|limit| u64::try_from(limit.as_millis()).ok()),
                    expect: check.map(|check| check.expect.value.clone()),
                },
                may_change: false,
                name: server.host.clone(),
                seen: None,
            });
        }
    }

    /// A server that was named on the command line.
    async fn spot(&mut self, on: &mut Examination, spot: &Spot) {
        on.examined += 1;
        let is_planned = |plan: &Plan| {
            plan.name == spot.host
                && matches!(&plan.glance.reach.target, Some(Target::Ip(a)) if a.port() == spot.port)
        };
        // A configuration knows more about it.
        if spot.unix.is_none() && spot.path.is_empty() && self.plans.iter().any(is_planned) {
            return;
        }
        let subject = Subject {
            speaker: Speaker::Clearway,
            backend: String::new(),
            server: spot.label(),
            address: spot.label(),
        };
        let targets = match &spot.unix {
            Some(path) => vec![Target::Unix(path.clone())],
            None => match self.resolve(&spot.host, spot.port).await {
                Ok(targets) => targets,
                Err(fault) => return unresolved(on, &subject, &fault),
            },
        };
        for target in targets {
            let reach = match spot.reach(&target) {
                Ok(reach) => reach,
                Err(words) => {
                    on.trouble(&format!("{}: {words}", spot.text));
                    continue;
                }
            };
            let own = Subject {
                address: look::target_words(&target),
                ..subject.clone()
            };
            self.plans.push(Plan {
                speaker: Speaker::Clearway,
                glance: Glance {
                    asks: What::Request(spot.path.clone()),
                    reach,
                    case: spot.case(&own),
                    limit_ms: None,
                    expect: None,
                },
                subject: own,
                may_change: spot.tls.is_none(),
                name: spot.host.clone(),
                seen: None,
            });
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<Target>, DnsFault> {
        let answer = self.resolver.resolve(host, port).await?;
        let addresses = answer.addresses.into_iter().take(ADDRESSES);
        Ok(addresses.map(Target::Ip).collect())
    }

    /// Looks at every server that nobody has complained of.
    async fn first_looks(&mut self, on: &mut Examination) {
        let due: VecDeque<(usize, (Glance, bool))> = self
            .plans
            .iter()
            .enumerate()
            .filter(|(_, plan)| {
                !on.docket
                    .has_case(&plan.subject.backend, &plan.subject.address)
            })
            .map(|(at, plan)| (at, (plan.glance.clone(), plan.may_change)))
            .collect();
        let found = each(&mut self.progress, "looking at", due, glance_at).await;
        for (at, (seen, glance, is_changed)) in found {
            if let Some(plan) = self.plans.get_mut(at) {
                if is_changed {
                    on.note(format!(
                        "{} speaks TLS, so it was examined as https.",
                        plan.subject.server
                    ));
                }
                plan.glance = glance;
                plan.seen = Some(seen);
            }
        }
        for at in 0..self.plans.len() {
            self.take(on, at);
        }
        self.tell_elsewhere(on);
    }

    /// Where not one of many servers answers, it may be the wrong place to look from.
    fn tell_elsewhere(&self, on: &mut Examination) {
        let mut looked = self.plans.iter().filter_map(|plan| plan.seen.as_ref());
        let is_lonely = looked.clone().count() >= SEVERAL
            && looked.all(|seen| !seen.complaints.is_empty())
            && !on.docket.surveys().is_empty();
        if is_lonely {
            on.note(
                "Not one server of the configuration answers. If this is not the balancer's host, --no-probe \
                 leaves out what is seen from here."
                    .to_owned(),
            );
        }
    }

    /// Puts into the docket what a first look came to.
    fn take(&self, on: &mut Examination, at: usize) {
        let Some(plan) = self.plans.get(at) else {
            return;
        };
        let Some(seen) = &plan.seen else { return };
        if let Some(remark) = &seen.remark {
            on.note(format!("{}: {remark}.", plan.subject.address));
        }
        if seen.complaints.is_empty() {
            on.docket
                .add_sound(&plan.subject.backend, &written_address(plan));
            return;
        }
        if self.is_other_family(plan) {
            on.note(format!(
                "{} also stands for {}, where no server answers; a balancer that tries all its addresses \
                 meets that one, too.",
                plan.name, plan.subject.address
            ));
            return;
        }
        let now = i64::try_from(clock::wall()).unwrap_or(i64::MAX);
        for complaint in &seen.complaints {
            let docket = &mut on.docket;
            complaint.tell(&plan.subject, now, &mut |seen| {
                docket.observe_probe(plan.speaker, seen, Some(&plan.glance.case));
            });
        }
    }

    /// Whether a connection was not to be had at an address of the other family than one that answers:
    /// most names of one host have both and most programs listen on one.
    fn is_other_family(&self, plan: &Plan) -> bool {
        const UNCONNECTED: [FaultKind; 4] = [
            FaultKind::ConnectRefused,
            FaultKind::ConnectUnreachable,
            FaultKind::ConnectTimeout,
            FaultKind::ConnectFailed,
        ];
        let family = |plan: &Plan| match &plan.glance.reach.target {
            Some(Target::Ip(address)) => Some(address.is_ipv6()),
            Some(Target::Unix(_)) | None => None,
        };
        let complaints = plan.seen.iter().flat_map(|seen| &seen.complaints);
        let mut kinds = complaints.map(Complaint::kind);
        let is_unconnected = kinds.all(|kind| kind.is_some_and(|kind| UNCONNECTED.contains(&kind)));
        is_unconnected
            && self.plans.iter().any(|other| {
                other.name == plan.name
                    && other.subject.backend == plan.subject.backend
                    && family(other) != family(plan)
                    && other
                        .seen
                        .as_ref()
                        .is_some_and(|seen| seen.complaints.is_empty())
            })
    }

    /// Makes the probes that cases ask for.
    async fn cases(&mut self, on: &mut Examination) {
        let asks_all = on.options.probe;
        let mut due = VecDeque::new();
        let mut unprobed = 0_usize;
        for (at, case) in on.docket.cases_mut().iter_mut().enumerate() {
            let plan = self.plans.iter().find(|plan| is_of(plan, case));
            let reach = match plan {
                Some(plan) => Some(plan.glance.reach.clone()),
                None if asks_all => reach_of(case),
                None => None,
            };
            for (probe, finding) in plan
                .iter()
                .filter_map(|p| p.seen.as_ref())
                .flat_map(|s| &s.findings)
            {
                case.learn(probe.clone(), finding.clone());
            }
            case.may_probe |= reach.is_some();
            let is_reachable = reach.is_some() || matches!(case.site, Where::Name(..));
            match reach {
                Some(reach) if due.len() < SERVERS => due.push_back((at, (reach, case.clone()))),
                None if case.may_probe => due.push_back((at, (Reach::default(), case.clone()))),
                _ if is_reachable || case.site != Where::Nowhere => unprobed += 1,
                _ => {}
            }
        }
        if unprobed > 0 {
            on.note(
                "Servers that only logs name were not probed, as the logs may be from elsewhere; --probe \
                 connects to them from here."
                    .to_owned(),
            );
        }
        let found = each(&mut self.progress, "examining", due, examined).await;
        for (at, case) in found {
            if let Some(place) = on.docket.cases_mut().get_mut(at) {
                *place = case;
            }
        }
    }
}

/// The address as the configuration writes it.
fn written_address(plan: &Plan) -> String {
    match &plan.glance.reach.target {
        Some(Target::Ip(address)) => {
            let host = plan.name.as_str();
            if host.contains(':') {
                format!("[{host}]:{}", address.port())
            } else {
                format!("{host}:{}", address.port())
            }
        }
        Some(target @ Target::Unix(_)) => target.to_string(),
        None => plan.subject.address.clone(),
    }
}

fn is_of(plan: &Plan, case: &Case) -> bool {
    let (own, subject) = (&plan.subject, &case.subject);
    let is_backend = own.backend == subject.backend || subject.backend.is_empty();
    is_backend
        && (own.address == subject.address
            || (!own.server.is_empty()
                && own.server == subject.server
                && !matches!(case.site, Where::Socket(_))))
}

/// How a server is reached of which only a log knows.
fn reach_of(case: &Case) -> Option<Reach> {
    let target = match &case.site {
        Where::Socket(address) => Target::Ip(*address),
        Where::Unix(path) => Target::Unix(path.into()),
        Where::Name(..) | Where::Nowhere => return None,
    };
    Some(Reach {
        target: Some(target),
        ..Reach::default()
    })
}

/// What is asked of a server first.
fn asks(written: Written<'_>) -> What {
    match written.backend.speaks.value {
        Spoke::Http1 | Spoke::Http2 => What::Request(String::new()),
        Spoke::Tcp | Spoke::FastCgi | Spoke::Uwsgi | Spoke::Scgi => What::Connection,
    }
}

fn unresolved(on: &mut Examination, subject: &Subject, fault: &DnsFault) {
    let now = i64::try_from(clock::wall()).unwrap_or(i64::MAX);
    let docket = &mut on.docket;
    Complaint::of_name(fault).tell(subject, now, &mut |seen| {
        docket.observe_probe(subject.speaker, seen, None);
    });
}

/// Looks at a server, and looks again over TLS when it asks for that.
async fn glance_at((glance, may_change): (Glance, bool)) -> (Seen, Glance, bool) {
    let seen = look::look(&glance).await;
    if !may_change || !look::may_want_tls(&seen) {
        return (seen, glance, false);
    }
    let mut over_tls = glance.clone();
    let target = over_tls.reach.target.clone();
    let found = target.map(|target| reach::client_to(None, &target));
    let Some(Ok(client)) = found else {
        return (seen, glance, false);
    };
    over_tls.reach.tls = Some(client);
    let answered = look::look(&over_tls).await;
    if answered.complaints.is_empty() {
        (answered, over_tls, true)
    } else {
        (seen, glance, false)
    }
}

/// Makes the probes that a case asks for, one after the other.
async fn examined((reach, mut case): (Reach, Case)) -> Case {
    case.budget = PROBES;
    while let Some(probe) = case.next_probe(&[]) {
        let finding = examine::run(&reach, &probe, &case).await;
        case.learn(probe, finding);
    }
    case
}

/// Does something for each of many, a few at a time.
async fn each<T, R, F>(
    progress: &mut Progress,
    doing: &str,
    mut due: VecDeque<(usize, T)>,
    work: impl Fn(T) -> F,
) -> Vec<(usize, R)>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let count = due.len();
    let mut tasks = JoinSet::new();
    let mut found = Vec::with_capacity(count);
    loop {
        while tasks.len() < AT_ONCE
            && let Some((at, one)) = due.pop_front()
        {
            let future = work(one);
            tasks.spawn(async move { (at, future.await) });
        }
        progress.show(&format!("{doing} servers: {} of {count}", found.len()));
        match tasks.join_next().await {
            Some(Ok(one)) => found.push(one),
            // A task that panicked says nothing about its server.
            Some(Err(_)) => {}
            None => break,
        }
    }
    found.sort_by_key(|(at, _)| *at);
    found
}
