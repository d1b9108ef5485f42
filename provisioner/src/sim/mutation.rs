//! Mistakes to plant: each is one that an engine like this could have, and each must be seen.
//!
//! They wrap the engine's decisions, its store and its cloud from outside; the engine itself has no test code.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ages::Age;
use crate::ledger::{Ledger, Phase};
use crate::names::{CloudId, ClusterId, ClusterName, MachineId};
use crate::plan::{Action, Observation, Plan, plan};
use crate::provider::{
    Demand, Grant, Leftover, Machine, MachineRequest, Problem, Provider, ProviderError, Scaffold, Scope,
    Stream, Tags,
};
use crate::reconcile::{Parts, Planner};
use crate::spec::{Network, Shape, Spec};
use crate::store::{Store, StoreError};

/// A mistake in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Machines age by the wall clock, not by what was observed.
    WallClock,
    /// What is not in the list is gone.
    ListIsEvidence,
    /// Of two machines of a name, the one with the lowest id is kept.
    KeepLowestId,
    /// What has no row in the ledger is deleted, as if the ledger knew all.
    DeleteRowless,
    /// The cloud is asked before the ledger is saved.
    NoSaveBefore,
    /// A row is forgotten as soon as its machine is asked to go.
    ForgetEarly,
    /// Nothing waits for the settle time: one empty list is enough.
    NoSettle,
    /// The lowest free ordinal is used again.
    ReuseOrdinals,
    /// Whatever cloud answers is ours.
    AnyCloud,
    /// Pools get one machine more than asked for.
    OneTooMany,
    /// Surplus machines of any owner are deleted.
    TouchOthers,
    /// A front-end that failed is replaced like a worker.
    ReplaceFrontEnd,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::WallClock,
        Self::ListIsEvidence,
        Self::KeepLowestId,
        Self::DeleteRowless,
        Self::NoSaveBefore,
        Self::ForgetEarly,
        Self::NoSettle,
        Self::ReuseOrdinals,
        Self::AnyCloud,
        Self::OneTooMany,
        Self::TouchOthers,
        Self::ReplaceFrontEnd,
    ];

    /// Plants it.
    pub(super) fn plant(self, parts: &mut Parts) {
        let planner: Planner = match self {
            Self::WallClock => wall_clock,
            Self::ListIsEvidence => list_is_evidence,
            Self::KeepLowestId => keep_lowest_id,
            Self::DeleteRowless => delete_rowless,
            Self::ForgetEarly => forget_early,
            Self::ReuseOrdinals => reuse_ordinals,
            Self::AnyCloud => any_cloud,
            Self::OneTooMany => one_too_many,
            Self::TouchOthers => touch_others,
            Self::ReplaceFrontEnd => replace_front_end,
            Self::NoSaveBefore | Self::NoSettle => plan,
        };
        parts.planner = planner;
        match self {
            Self::NoSaveBefore => {
                parts.store = Arc::new(Late { inner: Arc::clone(&parts.store), last: Mutex::default() });
            }
            Self::NoSettle => parts.provider = Arc::new(Hasty(Arc::clone(&parts.provider))),
            _ => {}
        }
    }
}

fn wall_clock(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut seen = seen.clone();
    for (name, row) in ledger.rows() {
        let since = now.duration_since(row.born.at).as_secs();
        let boot = Duration::from_secs(u64::try_from(since).unwrap_or(0));
        seen.ages.set(name, Age { boot, ..seen.ages.of(name) });
    }
    plan(spec, ledger, &seen, now)
}

fn list_is_evidence(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut seen = seen.clone();
    let listed = |id: &MachineId| seen.machines.iter().flatten().any(|machine| machine.id == *id);
    let missing: BTreeMap<MachineId, bool> = ledger
        .rows()
        .values()
        .filter_map(|row| row.machine())
        .filter(|id| seen.machines.is_ok() && !listed(id))
        .map(|id| (id.clone(), false))
        .collect();
    seen.exists.extend(missing);
    plan(spec, ledger, &seen, now)
}

fn of_name(seen: &Observation, wanted: impl Fn(&Machine) -> bool) -> Vec<MachineId> {
    let mut ids: Vec<_> =
        seen.machines.iter().flatten().filter(|m| wanted(m)).map(|m| m.id.clone()).collect();
    ids.sort();
    ids
}

fn keep_lowest_id(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut made = plan(spec, ledger, seen, now);
    for action in &mut made.actions {
        if let Action::Delete { name, id } = action {
            let ids = of_name(seen, |m| m.tags.machine == *name && m.tags.ledger == ledger.id);
            if let [_, .., last] = ids.as_slice() {
                *id = last.clone();
            }
        }
    }
    made
}

fn also_delete(made: &mut Plan, seen: &Observation, which: impl Fn(&Machine) -> bool) {
    if made.stop.is_some() {
        return;
    }
    for machine in seen.machines.iter().flatten().filter(|machine| which(machine)) {
        let name = machine.tags.machine.clone();
        made.actions.retain(|action| *action.name() != name);
        made.actions.push(Action::Delete { name, id: machine.id.clone() });
    }
}

fn delete_rowless(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut made = plan(spec, ledger, seen, now);
    also_delete(&mut made, seen, |m| m.tags.ledger == ledger.id && ledger.row(&m.tags.machine).is_none());
    made
}

fn touch_others(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut made = plan(spec, ledger, seen, now);
    also_delete(&mut made, seen, |m| m.tags.cluster == ledger.cluster && m.tags.ledger != ledger.id);
    made
}

fn forget_early(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut made = plan(spec, ledger, seen, now);
    let leaving = |ledger: &Ledger| -> Vec<_> {
        let rows = ledger.rows().iter().filter(|(_, row)| row.phase() == Phase::Deleting);
        rows.map(|(name, _)| name.clone()).collect()
    };
    for name in leaving(&made.ledger) {
        // A row in Deleting may always be forgotten: this cannot fail.
        let _ = made.ledger.forget(&name);
    }
    made
}

fn reuse_ordinals(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut ledger = ledger.clone();
    let used = |ordinal: u64| ledger.rows().values().any(|row| row.born.ordinal == ordinal);
    ledger.next_ordinal = (1..).find(|ordinal| !used(*ordinal)).unwrap_or(1);
    plan(spec, &ledger, seen, now)
}

fn any_cloud(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    plan(spec, ledger, &Observation { cloud: ledger.cloud.clone(), ..seen.clone() }, now)
}

fn one_too_many(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut spec = spec.clone();
    for pool in spec.pools.values_mut().filter(|pool| pool.size.start() == pool.size.end()) {
        pool.size = pool.size.start() + 1..=pool.size.end() + 1;
    }
    plan(&spec, ledger, seen, now)
}

fn replace_front_end(spec: &Spec, ledger: &Ledger, seen: &Observation, now: Timestamp) -> Plan {
    let mut made = plan(spec, ledger, seen, now);
    if let Some(crate::plan::Stop::FrontEndLost { name, .. }) =
        made.stop.take_if(|stop| matches!(stop, crate::plan::Stop::FrontEndLost { .. }))
    {
        let _ = made.ledger.delete(&name, crate::ledger::Leaving::Vanished);
    }
    made
}

/// Saves what it was given the time before.
struct Late {
    inner: Arc<dyn Store>,
    last: Mutex<Option<Ledger>>,
}

#[async_trait]
impl Store for Late {
    async fn load(&self) -> Result<Option<Ledger>, StoreError> {
        self.inner.load().await
    }
    async fn save(&self, ledger: &Ledger, _: u64) -> Result<(), StoreError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(ledger.clone());
        let Some(mut last) = last else { return Ok(()) };
        let stored = self.inner.load().await?.map_or(0, |stored| stored.generation);
        last.generation = stored + 1;
        self.inner.save(&last, stored).await
    }
}

/// A cloud that says that it settles at once.
struct Hasty(Arc<dyn Provider>);

#[async_trait]
impl Provider for Hasty {
    fn settle(&self) -> Duration {
        Duration::from_millis(1)
    }
    async fn cloud(&self) -> Result<CloudId, ProviderError> {
        self.0.cloud().await
    }
    async fn check(&self, demand: &Demand) -> Result<Vec<Problem>, ProviderError> {
        self.0.check(demand).await
    }
    async fn scaffold(&self, cluster: &ClusterId, network: &Network) -> Result<Scaffold, ProviderError> {
        self.0.scaffold(cluster, network).await
    }
    async fn find_scaffold(&self, cluster: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
        self.0.find_scaffold(cluster).await
    }
    async fn clusters(&self, name: &ClusterName) -> Result<Vec<ClusterId>, ProviderError> {
        self.0.clusters(name).await
    }
    async fn retag(&self, id: &MachineId, tags: &Tags) -> Result<(), ProviderError> {
        self.0.retag(id, tags).await
    }
    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, ProviderError> {
        self.0.list(scope).await
    }
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError> {
        self.0.exists(id).await
    }
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError> {
        self.0.create(request).await
    }
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.0.start(id).await
    }
    async fn delete(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.0.delete(id).await
    }
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
        self.0.shapes().await
    }
    async fn sweep(&self, cluster: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        self.0.sweep(cluster).await
    }
    async fn grant(&self, cluster: &ClusterId, file: &Path) -> Result<Grant, ProviderError> {
        self.0.grant(cluster, file).await
    }
    async fn revoke(&self, cluster: &ClusterId) -> Result<(), ProviderError> {
        self.0.revoke(cluster).await
    }
    async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError> {
        self.0.dial(machine, port).await
    }
    async fn console(&self, id: &MachineId) -> Result<String, ProviderError> {
        self.0.console(id).await
    }
}
