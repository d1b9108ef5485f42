//! The cloud itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{BOOT, CALL, Effect, Fate, Landing, Made, SETTLE, Scene, Seat, State, World};
use crate::ledger::Ledger;
use crate::names::{CloudId, ClusterId, ClusterName, MachineId};
use crate::provider::{
    Demand, Grant, Leftover, Machine, MachineRequest, MachineState, Problem, Provider, ProviderError,
    Scaffold, Scope, Stream, Tags,
};
use crate::spec::{Network, Shape};

fn later(now: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::ZERO);
    now.saturating_add(time).unwrap_or(Timestamp::MAX)
}

fn lost(what: &str) -> ProviderError {
    ProviderError::Unavailable { message: format!("{what}: no answer within 10 s"), retry_after: None }
}

pub(super) fn machine_id(number: u64) -> MachineId {
    MachineId(format!("i-{number:04}"))
}

impl Made {
    /// As the cloud shows it at this time.
    pub(super) fn shown(&self, now: Timestamp) -> Machine {
        let mut machine = self.machine.clone();
        if machine.state == MachineState::Running && now < self.up_from {
            machine.state = MachineState::Building;
        }
        machine
    }
}

impl State {
    /// Tells who watches, with the world as it is now.
    pub(super) fn told(&mut self, now: Timestamp, effect: Effect<'_>) {
        let Some(watch) = &mut self.watch else { return };
        let (made, nodes, stored) = (&self.made, &self.nodes, &self.stored);
        watch.effect(effect, &Scene { now, made, nodes, stored });
    }

    /// What was bound to happen by now happens.
    pub(super) fn fates(&mut self, now: Timestamp) {
        self.land(now);
        let due = |made: &Made| made.fate.filter(|(at, _)| *at <= now).map(|(_, fate)| fate);
        self.lose(now, &|made| due(made) == Some(Fate::Dies));
        for made in self.made.values_mut() {
            match due(made) {
                Some(Fate::Fails) => made.machine.state = MachineState::Failed("it does not boot".into()),
                Some(Fate::Stops) => made.machine.state = MachineState::Stopped,
                Some(Fate::Dies) | None => continue,
            }
            made.fate = None;
        }
    }

    /// Effects that were asked for before and come only now.
    fn land(&mut self, now: Timestamp) {
        while let Some(next) = self.late.iter().position(|(at, _)| *at <= now) {
            match self.late.remove(next) {
                // A refusal that nobody hears changes nothing.
                (at, Landing::Create(request)) => drop(self.make(&request, at)),
                (at, Landing::Delete(id, seat)) => self.delete(&id, seat, at),
            }
        }
    }

    /// Takes machines away that nobody asked to delete.
    pub(super) fn lose(&mut self, now: Timestamp, which: &dyn Fn(&Made) -> bool) {
        let lost: Vec<_> =
            self.made.iter().filter(|(_, made)| which(made)).map(|(id, _)| id.clone()).collect();
        for id in lost {
            if let Some(made) = self.made.remove(&id) {
                self.told(now, Effect::Lost(&made.machine));
            }
        }
    }

    fn delete(&mut self, id: &MachineId, seat: Seat, now: Timestamp) {
        if let Some(made) = self.made.remove(id) {
            self.told(now, Effect::Deleted(&made.machine, seat));
        }
    }

    /// Whether the call went to another cloud than the ledger's: it is told, and has no effect here.
    fn astray(&mut self, now: Timestamp, what: &str) -> bool {
        if self.elsewhere {
            self.told(now, Effect::Elsewhere(what));
        }
        self.elsewhere
    }

    /// The ledger of a seat as saved.
    pub(super) fn keep(&mut self, now: Timestamp, seat: Seat, ledger: Ledger) {
        let before = self.stored.insert(seat, ledger.clone());
        self.told(now, Effect::Saved(seat, before.as_ref(), &ledger));
    }

    /// What a list shows: by faults less than there is.
    fn shown(&mut self, scope: &Scope, now: Timestamp) -> Vec<Machine> {
        if self.elsewhere {
            return Vec::new();
        }
        let short = self.random.chance(self.faults.short_list);
        let hidden = self.hidden.filter(|hidden| now < hidden.until);
        let mut shown = Vec::new();
        for made in self.made.values() {
            let of = &made.machine.tags.cluster;
            let in_scope = match scope {
                Scope::All => true,
                Scope::Cluster { name, id } => Some(of) == id.as_ref() || of.name().as_ref() == Some(name),
            };
            let missing = hidden.is_some_and(|hidden| made.machine.created < Some(hidden.older_than))
                || short && self.random.draw().is_multiple_of(2);
            let missing = missing && self.has_row(&made.machine.tags);
            if in_scope && !missing && made.listed_from <= now {
                shown.push(made.shown(now));
            }
        }
        shown
    }

    /// Whether a ledger has a row for it. What an older ledger has forgotten is never missing from lists here: both losses at
    /// once would leave nobody who knows that its name is taken, and no engine could tell.
    fn has_row(&self, tags: &Tags) -> bool {
        self.stored.values().any(|ledger| ledger.id == tags.ledger && ledger.row(&tags.machine).is_some())
    }

    pub(super) fn make(&mut self, request: &MachineRequest, now: Timestamp) -> Result<(), ProviderError> {
        let same = |made: &&Made| !self.faults.no_tokens && made.token == request.token;
        if let Some(made) = self.made.values().find(same) {
            let machine = &made.machine;
            if machine.tags == request.tags && machine.shape == request.shape {
                return Ok(());
            }
            let message = "this token made another machine: a request that differs needs a new one".into();
            return Err(ProviderError::Rejected { message });
        }
        if self.random.chance(self.faults.no_capacity) {
            return Err(ProviderError::NoCapacity { message: "no host has room".into() });
        }
        if let Some(quota) = self.faults.quota.filter(|quota| self.made.len() >= *quota) {
            return Err(ProviderError::Quota { message: format!("instances: {quota} of {quota} used") });
        }
        let id = machine_id(self.next_id);
        let number = u32::try_from(self.next_id).unwrap_or(0);
        self.next_id += 1;
        let minutes = Duration::from_secs(120);
        let fate = if self.random.chance(self.faults.boot_fails) {
            Some((later(now, BOOT), Fate::Fails))
        } else if self.random.chance(self.faults.dies) {
            Some((later(now, self.random.time(minutes)), Fate::Dies))
        } else if self.random.chance(self.faults.stops) {
            Some((later(now, self.random.time(minutes)), Fate::Stops))
        } else {
            None
        };
        let machine = Machine {
            id: id.clone(),
            tags: request.tags.clone(),
            state: MachineState::Running,
            address: Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))),
            exposed: BTreeMap::new(),
            shape: request.shape.clone(),
            created: Some(now),
        };
        let listed_from = later(now, self.random.time(self.faults.late_list));
        let up_from = later(now, BOOT + self.random.time(self.faults.slow_boot));
        let made = Made { machine, token: request.token.clone(), listed_from, up_from, boots: 1, fate };
        self.made.insert(id, made.clone());
        self.told(now, Effect::Created(&made.machine, &made.token));
        Ok(())
    }
}

impl World {
    /// One call: a point and the network before it, its effect, a point after it; by chance lost on the way.
    async fn call<T>(
        &self,
        what: &str,
        effect: impl FnOnce(&mut State, Timestamp) -> Result<T, ProviderError> + Send,
    ) -> Result<T, ProviderError> {
        self.point().await;
        let hangs = {
            let mut state = self.state();
            let hangs = state.faults.hangs;
            state.random.chance(hangs)
        };
        if hangs {
            self.clock.sleep(HANG).await;
            return Err(lost(what));
        }
        self.clock.sleep(CALL).await;
        let now = self.clock.now();
        let (result, answer_is_lost) = {
            let mut state = self.state();
            state.fates(now);
            if let Some(refused) = state.refusal(what) {
                state.told(now, Effect::Fault(what, "no effect"));
                return Err(refused);
            }
            let result = effect(&mut state, now);
            let answer = state.faults.lost_answer;
            let answer_is_lost = state.random.chance(answer);
            if answer_is_lost {
                state.told(now, Effect::Fault(what, "answer lost"));
            }
            (result, answer_is_lost)
        };
        self.point().await;
        if answer_is_lost { Err(lost(what)) } else { result }
    }
}

/// How long a call hangs before its time-out.
const HANG: Duration = Duration::from_secs(10);

impl State {
    /// Faults that keep a call from having an effect.
    fn refusal(&mut self, what: &str) -> Option<ProviderError> {
        if self.random.chance(self.faults.lost_request) {
            return Some(lost(what));
        }
        if self.random.chance(self.faults.error_500) {
            let message = format!("{what}: 500 internal server error");
            return Some(ProviderError::Unavailable { message, retry_after: None });
        }
        if self.random.chance(self.faults.rate_limit) {
            let message = format!("{what}: 429 too many requests");
            let retry_after = Some(Duration::from_secs(1 + self.random.draw() % 5));
            return Some(ProviderError::Unavailable { message, retry_after });
        }
        None
    }

    /// When an effect comes that was asked for now, if not at once.
    fn comes_late(&mut self, most: Duration, now: Timestamp) -> Option<Timestamp> {
        (!most.is_zero() && self.random.chance(LATE)).then(|| later(now, self.random.time(most)))
    }
}

/// How many of a thousand calls have their effect late, where that happens at all.
const LATE: u64 = 300;

#[async_trait]
impl Provider for World {
    fn settle(&self) -> Duration {
        SETTLE
    }
    async fn cloud(&self) -> Result<CloudId, ProviderError> {
        let elsewhere = self.state().elsewhere;
        Ok(if elsewhere { CloudId::from("elsewhere") } else { World::cloud_id() })
    }
    async fn check(&self, _: &Demand) -> Result<Vec<Problem>, ProviderError> {
        Ok(Vec::new())
    }
    async fn scaffold(&self, cluster: &ClusterId, _: &Network) -> Result<Scaffold, ProviderError> {
        self.call("scaffold", |state, now| {
            state.astray(now, "scaffold");
            state.scaffolds.insert(cluster.clone());
            Ok(Scaffold { cluster: cluster.clone(), cloud: World::cloud_id() })
        })
        .await
    }
    async fn find_scaffold(&self, cluster: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
        self.call("find scaffold", |state, _| {
            let found = state.scaffolds.get(cluster).filter(|_| !state.elsewhere);
            Ok(found.map(|found| Scaffold { cluster: found.clone(), cloud: World::cloud_id() }))
        })
        .await
    }
    async fn clusters(&self, name: &ClusterName) -> Result<Vec<ClusterId>, ProviderError> {
        self.call("clusters", |state, _| {
            let of_name = |id: &&ClusterId| id.name().as_ref() == Some(name);
            Ok(state.scaffolds.iter().filter(of_name).cloned().collect())
        })
        .await
    }
    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, ProviderError> {
        self.call("list", |state, now| Ok(state.shown(scope, now))).await
    }
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError> {
        self.call("exists", |state, _| Ok(!state.elsewhere && state.made.contains_key(id))).await
    }
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError> {
        self.call("create", |state, now| {
            if state.astray(now, "create") {
                return Ok(());
            }
            match state.comes_late(state.faults.late_create, now) {
                Some(at) => {
                    state.late.push((at, Landing::Create(Box::new(request.clone()))));
                    Err(lost("create"))
                }
                None => state.make(request, now),
            }
        })
        .await
    }
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.call("start", |state, now| {
            if state.astray(now, "start") {
                return Ok(());
            }
            let made = state.made.get_mut(id);
            let made = made.ok_or_else(|| ProviderError::Rejected { message: format!("no machine {id}") })?;
            if made.machine.state == MachineState::Stopped {
                made.machine.state = MachineState::Running;
                made.up_from = later(now, BOOT);
                made.boots += 1;
            }
            Ok(())
        })
        .await
    }
    async fn retag(&self, id: &MachineId, tags: &Tags) -> Result<(), ProviderError> {
        self.call("retag", |state, _| {
            let made = state.made.get_mut(id);
            let made = made.ok_or_else(|| ProviderError::Rejected { message: format!("no machine {id}") })?;
            if !made.machine.tags.may_become(tags) {
                let message = format!("{id} is {} and stays it", made.machine.tags.machine);
                return Err(ProviderError::Rejected { message });
            }
            made.machine.tags = tags.clone();
            Ok(())
        })
        .await
    }
    async fn delete(&self, id: &MachineId) -> Result<(), ProviderError> {
        let seat = self.seat;
        self.call("delete", |state, now| {
            if state.astray(now, "delete") {
                return Ok(());
            }
            match state.comes_late(state.faults.late_delete, now) {
                Some(at) => state.late.push((at, Landing::Delete(id.clone(), seat))),
                None => state.delete(id, seat, now),
            }
            Ok(())
        })
        .await
    }
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
        Ok(Vec::new())
    }
    async fn sweep(&self, cluster: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        self.call("sweep", |state, now| {
            if state.astray(now, "sweep") {
                return Ok(Vec::new());
            }
            let holder = state.made.values().find(|made| made.machine.tags.cluster == *cluster);
            if let Some(holder) = holder {
                let (what, blocker) =
                    (format!("network {cluster}"), format!("machine {}", holder.machine.id));
                return Ok(vec![Leftover { what, blocker }]);
            }
            state.scaffolds.remove(cluster);
            Ok(Vec::new())
        })
        .await
    }
    async fn grant(&self, cluster: &ClusterId, _: &Path) -> Result<Grant, ProviderError> {
        Err(ProviderError::Rejected { message: format!("{cluster} is in memory: no daemon runs in it") })
    }
    async fn revoke(&self, _: &ClusterId) -> Result<(), ProviderError> {
        Ok(())
    }
    async fn dial(&self, machine: &Machine, _: u16) -> Result<Stream, ProviderError> {
        Err(ProviderError::Rejected { message: format!("{} is in memory: it has no ports", machine.id) })
    }
    async fn console(&self, _: &MachineId) -> Result<String, ProviderError> {
        Ok(String::new())
    }
}
