//! A cloud in memory behind [`Provider`](crate::provider::Provider), [`Remote`](crate::remote::Remote) and
//! [`Store`](crate::store::Store): the engine's test bed, and later the simulation's.
//!
//! Time is virtual and jumps from sleeper to sleeper, so that an hour takes milliseconds. Faults come by a seed: the
//! same seed gives the same history. Every effect has a point before and a point after it at which the engine
//! can be killed ([`World::kill_at`]).

mod clock;
mod cloud;
mod faults;
mod machines;
mod scripts;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::events::Sink;
use crate::ledger::Ledger;
use crate::names::{CloudId, ClusterId, MachineId, MachineName};
use crate::provider::{Machine, MachineRequest, MachineState};
use crate::reconcile::Parts;
use crate::remote::Done;
use crate::store::{Store, StoreError};

pub use crate::provider::dice::Random;
pub use clock::VirtualClock;
pub use faults::Faults;
pub use scripts::WorldScripts;
pub use watch::Seat;
pub(crate) use watch::{Effect, Scene, Watch};

/// How long things take here.
const CALL: Duration = Duration::from_millis(30);
const BOOT: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_secs(3);
const REGISTER: Duration = Duration::from_secs(4);
/// The settle time of this cloud, longer than any list is late.
pub(crate) const SETTLE: Duration = Duration::from_secs(10);

/// A machine of this cloud.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) machine: Machine,
    pub(crate) token: String,
    pub(crate) listed_from: Timestamp,
    pub(crate) up_from: Timestamp,
    /// How often it was started.
    boots: u64,
    fate: Option<(Timestamp, Fate)>,
}

/// What becomes of a machine by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fails,
    Dies,
    Stops,
}

/// A node as the cluster's API has it: what its machine said last.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    /// Since when it is Ready, as long as its machine is up.
    pub(crate) ready: Timestamp,
    /// The boot of its machine that it last reported from.
    boot: u64,
    cordoned: bool,
}

/// An effect that the cloud was asked for and that comes later.
#[derive(Debug, Clone)]
enum Landing {
    Create(Box<MachineRequest>),
    Delete(MachineId, Seat),
}

/// Lists that have less in them than there is, for a while.
#[derive(Debug, Clone, Copy)]
struct Hidden {
    until: Timestamp,
    /// Only what was there before then is missing: a cloud shows what is new in its own settle time.
    older_than: Timestamp,
}

struct State {
    random: Random,
    faults: Faults,
    next_id: u64,
    made: BTreeMap<MachineId, Made>,
    scaffolds: BTreeSet<ClusterId>,
    units: BTreeMap<(MachineId, String), Done>,
    nodes: BTreeMap<(ClusterId, MachineName), Registered>,
    late: Vec<(Timestamp, Landing)>,
    hidden: Option<Hidden>,
    elsewhere: bool,
    log: Vec<(MachineName, String)>,
    asked: Vec<(MachineName, String)>,
    stored: BTreeMap<Seat, Ledger>,
    points: u64,
    kill_at: Option<u64>,
    watch: Option<Box<dyn Watch>>,
}

/// The world: clone it freely, all clones are one.
#[derive(Clone)]
pub struct World {
    clock: VirtualClock,
    seat: Seat,
    killed: Arc<tokio::sync::Notify>,
    state: Arc<Mutex<State>>,
}

impl World {
    /// An empty cloud.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State {
            random: Random::new(seed),
            faults,
            next_id: 1,
            made: BTreeMap::new(),
            scaffolds: BTreeSet::new(),
            units: BTreeMap::new(),
            nodes: BTreeMap::new(),
            late: Vec::new(),
            hidden: None,
            elsewhere: false,
            log: Vec::new(),
            asked: Vec::new(),
            stored: BTreeMap::new(),
            points: 0,
            kill_at: None,
            watch: None,
        };
        Self {
            clock: VirtualClock::new(),
            seat: 0,
            killed: Arc::default(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The same world, as another computer with a ledger of its own sees it.
    #[must_use]
    pub fn seat(&self, seat: Seat) -> Self {
        Self { seat, ..self.clone() }
    }

    /// From now on this one is told of every effect.
    pub(crate) fn watch(&self, watch: Box<dyn Watch>) {
        self.state().watch = Some(watch);
    }

    /// This cloud's id.
    pub fn cloud_id() -> CloudId {
        CloudId::from("world")
    }

    /// What a [`Reconciler`](crate::reconcile::Reconciler) over this world works with.
    pub fn parts(&self, events: Sink) -> Parts {
        Parts {
            provider: Arc::new(self.clone()),
            planner: crate::plan::plan,
            remote: Arc::new(self.clone()),
            scripts: Arc::new(WorldScripts),
            store: Arc::new(self.clone()),
            keys: Arc::new(WorldScripts),
            clock: self.clock(),
            events,
        }
    }

    /// Its time.
    pub fn clock(&self) -> Clock {
        self.clock.as_clock()
    }

    /// Runs `work` in virtual time until it ends, or until the engine is killed or the time is over: `None`.
    pub async fn drive<T>(&self, work: impl Future<Output = T>, limit: Duration) -> Option<T> {
        let killed = self.killed.notified();
        let work = async {
            tokio::select! {
                biased;
                () = killed => None,
                done = work => Some(done),
            }
        };
        self.clock.drive(work, limit).await.flatten()
    }

    /// The engine is killed at this point, counted from now (0: the next one); `None`: never.
    pub fn kill_at(&self, point: Option<u64>) {
        let mut state = self.state();
        state.kill_at = point.map(|point| state.points + point);
    }

    /// How many points were passed so far.
    pub fn points(&self) -> u64 {
        self.state().points
    }

    /// From now on nothing fails by itself any more.
    pub fn calm(&self) {
        let mut state = self.state();
        state.faults = Faults::none();
        state.hidden = None;
        state.elsewhere = false;
        for made in state.made.values_mut() {
            made.fate = None;
        }
    }

    /// From now on these faults happen.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How many faults there were so far.
    pub fn faults(&self) -> u64 {
        self.state().random.hits()
    }

    /// All machines that exist, listed or not.
    pub fn machines(&self) -> Vec<Machine> {
        let now = self.clock.now();
        let mut state = self.state();
        state.fates(now);
        state.made.values().map(|made| made.shown(now)).collect()
    }

    /// Every script that ran, in order: machine and unit.
    pub fn log(&self) -> Vec<(MachineName, String)> {
        self.state().log.clone()
    }

    /// Every question that was asked of a machine, in order: machine and script.
    pub fn asked(&self) -> Vec<(MachineName, String)> {
        self.state().asked.clone()
    }

    /// How many machines were ever made.
    pub fn made(&self) -> u64 {
        self.state().next_id - 1
    }

    /// The nodes that the cluster knows, Ready or not.
    pub fn nodes(&self) -> Vec<MachineName> {
        self.state().nodes.keys().map(|(_, name)| name.clone()).collect()
    }

    /// The nodes that take no new work.
    pub fn cordoned(&self) -> Vec<MachineName> {
        let state = self.state();
        let cordoned = state.nodes.iter().filter(|(_, node)| node.cordoned);
        cordoned.map(|((_, name), _)| name.clone()).collect()
    }

    /// The nodes whose last report is from before the last start of their machine.
    pub fn stale(&self) -> Vec<MachineName> {
        let state = self.state();
        let is_stale = |((_, name), node): &(&(ClusterId, MachineName), &Registered)| {
            let mut made = state.made.values().filter(|made| made.machine.tags.machine == *name);
            made.any(|made| made.boots != node.boot)
        };
        state.nodes.iter().filter(is_stale).map(|((_, name), _)| name.clone()).collect()
    }

    /// Takes a machine away, as an operator or a broken host does.
    pub fn destroy(&self, name: &MachineName) {
        let now = self.clock.now();
        self.state().lose(now, &|made| made.machine.tags.machine == *name);
    }

    /// Puts a machine there that somebody else made.
    pub fn place(&self, request: &MachineRequest) -> Result<(), crate::provider::ProviderError> {
        let now = self.clock.now();
        self.state().make(request, now)
    }

    /// For this long, lists lack what was there before; direct questions are answered truly.
    pub fn hide(&self, time: Duration) {
        let (until, before) = (self.clock.after(time), self.clock.before(SETTLE));
        self.state().hidden = Some(Hidden { until, older_than: before });
    }

    /// Whether another cloud answers from now on: one that has nothing of ours.
    pub fn elsewhere(&self, elsewhere: bool) {
        self.state().elsewhere = elsewhere;
    }

    /// The time, whatever clocks say.
    pub fn true_time(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sleeps in virtual time.
    pub async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// The id of the machine that is made next.
    pub fn next_machine(&self) -> MachineId {
        cloud::machine_id(self.state().next_id)
    }

    /// What is there of a cluster, or still comes because it was asked for.
    pub fn left(&self, cluster: &ClusterId) -> Vec<MachineName> {
        let state = self.state();
        let there = state.made.values().map(|made| &made.machine.tags);
        let comes = state.late.iter().filter_map(|(_, landing)| match landing {
            Landing::Create(request) => Some(&request.tags),
            Landing::Delete(..) => None,
        });
        let of_it = there.chain(comes).filter(|tags| tags.cluster == *cluster);
        of_it.map(|tags| tags.machine.clone()).collect()
    }

    /// Sets the clocks of all operators by so many seconds; true time goes on as before.
    pub fn set_clock(&self, seconds: i64) {
        self.clock.shift(seconds);
    }

    /// Switches a machine off; its disk stays.
    pub fn switch_off(&self, name: &MachineName) {
        for made in self.state().made.values_mut().filter(|made| made.machine.tags.machine == *name) {
            made.machine.state = MachineState::Stopped;
        }
    }

    /// The ledger as stored.
    pub fn stored(&self) -> Option<Ledger> {
        self.state().stored.get(&self.seat).cloned()
    }

    /// Replaces the stored ledger, as restoring an older copy does.
    pub fn restore(&self, ledger: Option<&Ledger>) {
        let mut state = self.state();
        match ledger {
            Some(ledger) => state.stored.insert(self.seat, ledger.clone()),
            None => state.stored.remove(&self.seat),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment at which the engine may be killed. Once it is, nothing of it goes on.
    async fn point(&self) {
        let dead = {
            let mut state = self.state();
            let point = state.points;
            state.points += 1;
            let now = self.clock.now();
            state.told(now, Effect::Point);
            state.kill_at.is_some_and(|at| point >= at)
        };
        if dead {
            self.killed.notify_waiters();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for World {
    async fn load(&self) -> Result<Option<Ledger>, StoreError> {
        Ok(self.stored())
    }
    async fn save(&self, ledger: &Ledger, expected: u64) -> Result<(), StoreError> {
        self.point().await;
        let found = self.stored().map_or(0, |stored| stored.generation);
        if found != expected {
            return Err(StoreError::Conflict { expected, found });
        }
        let now = self.clock.now();
        self.state().keep(now, self.seat, ledger.clone());
        self.point().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
