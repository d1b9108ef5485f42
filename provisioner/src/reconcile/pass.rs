//! One pass: list, plan, save, start.

use std::time::Duration;

use jiff::Timestamp;

use super::{CLOUD_JOBS, MACHINE_JOBS, Reconciler, until};
use crate::ages::Sight;
use crate::events::What;
use crate::ledger::{Phase, changes};
use crate::names::MachineName;
use crate::plan::{Action, Busy, Held, Nodes, Observation, Plan, Reason, Subject};
use crate::provider::{Machine, MachineState, Scaffold, Scope};
use crate::spec::Spec;
use crate::store::StoreError;

/// The last answer to `list`.
pub(super) struct Listing {
    pub(super) at: Duration,
    /// Whether the cluster has no scaffold, by the cloud's own word.
    no_scaffold: bool,
    pub(super) machines: Result<Vec<Machine>, String>,
    scaffold: bool,
}

/// How old a list may be when a finished job wakes the engine: a twentieth of the settle time is nothing against the
/// lag that the settle time allows for, and a burst of finished jobs must not become a burst of lists.
fn list_again_after(settle: Duration) -> Duration {
    (settle / 20).min(Duration::from_secs(2))
}

impl Reconciler {
    /// One pass. Whether everything is settled.
    pub(super) async fn pass(&mut self, spec: &Spec) -> Result<bool, StoreError> {
        let now = self.parts.clock.now();
        self.look(spec, now).await;
        let seen = self.observation();
        let plan = (self.parts.planner)(spec, &self.ledger, &seen, now);
        self.refused.clear();
        if let Some(stop) = plan.stop {
            self.stop = Some(stop);
            return Ok(false);
        }
        let settled = plan.is_settled();
        self.report(&plan);
        self.news |= self.ledger != plan.ledger;
        self.ledger = plan.ledger.clone();
        self.save().await?;
        self.remember(&plan);
        self.outdated = plan.outdated;
        for action in plan.actions {
            self.start(action);
        }
        self.ask_nodes(spec, &plan.waits);
        Ok(settled)
    }

    /// Looks at the cloud, and lets the observed time go on.
    pub(super) async fn look(&mut self, spec: &Spec, now: Timestamp) {
        let age = list_again_after(self.limits.settle);
        if self
            .list
            .as_ref()
            .is_some_and(|list| list.machines.is_ok() && until(list.at, self.parts.clock.steady()) < age)
        {
            return;
        }
        let listing = self.list_now(spec).await;
        if let Ok(machines) = &listing.machines {
            let sight = self.sight(machines);
            self.ages.pass(now, &self.ledger, &sight);
            self.exists.retain(|id, _| !machines.iter().any(|machine| machine.id == *id));
        }
        self.list = Some(listing);
    }

    async fn list_now(&mut self, spec: &Spec) -> Listing {
        let now = self.parts.clock.steady();
        let failed = |error: crate::provider::ProviderError| Listing {
            at: now,
            machines: Err(error.to_string()),
            scaffold: false,
            no_scaffold: false,
        };
        if self.cloud.is_none() {
            match self.parts.provider.cloud().await {
                Ok(cloud) => self.cloud = Some(cloud),
                Err(error) => return failed(error),
            }
        }
        let scope = Scope::Cluster { name: spec.cluster.clone(), id: Some(self.ledger.cluster.clone()) };
        let machines = match self.parts.provider.list(&scope).await {
            Ok(machines) => machines,
            Err(error) => return failed(error),
        };
        let ids: std::collections::BTreeSet<_> = machines.iter().map(|machine| &machine.id).collect();
        let lacks = self.ledger.rows().values().any(|row| row.machine().is_some_and(|id| !ids.contains(id)));
        // Asked only when it matters: whether something missing may count as gone.
        let found = match lacks && !self.scaffold_was_missing {
            true => self.parts.provider.find_scaffold(&self.ledger.cluster).await.ok(),
            false => None,
        };
        let is_ours = |found: &Scaffold| found.cluster == self.ledger.cluster;
        Listing {
            at: now,
            machines: Ok(machines),
            scaffold: found.as_ref().is_some_and(|found| found.as_ref().is_some_and(is_ours)),
            no_scaffold: self.scaffold_was_missing || found.is_some_and(|found| found.is_none()),
        }
    }

    fn sight(&self, machines: &[Machine]) -> Sight {
        let mut sight = Sight { paused: self.paused.clone(), ..Sight::default() };
        for machine in machines.iter().filter(|machine| machine.tags.ledger == self.ledger.id) {
            let name = &machine.tags.machine;
            let Some(row) = self.ledger.row(name) else { continue };
            if row.machine().is_none_or(|id| *id == machine.id) {
                sight.listed.insert(name.clone());
            }
            if let (Phase::Ready, MachineState::Running, Nodes::Known(nodes)) =
                (row.phase(), &machine.state, &self.nodes.answer)
                && (row.restarted() || nodes.get(name).is_none_or(|node| !node.ready))
            {
                sight.nodeless.insert(name.clone());
            }
        }
        sight
    }

    pub(super) fn observation(&mut self) -> Observation {
        let now = self.parts.clock.steady();
        // "Gone" stays true; "there" may change any moment, so it is asked again.
        let keep = |exists: bool| Duration::from_secs(if exists { 2 } else { 30 });
        // A machine may start once more by itself: what it said of its boot is asked anew as well.
        self.boots.retain(|_, (_, at)| until(*at, now) < Duration::from_secs(5));
        self.exists.retain(|_, (exists, at)| until(*at, now) < keep(*exists));
        let mut limits = self.limits.clone();
        limits.rotate_host_keys &= self.rotates();
        let busy =
            |run: &super::job::Running| Busy { what: run.what.clone(), since: until(run.started, now) };
        let held = |hold: &super::fold::Hold| Held { why: hold.why.clone(), since: until(hold.since, now) };
        let (machines, scaffold, no_scaffold) = match &self.list {
            Some(list) => (list.machines.clone(), list.scaffold, list.no_scaffold),
            None => (Err("it was not asked yet".to_owned()), false, false),
        };
        Observation {
            cloud: self.cloud.clone().unwrap_or_else(|| self.ledger.cloud.clone()),
            machines,
            scaffold,
            no_scaffold,
            nodes: self.nodes.known(now),
            exists: self.exists.iter().map(|(id, (exists, _))| (id.clone(), *exists)).collect(),
            refused: self.refused.clone(),
            drained: self.drained.clone(),
            uncordoned: self.uncordoned.clone(),
            boots: self.boots.iter().map(|(name, (boot, _))| (name.clone(), boot.clone())).collect(),
            forgotten: self.forgotten.clone(),
            busy: self.running.iter().map(|(name, run)| (name.clone(), busy(run))).collect(),
            held: self
                .held
                .iter()
                .filter(|(_, hold)| hold.until > now)
                .map(|(name, hold)| (name.clone(), held(hold)))
                .collect(),
            ages: self.ages.clone(),
            limits,
        }
    }

    fn rotates(&self) -> bool {
        let row = self.ledger.rows().iter().find(|(_, row)| !row.host_key_rotated());
        let birth = row.and_then(|(name, _)| Some((name, self.ledger.key_birth(name)?)));
        birth.is_some_and(|(name, birth)| self.parts.keys.rotation(name, birth).is_some())
    }

    pub(super) fn report(&mut self, plan: &Plan) {
        for change in changes(&self.ledger, &plan.ledger) {
            let pool = |name: &MachineName| {
                let row = plan.ledger.row(name).or_else(|| self.ledger.row(name));
                row.map(|row| row.pool.clone())
            };
            if let Some(event) = What::of(&change, pool) {
                self.tell(event);
            }
        }
        let waits: Vec<_> =
            plan.waits.iter().map(|wait| (wait.subject.clone(), wait.reason.clone())).collect();
        if waits != self.last_waits {
            self.tell(What::Planned {
                rows: plan.ledger.rows().len(),
                actions: plan.actions.len(),
                waits: plan.waits.len(),
            });
            self.tell(What::Waits { waits: plan.waits.clone() });
            self.last_waits = waits;
        }
    }

    /// What later passes need to know of this one.
    pub(super) fn remember(&mut self, plan: &Plan) {
        let elsewhere = |reason: &Reason| matches!(reason, Reason::Step { .. } | Reason::FrontEnd);
        self.paused = plan
            .waits
            .iter()
            .filter(|wait| elsewhere(&wait.reason))
            .filter_map(|wait| match &wait.subject {
                Subject::Machine(name) => Some(name.clone()),
                Subject::Pool(_) | Subject::Cluster => None,
            })
            .collect();
        let rows = plan.ledger.rows();
        self.held.retain(|name, _| rows.contains_key(name) || plan.ledger.closing.is_some());
        self.failures.retain(|name, _| rows.contains_key(name));
        // A drain that was called off is no longer true of a row that drains again later, and the other way round.
        let drains = |name: &MachineName| rows.get(name).is_some_and(|row| row.phase() == Phase::Draining);
        self.drained.retain(&drains);
        self.uncordoned.retain(&drains);
        self.forgotten.retain(|name| rows.contains_key(name));
    }

    /// Starts an action, if there is room. Without room the next plan has it again.
    pub(super) fn start(&mut self, action: Action) {
        let on_machine = super::job::is_on_machine(&action);
        let most = if on_machine { MACHINE_JOBS } else { CLOUD_JOBS };
        let running = self.running.values().filter(|run| run.on_machine == on_machine).count();
        if running >= most {
            return;
        }
        let Some(work) = self.prepare_job(&action) else { return };
        if matches!(action, Action::Create { .. }) {
            self.ages.ask(action.name());
        }
        self.spawn(action, work);
    }
}
