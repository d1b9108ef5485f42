//! Why a pod waits, and why a node stays: from the same values that decisions are made of, in the same words.

use std::fmt;

use jiff::Timestamp;
use provisioner::duration::short;
use provisioner::ledger::{Ledger, Phase};
use provisioner::names::MachineName;
use provisioner::policy::Policy;
use provisioner::spec::Spec;
use serde::Serialize;

use crate::decide::{Decision, Scene, Seen, Subject, decide, utilisation};
use crate::fit::{Check, Reason};
use crate::learned::Learned;
use crate::pack::offer::{Source, catalog};
use crate::pack::room::Dims;
use crate::pack::{Limit, Target, Withheld};

/// What is explained: the arguments of [`decide`].
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What was asked for.
    pub spec: &'a Spec,
    /// What the autoscaler may do.
    pub policy: &'a Policy,
    /// What was decided.
    pub ledger: &'a Ledger,
    /// What is seen.
    pub seen: &'a Seen<'a>,
    /// What was learned.
    pub learned: &'a Learned,
    /// The time.
    pub now: Timestamp,
}

/// A reason: one word for machines, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The word.
    pub word: &'static str,
    /// The sentence.
    pub text: String,
}

/// Why one shape of one pool does not help a pod; no reason: it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolAnswer {
    /// The pool.
    pub pool: String,
    /// The zone, if the pool has zones.
    pub zone: Option<String>,
    /// The shape that comes nearest.
    pub shape: String,
    /// What is in the way.
    pub reasons: Vec<Said>,
}

/// Why a pod waits, or where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodAnswer {
    /// `namespace/name`.
    pub pod: String,
    /// In one sentence.
    pub verdict: Said,
    /// Pool by pool.
    pub pools: Vec<PoolAnswer>,
    /// The smallest change that would make it fit on something, if it fits on nothing.
    pub change: Option<String>,
}

/// Why a node stays, or goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeAnswer {
    /// The machine.
    pub machine: MachineName,
    /// Everything that is known.
    pub reasons: Vec<Said>,
}

fn said(reason: &Reason) -> Said {
    Said { word: reason.word(), text: reason.to_string() }
}

fn by_limit(limit: &Limit) -> Said {
    Said { word: limit.word(), text: limit.to_string() }
}

fn by_withheld(withheld: &Withheld) -> Said {
    match withheld {
        Withheld::Backoff { why, secs } => {
            Said { word: "Backoff", text: format!("failed lately, tried again in {secs}s: {why}") }
        }
        Withheld::DaemonSet(no_room) => Said { word: "DaemonSet", text: no_room.to_string() },
        Withheld::Taint(text) => {
            Said { word: "BrokenTaint", text: format!("the taint {text:?} cannot be read") }
        }
    }
}

/// Why a pod waits; none if there is no such pod.
pub fn pod(question: &Question<'_>, path: &str) -> Option<PodAnswer> {
    let Question { spec, policy, ledger, seen, learned, now } = *question;
    let pod = seen.view.pods.iter().find(|pod| pod.metadata.path() == path)?;
    let decision = decide(spec, policy, ledger, seen, learned, None, now);
    let source = Source { spec, policy, ledger, view: seen.view, learned, now };
    let fresh = std::sync::Arc::new(pod.anew());
    let scene = Scene::of(&source, seen.view);
    let check = Check::new(&fresh, &scene.state);
    let catalog = catalog(&source, &Dims::of(std::iter::once(check.wants())));
    let mut pools = Vec::new();
    let mut nearest: Option<Vec<Reason>> = None;
    for kind in &catalog.kinds {
        let tried = kind.offers.iter().map(|offer| (offer, check.reasons(&catalog.state, offer.id).err()));
        // Of equally near shapes the larger one: it takes the smaller change.
        let best = tried.min_by_key(|(offer, why)| {
            (why.as_ref().map_or(0, Vec::len), std::cmp::Reverse((offer.shape.cpu, offer.shape.memory)))
        });
        let Some((offer, why)) = best else { continue };
        let why = why.unwrap_or_default();
        pools.push(PoolAnswer {
            pool: kind.pool.to_string(),
            zone: kind.zone.as_ref().map(ToString::to_string),
            shape: offer.shape.name.to_string(),
            reasons: why.iter().map(said).collect(),
        });
        if nearest.as_ref().is_none_or(|than| why.len() < than.len()) {
            nearest = Some(why);
        }
    }
    pools.extend(catalog.withheld.iter().map(|(pool, zone, shape, why)| PoolAnswer {
        pool: pool.to_string(),
        zone: zone.as_ref().map(ToString::to_string),
        shape: shape.name.to_string(),
        reasons: vec![by_withheld(why)],
    }));
    let verdict = verdict(&decision, pod, &scene);
    let change = nearest.filter(|why| !why.is_empty()).map(|why| changes(&why));
    Some(PodAnswer { pod: path.to_owned(), verdict, pools, change })
}

/// Where a pod goes, in a sentence.
fn verdict(decision: &Decision, pod: &crate::view::Pod, scene: &Scene) -> Said {
    let say = |word, text: String| Said { word, text };
    if !pod.spec.node_name.is_empty() {
        return say("Bound", format!("it is on the node {}", pod.spec.node_name));
    }
    if let Some(gate) = pod.spec.scheduling_gates.first() {
        return said(&Reason::Gated { gates: vec![gate.name.clone()] });
    }
    let Some(packing) = &decision.packing else {
        let why = decision.waits.first();
        return why.map_or_else(
            || say("Unknown", "nothing was decided".to_owned()),
            |wait| say(wait.why.word(), wait.why.to_string()),
        );
    };
    let same = |other: &crate::view::Pod| {
        (&other.metadata.namespace, &other.metadata.name) == (&pod.metadata.namespace, &pod.metadata.name)
    };
    if let Some((_, target)) = packing.assignments().find(|(other, _)| same(other)) {
        return match target {
            Target::New(at) => match decision.added.get(at) {
                Some(name) => say("Added", format!("the machine {name} is added for it")),
                None => say("Defect", "its machine could not be added".to_owned()),
            },
            Target::Node(id) => {
                let node = scene.state.node(id);
                let name = &node.node().metadata.name;
                match node.is_imagined() {
                    true => say("Booting", format!("there will be room for it on {name}, which boots")),
                    // The scheduler has the last word; if it stays so, ours is wrong, and buying more would not help.
                    false => say("RoomThere", format!("there is or will be room for it on {name}")),
                }
            }
        };
    }
    match packing.unplaced().find(|(other, _)| same(other)) {
        Some((_, Some(limit))) => by_limit(limit),
        Some((_, None)) => say("FitsNowhere", "it fits on nothing that could be added".to_owned()),
        None => say(
            "NotWaiting",
            "it is no reason to add anything: the scheduler has not refused it, or it is expendable"
                .to_owned(),
        ),
    }
}

/// What would have to change, in words.
fn changes(why: &[Reason]) -> String {
    why.iter().map(change).collect::<Vec<_>>().join("; and ")
}

fn change(reason: &Reason) -> String {
    match reason {
        Reason::Resource { name, free, .. } => {
            format!("ask for at most {} {name}, or add a larger shape", crate::fit::shown(name, *free))
        }
        Reason::Tainted { taint } => format!("tolerate the taint {taint}"),
        Reason::Selector { key, wants, .. } => {
            format!("leave {key}={wants} out of the node selector, or give a pool this label")
        }
        Reason::NodeAffinity { .. } => "widen the node affinity, or give a pool such labels".to_owned(),
        Reason::Gated { gates } => format!("take away the scheduling gate {}", gates.join(", ")),
        Reason::VolumePlace { claim, .. } => {
            format!("add a zone from which the claim {claim} can be reached")
        }
        Reason::SpreadLabel { key } => format!("give a pool the label {key}"),
        Reason::OtherNode { wants } => format!("do not insist on the node {wants}"),
        other => format!("remove this obstacle: {other}"),
    }
}

/// Why a node of ours stays, or goes; none if there is no such machine.
pub fn node(question: &Question<'_>, name: &MachineName) -> Option<NodeAnswer> {
    let Question { spec, policy, ledger, seen, learned, now } = *question;
    let row = ledger.row(name)?;
    let decision = decide(spec, policy, ledger, seen, learned, None, now);
    let source = Source { spec, policy, ledger, view: seen.view, learned, now };
    let scene = Scene::of(&source, seen.view);
    let mut reasons: Vec<Said> = decision
        .waits
        .iter()
        .filter(|wait| {
            matches!(&wait.subject, Subject::Machine(of) if of == name) || wait.subject == Subject::Cluster
        })
        .map(|wait| Said { word: wait.why.word(), text: wait.why.to_string() })
        .collect();
    let after = decision.ledger.row(name).map(provisioner::ledger::Row::phase);
    if after != Some(row.phase()) {
        let text = after.map_or("it is forgotten".to_owned(), |after| format!("it becomes {after}"));
        reasons.push(Said { word: "Changes", text });
    }
    let quiet = learned.quiet(name);
    let idle = policy.idle_of(&row.pool);
    let used = scene.nodes.get(name).map(|id| utilisation(scene.state.node(*id)));
    let found = decision.uses.get(name).copied().unwrap_or_default();
    let text = match (row.phase(), used) {
        (Phase::Creating | Phase::Configuring, _) => format!("it boots: {}", row.phase()),
        (Phase::Draining | Phase::Deleting, _) => format!("it is on its way out: {}", row.phase()),
        (_, None) => "its node is not there".to_owned(),
        (_, Some(_)) if found.idle => {
            format!("it has had nothing to do for {} of {}", short(quiet.idle), short(idle))
        }
        (_, Some(used)) if found.under_used => {
            format!("{used}% of it is in use, for {} of {}", short(quiet.under_used), short(idle))
        }
        (_, Some(used)) => format!("{used}% of it is in use, or pods are to come"),
    };
    reasons.push(Said { word: "State", text });
    Some(NodeAnswer { machine: name.clone(), reasons })
}

impl fmt::Display for PodAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pod {}: {}", self.pod, self.verdict.text)?;
        for pool in &self.pools {
            let zone = pool.zone.as_ref().map(|zone| format!(" in {zone}")).unwrap_or_default();
            if pool.reasons.is_empty() {
                writeln!(f, "  pool {}{zone}, {}: fits", pool.pool, pool.shape)?;
            }
            for reason in &pool.reasons {
                writeln!(f, "  pool {}{zone}, {}: {}", pool.pool, pool.shape, reason.text)?;
            }
        }
        match &self.change {
            Some(change) => writeln!(f, "  to make it fit: {change}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for NodeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.reasons {
            writeln!(f, "{}: {}", self.machine, reason.text)?;
        }
        Ok(())
    }
}
