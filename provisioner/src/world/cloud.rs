//! The cloud itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{BOOT, CALL, Fate, Made, SETTLE, State, World};
use crate::names::{CloudId, ClusterId, ClusterName, MachineId};
use crate::provider::{
    Demand, Leftover, Machine, MachineRequest, MachineState, Problem, Provider, ProviderError, Scaffold,
    Scope, Stream, Tags,
};
use crate::spec::{Network, Shape};

fn later(now: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::ZERO);
    now.saturating_add(time).unwrap_or(Timestamp::MAX)
}

fn lost(what: &str) -> ProviderError {
    ProviderError::Unavailable { message: format!("{what}: no answer within 10 s"), retry_after: None }
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
    /// What was bound to happen by now happens.
    pub(super) fn fates(&mut self, now: Timestamp) {
        let due = |made: &Made| made.fate.filter(|(at, _)| *at <= now).map(|(_, fate)| fate);
        self.made.retain(|_, made| due(made) != Some(Fate::Dies));
        for made in self.made.values_mut() {
            match due(made) {
                Some(Fate::Fails) => made.machine.state = MachineState::Failed("it does not boot".into()),
                Some(Fate::Stops) => made.machine.state = MachineState::Stopped,
                Some(Fate::Dies) | None => continue,
            }
            made.fate = None;
        }
    }

    fn make(&mut self, request: &MachineRequest, now: Timestamp) -> Result<(), ProviderError> {
        if !self.faults.no_tokens && self.made.values().any(|made| made.token == request.token) {
            return Ok(());
        }
        if self.random.chance(self.faults.no_capacity) {
            return Err(ProviderError::NoCapacity { message: "no host has room".into() });
        }
        if let Some(quota) = self.faults.quota.filter(|quota| self.made.len() >= *quota) {
            return Err(ProviderError::Quota { message: format!("instances: {quota} of {quota} used") });
        }
        let id = MachineId(format!("i-{:04}", self.next_id));
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
        let up_from = later(now, BOOT);
        self.made
            .insert(id, Made { machine, token: request.token.clone(), listed_from, up_from, boots: 1, fate });
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
        self.clock.sleep(CALL).await;
        let now = self.clock.now();
        let (result, answer_is_lost) = {
            let mut state = self.state();
            state.fates(now);
            let (request, answer) = (state.faults.lost_request, state.faults.lost_answer);
            if state.random.chance(request) {
                return Err(lost(what));
            }
            let result = effect(&mut state, now);
            (result, state.random.chance(answer))
        };
        self.point().await;
        if answer_is_lost { Err(lost(what)) } else { result }
    }
}

#[async_trait]
impl Provider for World {
    fn settle(&self) -> Duration {
        SETTLE
    }
    async fn cloud(&self) -> Result<CloudId, ProviderError> {
        Ok(World::cloud_id())
    }
    async fn check(&self, _: &Demand) -> Result<Vec<Problem>, ProviderError> {
        Ok(Vec::new())
    }
    async fn scaffold(&self, cluster: &ClusterId, _: &Network) -> Result<Scaffold, ProviderError> {
        self.call("scaffold", |state, _| {
            state.scaffolds.insert(cluster.clone());
            Ok(Scaffold { cluster: cluster.clone(), cloud: World::cloud_id() })
        })
        .await
    }
    async fn find_scaffold(&self, cluster: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
        self.call("find scaffold", |state, _| {
            let found = state.scaffolds.get(cluster);
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
        self.call("list", |state, now| {
            let in_scope = |cluster: &ClusterId| match scope {
                Scope::All => true,
                Scope::Cluster { name, id } => {
                    Some(cluster) == id.as_ref() || cluster.name().as_ref() == Some(name)
                }
            };
            let listed =
                |made: &&super::Made| made.listed_from <= now && in_scope(&made.machine.tags.cluster);
            Ok(state.made.values().filter(listed).map(|made| made.shown(now)).collect())
        })
        .await
    }
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError> {
        self.call("exists", |state, _| Ok(state.made.contains_key(id))).await
    }
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError> {
        self.call("create", |state, now| state.make(request, now)).await
    }
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.call("start", |state, now| {
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
        self.call("delete", |state, _| {
            state.made.remove(id);
            Ok(())
        })
        .await
    }
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
        Ok(Vec::new())
    }
    async fn sweep(&self, cluster: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        self.call("sweep", |state, _| {
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
    async fn dial(&self, machine: &Machine, _: u16) -> Result<Stream, ProviderError> {
        Err(ProviderError::Rejected { message: format!("{} is in memory: it has no ports", machine.id) })
    }
    async fn console(&self, _: &MachineId) -> Result<String, ProviderError> {
        Ok(String::new())
    }
}
