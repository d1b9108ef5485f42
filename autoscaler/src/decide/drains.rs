//! Drains that are under way: evict, wait, call off, or say that the node is empty.

use provisioner::ledger::{Leaving, Phase};
use provisioner::names::MachineName;

use super::rules::{Hold, Verdict};
use super::{Draft, Guards, KubeAction, Scene, Subject, Why};
use crate::pack::is_everywhere;
use crate::view::Pod;

/// What became of the pods of one node in this pass.
#[derive(Default)]
struct Tally {
    evict: Vec<KubeAction>,
    left: usize,
    /// A pod that will not go.
    stuck: Option<(String, Hold)>,
    /// A pod that will go once a budget allows it.
    later: Option<(String, Hold)>,
}

impl Draft<'_> {
    /// Goes on with every row that drained before this pass.
    pub(super) fn go_on_draining(&mut self, scene: &mut Scene, guards: &mut Guards) {
        let rows = self.before.rows().iter().filter(|(_, row)| row.phase() == Phase::Draining);
        let names: Vec<MachineName> = rows.map(|(name, _)| name.clone()).collect();
        for name in names {
            if self.phase(&name) == Some(Phase::Draining) {
                self.drain_one(scene, guards, &name);
            }
        }
    }

    fn drain_one(&mut self, scene: &Scene, guards: &mut Guards, name: &MachineName) {
        let Some(node) = scene.registered.get(name) else {
            // No node, so no pods: the engine asks the cloud before it forgets the machine.
            let done = self.decision.ledger.delete(name, Leaving::Surplus);
            return self.change(done);
        };
        if !node.spec.unschedulable {
            // Nothing is done before the view shows that nothing new can come.
            self.decision.kube.push(KubeAction::Cordon { node: name.clone() });
            return self
                .wait(Subject::Machine(name.clone()), Why::Draining { pods: self.pods_on(name).count() });
        }
        let tally = self.tally(guards, name);
        if tally.left == 0 {
            let done = self.decision.ledger.delete(name, Leaving::Surplus);
            return self.change(done);
        }
        if let Some((pod, hold)) = tally.stuck {
            return self.call_off(scene, name, Why::Held { pod, hold });
        }
        if self.learned.ages.of(name).within(Phase::Draining) >= self.policy.drain_timeout {
            return self.call_off(scene, name, Why::DrainTimeout);
        }
        self.decision.kube.extend(tally.evict);
        let why =
            tally.later.map_or(Why::Draining { pods: tally.left }, |(pod, hold)| Why::Held { pod, hold });
        self.wait(Subject::Machine(name.clone()), why);
    }

    /// The pods on a node, or on their way to it, that do not run everywhere and have not ended.
    fn pods_on<'a>(&'a self, name: &'a MachineName) -> impl Iterator<Item = &'a Pod> {
        let here = move |pod: &&Pod| {
            let on = &pod.spec.node_name;
            let on = if on.is_empty() { &pod.status.nominated_node_name } else { on };
            on == name.as_str() && !pod.is_over() && !is_everywhere(pod)
        };
        self.seen.view.pods.iter().map(AsRef::as_ref).filter(here)
    }

    fn tally(&self, guards: &mut Guards, name: &MachineName) -> Tally {
        let mut tally = Tally::default();
        let mut pods: Vec<&Pod> = self.pods_on(name).collect();
        pods.sort_by_key(|pod| (&pod.metadata.namespace, &pod.metadata.name));
        for pod in pods {
            match guards.verdict(pod, self.now) {
                Verdict::Ignored => {}
                Verdict::Ends => tally.left += 1,
                Verdict::Stays(Hold::OnCompletion | Hold::Job) => {
                    // It ends by itself; nothing new comes meanwhile.
                    tally.left += 1;
                    tally.later.get_or_insert_with(|| (pod.metadata.path(), Hold::OnCompletion));
                }
                Verdict::Stays(hold) => {
                    tally.left += 1;
                    tally.stuck.get_or_insert_with(|| (pod.metadata.path(), hold));
                }
                Verdict::Moves => {
                    tally.left += 1;
                    match guards.take(pod) {
                        Ok(()) => tally.evict.push(evict(pod)),
                        Err(hold) => drop(tally.later.get_or_insert_with(|| (pod.metadata.path(), hold))),
                    }
                }
            }
        }
        tally
    }
}

fn evict(pod: &Pod) -> KubeAction {
    KubeAction::Evict {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
    }
}
