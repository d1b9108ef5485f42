//! What the agent keeps of clusters and machines, and how states and addresses follow from it (pure).
//!
//! A record is on disk before anything that it speaks of happens. Which process is a machine's pid 1 is *not* in it:
//! the keeper writes that itself (`process.json`), so that no crash of the agent can lose a machine that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{ClusterId, ImageName, MachineId, Zone};
use crate::provider::{Machine, MachineRequest, MachineState, Tags};
use crate::spec::{Role, Shape};

/// One machine: `machines/ID/machine.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this format.
    pub version: u32,
    /// Random, never used again.
    pub id: MachineId,
    /// The create call that it came from.
    pub token: String,
    /// Identity.
    pub tags: Tags,
    /// What it is for.
    pub role: Role,
    /// Size.
    pub shape: Shape,
    /// What it boots.
    pub image: ImageName,
    /// A label.
    pub zone: Option<Zone>,
    /// Ports forwarded from the host's loopback: the machine's port and, once it was taken, the host's.
    pub exposed: BTreeMap<u16, Option<u16>>,
    /// Its address in the cluster's network.
    pub address: Ipv4Addr,
    /// When it was asked for.
    pub created: Timestamp,
    /// How often a boot was begun.
    pub boots: u32,
    /// Being deleted: finished after a crash of the agent, never listed.
    pub deleting: bool,
    /// Why it is broken.
    pub failed: Option<String>,
}

/// The format of [`Record`] and [`ClusterRecord`] that this code writes.
pub const VERSION: u32 = 1;

/// One cluster: `clusters/ID.json`, 0600.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Version of this format.
    pub version: u32,
    /// The cluster.
    pub id: ClusterId,
    /// Which of the instance's networks it has: `10.213.(4 × index).0/22`.
    pub index: u8,
    /// Whether its machines reach the outside.
    pub internet: bool,
    /// What its machines show at the gateway: a secret; empty once it was revoked, then nothing opens it.
    pub token: String,
}

/// Networks of an instance: a /16 in pieces of /22. The range meets neither flannel's 10.244.0.0/16
/// nor Kubernetes' services in 10.96.0.0/12; a piece has room for 1,021 machines, a bridge has 1,023 ports.
pub const CLUSTERS_MAX: u8 = 64;
/// Prefix length of a cluster's network.
pub const PREFIX: u8 = 22;

impl ClusterRecord {
    /// The hub's address in the cluster's network.
    pub fn gateway(&self) -> Ipv4Addr {
        host(self.index, 1)
    }
    /// The cluster's bridge.
    pub fn bridge(&self) -> String {
        format!("br{}", self.index)
    }
    /// The lowest address that is not in `used`.
    pub fn free_address(&self, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        (2..1023).map(|n| host(self.index, n)).find(|address| !used.contains(address))
    }
}

/// The lowest network that is not in `used`.
pub fn free_index(used: &BTreeSet<u8>) -> Option<u8> {
    (0..CLUSTERS_MAX).find(|index| !used.contains(index))
}

/// The network that an address is in.
pub fn index_of(address: Ipv4Addr) -> u8 {
    address.octets()[2] / 4
}

fn host(index: u8, n: u16) -> Ipv4Addr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 213, index * 4 + high, low)
}

/// What is known of a machine beside its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its pid 1 lives.
    pub alive: bool,
    /// A boot is under way.
    pub booting: bool,
    /// Its sshd has answered since it booted.
    pub ready: bool,
}

impl Record {
    /// A fresh record for a request.
    pub fn new(id: MachineId, request: &MachineRequest, address: Ipv4Addr, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            id,
            token: request.token.clone(),
            tags: request.tags.clone(),
            role: request.role,
            shape: request.shape.clone(),
            image: request.image.clone(),
            zone: request.zone.clone(),
            exposed: request.expose.iter().map(|port| (*port, None)).collect(),
            address,
            created: now,
            boots: 0,
            deleting: false,
            failed: None,
        }
    }
    /// Whether a repeated request asks for what this is.
    pub fn answers(&self, request: &MachineRequest) -> bool {
        let expose: BTreeSet<u16> = request.expose.iter().copied().collect();
        self.tags == request.tags
            && self.role == request.role
            && self.shape == request.shape
            && self.image == request.image
            && self.zone == request.zone
            && self.exposed.keys().copied().collect::<BTreeSet<u16>>() == expose
    }
    /// What it does. A machine that has never booted is about to.
    pub fn state(&self, seen: Seen) -> MachineState {
        match (&self.failed, seen) {
            (Some(reason), _) => MachineState::Failed(reason.clone()),
            (None, Seen { alive: true, ready: true, .. }) => MachineState::Running,
            (None, Seen { alive: false, booting: false, .. }) if self.boots > 0 => MachineState::Stopped,
            (None, _) => MachineState::Building,
        }
    }
    /// As the cloud shows it.
    pub fn machine(&self, seen: Seen) -> Machine {
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Machine {
            id: self.id.clone(),
            tags: self.tags.clone(),
            state: self.state(seen),
            address: Some(IpAddr::V4(self.address)),
            exposed: self.exposed.iter().filter_map(|(port, host)| Some((*port, local((*host)?)))).collect(),
            shape: self.shape.clone(),
            created: Some(self.created),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(index: u8) -> ClusterRecord {
        ClusterRecord {
            version: VERSION,
            id: ClusterId::new("lab1-00000000").unwrap(),
            index,
            internet: false,
            token: String::new(),
        }
    }

    #[test]
    fn networks_and_addresses_are_the_lowest_free_ones() {
        assert_eq!(free_index(&BTreeSet::from([0, 1, 3])), Some(2));
        assert_eq!(free_index(&(0..CLUSTERS_MAX).collect()), None);
        let last = cluster(63);
        assert_eq!(last.gateway(), Ipv4Addr::new(10, 213, 252, 1));
        let mut used = BTreeSet::new();
        for _ in 0..1021 {
            used.insert(last.free_address(&used).unwrap());
        }
        assert_eq!(used.first(), Some(&Ipv4Addr::new(10, 213, 252, 2)));
        assert_eq!(used.last(), Some(&Ipv4Addr::new(10, 213, 255, 254)));
        assert_eq!(last.free_address(&used), None);
    }

    #[test]
    fn a_state_follows_from_the_record_and_what_is_seen() {
        let tags = serde_json::json!({"cluster": "a-00000000", "pool": "w", "owner": "cli", "ledger": "l",
            "machine": "a-w-1", "expires": null, "host_key": "SHA256:x"});
        let record = |boots, failed: Option<&str>| Record {
            version: VERSION,
            id: "m".into(),
            token: "t".into(),
            tags: serde_json::from_value(tags.clone()).unwrap(),
            role: Role::Worker,
            shape: Shape::of("1".parse().unwrap(), "1Gi".parse().unwrap()),
            image: "debian-12".into(),
            zone: None,
            exposed: BTreeMap::new(),
            address: Ipv4Addr::LOCALHOST,
            created: Timestamp::UNIX_EPOCH,
            boots,
            deleting: false,
            failed: failed.map(str::to_owned),
        };
        let seen = |alive, booting, ready| Seen { alive, booting, ready };
        for (record, seen, expected) in [
            (record(0, None), seen(false, false, false), MachineState::Building),
            (record(1, None), seen(false, true, false), MachineState::Building),
            (record(1, None), seen(true, false, false), MachineState::Building),
            (record(1, None), seen(true, false, true), MachineState::Running),
            (record(1, None), seen(false, false, true), MachineState::Stopped),
            (record(2, Some("no")), seen(true, false, true), MachineState::Failed("no".into())),
        ] {
            assert_eq!(record.state(seen), expected, "{record:?} {seen:?}");
        }
    }
}
