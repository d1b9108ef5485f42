//! `decide()`: what the cluster needs goes in; an edited ledger, a few orders to Kubernetes and the waits come out.
//!
//! ```text
//!   stale? closing? ─► nothing changes
//!        └─► scene ─► pack what waits ─► rows added, drains called off ─► drains go on ─► idle and under-used nodes drain
//! ```
//!
//! Scaling is editing the ledger; the engine's `plan()` makes the ledger true. Invariants: equal arguments give equal decisions;
//! deciding again on the result decides nothing new; no limit is passed; nothing goes on missing or old information; a row
//! becomes Deleting only where a fresh view shows its node cordoned and empty, or shows no node at all.

mod backlog;
mod drains;
#[cfg(test)]
pub(crate) mod fixtures;
mod guards;
mod out;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod random_tests;
mod rules;
mod scene;
mod shrink;
#[cfg(test)]
mod tests;
mod under_used;
mod wait;

use std::collections::BTreeMap;

use jiff::Timestamp;
use provisioner::ledger::{Ledger, Phase};
use provisioner::names::{MachineName, PoolName};
use provisioner::policy::Policy;
use provisioner::spec::Spec;

pub(crate) use self::guards::Guards;
pub use self::rules::{Hold, Verdict, verdict};
pub(crate) use self::scene::{Scene, utilisation};
pub use self::wait::{Subject, Wait, Why};
use crate::forecast::Forecast;
use crate::learned::{Learned, Use};
use crate::pack::Packing;
use crate::view::KubeView;

/// The annotation of a node that this program cordoned: only such a node does it uncordon.
pub const CORDONED_BY: &str = "continuum.dev/cordoned-by";

/// What is seen of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its objects.
    pub view: &'a KubeView,
    /// Why the view may be old or in parts, if it may be.
    pub stale: Option<&'a str>,
    /// Machines of others in our pools, as the cloud lists them: they count towards maxima.
    pub others: &'a BTreeMap<PoolName, u32>,
}

/// Something that Kubernetes is to be told. Each may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum KubeAction {
    /// Nothing new goes to this node; [`CORDONED_BY`] is put on it.
    Cordon {
        /// The node.
        node: MachineName,
    },
    /// The node takes pods again, if it has [`CORDONED_BY`].
    Uncordon {
        /// The node.
        node: MachineName,
    },
    /// The pod is to go elsewhere.
    Evict {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Exactly this one.
        uid: String,
    },
}

impl std::fmt::Display for KubeAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cordon { node } => write!(f, "cordon {node}"),
            Self::Uncordon { node } => write!(f, "uncordon {node}"),
            Self::Evict { namespace, name, .. } => write!(f, "evict {namespace}/{name}"),
        }
    }
}

/// What was decided.
#[must_use]
#[derive(Debug, Clone)]
pub struct Decision {
    /// The next state: saved before anything is done.
    pub ledger: Ledger,
    /// What to tell Kubernetes, after that.
    pub kube: Vec<KubeAction>,
    /// What does not happen now, and why.
    pub waits: Vec<Wait>,
    /// What was found of each machine: what [`Learned::pass`] wants to know.
    pub uses: BTreeMap<MachineName, Use>,
    /// Pods, by uid, with the machine that will have room for them.
    pub booked: BTreeMap<String, MachineName>,
    /// Who goes where; none where nothing was looked at.
    pub packing: Option<Packing>,
    /// The rows of the packing's new nodes, in their order.
    pub added: Vec<MachineName>,
}

/// The one function that decides. `now` is the pass's time; everything else that changes is in its arguments.
pub fn decide(
    spec: &Spec,
    policy: &Policy,
    ledger: &Ledger,
    seen: &Seen<'_>,
    learned: &Learned,
    forecast: Option<&Forecast>,
    now: Timestamp,
) -> Decision {
    let mut draft = Draft {
        spec,
        policy,
        seen,
        learned,
        forecast,
        now,
        before: ledger,
        decision: Decision {
            ledger: ledger.clone(),
            kube: Vec::new(),
            waits: Vec::new(),
            uses: BTreeMap::new(),
            booked: BTreeMap::new(),
            packing: None,
            added: Vec::new(),
        },
    };
    if let Some(why) = seen.stale {
        draft.wait(Subject::Cluster, Why::Stale { why: why.to_owned() });
    } else if ledger.closing.is_some() {
        draft.wait(Subject::Cluster, Why::Closing);
    } else {
        draft.decide();
    }
    draft.decision
}

/// A decision in the making.
struct Draft<'a> {
    spec: &'a Spec,
    policy: &'a Policy,
    seen: &'a Seen<'a>,
    learned: &'a Learned,
    forecast: Option<&'a Forecast>,
    now: Timestamp,
    before: &'a Ledger,
    decision: Decision,
}

impl Draft<'_> {
    fn decide(&mut self) {
        let scene = Scene::of(&self.source(), self.seen.view);
        let (mut scene, packing) = self.scale_out(scene);
        let mut guards = Guards::of(self.seen.view);
        self.go_on_draining(&mut scene, &mut guards);
        self.find_uses(&scene);
        let put_off = |wait: &Wait| matches!(wait.why, Why::SoonFree { .. });
        let freely =
            packing.new.is_empty() && packing.left.is_empty() && !self.decision.waits.iter().any(put_off);
        self.decision.packing = Some(packing);
        self.scale_in(&mut scene, &mut guards, freely);
        self.decision.kube.sort();
        self.decision.kube.dedup();
    }

    fn source(&self) -> crate::pack::offer::Source<'_> {
        crate::pack::offer::Source {
            spec: self.spec,
            policy: self.policy,
            ledger: self.before,
            view: self.seen.view,
            learned: self.learned,
            now: self.now,
        }
    }

    fn wait(&mut self, subject: Subject, why: Why) {
        self.decision.waits.push(Wait { subject, why });
    }

    fn phase(&self, name: &MachineName) -> Option<Phase> {
        self.decision.ledger.row(name).map(provisioner::ledger::Row::phase)
    }

    /// Live rows of a pool, as decided so far.
    fn live(&self, pool: &PoolName) -> u32 {
        let rows = self.decision.ledger.rows().values();
        let live = rows.filter(|row| row.pool == *pool && row.phase().is_live()).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    /// A transition that the ledger refuses is a mistake of this file; it must not take the daemon down with it.
    fn change(&mut self, done: Result<(), provisioner::ledger::Illegal>) {
        if let Err(illegal) = done {
            self.wait(Subject::Cluster, Why::Defect { why: illegal.to_string() });
        }
    }
}
