//! Scale-out: what waits is packed, rows are added for what must be bought, and drains are called off for what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use provisioner::ledger::{NewRow, Phase};
use provisioner::names::MachineName;

use super::backlog::{Backlog, Outlook, backlog, identity};
use super::scene::is_ours_to_uncordon;
use super::{Draft, KubeAction, Scene, Subject, Why};
use crate::fit::{NodeId, Resident};
use crate::learned::kin;
use crate::pack::{self, Packing, Problem, Target, Tier, Urgency, Withheld};
use crate::quantity::Quantity;
use crate::view::{Container, Metadata, Pod, PodSpec, Resources};

/// Boots of which no time is known yet: a slow cloud's.
const BOOT_UNKNOWN: Duration = Duration::from_secs(5 * 60);
/// By how many percent of a boot a pod must begin later than a new machine would be ready, so that it counts: boots of one shape
/// differ by about as much, and a machine that comes when the last pod has just begun elsewhere is paid for nothing.
const SLACK: i64 = 10;
/// What is left of a boot that takes longer than usual, in milliseconds: it may end at any time.
const LATE: i64 = 1000;

impl Draft<'_> {
    /// Packs what waits and edits the ledger for it; the scene comes back with everybody placed.
    pub(super) fn scale_out(&mut self, scene: Scene) -> (Scene, Packing) {
        let source = self.source();
        let pods = scene.demand(&source, self.spare());
        let backlog = self.backlog(&scene, &pods);
        let is_held = |pod: &Pod| !backlog.held.is_empty() && backlog.held.contains(&identity(pod));
        let Scene { state, sites, .. } = scene;
        let problem = Problem {
            state,
            sites: sites.clone(),
            pods: pods.into_iter().filter(|(pod, _)| !is_held(pod)).collect(),
            others: self.seen.others.clone(),
        };
        let (packing, state) = pack::pack(&source, problem);
        if let Some((first, _)) = backlog.held.first() {
            let boot_secs = self.boot_time().as_secs();
            self.wait(Subject::Pods(first.clone(), backlog.held.len()), Why::SoonFree { boot_secs });
        }
        let mut scene = Scene { state, sites, ..scene };
        scene.wanted.extend(backlog.wanted);
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

    /// Who of those that wait needs no new machine, as far as boots and runs are known: nobody where nothing is.
    fn backlog(&self, scene: &Scene, pods: &[(Arc<Pod>, Urgency)]) -> Backlog {
        let known = !self.learned.boots.is_empty() && !self.learned.runs.is_empty();
        if !self.policy.boot_aware || !known || pods.is_empty() {
            return Backlog::default();
        }
        let run = |pod: &Pod| {
            let usual = self.learned.runs.get(&kin(pod)?)?.quantile(90)?;
            Some(millis(usual))
        };
        // A pod that begins only a little later gains next to nothing from a machine whose boot may well be late itself.
        let within = millis(self.boot_time()).saturating_mul(100 + SLACK) / 100;
        let ready = scene.sites.iter().filter(|(_, tier)| *tier == Tier::Ready).map(|(id, _)| *id);
        let ends = |one: &Resident| {
            // A start that is not known yet, or lies ahead of our clock, was just now.
            let ran = one.pod.status.start_time.map_or(0, |start| self.millis_since(start).max(0));
            // One that is over its time already may end at any time, or never.
            run(&one.pod).map(|run| run.saturating_sub(ran)).filter(|left| (0..=within).contains(left))
        };
        let ready: Vec<NodeId> = ready.collect();
        let ending = ready.iter().flat_map(|id| {
            let residents = scene.state.node(*id).residents();
            residents.filter_map(move |one| Some((*id, Arc::clone(&one.pod), ends(one)?)))
        });
        let outlook = Outlook {
            ends: ending.collect(),
            servers: ready.iter().map(|id| (*id, 0)).chain(self.soon_ready(scene)).collect(),
            run: &run,
            within,
        };
        backlog(scene.state.clone(), pods, &outlook)
    }

    /// Machines that boot, and how long they still will, as far as boots of their shape are known.
    fn soon_ready(&self, scene: &Scene) -> Vec<(NodeId, i64)> {
        let rows = self.before.rows().iter().filter(|(_, row)| row.phase().boots());
        rows.filter_map(|(name, row)| {
            let id = *scene.nodes.get(name)?;
            let usual = self.learned.boots.get(&row.shape.name).and_then(|times| times.quantile(50));
            let left = millis(usual.unwrap_or_else(|| self.boot_time())) - self.millis_since(row.born.at);
            Some((id, left.max(LATE)))
        })
        .collect()
    }

    fn millis_since(&self, time: Timestamp) -> i64 {
        i64::try_from(self.now.duration_since(time).as_millis()).unwrap_or(i64::MAX)
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

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
