//! The shell around [`plan`](crate::plan): makes the ledger true.
//!
//! ```text
//! fold in finished jobs ─► list ─► plan ─► save if changed ─► start actions ─► wait for a job or a moment ─┐
//!        ▲─────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Invariants: nothing is started that was not saved first; at most one job for each machine; a finished step is
//! saved in the next pass; dropping a [`Reconciler`] at any moment loses nothing that the next one needs.

mod facts;
mod fold;
mod job;
mod nodes;
mod pass;
mod place;
mod tick;

pub use job::Place;
pub use tick::{Sighted, Ticked};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretSlice;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ages::Ages;
use crate::clock::Clock;
use crate::events::{Sink, What};
use crate::ledger::{Closing, Ledger};
use crate::names::{CloudId, MachineId, MachineName, PoolName};
use crate::plan::{Limits, Nodes, Plan, Stop};
use crate::provider::{Machine, Provider, ProviderError, UserData};
use crate::recipe::{Host, Scripts};
use crate::remote::{Job, Remote, RemoteError, Target};
use crate::spec::{Role, Spec};
use crate::store::{Store, StoreError};

/// The keys of a cluster's machines, derived and never stored: the same machine gives the same keys. `birth` is
/// [`Ledger::key_birth`].
pub trait HostKeys: Send + Sync {
    /// What the machine reads at its first boot; has its first host key.
    fn user_data(&self, machine: &MachineName, birth: Timestamp) -> UserData;
    /// SHA-256 fingerprints of both host keys, for the tag.
    fn fingerprint(&self, machine: &MachineName, birth: Timestamp) -> String;
    /// How a machine of another ledger is made ours: the job that puts our second host key in place and authorises us,
    /// and the fingerprint of that key. `None`: there are no host keys to change.
    fn takeover(&self, _machine: &MachineName, _birth: Timestamp) -> Option<(Job, String)> {
        None
    }
    /// The first public host key, `ssh-ed25519 AAAA…`.
    fn first(&self, machine: &MachineName, birth: Timestamp) -> String;
    /// The second public host key, which replaces the first at the first contact.
    fn second(&self, machine: &MachineName, birth: Timestamp) -> String;
    /// The job that puts the second host key in place; repeatable. `None`: the first one stays.
    fn rotation(&self, machine: &MachineName, birth: Timestamp) -> Option<Job>;
}

/// Decides: [`plan`](crate::plan::plan), or in the simulation one with a mistake planted.
pub type Planner = fn(&Spec, &Ledger, &crate::plan::Observation, Timestamp) -> Plan;

/// What a reconciler works with.
#[derive(Clone)]
pub struct Parts {
    /// The cloud.
    pub provider: Arc<dyn Provider>,
    /// What decides.
    pub planner: Planner,
    /// Scripts on machines.
    pub remote: Arc<dyn Remote>,
    /// What the scripts are.
    pub scripts: Arc<dyn Scripts>,
    /// Where the ledger is kept.
    pub store: Arc<dyn Store>,
    /// Host keys.
    pub keys: Arc<dyn HostKeys>,
    /// The time.
    pub clock: Clock,
    /// Who follows.
    pub events: Sink,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is left to do and nothing to wait for.
    Settled,
    /// Something needs a person.
    Stopped(Stop),
    /// A person asked to stop; what ran was finished and saved.
    Interrupted,
}

/// Calls to the cloud at a time: clouds allow some tens of requests a second, and one takes about a second.
const CLOUD_JOBS: usize = 16;
/// Jobs on machines at a time: each is an SSH session with a thread of about a megabyte.
const MACHINE_JOBS: usize = 64;
/// How often a step is tried by one run before it gives up: passing failures are over after two.
const TRIES: u32 = 3;
/// The shortest time between two passes without news, and the longest: soon enough that nobody notices, seldom
/// enough that a cloud's rate limits do not. A cloud that settles fast is near, and is asked more often: the
/// sandbox every 0.1 to 0.25 s, others every 0.2 to 2 s.
fn intervals(settle: Duration) -> (Duration, Duration) {
    let ms = Duration::from_millis;
    ((settle / 20).clamp(ms(50), ms(200)), (settle / 8).clamp(ms(200), ms(2000)))
}

/// Makes one ledger true. One at a time for each ledger: the store's lock and compare-and-swap see to it.
pub struct Reconciler {
    parts: Parts,
    /// When this run began: a part of the names of what it asks about nodes.
    began: Timestamp,
    facts: Arc<facts::Facts>,
    limits: Limits,
    /// As in memory: may be ahead of what is saved by the results of finished jobs.
    ledger: Ledger,
    /// As saved last; `None` before the first save.
    saved: Option<Ledger>,
    cloud: Option<CloudId>,
    scaffold_was_missing: bool,
    list: Option<pass::Listing>,
    ages: Ages,
    jobs: JoinSet<job::Finished>,
    running: BTreeMap<MachineName, job::Running>,
    held: BTreeMap<MachineName, fold::Hold>,
    failures: BTreeMap<MachineName, u32>,
    exists: BTreeMap<MachineId, (bool, Duration)>,
    refused: BTreeMap<MachineName, ProviderError>,
    drained: BTreeSet<MachineName>,
    uncordoned: BTreeSet<MachineName>,
    boots: BTreeMap<MachineName, (String, Duration)>,
    forgotten: BTreeSet<MachineName>,
    paused: BTreeSet<MachineName>,
    nodes: nodes::Watch,
    outdated: Vec<MachineName>,
    last_waits: Vec<(crate::plan::Subject, crate::plan::Reason)>,
    stop: Option<Stop>,
    news: bool,
    /// Pools of front-ends that are another ledger's: the daemon's own cluster is reached through them.
    elsewhere: BTreeSet<PoolName>,
    /// Whether the last thing told is that everything is settled: said once, however often it is looked at.
    told_settled: bool,
}

impl Reconciler {
    /// For a ledger as loaded, or as made new (generation 0). `limits.settle` and `rotate_host_keys` are taken
    /// from the provider and the keys.
    pub fn new(parts: Parts, mut ledger: Ledger, limits: Limits) -> Self {
        let saved = (ledger.generation > 0).then(|| ledger.clone());
        let ages = Ages::resume(&ledger);
        // A person who starts anew wants a new attempt at once; a daemon's back-offs hold.
        if limits.give_up.is_some() {
            ledger.clear_backoff();
        }
        let limits = Limits { settle: parts.provider.settle(), ..limits };
        let began = parts.clock.now();
        Self {
            parts,
            began,
            facts: Arc::default(),
            limits,
            ledger,
            saved,
            cloud: None,
            scaffold_was_missing: false,
            list: None,
            ages,
            jobs: JoinSet::new(),
            running: BTreeMap::new(),
            held: BTreeMap::new(),
            failures: BTreeMap::new(),
            exists: BTreeMap::new(),
            refused: BTreeMap::new(),
            drained: BTreeSet::new(),
            uncordoned: BTreeSet::new(),
            boots: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            paused: BTreeSet::new(),
            nodes: nodes::Watch::default(),
            outdated: Vec::new(),
            last_waits: Vec::new(),
            stop: None,
            news: true,
            elsewhere: BTreeSet::new(),
            told_settled: false,
        }
    }

    /// The ledger, with everything that this run knows.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The cluster is to go. Saved by the next pass before anything is deleted, also where no row would change.
    pub fn close(&mut self, closing: Closing) {
        self.ledger.close(closing);
        self.news = true;
    }

    /// A person gives up this front-end, which a run stopped at because it is lost: the next run makes the cluster
    /// anew. Any other front-end is as before.
    pub fn give_up_front_end(&mut self, name: MachineName) {
        self.limits.give_up_front_end = Some(name);
        self.stop = None;
        self.news = true;
    }

    /// The machines as listed last; empty before the first list.
    pub fn machines(&self) -> &[Machine] {
        self.list.as_ref().map_or(&[], |list| list.machines.as_deref().unwrap_or(&[]))
    }

    /// How to reach the machine of a row, and what scripts may know of it. `None` before it was listed.
    pub fn reach(&self, name: &MachineName) -> Option<(Target, Host)> {
        self.place(name).map(|place| (place.target, place.host))
    }

    /// The first front-end that is Ready and runs.
    pub fn front_end(&self) -> Option<(Target, Host)> {
        self.ready_front_end().map(|place| (place.target, place.host))
    }

    /// Lists the machines, for those who only look.
    pub async fn observe(&mut self, spec: &Spec) {
        let now = self.parts.clock.now();
        self.look(spec, now).await;
    }

    /// The nodes, asked for now.
    pub async fn nodes_now(&self) -> Nodes {
        match self.ready_front_end() {
            Some(place) => nodes::ask(&self.parts, &place).await,
            None => Nodes::Unknown("no front-end is Ready".into()),
        }
    }

    /// Asks the first front-end that is Ready and runs; nothing of it is logged or kept. `None`: there is none.
    pub async fn ask_front_end(&self, script: &str) -> Option<Result<SecretSlice<u8>, RemoteError>> {
        let place = self.ready_front_end()?;
        Some(self.parts.remote.ask(&place.target, script).await)
    }

    /// Ready machines whose recipes have changed since: they are left as they are.
    pub fn outdated(&self) -> &[MachineName] {
        &self.outdated
    }

    /// What one pass would do, without doing it: lists, plans, saves nothing and starts nothing. Nodes are
    /// not asked for, so waits for them are not in it.
    pub async fn preview(&mut self, spec: &Spec) -> Plan {
        let now = self.parts.clock.now();
        self.look(spec, now).await;
        let seen = self.observation();
        let mut plan = (self.parts.planner)(spec, &self.ledger, &seen, now);
        plan.waits.retain(|wait| !matches!(wait.reason, crate::plan::Reason::NodesUnknown { .. }));
        plan
    }

    /// Runs passes until nothing is left to do and nothing to wait for. `cancel` starts nothing more, lets
    /// what runs finish, saves and returns; dropping the future instead is safe too.
    pub async fn settle(&mut self, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, StoreError> {
        let began = self.parts.clock.steady();
        self.prepare(spec).await?;
        let (shortest, longest) = intervals(self.limits.settle);
        let mut interval = shortest;
        loop {
            self.collect();
            if cancel.is_cancelled() && self.stop.is_none() {
                self.tell(What::Interrupted { running: self.jobs.len() });
                self.finish_jobs().await?;
                return Ok(self.stop.take().map_or(Ended::Interrupted, Ended::Stopped));
            }
            let settled = self.stop.is_none() && self.pass(spec).await?;
            if let Some(stop) = self.stop.clone() {
                self.finish_jobs().await?;
                self.tell(What::Stopped { text: stop.to_string(), stop: stop.clone() });
                return Ok(Ended::Stopped(stop));
            }
            if settled && self.jobs.is_empty() {
                if !std::mem::replace(&mut self.told_settled, true) {
                    self.tell(What::Settled { took: self.since(began) });
                }
                return Ok(Ended::Settled);
            }
            interval = if std::mem::take(&mut self.news) { shortest } else { interval.mul_f32(1.5) };
            interval = interval.min(longest);
            self.rest(interval, cancel).await;
        }
    }

    /// Waits for a job to end, a hold to end, the interval, or the person.
    async fn rest(&mut self, interval: Duration, cancel: &CancellationToken) {
        let now = self.parts.clock.steady();
        let next = self.held.values().map(|hold| until(now, hold.until)).filter(|time| !time.is_zero()).min();
        let sleep = self.parts.clock.sleep(next.map_or(interval, |next| next.min(interval)));
        let joined = tokio::select! {
            biased;
            Some(joined) = self.jobs.join_next_with_id() => Some(joined),
            () = cancel.cancelled() => None,
            () = sleep => None,
        };
        if let Some(joined) = joined {
            self.joined(joined);
        }
    }

    /// Folds in every job that has ended by now.
    fn collect(&mut self) {
        while let Some(joined) = self.jobs.try_join_next_with_id() {
            self.joined(joined);
        }
    }

    fn joined(&mut self, joined: Result<(tokio::task::Id, job::Finished), tokio::task::JoinError>) {
        match joined {
            Ok((_, finished)) => self.fold(finished),
            Err(error) => {
                let name =
                    self.running.iter().find(|(_, run)| run.task == error.id()).map(|(n, _)| n.clone());
                if let Some(run) = name.as_ref().and_then(|name| self.running.remove(name)) {
                    let why = format!("the job of {} ended without a result: {error}", run.what);
                    self.stop.get_or_insert(Stop::Defect { why });
                }
                self.nodes.asking = false;
            }
        }
    }

    /// Lets everything that runs end, and saves what came of it.
    async fn finish_jobs(&mut self) -> Result<(), StoreError> {
        while let Some(joined) = self.jobs.join_next_with_id().await {
            self.joined(joined);
        }
        self.save().await
    }

    /// Saves the ledger if it differs from what is saved.
    async fn save(&mut self) -> Result<(), StoreError> {
        if self.saved.as_ref() == Some(&self.ledger) {
            return Ok(());
        }
        let expected = self.saved.as_ref().map_or(0, |saved| saved.generation);
        self.ledger.generation = expected + 1;
        self.parts.store.save(&self.ledger, expected).await?;
        self.saved = Some(self.ledger.clone());
        Ok(())
    }

    /// Before the first pass: the ledger is saved, so that the cluster's id is known whatever happens, and the
    /// machines have something to stand on.
    async fn prepare(&mut self, spec: &Spec) -> Result<(), StoreError> {
        self.save().await?;
        if !spec.pools.values().any(|pool| pool.role == Role::FrontEnd) {
            self.nodes.answer = Nodes::Unused;
        }
        if self.ledger.closing.is_some() || self.stop.is_some() {
            return Ok(());
        }
        let cluster = self.ledger.cluster.clone();
        for tried in 1..=TRIES {
            match self.try_scaffold(spec, &cluster).await {
                Ok(()) => return Ok(()),
                Err(ProviderError::Unavailable { .. }) if tried < TRIES => {
                    self.parts.clock.sleep(Duration::from_secs(1 << tried)).await;
                }
                Err(error) => {
                    self.stop = Some(Stop::Scaffold { cluster, why: error.to_string() });
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn try_scaffold(
        &mut self,
        spec: &Spec,
        cluster: &crate::names::ClusterId,
    ) -> Result<(), ProviderError> {
        let cloud = self.parts.provider.cloud().await?;
        let matches = cloud == self.ledger.cloud;
        self.cloud = Some(cloud);
        // A wrong cloud gets nothing from us; the first pass says so.
        if !matches {
            return Ok(());
        }
        if self.parts.provider.find_scaffold(cluster).await?.is_some() {
            return Ok(());
        }
        // Machines that stood on it are no evidence of anything any more, once we have made a new one.
        self.scaffold_was_missing |= self.ledger.rows().values().any(|row| row.machine().is_some());
        self.parts.provider.scaffold(cluster, &spec.network).await.map(|_| ())
    }

    fn tell(&self, what: What) {
        self.parts.events.tell(self.parts.clock.now(), self.ledger.generation, what);
    }

    fn since(&self, then: Duration) -> Duration {
        until(then, self.parts.clock.steady())
    }
}

/// From `now` until `then`; zero if that is past.
fn until(now: Duration, then: Duration) -> Duration {
    then.saturating_sub(now)
}
