//! What is done with one row: the live phases.

use std::time::Duration;

use super::{Action, Decided, Draft, Nodes, Reason, Stop};
use crate::ledger::{Leaving, Phase, Row, is_lasting};
use crate::names::{MachineName, StepId};
use crate::provider::{Machine, MachineState};
use crate::spec::{Role, Step};

impl Draft<'_> {
    pub(super) fn row(&mut self, name: &MachineName) -> Decided {
        let machine = self.machine(name);
        if let Some(machine) = machine {
            self.ledger.sight(name, &machine.id)?;
        }
        if self.duplicates(name) {
            return Ok(());
        }
        if let Some(busy) = self.seen.busy.get(name) {
            self.wait_machine(name, Reason::Job { what: busy.what.clone() }, busy.since, None);
            return Ok(());
        }
        match self.ledger.row(name).map(crate::ledger::Row::phase) {
            Some(Phase::Creating | Phase::Configuring | Phase::Ready) => self.live(name, machine),
            Some(Phase::Draining) if self.recalled.contains(name) => self.returning(name, machine),
            Some(Phase::Draining) => self.draining(name, machine),
            Some(Phase::Deleting) => self.deleting(name, machine),
            None => Ok(()),
        }
    }

    /// Deletes whatever else has this row's name. Whether there was anything.
    fn duplicates(&mut self, name: &MachineName) -> bool {
        let kept = self.ledger.row(name).and_then(|row| row.machine().cloned());
        let group = self.ours.get(name).map_or(&[][..], Vec::as_slice);
        let Some(other) = group.iter().find(|machine| kept.as_ref() != Some(&machine.id)) else {
            return false;
        };
        let id = other.id.clone();
        self.act(Action::Delete { name: name.clone(), id });
        let age = self.seen.ages.of(name);
        self.wait_machine(name, Reason::Duplicate, age.boot, None);
        true
    }

    pub(super) fn live(&mut self, name: &MachineName, machine: Option<&Machine>) -> Decided {
        let Some(machine) = machine else { return self.absent(name) };
        match &machine.state {
            MachineState::Failed(words) => self.lose(name, Leaving::Failed(words.clone())),
            MachineState::Stopped => {
                self.ledger.restart(name)?;
                self.act(Action::Start { name: name.clone(), id: machine.id.clone() });
                Ok(())
            }
            MachineState::Building => match self.phase(name) {
                Some(Phase::Ready) => {
                    self.wait_machine(name, Reason::Starting, Duration::ZERO, None);
                    Ok(())
                }
                _ => self.booting(name),
            },
            MachineState::Running => self.running(name, machine),
        }
    }

    fn phase(&self, name: &MachineName) -> Option<Phase> {
        self.ledger.row(name).map(crate::ledger::Row::phase)
    }

    /// Not in the list.
    fn absent(&mut self, name: &MachineName) -> Decided {
        let seen_before = self.ledger.row(name).is_some_and(|row| row.machine().is_some());
        if seen_before {
            self.not_listed(name);
            return Ok(());
        }
        if let Some(error) = self.seen.refused.get(name) {
            let count = if is_lasting(error) { self.seen.limits.give_up.unwrap_or(1) } else { 1 };
            self.ledger.fail(name, error.to_string(), self.now, count)?;
            return self.lose(name, Leaving::Refused(error.to_string()));
        }
        let age = self.seen.ages.of(name);
        if self.too_late(name) {
            return self.late(name);
        }
        match age.asked {
            Some(asked) if !self.quiet(name) => {
                let limit = Some(self.seen.limits.settle);
                self.wait_machine(name, Reason::NotListed, asked, limit);
            }
            _ => {
                if let Some(row) = self.ledger.row(name) {
                    let (pool, shape) = (row.pool.clone(), row.shape.clone());
                    self.act(Action::Create { name: name.clone(), pool, shape });
                }
            }
        }
        Ok(())
    }

    /// Neither asked for nor seen for the provider's settle time.
    pub(super) fn quiet(&self, name: &MachineName) -> bool {
        let age = self.seen.ages.of(name);
        let settle = self.seen.limits.settle;
        age.asked.is_none_or(|asked| asked >= settle) && age.seen.is_none_or(|seen| seen >= settle)
    }

    fn booting(&mut self, name: &MachineName) -> Decided {
        if self.too_late(name) {
            return self.late(name);
        }
        let (age, limit) = (self.seen.ages.of(name), Some(self.seen.limits.boot_timeout));
        self.wait_machine(name, Reason::Booting, age.boot, limit);
        Ok(())
    }

    fn too_late(&self, name: &MachineName) -> bool {
        let node_is_ready = match &self.seen.nodes {
            Nodes::Known(nodes) => nodes.get(name).is_some_and(|node| node.ready),
            Nodes::Unused | Nodes::Unknown(_) => false,
        };
        self.seen.ages.of(name).boot >= self.seen.limits.boot_timeout && !node_is_ready
    }

    /// Not Ready in time. Only a machine that nothing depends on may go for that.
    fn late(&mut self, name: &MachineName) -> Decided {
        if self.holds_state(name) {
            let limit = crate::duration::short(self.seen.limits.boot_timeout);
            let why = format!("it is not ready after {limit}, and other machines depend on it");
            return Err(Box::new(Stop::JobFailed { name: name.clone(), what: "configuration".into(), why }));
        }
        self.lose(name, Leaving::BootTimeout)
    }

    fn running(&mut self, name: &MachineName, machine: &Machine) -> Decided {
        if self.phase(name) == Some(Phase::Creating) {
            self.ledger.configure(name)?;
        }
        if self.phase(name) == Some(Phase::Ready) {
            return self.node(name);
        }
        if self.too_late(name) {
            return self.late(name);
        }
        if machine.address.is_none() {
            return self.booting(name);
        }
        let Some(row) = self.ledger.row(name) else { return Ok(()) };
        if self.seen.limits.rotate_host_keys && !row.host_key_rotated() {
            self.act(Action::RotateHostKey { name: name.clone() });
            return Ok(());
        }
        let Some(pool) = self.spec.pools.get(&row.pool) else { return Ok(()) };
        match pool.steps.iter().find(|step| !row.has_done(step) && !pool.brings(&row.image, &step.id)) {
            Some(step) => self.step(name, step),
            None => {
                self.ledger.ready(name, &pool.steps)?;
                return self.node(name);
            }
        }
        Ok(())
    }

    /// Starts the step, once a front-end has behind it what the step needs.
    fn step(&mut self, name: &MachineName, step: &Step) {
        if self.lives_elsewhere() {
            return self.step_from_elsewhere(name, step);
        }
        let waits_for = |on: &MachineName| -> Option<StepId> {
            let row = self.ledger.row(on)?;
            let brings =
                |id: &StepId| self.spec.pools.get(&row.pool).is_some_and(|pool| pool.brings(&row.image, id));
            step.after.iter().find(|id| !row.has_passed(id) && !brings(id)).cloned()
        };
        let mut first_lack: Option<(StepId, MachineName)> = None;
        let mut from = None;
        for front_end in self.front_ends() {
            match waits_for(&front_end) {
                None if step.facts.is_empty() || self.reachable(&front_end) => {
                    from = Some(front_end);
                    break;
                }
                None => {}
                Some(lacks) => {
                    first_lack.get_or_insert((lacks, front_end));
                }
            }
        }
        let needs_one = !step.after.is_empty() || !step.facts.is_empty();
        if needs_one && from.is_none() {
            let reason = match first_lack {
                Some((step, on)) => Reason::Step { step, on: Some(on) },
                None => step.after.first().map_or(Reason::FrontEnd, |id| {
                    if self.front_ends().next().is_some() {
                        Reason::FrontEnd
                    } else {
                        Reason::Step { step: id.clone(), on: None }
                    }
                }),
            };
            let age = self.seen.ages.of(name);
            self.wait_machine(name, reason, age.within(Phase::Configuring), None);
            return;
        }
        let from = if step.facts.is_empty() { None } else { from };
        self.act(Action::RunStep { name: name.clone(), step: step.clone(), from });
    }

    fn is_outdated(&self, row: &Row) -> bool {
        let hash = self.steps.get(&row.pool).map_or(&self.no_steps, |hash| hash);
        row.is_outdated(hash)
    }

    /// Ready as far as the machine goes: what does the cluster say?
    fn node(&mut self, name: &MachineName) -> Decided {
        let Some(row) = self.ledger.row(name) else { return Ok(()) };
        let steps = self.spec.pools.get(&row.pool).map_or(&[][..], |pool| pool.steps.as_slice());
        let (role, rejoined, outdated) = (row.role, row.rejoined(), self.is_outdated(row));
        let restarted = row.restarted();
        if outdated {
            self.outdated.push(name.clone());
        }
        let nodes = match &self.seen.nodes {
            Nodes::Unused => return Ok(()),
            Nodes::Unknown(_) => {
                self.nodes_wanted = true;
                return Ok(());
            }
            Nodes::Known(nodes) => nodes,
        };
        let why = match nodes.get(name) {
            Some(node) if node.ready && !(restarted && self.is_stale(name, node.boot.as_ref())) => {
                if rejoined || restarted {
                    self.ledger.node_is_ready(name)?;
                }
                return Ok(());
            }
            Some(node) if node.ready => "it has not reported since its machine was started".to_owned(),
            Some(node) => node.reason.clone(),
            None => "it has not registered".to_owned(),
        };
        let (since, limit) = (self.seen.ages.of(name).node, self.seen.limits.register_timeout);
        if since < limit {
            self.wait_machine(name, Reason::Node { why }, since, Some(limit));
            if restarted
                && nodes.get(name).is_some_and(|node| node.ready)
                && !self.seen.boots.contains_key(name)
            {
                self.act(Action::AskBoot { name: name.clone() });
            }
            return Ok(());
        }
        if role == Role::FrontEnd {
            return Err(Box::new(Stop::NodeNotReady { name: name.clone(), why, since }));
        }
        // The step that asks for facts is the one that joins; a recipe without any has only its last step.
        let join = steps.iter().rfind(|step| !step.facts.is_empty()).or(steps.last());
        match join {
            Some(join) if !rejoined => {
                self.ledger.rejoin(name, steps, join)?;
                self.step(name, join);
                Ok(())
            }
            _ => self.lose(name, Leaving::NodeLost),
        }
    }

    /// Whether a node's word may be from before its machine was started: the API server believes what it heard last
    /// until the kubelet reports anew. Two reports of one boot are proof without any clock. A recipe whose nodes
    /// do not say their boot is believed.
    fn is_stale(&self, name: &MachineName, reported: Option<&String>) -> bool {
        reported.is_some_and(|boot| self.seen.boots.get(name) != Some(boot))
    }

    /// One wait for all machines whose nodes are not known.
    pub(super) fn ask_for_nodes(&mut self) {
        if let (true, Nodes::Unknown(why)) = (self.nodes_wanted, &self.seen.nodes) {
            let reason = Reason::NodesUnknown { why: why.clone() };
            self.wait(super::Subject::Cluster, reason, self.seen.ages.watched(), None);
        }
    }
}
