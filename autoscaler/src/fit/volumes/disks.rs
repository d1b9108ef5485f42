//! Disks inline in pods that two pods of one node cannot share.

use super::super::reason::{Found, Reason};
use super::super::state::NodeState;
use crate::view::Volume;

/// Whether a volume is of a kind that two pods of a node may fight for.
pub(super) const fn can_conflict(volume: &Volume) -> bool {
    volume.gce_disk.is_some() || volume.aws_disk.is_some() || volume.iscsi.is_some() || volume.rbd.is_some()
}

/// Says which disks a pod of this node has.
pub(super) fn check(disks: &[Volume], node: &NodeState, found: &mut Found) {
    for disk in disks {
        let holder = node
            .residents()
            .find(|resident| resident.pod.spec.volumes.iter().any(|other| conflict(disk, other)));
        if let Some(holder) = holder {
            found.add(|| Reason::DiskConflict {
                volume: disk.name.clone(),
                taken_by: holder.pod.metadata.path(),
            });
        }
    }
}

/// Two volumes that are the same disk, unless both only read; of Amazon's disks not even then.
fn conflict(one: &Volume, other: &Volume) -> bool {
    let gce = one.gce_disk.as_ref().zip(other.gce_disk.as_ref());
    let aws = one.aws_disk.as_ref().zip(other.aws_disk.as_ref());
    let iscsi = one.iscsi.as_ref().zip(other.iscsi.as_ref());
    let rbd = one.rbd.as_ref().zip(other.rbd.as_ref());
    gce.is_some_and(|(a, b)| a.name == b.name && !(a.read_only && b.read_only))
        || aws.is_some_and(|(a, b)| a.id == b.id)
        || iscsi.is_some_and(|(a, b)| a.iqn == b.iqn && !(a.read_only && b.read_only))
        || rbd.is_some_and(|(a, b)| {
            a.monitors.iter().any(|monitor| b.monitors.contains(monitor))
                && (&a.pool, &a.image) == (&b.pool, &b.image)
                && !(a.read_only && b.read_only)
        })
}
