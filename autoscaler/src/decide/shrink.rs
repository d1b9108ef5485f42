//! Scale-in: machines that nobody waits for any more, and nodes that have nothing to do.
//!
//! All guards stand here: nothing goes while many nodes are not ready, above the budgets, below a pool's minimum, or where
//! somebody said that it is to stay.

use std::collections::BTreeMap;
use std::time::Duration;

use provisioner::ledger::{Leaving, Phase, Row};
use provisioner::names::{MachineName, PoolName};
use provisioner::plan::owner_of;
use provisioner::provider::Owner;

use super::scene::{is_empty, utilisation};
use super::{Draft, Guards, KubeAction, Scene, Subject, Why};
use crate::learned::Use;

/// More nodes than this, and more than [`FREEZE_PERCENT`], that are not ready: Cluster Autoscaler's numbers.
const FREEZE_COUNT: usize = 3;
const FREEZE_PERCENT: usize = 45;

/// Annotations of nodes that are to stay.
const STAYS: [&str; 2] =
    ["cluster-autoscaler.kubernetes.io/scale-down-disabled", "karpenter.sh/do-not-disrupt"];

/// How many more nodes may go in this pass.
pub(super) struct Quota {
    left: usize,
    /// How many were sent on their way in this pass.
    sent: usize,
    live: BTreeMap<PoolName, u32>,
}

impl Draft<'_> {
    /// What each machine has to do: what the times of [`Learned`](crate::learned::Learned) grow by.
    pub(super) fn find_uses(&mut self, scene: &Scene) {
        for (name, row) in self.before.rows() {
            let node = scene.nodes.get(name).map(|id| (*id, scene.state.node(*id)));
            let wanted = node.is_some_and(|(id, _)| scene.wanted.contains(&id));
            let ready =
                row.phase() == Phase::Ready && scene.registered.get(name).is_some_and(|one| one.is_ready());
            let empty = node.is_none_or(|(_, node)| is_empty(node));
            let under = |percent: u8| node.is_some_and(|(_, node)| utilisation(node) <= i64::from(percent));
            let found = Use {
                idle: ready && empty && !wanted,
                under_used: ready && self.policy.under_used > 0 && under(self.policy.under_used),
                unwanted: row.phase().boots() && empty && !wanted,
            };
            self.decision.uses.insert(name.clone(), found);
        }
    }

    pub(super) fn scale_in(&mut self, scene: &mut Scene, guards: &mut Guards, freely: bool) {
        self.call_off_boots(scene);
        // A machine that boots is not ready yet, which says nothing of the others.
        let boots = |name: &str| {
            let name = MachineName::new(name).ok();
            name.and_then(|name| self.before.row(&name)).is_some_and(|row| row.phase().boots())
        };
        let nodes = || {
            let all = self.seen.view.nodes.iter();
            all.filter(|node| node.is_ready() || !boots(&node.metadata.name))
        };
        let (of, not_ready) = (nodes().count(), nodes().filter(|node| !node.is_ready()).count());
        if not_ready > FREEZE_COUNT && not_ready * 100 > of * FREEZE_PERCENT {
            return self.wait(Subject::Cluster, Why::Frozen { not_ready, of });
        }
        let mut quota = self.quota();
        self.remove_idle(scene, &mut quota);
        // While nodes are added or missing, none is emptied: it might be refilled at once.
        if freely && self.policy.under_used > 0 {
            self.remove_under_used(scene, guards, &mut quota);
        }
    }

    fn quota(&self) -> Quota {
        let within = |secs| self.learned.removed_within(self.now, secs);
        let (minute, hour) = (self.policy.rate.down as usize, self.policy.destroy_per_hour as usize);
        let left = minute.saturating_sub(within(60)).min(hour.saturating_sub(within(3600)));
        let live = self.spec.pools.keys().map(|pool| (pool.clone(), self.live(pool))).collect();
        Quota { left, sent: 0, live }
    }

    /// Whether one more node of a pool may go; a wait if not.
    pub(super) fn may_go(&mut self, name: &MachineName, pool: &PoolName, quota: &Quota) -> bool {
        let size = self.spec.pools.get(pool).map_or(0, |pool| *pool.size.start());
        if quota.live.get(pool).is_none_or(|live| *live <= size) {
            self.wait(Subject::Machine(name.clone()), Why::Minimum { size });
            return false;
        }
        if quota.left == 0 {
            let minute = self.learned.removed_within(self.now, 60) + quota.sent;
            let (removed, within) = match minute >= self.policy.rate.down as usize {
                true => (minute, "a minute"),
                false => (self.learned.removed_within(self.now, 3600) + quota.sent, "an hour"),
            };
            self.wait(Subject::Machine(name.clone()), Why::Budget { removed, within });
            return false;
        }
        true
    }

    /// Sends a node on its way.
    pub(super) fn send_away(&mut self, name: &MachineName, pool: &PoolName, quota: &mut Quota) {
        let done = self.decision.ledger.drain(name, Leaving::Surplus);
        self.change(done);
        self.decision.kube.push(KubeAction::Cordon { node: name.clone() });
        quota.left = quota.left.saturating_sub(1);
        quota.sent += 1;
        if let Some(live) = quota.live.get_mut(pool) {
            *live = live.saturating_sub(1);
        }
    }

    /// Machines that still boot and that nobody waits for any more.
    fn call_off_boots(&mut self, scene: &Scene) {
        let mut quota = self.quota();
        // Nothing is lost with a machine that never took a pod: no budget holds for these.
        quota.left = usize::MAX;
        for (name, row) in self.ours(|row| row.phase().boots()) {
            let quiet = self.learned.quiet(&name).unwanted >= self.policy.unwanted_boot;
            let found = self.decision.uses.get(&name).is_some_and(|found| found.unwanted);
            if !quiet || !found || !self.may_go(&name, &row.pool, &quota) {
                continue;
            }
            if scene.registered.contains_key(&name) {
                self.send_away(&name, &row.pool, &mut quota);
            } else {
                let done = self.decision.ledger.delete(&name, Leaving::Surplus);
                self.change(done);
                if let Some(live) = quota.live.get_mut(&row.pool) {
                    *live = live.saturating_sub(1);
                }
            }
        }
    }

    /// Rows of our pools, as they were before, the newest first.
    pub(super) fn ours(&self, which: impl Fn(&Row) -> bool) -> Vec<(MachineName, Row)> {
        let mine = |row: &Row| {
            self.spec.pools.get(&row.pool).is_some_and(|pool| owner_of(pool) == Owner::Autoscaler)
        };
        let rows = self.before.rows().iter().filter(|(_, row)| which(row) && mine(row));
        let mut rows: Vec<_> = rows.map(|(name, row)| (name.clone(), row.clone())).collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.born.ordinal));
        rows
    }

    /// Whether a Ready node may be removed as far as people go; a wait if not.
    pub(super) fn is_free_to_go(&mut self, scene: &Scene, name: &MachineName) -> bool {
        let Some(node) = scene.registered.get(name) else { return false };
        let says = |key: &&&str| node.metadata.annotations.get(**key).is_some_and(|value| value == "true");
        if let Some(annotation) = STAYS.iter().find(says) {
            let annotation = (*annotation).to_owned();
            self.wait(Subject::Machine(name.clone()), Why::Annotated { annotation });
            return false;
        }
        if node.spec.unschedulable {
            self.wait(Subject::Machine(name.clone()), Why::Cordoned);
            return false;
        }
        true
    }

    fn remove_idle(&mut self, scene: &mut Scene, quota: &mut Quota) {
        for (name, row) in self.ours(|row| row.phase() == Phase::Ready) {
            let idle = self.learned.quiet(&name).idle;
            let long: Duration = self.policy.idle_of(&row.pool);
            let found = self.decision.uses.get(&name).is_some_and(|found| found.idle);
            if !found
                || idle < long
                || !self.is_free_to_go(scene, &name)
                || !self.may_go(&name, &row.pool, quota)
            {
                continue;
            }
            self.send_away(&name, &row.pool, quota);
            if let Some(id) = scene.nodes.get(&name) {
                scene.state.leave(*id);
            }
        }
    }
}
