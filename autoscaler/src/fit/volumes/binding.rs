//! Claims that wait for their pod: a volume that is there and can be reached from the node, or one that can be made there.

use std::sync::Arc;

use super::super::node_affinity::reaches;
use super::super::reason::{Found, Reason};
use super::super::selector::{Clause, Selector};
use super::super::state::NodeState;
use super::storage::{Storage, claim_class, volume_class};
use crate::view::{Claim, Labels, Operator, PersistentVolume, Requirement, StorageClass, TopologyTerm};

/// Where the scheduler notes the node that it chose for a claim.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// What stands where volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// Whether a volume can be used on a node.
pub(super) fn reachable(volume: &PersistentVolume, node: &NodeState) -> bool {
    let required = volume.spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| reaches(selector, &node.node().metadata.labels))
}

/// Says which of the claims that wait cannot have a volume on a node.
pub(super) fn check(claims: &[Arc<Claim>], storage: &Storage, node: &NodeState, found: &mut Found) {
    let name = &node.node().metadata.name;
    let mut chosen: Vec<&str> = Vec::new();
    for claim in claims {
        let problem = match claim.metadata.annotations.get(SELECTED_NODE) {
            Some(other) if other != name => Err(format!("gets its volume on the node {other}")),
            // Its volume is being made already.
            Some(_) => provision(claim, storage, node),
            None => match matching(claim, storage, node, &chosen) {
                Ok(Some(volume)) => {
                    chosen.push(&volume.metadata.name);
                    Ok(())
                }
                Ok(None) => provision(claim, storage, node),
                Err(problem) => Err(problem),
            },
        };
        if let Err(problem) = problem {
            found.add(|| Reason::VolumePlace { claim: claim.metadata.path(), problem });
        }
    }
}

/// The smallest volume that will do, unless one is set aside for the claim.
fn matching<'a>(
    claim: &Claim,
    storage: &'a Storage,
    node: &NodeState,
    chosen: &[&str],
) -> Result<Option<&'a PersistentVolume>, String> {
    let class = claim_class(claim);
    let selector = match &claim.spec.selector {
        Some(selector) => Some(
            Selector::parse(Some(selector)).map_err(|problem| format!("has a selector that {problem}"))?,
        ),
        None => None,
    };
    let size = |volume: &PersistentVolume| volume.spec.capacity.get("storage").copied().unwrap_or_default();
    let mut best: Option<&PersistentVolume> = None;
    for volume in storage.volumes_of(class).iter().map(Arc::as_ref) {
        if chosen.contains(&volume.metadata.name.as_str()) || !suits(claim, volume) {
            continue;
        }
        if is_set_aside(volume, claim) {
            return Ok(reachable(volume, node).then_some(volume));
        }
        let labels = &volume.metadata.labels;
        let free = volume.status.phase == "Available"
            && selector.as_ref().is_none_or(|selector| selector.matches(labels))
            && volume_class(volume) == class
            && claim.spec.access_modes.iter().all(|mode| volume.spec.access_modes.contains(mode))
            && reachable(volume, node);
        if free && best.is_none_or(|best| size(best) > size(volume)) {
            best = Some(volume);
        }
    }
    Ok(best)
}

/// What a volume must be, also where it is set aside.
fn suits(claim: &Claim, volume: &PersistentVolume) -> bool {
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let wants = claim.spec.resources.requests.get("storage").copied().unwrap_or_default();
    (volume.spec.claim.is_none() || is_set_aside(volume, claim))
        && volume.spec.capacity.get("storage").copied().unwrap_or_default() >= wants
        && mode(&volume.spec.volume_mode) == mode(&claim.spec.volume_mode)
        && volume.spec.attributes_class == claim.spec.attributes_class
        && volume.metadata.deletion_timestamp.is_none()
}

fn is_set_aside(volume: &PersistentVolume, claim: &Claim) -> bool {
    let meta = &claim.metadata;
    volume.spec.claim.as_ref().is_some_and(|owner| {
        owner.name == meta.name
            && owner.namespace == meta.namespace
            && (owner.uid.is_empty() || owner.uid == meta.uid)
    })
}

/// Whether a volume for a claim can be made on a node, or why not.
fn provision(claim: &Claim, storage: &Storage, node: &NodeState) -> Result<(), String> {
    let name = claim_class(claim);
    let class =
        storage.class(name).ok_or_else(|| format!("has the storage class {name:?}, which does not exist"))?;
    if class.provisioner.is_empty() || class.provisioner == NO_PROVISIONER {
        return Err(format!("finds no free volume of the class {name} here, and nobody makes them"));
    }
    let labels = &node.node().metadata.labels;
    if !class.allowed_topologies.is_empty()
        && !class.allowed_topologies.iter().any(|term| allows(term, labels))
    {
        return Err(format!("has the class {name}, whose volumes cannot be made here"));
    }
    if has_room(claim, class, storage, node) {
        Ok(())
    } else {
        Err(format!("finds too little free space of the class {name} here"))
    }
}

fn allows(term: &TopologyTerm, labels: &Labels) -> bool {
    let holds = |key: &String, values: &Vec<String>| {
        let requirement = Requirement { key: key.clone(), operator: Operator::In, values: values.clone() };
        Clause::parse(&requirement).is_ok_and(|clause| clause.matches(labels))
    };
    !term.expressions.is_empty() && term.expressions.iter().all(|r| holds(&r.key, &r.values))
}

fn has_room(claim: &Claim, class: &StorageClass, storage: &Storage, node: &NodeState) -> bool {
    let Some(wants) = claim.spec.resources.requests.get("storage") else { return true };
    if node.is_imagined() || !storage.reports_capacity(&class.provisioner) {
        return true;
    }
    let labels = &node.node().metadata.labels;
    storage.capacities.iter().any(|capacity| {
        capacity.class == class.metadata.name
            && capacity.maximum.or(capacity.capacity).is_some_and(|limit| limit.value() >= wants.value())
            && Selector::parse(capacity.topology.as_ref()).is_ok_and(|selector| selector.matches(labels))
    })
}
