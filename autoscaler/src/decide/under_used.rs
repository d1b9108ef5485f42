//! Scale-in of nodes whose pods all fit elsewhere: one consistent plan for all of them.
//!
//! The least used first; their pods go to nodes that stay, the fuller ones first, then to the candidates that would be tried
//! last. A node that was given a pod stays. What was placed for one node counts for the next; what was tried in vain is taken
//! back. A node that leaves remains in the state as a ghost, so that spreads count it as the scheduler will.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use provisioner::ledger::{Phase, Row};
use provisioner::names::MachineName;

use super::rules::{Hold, Verdict};
use super::scene::{is_empty, utilisation};
use super::shrink::Quota;
use super::{Draft, Guards, Scene, Subject, Why};
use crate::fit::{NodeId, Resident};
use crate::pack::class::{Classes, classes};
use crate::pack::room::Room;
use crate::pack::{Tier, Urgency};
use crate::view::Pod;

/// A node that might go.
struct Candidate {
    name: MachineName,
    row: Row,
    id: NodeId,
    pods: Vec<Arc<Pod>>,
}

/// Nodes that pods may be moved to.
struct Board<'a> {
    scene: &'a mut Scene,
    classes: Classes,
    class_of: HashMap<*const Pod, usize>,
    attentive: Vec<usize>,
    targets: Vec<(NodeId, Room)>,
    /// Of each class: no target before this has room for it.
    from: Vec<usize>,
    gone: BTreeSet<NodeId>,
    given: BTreeSet<NodeId>,
}

impl Draft<'_> {
    pub(super) fn remove_under_used(&mut self, scene: &mut Scene, guards: &mut Guards, quota: &mut Quota) {
        let candidates = self.candidates(scene, guards);
        if candidates.is_empty() {
            return;
        }
        let mut board = Board::of(scene, &candidates);
        for one in candidates {
            if board.given.contains(&one.id) || !self.may_go(&one.name, &one.row.pool, quota) {
                continue;
            }
            match board.empty(&one, guards) {
                Ok(()) => self.send_away(&one.name, &one.row.pool, quota),
                Err(why) => self.wait(Subject::Machine(one.name), why),
            }
        }
    }

    /// Under-used nodes whose pods may all move, the least used first.
    fn candidates(&mut self, scene: &Scene, guards: &mut Guards) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (name, row) in self.ours(|row| row.phase() == Phase::Ready) {
            let Some(id) = scene.nodes.get(&name).copied() else { continue };
            let long = self.learned.quiet(&name).under_used >= self.policy.idle_of(&row.pool);
            let under = self.decision.uses.get(&name).is_some_and(|found| found.under_used);
            let goes = self.phase(&name) == Some(Phase::Draining);
            let node = scene.state.node(id);
            if !long || !under || goes || is_empty(node) || scene.wanted.contains(&id) {
                continue;
            }
            if !self.is_free_to_go(scene, &name) {
                continue;
            }
            match self.movable(node.residents(), guards) {
                Ok(pods) => found.push((utilisation(node), Candidate { name, row, id, pods })),
                Err((pod, hold)) => self.wait(Subject::Machine(name), Why::Held { pod, hold }),
            }
        }
        // Stable: among equally used ones the newest stay first.
        found.sort_by_key(|(used, one)| (*used, one.pods.len()));
        found.into_iter().map(|(_, one)| one).collect()
    }

    fn movable<'a>(
        &self,
        residents: impl Iterator<Item = &'a Resident>,
        guards: &mut Guards,
    ) -> Result<Vec<Arc<Pod>>, (String, Hold)> {
        let mut pods = Vec::new();
        for one in residents {
            match guards.verdict(&one.pod, self.now) {
                Verdict::Ignored | Verdict::Ends => {}
                Verdict::Moves => pods.push(Arc::clone(&one.pod)),
                Verdict::Stays(hold) => return Err((one.pod.metadata.path(), hold)),
            }
        }
        Ok(pods)
    }
}

/// Where pods of one node were put, so that it can be taken back.
type Journal = Vec<(usize, usize, Arc<Resident>)>;

impl<'a> Board<'a> {
    fn of(scene: &'a mut Scene, candidates: &[Candidate]) -> Self {
        let pods = candidates.iter().flat_map(|one| &one.pods);
        let classes = classes(pods.map(|pod| (Arc::clone(pod), Urgency::Waiting)).collect(), &scene.state);
        let mut class_of = HashMap::new();
        for (at, class) in classes.all.iter().enumerate() {
            class_of.extend(class.pods.iter().map(|pod| (Arc::as_ptr(pod), at)));
        }
        let last: BTreeMap<NodeId, usize> =
            candidates.iter().enumerate().map(|(n, one)| (one.id, n)).collect();
        let ready = scene
            .sites
            .iter()
            .filter(|(id, tier)| *tier == Tier::Ready && !scene.state.node(*id).is_leaving());
        let mut targets: Vec<(NodeId, Room)> =
            ready.map(|(id, _)| (*id, classes.dims.free(scene.state.node(*id)))).collect();
        // Those that stay anyway first, then the candidates that are tried last; idle ones only if nothing else is left.
        let rank = |id: &NodeId| {
            (
                is_empty(scene.state.node(*id)),
                last.contains_key(id),
                last.get(id).map(|n| usize::MAX - n),
                *id,
            )
        };
        targets.sort_by_key(|(id, _)| rank(id));
        Self {
            attentive: (0..classes.wishes.len()).filter(|wish| !classes.wishes[*wish].is_simple).collect(),
            from: vec![0; classes.all.len()],
            scene,
            classes,
            class_of,
            targets,
            gone: BTreeSet::new(),
            given: BTreeSet::new(),
        }
    }

    /// Moves all pods of a node elsewhere.
    ///
    /// # Errors
    /// The pod that has no place, or the budget in the way: then nothing has changed.
    fn empty(&mut self, one: &Candidate, guards: &mut Guards) -> Result<(), Why> {
        for (asked, pod) in one.pods.iter().enumerate() {
            if let Err(hold) = guards.take(pod) {
                one.pods[..asked].iter().for_each(|pod| guards.give_back(pod));
                return Err(Why::Held { pod: pod.metadata.path(), hold });
            }
        }
        let before = (self.scene.state.node(one.id).shared(), self.from.clone());
        // Before the node has the taint of those that leave: it must be counted down where it was counted up.
        if !self.attentive.is_empty() {
            let going: Vec<Resident> = self.scene.state.node(one.id).residents().cloned().collect();
            going.iter().for_each(|resident| self.tell(resident, one.id, false));
        }
        let residents = self.scene.state.leave(one.id);
        self.gone.insert(one.id);
        let mut journal = Journal::new();
        let Err(pod) = self.move_all(one, &mut journal) else {
            self.given.extend(journal.iter().map(|(target, _, _)| self.targets[*target].0));
            return Ok(());
        };
        one.pods.iter().for_each(|pod| guards.give_back(pod));
        for (target, class, resident) in journal.into_iter().rev() {
            let id = self.targets[target].0;
            self.targets[target].1.add(&self.classes.all[class].wants, 1);
            self.scene.state.take(&resident.pod, id);
            self.tell(&resident, id, false);
        }
        self.gone.remove(&one.id);
        self.from = before.1;
        self.scene.state.come_back(one.id, before.0, residents.clone());
        residents.iter().for_each(|resident| self.tell(resident, one.id, true));
        Err(Why::NoPlace { pod: pod.metadata.path() })
    }

    fn move_all(&mut self, one: &Candidate, journal: &mut Journal) -> Result<(), Arc<Pod>> {
        for pod in &one.pods {
            let Some(class) = self.class_of.get(&Arc::as_ptr(pod)).copied() else {
                return Err(Arc::clone(pod));
            };
            let Some(target) = self.place_for(class) else { return Err(Arc::clone(pod)) };
            let id = self.targets[target].0;
            let resident = Arc::new(self.classes.all[class].as_resident.like(Arc::new(pod.anew())));
            self.targets[target].1.take(&self.classes.all[class].wants, 1);
            self.scene.state.place(Arc::clone(&resident), id);
            self.tell(&resident, id, true);
            journal.push((target, class, resident));
        }
        Ok(())
    }

    fn place_for(&mut self, class: usize) -> Option<usize> {
        let simple = self.classes.is_simple(class);
        let from = if simple { self.from[class] } else { 0 };
        for at in from..self.targets.len() {
            let (id, free) = &self.targets[at];
            let id = *id;
            let fits = free.holds(&self.classes.all[class].wants)
                && !self.gone.contains(&id)
                && self.classes.wish(class).may_run(&self.scene.state, id);
            if fits {
                self.from[class] = at;
                return Some(at);
            }
        }
        None
    }

    /// Tells the wishes that listen that a pod came to a node, or went.
    fn tell(&mut self, resident: &Resident, id: NodeId, came: bool) {
        for wish in &self.attentive {
            let check = &mut self.classes.wishes[*wish].check;
            match came {
                true => check.placed(&self.scene.state, resident, id),
                false => check.taken(&self.scene.state, resident, id),
            }
        }
    }
}
