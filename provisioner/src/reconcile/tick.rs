//! The same pass for a daemon: between the look and the plan somebody else edits the ledger, and no failure of one machine ends
//! the run.
//!
//! ```text
//! begin: fold in finished jobs ─► list ─┐        ┌─► carry out: plan ─► save if changed ─► start actions
//!                                       └─ edit ─┘
//! ```

use std::time::Duration;

use jiff::Timestamp;

use super::fold::Pace;
use super::{Parts, Reconciler, until};
use crate::ages::Ages;
use crate::ledger::{Leaving, Ledger};
use crate::plan::{Nodes, Stop, Wait};
use crate::provider::Machine;
use crate::spec::{Role, Spec};
use crate::store::StoreError;

/// A machine with which something fails that no new machine cures, such as its deletion, is left alone for so long.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// What a decision is made on.
#[derive(Debug)]
pub struct Sighted<'a> {
    /// What was decided before; what is decided now begins with it.
    pub ledger: Ledger,
    /// The machines that the cloud lists, or why it does not.
    pub machines: Result<&'a [Machine], &'a str>,
    /// Observed time of the rows.
    pub ages: &'a Ages,
    /// The time of this tick.
    pub now: Timestamp,
}

/// What a tick came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticked {
    /// What does not happen yet in the cloud and on machines, and why.
    pub waits: Vec<Wait>,
    /// Why nothing is done at all: this tick decided nothing.
    pub stop: Option<Stop>,
    /// Whether the ledger has changed.
    pub changed: bool,
}

impl Reconciler {
    /// The first half of a tick: folds in what has ended, and looks. `nodes` is what the cluster says of its nodes.
    pub async fn begin_tick(&mut self, spec: &Spec, nodes: Nodes) -> Sighted<'_> {
        self.collect();
        let now = self.parts.clock.now();
        self.bear(now);
        let front_ends = spec.pools.iter().filter(|(_, pool)| pool.role == Role::FrontEnd);
        self.elsewhere = front_ends.map(|(name, _)| name.clone()).collect();
        self.nodes.answered(nodes, self.parts.clock.steady());
        self.look(spec, now).await;
        let mut ledger = self.ledger.clone();
        let machines = match &self.list {
            Some(list) => list.machines.as_deref().map_err(String::as_str),
            None => Err("it was not asked yet"),
        };
        // A pool may have been the other owner's before: no name is used twice.
        let of_cluster = machines.unwrap_or(&[]).iter().filter(|m| m.tags.cluster == self.ledger.cluster);
        ledger.raise_past(of_cluster.map(|machine| &machine.tags.machine));
        Sighted { ledger, machines, ages: &self.ages, now }
    }

    /// The second half: plans what makes the edited ledger true, saves it and starts that. After a
    /// [`StoreError::Conflict`] the ledger is the one of whoever saved in between, nothing of this tick was done, and the next
    /// one works on that.
    pub async fn carry_out(
        &mut self,
        spec: &Spec,
        edited: &Ledger,
        now: Timestamp,
    ) -> Result<Ticked, StoreError> {
        let seen = self.observation();
        let plan = (self.parts.planner)(spec, edited, &seen, now);
        self.refused.clear();
        if let Some(stop) = self.stop.take().or(plan.stop.clone()) {
            return Ok(Ticked { waits: Vec::new(), stop: Some(stop), changed: false });
        }
        self.report(&plan);
        let changed = self.ledger != plan.ledger;
        let before = std::mem::replace(&mut self.ledger, plan.ledger.clone());
        if let Err(error) = self.save().await {
            // What was not saved was not decided.
            self.ledger = before;
            if matches!(error, StoreError::Conflict { .. }) {
                self.reload().await?;
            }
            return Err(error);
        }
        self.remember(&plan);
        self.outdated.clone_from(&plan.outdated);
        for action in plan.actions {
            self.start(action);
        }
        Ok(Ticked { waits: plan.waits, stop: None, changed })
    }

    /// Returns once a job has ended or a pause between two tries is over: something for the next tick. May be dropped at any
    /// moment.
    pub async fn stirs(&mut self) {
        let now = self.parts.clock.steady();
        let next = self.held.values().map(|hold| until(now, hold.until)).filter(|time| !time.is_zero()).min();
        let pause = self.parts.clock.sleep(next.unwrap_or(LEFT_ALONE));
        let joined = tokio::select! {
            Some(joined) = self.jobs.join_next_with_id() => Some(joined),
            () = pause => None,
        };
        if let Some(joined) = joined {
            self.joined(joined);
        }
    }

    /// How long the cloud takes to list what it was asked for.
    pub fn settle_time(&self) -> Duration {
        self.limits.settle
    }

    /// Lets every job that runs end, and saves what came of it.
    pub async fn end(&mut self) -> Result<(), StoreError> {
        self.finish_jobs().await
    }

    /// From now on it works with these: what runs goes on with what it was begun with.
    pub fn reconfigure(&mut self, parts: Parts) {
        self.limits.settle = parts.provider.settle();
        self.parts = parts;
        self.list = None;
    }

    async fn reload(&mut self) -> Result<(), StoreError> {
        let Some(ledger) = self.parts.store.load().await? else {
            return Err(StoreError::Unavailable(
                "the ledger is gone; it is never taken for an empty one".into(),
            ));
        };
        self.saved = Some(ledger.clone());
        self.ledger = ledger;
        Ok(())
    }

    /// What ends a run of the command line is one machine's trouble here: one that was not Ready yet is replaced, and its pool,
    /// shape and zone back off; any other is left alone for a while.
    fn bear(&mut self, now: Timestamp) {
        let (name, why) = match self.stop.take() {
            Some(Stop::StepFailed { name, why, .. } | Stop::JobFailed { name, why, .. }) => (name, why),
            other => {
                self.stop = other;
                return;
            }
        };
        self.failures.remove(&name);
        let boots = self.ledger.row(&name).is_some_and(|row| row.phase().boots());
        let given_up = boots
            && self.ledger.fail(&name, why.clone(), now, 1).is_ok()
            && self.ledger.delete(&name, Leaving::Failed(why.clone())).is_ok();
        if !given_up {
            self.hold(&name, why, Pace::Failure, Some(LEFT_ALONE));
        }
    }
}
