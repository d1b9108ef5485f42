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
use crate::provider::{Machine, MachineState};
use crate::reconcile::Parts;
use crate::remote::Done;
use crate::store::{Store, StoreError};

pub use clock::VirtualClock;
pub use faults::{Faults, Random};
pub use scripts::WorldScripts;

/// How long things take here.
const CALL: Duration = Duration::from_millis(30);
const BOOT: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_secs(3);
const REGISTER: Duration = Duration::from_secs(4);
/// The settle time of this cloud, longer than any list is late.
const SETTLE: Duration = Duration::from_secs(10);

/// A machine of this cloud.
#[derive(Debug, Clone)]
struct Made {
    machine: Machine,
    token: String,
    listed_from: Timestamp,
    up_from: Timestamp,
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
struct Registered {
    ready: Timestamp,
    /// The boot of its machine that it last reported from.
    boot: u64,
    cordoned: bool,
}

struct State {
    random: Random,
    faults: Faults,
    next_id: u64,
    made: BTreeMap<MachineId, Made>,
    scaffolds: BTreeSet<ClusterId>,
    units: BTreeMap<(MachineId, String), Done>,
    nodes: BTreeMap<MachineName, Registered>,
    log: Vec<(MachineName, String)>,
    asked: Vec<(MachineName, String)>,
    stored: Option<String>,
    points: u64,
    kill_at: Option<u64>,
}

/// The world: clone it freely, all clones are one.
#[derive(Clone)]
pub struct World {
    clock: VirtualClock,
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
            log: Vec::new(),
            asked: Vec::new(),
            stored: None,
            points: 0,
            kill_at: None,
        };
        Self { clock: VirtualClock::new(), killed: Arc::default(), state: Arc::new(Mutex::new(state)) }
    }

    /// This cloud's id.
    pub fn cloud_id() -> CloudId {
        CloudId::from("world")
    }

    /// What a [`Reconciler`](crate::reconcile::Reconciler) over this world works with.
    pub fn parts(&self, events: Sink) -> Parts {
        Parts {
            provider: Arc::new(self.clone()),
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
        self.state().nodes.keys().cloned().collect()
    }

    /// The nodes that take no new work.
    pub fn cordoned(&self) -> Vec<MachineName> {
        let state = self.state();
        let cordoned = state.nodes.iter().filter(|(_, node)| node.cordoned);
        cordoned.map(|(name, _)| name.clone()).collect()
    }

    /// The nodes whose last report is from before the last start of their machine.
    pub fn stale(&self) -> Vec<MachineName> {
        let state = self.state();
        let is_stale = |(name, node): &(&MachineName, &Registered)| {
            let mut made = state.made.values().filter(|made| made.machine.tags.machine == **name);
            made.any(|made| made.boots != node.boot)
        };
        state.nodes.iter().filter(is_stale).map(|(name, _)| name.clone()).collect()
    }

    /// Takes a machine away, as an operator or a broken host does.
    pub fn destroy(&self, name: &MachineName) {
        self.state().made.retain(|_, made| made.machine.tags.machine != *name);
    }

    /// Switches a machine off; its disk stays.
    pub fn switch_off(&self, name: &MachineName) {
        for made in self.state().made.values_mut().filter(|made| made.machine.tags.machine == *name) {
            made.machine.state = MachineState::Stopped;
        }
    }

    /// The ledger as stored.
    pub fn stored(&self) -> Option<Ledger> {
        let text = self.state().stored.clone()?;
        Ledger::from_json(&text).ok()
    }

    /// Replaces the stored ledger, as restoring an older copy does.
    pub fn restore(&self, ledger: Option<&Ledger>) {
        self.state().stored = ledger.and_then(|ledger| ledger.to_json().ok());
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
        let text = ledger.to_json().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.state().stored = Some(text);
        self.point().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
