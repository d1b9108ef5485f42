//! Equal pods are one thing: classes, and what they have in common with other classes.
//!
//! ```text
//!   pods ─► classes (same wishes, same amounts) ─► kinds of wish (same wishes, whatever amounts)
//! ```
//!
//! A class is made of pods that no scheduler could tell apart: 50,000 pods of one spec cost what one costs. Labels count only
//! as far as some selector in play looks at them. What a class asks about nodes and neighbours is a [`Wish`], shared by the
//! classes that differ in amounts alone. The order of classes and of their pods depends on nothing but the pods.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::room::{Dims, Room};
use crate::fit::{Amounts, Check, Judge, Resident, State, requests};
use crate::view::{LabelSelector, Pod, PodAffinityTerm, PodSpec, Unsatisfiable, Volume};

/// How much a demand matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A pod that is there and waits, or has to move.
    Waiting,
    /// Room that is to be free, or pods that are expected: nobody suffers at once if there is none.
    Spare,
}

/// Pods that no scheduler could tell apart.
#[derive(Debug, Clone)]
pub struct Class {
    /// The pods, by namespace and name.
    pub pods: Vec<Arc<Pod>>,
    /// How much they matter.
    pub urgency: Urgency,
    pub(crate) wish: usize,
    pub(crate) wants: Room,
    pub(crate) as_resident: Resident,
}

/// What pods ask about nodes and neighbours.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) check: Check,
    /// Who runs where decides nothing: the verdict on a node never changes.
    pub(crate) is_simple: bool,
    /// Nodes of one kind get different verdicts.
    pub(crate) tells_apart: bool,
    /// Verdicts on nodes that never change.
    known: Vec<Option<bool>>,
}

impl Wish {
    /// Whether pods with this wish may run on a node, but for room.
    pub(crate) fn may_run(&mut self, state: &State, id: crate::fit::NodeId) -> bool {
        if !self.is_simple {
            return self.check.may_run(state, id);
        }
        let at = id.index();
        if at >= self.known.len() {
            self.known.resize(at + 1, None);
        }
        *self.known[at].get_or_insert_with(|| self.check.may_run(state, id))
    }
}

/// Classes with their wishes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Classes {
    pub(crate) all: Vec<Class>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) dims: Dims,
}

/// Labels that some selector in play looks at.
fn watched<'a>(pods: impl Iterator<Item = &'a Pod>) -> BTreeSet<&'a str> {
    let mut keys = BTreeSet::new();
    let mut add = |selector: &'a Option<LabelSelector>| {
        let Some(selector) = selector else { return };
        keys.extend(selector.match_labels.keys().map(String::as_str));
        keys.extend(selector.match_expressions.iter().map(|one| one.key.as_str()));
    };
    let mut match_keys = Vec::new();
    for pod in pods {
        let affinity = &pod.spec.affinity;
        let terms = affinity.pod.required.iter().chain(&affinity.anti.required);
        terms.for_each(|term: &PodAffinityTerm| add(&term.selector));
        for spread in &pod.spec.topology_spread_constraints {
            add(&spread.selector);
            match_keys.extend(spread.match_label_keys.iter().map(String::as_str));
        }
    }
    keys.extend(match_keys);
    keys
}

/// Volumes that decide where a pod may go.
fn placing(volume: &&Volume) -> bool {
    volume.claim.is_some()
        || volume.ephemeral.is_some()
        || volume.gce_disk.is_some()
        || volume.aws_disk.is_some()
        || volume.iscsi.is_some()
        || volume.rbd.is_some()
}

fn has_host_port(spec: &PodSpec) -> bool {
    let mut all = spec.containers.iter().chain(&spec.init_containers);
    all.any(|container| container.ports.iter().any(|port| port.host_port != 0))
}

/// Compares pods, given the labels that count.
struct Likeness<'a> {
    watched: BTreeSet<&'a str>,
}

impl Likeness<'_> {
    fn same_labels(&self, a: &Pod, b: &Pod) -> bool {
        self.watched.iter().all(|key| a.metadata.labels.get(*key) == b.metadata.labels.get(*key))
    }

    /// Whether both ask the same of nodes and neighbours.
    fn same_wish(&self, a: &Pod, b: &Pod) -> bool {
        let (x, y) = (&a.spec, &b.spec);
        // The claim of an ephemeral volume has the name of its pod.
        let alone = |spec: &PodSpec| spec.volumes.iter().any(|volume| volume.ephemeral.is_some());
        a.metadata.namespace == b.metadata.namespace
            && x.node_selector == y.node_selector
            && x.affinity == y.affinity
            && x.tolerations == y.tolerations
            && x.topology_spread_constraints == y.topology_spread_constraints
            && x.scheduling_gates == y.scheduling_gates
            && x.priority == y.priority
            && x.volumes.iter().filter(placing).eq(y.volumes.iter().filter(placing))
            && !alone(x)
            && (!(has_host_port(x) || has_host_port(y))
                || x.containers == y.containers && x.init_containers == y.init_containers)
            && self.same_labels(a, b)
    }

    fn same_amounts(a: &PodSpec, b: &PodSpec) -> bool {
        a.containers == b.containers
            && a.init_containers == b.init_containers
            && a.overhead == b.overhead
            && a.resources == b.resources
    }

    /// A number that is the same for pods with the same wish, and different for most others.
    fn number(&self, pod: &Pod) -> u64 {
        let mut number = Number::new();
        number.text(&pod.metadata.namespace);
        for key in &self.watched {
            number.text(pod.metadata.labels.get(*key).map_or("", String::as_str));
        }
        for (key, value) in &pod.spec.node_selector {
            number.text(key);
            number.text(value);
        }
        let affinity = &pod.spec.affinity;
        for term in affinity.pod.required.iter().chain(&affinity.anti.required) {
            number.text(&term.topology_key);
            number.selector(&term.selector);
        }
        for spread in &pod.spec.topology_spread_constraints {
            number.text(&spread.topology_key);
            number.selector(&spread.selector);
        }
        number.0
    }

    fn number_with_amounts(&self, pod: &Pod, wish: u64) -> u64 {
        let mut number = Number(wish);
        for container in &pod.spec.containers {
            for (name, amount) in &container.resources.requests {
                number.text(name);
                number.more(amount.nanos() as u64);
            }
        }
        number.0
    }
}

/// FNV-1a: the same on every computer and in every run.
struct Number(u64);

impl Number {
    const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn more(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01B3);
    }

    fn text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.more(u64::from(byte)));
        self.more(0xFF);
    }

    fn selector(&mut self, selector: &Option<LabelSelector>) {
        for (key, value) in selector.iter().flat_map(|selector| &selector.match_labels) {
            self.text(key);
            self.text(value);
        }
    }
}

type Buckets = HashMap<u64, Vec<usize>>;

/// Pods in classes that are not in order yet: for each the wish, and a pod for all.
struct Groups {
    wishes: Vec<Arc<Pod>>,
    classes: Vec<(usize, Urgency, Vec<Arc<Pod>>)>,
}

fn group(likeness: &Likeness<'_>, pods: Vec<(Arc<Pod>, Urgency)>) -> Groups {
    let mut groups = Groups { wishes: Vec::new(), classes: Vec::new() };
    let (mut by_wish, mut by_amount) = (Buckets::new(), Buckets::new());
    for (pod, urgency) in pods {
        let number = likeness.number(&pod);
        let bucket = by_amount.entry(likeness.number_with_amounts(&pod, number)).or_default();
        let same = |at: &&usize| {
            let (_, of, pods) = &groups.classes[**at];
            *of == urgency
                && Likeness::same_amounts(&pods[0].spec, &pod.spec)
                && likeness.same_wish(&pods[0], &pod)
        };
        if let Some(at) = bucket.iter().find(same) {
            groups.classes[*at].2.push(pod);
            continue;
        }
        let wishes = by_wish.entry(number).or_default();
        let known = wishes.iter().find(|at| likeness.same_wish(&groups.wishes[**at], &pod)).copied();
        let wish = known.unwrap_or_else(|| {
            groups.wishes.push(Arc::new(pod.anew()));
            wishes.push(groups.wishes.len() - 1);
            groups.wishes.len() - 1
        });
        bucket.push(groups.classes.len());
        groups.classes.push((wish, urgency, vec![pod]));
    }
    groups
}

fn identity(pod: &Pod) -> (&str, &str, &str) {
    (&pod.metadata.namespace, &pod.metadata.name, &pod.metadata.uid)
}

/// Puts pods into classes, in the order in which they are to be placed: what matters more first, then what is harder to
/// place, then the larger.
pub(crate) fn classes(mut pods: Vec<(Arc<Pod>, Urgency)>, state: &State) -> Classes {
    pods.sort_by(|(a, _), (b, _)| identity(a).cmp(&identity(b)));
    let here: Vec<Arc<Pod>> = pods.iter().map(|(pod, _)| Arc::clone(pod)).collect();
    let residents =
        state.nodes().flat_map(|node| node.residents()).filter(|resident| resident.looks_around());
    let likeness = Likeness {
        watched: watched(here.iter().map(Arc::as_ref).chain(residents.map(|one| one.pod.as_ref()))),
    };
    let groups = group(&likeness, pods);
    let mut wishes: Vec<Wish> = groups.wishes.iter().map(|pod| wish(pod, state)).collect();
    keep_apart(&mut wishes);
    let amounts: Vec<Amounts> =
        groups.classes.iter().map(|(_, _, pods)| Amounts::of(&requests(&pods[0], Judge::Wanted))).collect();
    let dims = Dims::of(amounts.iter());
    let all = groups.classes.into_iter().zip(&amounts).map(|((wish, urgency, pods), amounts)| Class {
        as_resident: Resident::new(Arc::new(pods[0].anew())),
        pods,
        urgency,
        wish,
        wants: dims.wants(amounts),
    });
    let mut classes = Classes { all: all.collect(), wishes, dims };
    classes.sort();
    classes
}

fn wish(pod: &Arc<Pod>, state: &State) -> Wish {
    let check = Check::new(pod, state);
    let is_simple = !check.looks_around();
    Wish { tells_apart: check.tells_nodes_apart(), check, is_simple, known: Vec::new() }
}

/// A pod that asks for nothing is no longer simple where another one that waits does not want it near, or must be near it.
fn keep_apart(wishes: &mut [Wish]) {
    let choosy = |wish: &&Wish| {
        let affinity = &wish.check.pod().spec.affinity;
        !affinity.anti.required.is_empty() || !affinity.pod.required.is_empty()
    };
    let choosy: Vec<Check> = wishes.iter().filter(choosy).map(|wish| wish.check.clone()).collect();
    for wish in wishes.iter_mut() {
        let pod = wish.check.pod();
        if choosy.iter().any(|other| other.repels(pod) || other.seeks(pod)) {
            wish.is_simple = false;
            wish.tells_apart = true;
        }
    }
}

impl Classes {
    fn sort(&mut self) {
        let mut most = Room::default();
        self.all.iter().for_each(|class| most.raise(&class.wants));
        let wishes = &self.wishes;
        let rank = |class: &Class| {
            let wish = &wishes[class.wish];
            let effort = match (wish.check.wants_a_node_alone(), wish.is_simple) {
                (true, _) => 0,
                (_, false) if wish.tells_apart => 1,
                (_, false) => 2,
                (_, true) => 3,
            };
            (class.urgency, std::cmp::Reverse(class.pods[0].spec.priority), effort)
        };
        self.all.sort_by(|a, b| {
            let larger = b.wants.share_of(&most).total_cmp(&a.wants.share_of(&most));
            let by_sum = b.wants.cpu_and_memory().cmp(&a.wants.cpu_and_memory());
            let by_name = || identity(&a.pods[0]).cmp(&identity(&b.pods[0]));
            rank(a).cmp(&rank(b)).then(larger).then(by_sum).then_with(by_name)
        });
    }

    /// The wish of a class.
    pub(crate) fn wish(&mut self, class: usize) -> &mut Wish {
        &mut self.wishes[self.all[class].wish]
    }

    /// Whether nothing that happens around changes a verdict on this class.
    pub(crate) fn is_simple(&self, class: usize) -> bool {
        self.wishes[self.all[class].wish].is_simple
    }
}

/// Required spreads alone make a pod look around; preferences do not.
pub(crate) fn spreads(pod: &Pod) -> impl Iterator<Item = &str> {
    let all = pod.spec.topology_spread_constraints.iter();
    all.filter(|one| one.when_unsatisfiable == Unsatisfiable::DoNotSchedule)
        .map(|one| one.topology_key.as_str())
}
