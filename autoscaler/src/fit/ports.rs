//! Ports of the node that pods take: one pod per port, protocol and address.

use super::reason::{Found, Reason};
use super::state::NodeState;
use crate::view::{Pod, Port};

/// A port of a node, taken by a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    port: i64,
    protocol: String,
    ip: String,
}

/// The ports of a node that a pod takes as long as it runs: of its containers and sidecars.
pub(super) fn of(pod: &Pod) -> Vec<HostPort> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    sidecars
        .chain(&pod.spec.containers)
        .flat_map(|container| &container.ports)
        .filter(|port| port.host_port > 0)
        .map(HostPort::of)
        .collect()
}

impl HostPort {
    fn of(port: &Port) -> Self {
        let or =
            |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        Self { port: port.host_port, protocol: or(&port.protocol, "TCP"), ip: or(&port.host_ip, "0.0.0.0") }
    }

    fn collides(&self, other: &Self) -> bool {
        let same_address = self.ip == other.ip || self.ip == "0.0.0.0" || other.ip == "0.0.0.0";
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

/// Says which ports are taken on a node.
pub(super) fn check(wants: &[HostPort], node: &NodeState, found: &mut Found) {
    for port in wants {
        let taken = node.residents().find(|resident| resident.ports.iter().any(|other| port.collides(other)));
        if let Some(resident) = taken {
            found.add(|| Reason::HostPort {
                port: format!("{}/{}", port.port, port.protocol),
                taken_by: resident.pod.metadata.path(),
            });
        }
    }
}
