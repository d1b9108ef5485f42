//! `provider:` of a cluster file. Each type has its own few keys, read by serde from the mapping itself.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::keys::{PROVIDERS, PROVIDERS_LATER};
use crate::diagnostic::{Flaw, Problem, did_you_mean, one_of};
use crate::provider::Config;
use crate::provider::sandbox::{self, paths::Paths};
use crate::tree::read::{self, Problems};
use crate::tree::{Kind, Node, de};

/// What `provider:` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Provider {
    /// Which cloud.
    pub(super) config: Config,
    /// Whether machines reach the outside.
    pub(super) internet: bool,
}

impl Provider {
    /// Whether machines have a size by numbers, and the cloud has neither flavors nor zones.
    pub(super) fn has_any_size(&self) -> bool {
        matches!(self.config, Config::Sandbox(_) | Config::SandboxGateway(_))
    }
}

pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Provider> {
    let entries = read::map(node, "provider", problems);
    if node.map().is_none() && !node.is_null() {
        return None;
    }
    let Some(kind) = node.get("type") else {
        let problem = Problem::at(&node.place.beginning(), "provider has no type").kind(Flaw::Missing);
        problems.push(problem.expected(format!("type: {}", one_of(PROVIDERS))));
        return None;
    };
    match read::text(kind, "provider.type", problems)? {
        "sandbox" => {
            let before = problems.len();
            let mut internet = true;
            if let Some(node) = node.get("internet") {
                internet = read::boolean(node, "provider.internet", problems).unwrap_or(true);
            }
            let own = entries.iter().filter(|e| !matches!(e.key.name.as_str(), "type" | "internet"));
            let own = Node { kind: Kind::Map(own.cloned().collect()), place: node.place.clone() };
            let config = every::<sandbox::Config>(own, "provider", &["type", "internet"], problems)?;
            // The name becomes part of paths; the sandbox's own check knows the rule. A name that is not written
            // here comes from the environment and is checked when the sandbox is asked.
            if let (Some(node), Err(why)) =
                (node.get("instance"), Paths::new(&config.instance, Path::new("")))
            {
                problems.push(Problem::at(&node.place, format!("provider.instance: {why}")));
            }
            (problems.len() == before).then_some(Provider { config: Config::Sandbox(config), internet })
        }
        later if PROVIDERS_LATER.contains(&later) => {
            let problem =
                Problem::at(&kind.place, format!("provider {later:?} is not built yet")).kind(Flaw::NotBuilt);
            problems.push(problem.expected(one_of(PROVIDERS)).help("it will come; use sandbox for now"));
            None
        }
        other => {
            let all = PROVIDERS.iter().chain(&PROVIDERS_LATER).copied();
            let problem = Problem::at(&kind.place, format!("provider type {other:?} is not known"))
                .kind(Flaw::NotThere);
            problems.push(problem.expected(one_of(PROVIDERS)).maybe_help(did_you_mean(other, all)));
            None
        }
    }
}

/// Reads a type whose fields all have defaults. serde stops at the first thing that does not fit, so the entry
/// that it names is taken out and the rest is read again, until all of them are known.
fn every<T: DeserializeOwned>(
    mut node: Node,
    what: &str,
    more: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    loop {
        let mut problem = match de::from_node(&node) {
            Ok(value) => return Some(value),
            Err(problem) => problem,
        };
        if problem.message.starts_with("unknown key") {
            problem.message.push_str(&format!(" in {what}"));
            problem.expected = one_of(
                more.iter()
                    .copied()
                    .chain(problem.expected.split([' ', ',']).filter(|w| !w.is_empty() && *w != "or")),
            );
        }
        let blamed = node.map().unwrap_or_default().iter().position(|entry| {
            problem
                .place
                .as_ref()
                .is_some_and(|place| *place == entry.key.place || place.within(&entry.value.place))
        });
        problems.push(problem);
        match (&mut node.kind, blamed) {
            (Kind::Map(entries), Some(at)) => entries.remove(at),
            _ => return None,
        };
    }
}
