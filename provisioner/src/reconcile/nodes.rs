//! What the cluster says of its nodes: a front-end is asked, beside the passes, while something waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;

use super::job::{Finished, Place};
use super::{Parts, Reconciler, until};
use crate::ledger::Phase;
use crate::names::MachineName;
use crate::plan::{NodeState, Nodes, Reason, Wait};
use crate::provider::MachineState;
use crate::recipe::Hook;
use crate::spec::{Role, Spec};

/// From one answer to the next question: a question costs the front-end about a tenth of a second of one core. Where
/// answers take long it has too much to do, and is asked less often: it pauses twice as long as the answer took.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));
/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(10);

/// The last answer.
pub(super) struct Watch {
    pub(super) answer: Nodes,
    at: Option<Duration>,
    asked: Duration,
    pub(super) asking: bool,
}

impl Default for Watch {
    fn default() -> Self {
        let answer = Nodes::Unknown("no front-end was asked yet".into());
        Self { answer, at: None, asked: Duration::ZERO, asking: false }
    }
}

impl Watch {
    /// The answer, if it is fresh. An old one is unknown, never "as before".
    pub(super) fn known(&self, now: Duration) -> Nodes {
        match (&self.answer, self.at) {
            (Nodes::Known(_), Some(at)) if until(at, now) > FRESH => {
                Nodes::Unknown("the last answer is too old".into())
            }
            (answer, _) => answer.clone(),
        }
    }
    /// Whether the last answer is too young for another question.
    fn is_early(&self, now: Duration) -> bool {
        self.at.is_some_and(|at| until(at, now) < (until(self.asked, at) * 2).clamp(PAUSE.0, PAUSE.1))
    }
    pub(super) fn answered(&mut self, answer: Nodes, now: Duration) {
        self.answer = answer;
        self.at = Some(now);
        self.asking = false;
    }
}

#[derive(Deserialize)]
struct NodeLine {
    name: String,
    ready: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    boot: Option<String>,
}

impl Reconciler {
    /// Asks, if something waits for the answer and the last one is old enough.
    pub(super) fn ask_nodes(&mut self, spec: &Spec, waits: &[Wait]) {
        let waits_for_it = |wait: &Wait| {
            matches!(wait.reason, Reason::Node { .. } | Reason::NodesUnknown { .. } | Reason::Minimum { .. })
        };
        let now = self.parts.clock.steady();
        let early = self.nodes.is_early(now);
        let daemons =
            spec.pools.values().any(|pool| *pool.size.start() > 0 && pool.size.start() != pool.size.end());
        if self.nodes.asking
            || early
            || !(waits.iter().any(waits_for_it) || daemons && self.nodes.at.is_none())
        {
            return;
        }
        let Some(place) = self.ready_front_end() else { return };
        let parts = self.parts.clone();
        self.nodes.asking = true;
        self.nodes.asked = now;
        self.jobs.spawn(async move { Finished::Nodes(ask(&parts, &place).await) });
    }

    pub(super) fn ready_front_end(&self) -> Option<Place> {
        let ready = |name: &&MachineName| {
            let running = |place: &Place| place.target.machine.state == MachineState::Running;
            self.place(name).is_some_and(|place| running(&place))
        };
        let rows = self.ledger.rows().iter();
        let mut found: Vec<_> = rows
            .filter(|(_, row)| row.role == Role::FrontEnd && row.phase() == Phase::Ready)
            .map(|(name, row)| (row.born.ordinal, name))
            .collect();
        found.sort();
        let name = found.into_iter().map(|(_, name)| name).find(ready)?;
        self.place(name)
    }
}

/// Whatever goes wrong makes the nodes unknown; it never makes them none.
pub(super) async fn ask(parts: &Parts, place: &Place) -> Nodes {
    let scripts = match parts.scripts.hook(&place.host, Hook::Nodes) {
        Ok(scripts) => scripts,
        Err(error) => return Nodes::Unknown(error.to_string()),
    };
    if scripts.is_empty() {
        return Nodes::Unused;
    }
    let remote = Arc::clone(&parts.remote);
    let mut nodes = BTreeMap::new();
    for script in scripts {
        let printed = match remote.ask(&place.target, &script).await {
            Ok(printed) => printed,
            Err(error) => return Nodes::Unknown(format!("{}: {error}", place.target.name)),
        };
        let lines: Vec<NodeLine> = match serde_json::from_slice(printed.expose_secret()) {
            Ok(lines) => lines,
            Err(_) => {
                return Nodes::Unknown(format!("{}: the answer is no list of nodes", place.target.name));
            }
        };
        for NodeLine { name, ready, reason, boot } in lines {
            // A node that is not ours by name is nobody's row.
            if let Ok(name) = MachineName::new(name) {
                let boot = boot.filter(|boot| !boot.is_empty());
                nodes.insert(name, NodeState { ready, reason, boot });
            }
        }
    }
    Nodes::Known(nodes)
}
