//! What the nodes that run, and the machines that boot, will have begun by the time a machine that is asked for now is ready.
//!
//! ```text
//!   runs that are known to end ─┐
//!   machines that will be ready ┼─► in the order of time: whoever waits and fits takes the room ─► who begins before a new machine
//!   pods that wait ─────────────┘
//! ```
//!
//! The whole queue is played, not its head alone: a pod that begins before then also ends, and the next one takes its room. A pod
//! whose run time nobody knows never gives its room back, so nothing is put off on a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fit::{Check, NodeId, State};
use crate::pack::Urgency;
use crate::pack::class::{Classes, classes};
use crate::view::Pod;

/// Pods with neighbours that are tried before no more is foreseen: each costs a look at the whole cluster. Whoever is not
/// foreseen is helped by a new machine, which is the safe side.
const TRIES: usize = 2_000;

/// A pod's path and uid.
pub(super) type Identity = (String, String);

pub(super) fn identity(pod: &Pod) -> Identity {
    (pod.metadata.path(), pod.metadata.uid.clone())
}

/// What is known of the time to come, in milliseconds from now.
pub(super) struct Outlook<'a> {
    /// Nodes that take pods, and when each begins to.
    pub(super) servers: Vec<(NodeId, i64)>,
    /// Pods that run there, and when each ends.
    pub(super) ends: Vec<(NodeId, Arc<Pod>, i64)>,
    /// How long a pod runs, if that is known.
    pub(super) run: &'a dyn Fn(&Pod) -> Option<i64>,
    /// When a machine that is asked for now is ready.
    pub(super) within: i64,
}

/// Who needs no new machine.
#[derive(Default)]
pub(super) struct Backlog {
    /// Pods that begin later than now and before a new machine would be ready.
    pub(super) held: BTreeSet<Identity>,
    /// The nodes that they begin on.
    pub(super) wanted: BTreeSet<NodeId>,
}

/// Room on a node: of a pod that ends there, or, without one, because the node is ready.
type Event = (NodeId, Option<Arc<Pod>>);

struct Queue<'a> {
    state: State,
    classes: Classes,
    left: Vec<usize>,
    outlook: &'a Outlook<'a>,
    /// By time, then by the order of finding out.
    events: BTreeMap<(i64, usize), Event>,
    found: usize,
    tries: usize,
    backlog: Backlog,
}

/// Plays the queue.
pub(super) fn backlog(state: State, pods: &[(Arc<Pod>, Urgency)], outlook: &Outlook<'_>) -> Backlog {
    let waiting = pods.iter().filter(|(_, urgency)| *urgency == Urgency::Waiting).cloned().collect();
    let classes = classes(waiting, &state);
    let mut queue = Queue {
        left: classes.all.iter().map(|class| class.pods.len()).collect(),
        state,
        classes,
        outlook,
        events: BTreeMap::new(),
        found: 0,
        tries: TRIES,
        backlog: Backlog::default(),
    };
    for (id, from) in &outlook.servers {
        queue.expect(*from, *id, None);
    }
    for (id, pod, end) in &outlook.ends {
        queue.expect(*end, *id, Some(Arc::clone(pod)));
    }
    while let Some(((at, _), (id, ended))) = queue.events.pop_first() {
        if at > outlook.within || queue.left.iter().all(|left| *left == 0) {
            break;
        }
        if let Some(pod) = ended {
            queue.state.take(&pod, id);
        }
        queue.fill(at, id);
    }
    queue.backlog
}

impl Queue<'_> {
    fn expect(&mut self, at: i64, id: NodeId, ends: Option<Arc<Pod>>) {
        self.events.insert((at, self.found), (id, ends));
        self.found += 1;
    }

    /// Whoever waits and fits takes what is free on a node.
    fn fill(&mut self, at: i64, id: NodeId) {
        for class in 0..self.left.len() {
            while self.left[class] > 0 && self.fits(class, id) {
                let of = &self.classes.all[class];
                let pod = Arc::clone(&of.pods[of.pods.len() - self.left[class]]);
                self.left[class] -= 1;
                self.state.place(Arc::new(of.as_resident.like(Arc::clone(&pod))), id);
                // What has its room now is the scheduler's to bind, not ours to put off.
                if at > 0 {
                    self.backlog.held.insert(identity(&pod));
                    self.backlog.wanted.insert(id);
                }
                if let Some(run) = (self.outlook.run)(&pod) {
                    self.expect(at.saturating_add(run), id, Some(pod));
                }
            }
        }
    }

    fn fits(&mut self, class: usize, id: NodeId) -> bool {
        if !self.classes.dims.free(self.state.node(id)).holds(&self.classes.all[class].wants) {
            return false;
        }
        if self.classes.is_simple(class) {
            return self.classes.wish(class).may_run(&self.state, id);
        }
        let Some(left) = self.tries.checked_sub(1) else { return false };
        self.tries = left;
        let of = &self.classes.all[class];
        Check::new(&of.pods[of.pods.len() - self.left[class]], &self.state).fits(&self.state, id)
    }
}
