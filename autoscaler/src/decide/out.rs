//! Scale-out: what waits is packed, rows are added for what must be bought, and drains are called off for what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use provisioner::ledger::{NewRow, Phase};
use provisioner::names::MachineName;

use super::scene::is_ours_to_uncordon;
use super::{Draft, KubeAction, Scene, Subject, Why};
use crate::fit::{NodeId, Resident, State};
use crate::learned::kin;
use crate::pack::{self, Packing, Problem, Target, Tier, Urgency, Withheld};
use crate::quantity::Quantity;
use crate::view::{Container, Metadata, Pod, PodSpec, Resources};

/// Boots of which no time is known yet: a slow cloud's.
const BOOT_UNKNOWN: Duration = Duration::from_secs(5 * 60);

type Pods = Vec<(Arc<Pod>, Urgency)>;

impl Draft<'_> {
    /// Packs what waits and edits the ledger for it; the scene comes back with everybody placed.
    pub(super) fn scale_out(&mut self, scene: Scene) -> (Scene, Packing) {
        let source = self.source();
        let pods = scene.demand(&source, self.spare());
        let boot_aware = self.policy.boot_aware && !pods.is_empty();
        let later = boot_aware.then(|| self.later(&scene)).flatten();
        let kept = later.is_some().then(|| (scene.state.clone(), pods.clone()));
        let Scene { state, sites, .. } = scene;
        let problem = |state: State, pods: Pods| Problem {
            state,
            sites: sites.clone(),
            pods,
            others: self.seen.others.clone(),
        };
        let (mut packing, mut state) = pack::pack(&source, problem(state, pods));
        let mut soon = None;
        if let (Some((later, secs)), Some((before, pods))) = (later, kept)
            && packing.new.iter().any(|node| !node.spare)
        {
            let held = helped_later(&packing, pack::pack(&source, problem(later, pods.clone())).0);
            if !held.is_empty() {
                let pods = pods.into_iter().filter(|(pod, _)| !held.contains(&identity(pod))).collect();
                (packing, state) = pack::pack(&source, problem(before, pods));
                soon = held.first().map(|(path, _)| (path.clone(), held.len(), secs));
            }
        }
        if let Some((first, count, boot_secs)) = soon {
            self.wait(Subject::Pods(first, count), Why::SoonFree { boot_secs });
        }
        let mut scene = Scene { state, sites, ..scene };
        self.note_wanted(&mut scene, &packing);
        self.add_rows(&packing);
        self.book(&scene, &packing);
        self.say_who_is_left(&packing);
        (scene, packing)
    }

    /// Pods that do not exist: free slots, and what is said to be coming.
    fn spare(&self) -> Vec<Arc<Pod>> {
        let slots = self.policy.head_room.iter().flat_map(|room| {
            let cpu = Quantity::millis(i64::try_from(room.of.cpu.millis).unwrap_or(i64::MAX));
            let memory = Quantity::units(i64::try_from(room.of.memory.bytes).unwrap_or(i64::MAX));
            let requests = [("cpu".to_owned(), cpu), ("memory".to_owned(), memory)].into();
            let container = Container { resources: Resources { requests }, ..Container::default() };
            let metadata = Metadata { name: "head-room".to_owned(), ..Metadata::default() };
            let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
            let pod = Arc::new(Pod { metadata, spec, ..Pod::default() });
            std::iter::repeat_n(pod, room.slots as usize)
        });
        let expected = self.forecast.into_iter().flat_map(|one| one.due(self.now, self.boot_time()).cloned());
        slots.chain(expected).collect()
    }

    /// How long a machine takes, as far as is known: the slowest shape's usual time.
    fn boot_time(&self) -> Duration {
        let usual = self.learned.boots.values().filter_map(|times| times.quantile(50));
        usual.max().unwrap_or(BOOT_UNKNOWN)
    }

    /// The cluster as it will be when a machine that is asked for now is ready, as far as pods are known to end before; and
    /// how long that is. Without any that is, there is nothing to wait for.
    fn later(&self, scene: &Scene) -> Option<(State, u64)> {
        if self.learned.boots.is_empty() || self.learned.runs.is_empty() {
            return None;
        }
        let boot = i64::try_from(self.boot_time().as_secs()).unwrap_or(i64::MAX);
        let ends = |one: &&Resident| -> bool {
            let run = kin(&one.pod).and_then(|kin| self.learned.runs.get(&kin)?.quantile(90));
            let (Some(run), Some(start)) = (run, one.pod.status.start_time) else { return false };
            let left = i64::try_from(run.as_secs()).unwrap_or(i64::MAX).saturating_sub(
                // A start that lies ahead of our clock was just now.
                self.now.duration_since(start).as_secs().max(0),
            );
            // One that is over its time already may end at any time, or never.
            (0..=boot).contains(&left)
        };
        let ready = scene.sites.iter().filter(|(_, tier)| *tier == Tier::Ready).map(|(id, _)| *id);
        let ending: Vec<(NodeId, Arc<Pod>)> = ready
            .flat_map(|id| {
                let residents = scene.state.node(id).residents().filter(ends);
                residents.map(move |one| (id, Arc::clone(&one.pod)))
            })
            .collect();
        if ending.is_empty() {
            return None;
        }
        let mut later = scene.state.clone();
        for (id, pod) in &ending {
            later.take(pod, *id);
        }
        Some((later, u64::try_from(boot).unwrap_or(0)))
    }

    fn note_wanted(&mut self, scene: &mut Scene, packing: &Packing) {
        for group in &packing.groups {
            let Target::Node(id) = group.target else { continue };
            scene.wanted.insert(id);
        }
        let called: Vec<MachineName> = scene
            .nodes
            .iter()
            .filter(|(name, id)| scene.wanted.contains(id) && self.phase(name) == Some(Phase::Draining))
            .map(|(name, _)| name.clone())
            .collect();
        for name in called {
            self.call_off(scene, &name, Why::Wanted);
        }
    }

    /// A drain is called off, if the pool still has room for its row.
    pub(super) fn call_off(&mut self, scene: &Scene, name: &MachineName, why: Why) {
        let Some(pool) = self.decision.ledger.row(name).map(|row| row.pool.clone()) else { return };
        let most = self.spec.pools.get(&pool).map_or(0, |pool| *pool.size.end());
        if self.live(&pool) >= most {
            return;
        }
        let done = self.decision.ledger.undrain(name);
        self.change(done);
        if scene.registered.get(name).is_some_and(|node| is_ours_to_uncordon(node)) {
            self.decision.kube.push(KubeAction::Uncordon { node: name.clone() });
        }
        self.wait(Subject::Machine(name.clone()), why);
    }

    fn add_rows(&mut self, packing: &Packing) {
        for new in &packing.new {
            let Some(pool) = self.spec.pools.get(&new.pool) else { continue };
            let row = NewRow {
                pool: new.pool.clone(),
                role: pool.role,
                shape: new.shape.clone(),
                image: pool.boots().clone(),
                zone: new.zone.clone(),
                expose: Vec::new(),
                expires: self.spec.expires,
            };
            match self.decision.ledger.add(row, self.now) {
                Ok(name) => self.decision.added.push(name),
                Err(illegal) => {
                    self.wait(Subject::Pool(new.pool.clone()), Why::Defect { why: illegal.to_string() })
                }
            }
        }
    }

    /// Notes who has room on what is not there yet.
    fn book(&mut self, scene: &Scene, packing: &Packing) {
        let booting = scene.sites.iter().filter(|(_, tier)| *tier != Tier::Ready).map(|(id, _)| *id);
        let booting: BTreeSet<NodeId> = booting.collect();
        let names: BTreeMap<NodeId, &MachineName> =
            scene.nodes.iter().map(|(name, id)| (*id, name)).collect();
        for (pod, target) in packing.assignments() {
            let name = match target {
                Target::New(at) => self.decision.added.get(at),
                Target::Node(id) => names.get(&id).copied().filter(|_| booting.contains(&id)),
            };
            if let Some(name) = name.filter(|_| !pod.metadata.uid.is_empty()) {
                self.decision.booked.insert(pod.metadata.uid.clone(), name.clone());
            }
        }
    }

    fn say_who_is_left(&mut self, packing: &Packing) {
        for left in &packing.left {
            let class = &packing.classes[left.class];
            if class.urgency == Urgency::Spare {
                continue;
            }
            let first = &class.pods[class.pods.len() - left.count];
            let failed = packing.withheld.iter().find_map(|(.., withheld)| match withheld {
                Withheld::Backoff { why, secs } => Some(Why::Backoff { why: why.clone(), secs: *secs }),
                _ => None,
            });
            let why = match &left.limit {
                Some(limit) => Why::Limit { limit: limit.clone() },
                None => failed.unwrap_or(Why::FitsNowhere),
            };
            self.wait(Subject::Pods(first.metadata.path(), left.count), why);
        }
    }
}

/// A pod's path and uid.
type Identity = (String, String);

fn identity(pod: &Pod) -> Identity {
    (pod.metadata.path(), pod.metadata.uid.clone())
}

/// Pods for which nodes would be bought now, but which fit on what runs later.
fn helped_later(now: &Packing, later: Packing) -> BTreeSet<Identity> {
    let on_new = |(pod, target): (&Arc<Pod>, Target)| match target {
        Target::New(_) => Some(identity(pod)),
        Target::Node(_) => None,
    };
    let bought: BTreeSet<Identity> = now.assignments().filter_map(on_new).collect();
    let still: BTreeSet<Identity> = later.assignments().filter_map(on_new).collect();
    let left: BTreeSet<Identity> = later.unplaced().map(|(pod, _)| identity(pod)).collect();
    bought.into_iter().filter(|one| !still.contains(one) && !left.contains(one)).collect()
}
