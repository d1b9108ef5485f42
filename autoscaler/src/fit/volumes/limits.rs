//! How many volumes of a driver a node takes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::reason::{Found, Reason};
use super::super::state::NodeState;
use super::storage::{Storage, claim_class, claim_name};
use crate::view::{Claim, Pod};

/// A volume as its driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attached {
    driver: String,
    handle: String,
}

/// Provisioners inside Kubernetes that CSI drivers have taken over: on which nodes is not known here, so they do not count.
const TAKEN_OVER: [&str; 7] = [
    "kubernetes.io/aws-ebs",
    "kubernetes.io/azure-disk",
    "kubernetes.io/azure-file",
    "kubernetes.io/cinder",
    "kubernetes.io/gce-pd",
    "kubernetes.io/portworx-volume",
    "kubernetes.io/vsphere-volume",
];

/// The volume that a claim has or will have, if a driver attaches it.
pub(super) fn attached(claim: &Claim, storage: &Storage) -> Option<Attached> {
    let attached = match storage.volume(&claim.spec.volume_name) {
        Some(volume) => {
            let csi = volume.spec.csi.as_ref()?;
            Attached { driver: csi.driver.clone(), handle: csi.handle.clone() }
        }
        None => {
            let class = storage.class(claim_class(claim))?;
            if TAKEN_OVER.contains(&class.provisioner.as_str()) {
                return None;
            }
            // It has no handle yet; a name with a slash and a space is no driver's.
            let handle = format!("claim {}", claim.metadata.path());
            Attached { driver: class.provisioner.clone(), handle }
        }
    };
    (!attached.driver.is_empty() && !attached.handle.is_empty()).then_some(attached)
}

fn volumes_of<'a>(pod: &'a Pod, storage: &'a Storage) -> impl Iterator<Item = Attached> + 'a {
    pod.spec.volumes.iter().filter_map(|volume| {
        let name = claim_name(pod, volume)?;
        attached(storage.claim(&format!("{}/{name}", pod.metadata.namespace))?, storage)
    })
}

/// Says of which driver a node has too many volumes already.
pub(super) fn check(wants: &[Attached], storage: &Storage, node: &NodeState, found: &mut Found) {
    let Some(csi) = node.csi().filter(|_| !wants.is_empty()) else { return };
    let drivers = csi.spec.drivers.iter();
    let limits: BTreeMap<&str, i64> =
        drivers.filter_map(|driver| Some((driver.name.as_str(), driver.allocatable.count?))).collect();
    if limits.is_empty() {
        return;
    }
    let used: BTreeSet<Attached> =
        node.residents().flat_map(|resident| volumes_of(&resident.pod, storage)).collect();
    let others: BTreeSet<Attached> = storage
        .attached_to(&node.node().metadata.name)
        .map(|(driver, handle)| Attached { driver: driver.clone(), handle: handle.clone() })
        .filter(|attached| !used.contains(attached))
        .collect();
    let count = |list: &BTreeSet<Attached>, driver: &str| list.iter().filter(|a| a.driver == driver).count();
    for (driver, limit) in limits {
        let new = wants.iter().filter(|a| a.driver == driver && !used.contains(a)).count();
        let there = count(&used, driver) + count(&others, driver);
        let too_many = i64::try_from(there + new).is_ok_and(|sum| sum > limit);
        if new > 0 && too_many {
            found.add(|| Reason::VolumeLimit { driver: driver.to_owned(), wants: new, used: there, limit });
        }
    }
}
