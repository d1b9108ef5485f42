//! Machines as scripts meet them: how each is reached, and what its scripts may know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Reconciler;
use super::job::Place;
use crate::ledger::Row;
use crate::names::MachineName;
use crate::provider::{Machine, Owner};
use crate::recipe::Host;
use crate::remote::Target;
use crate::spec::Role;

impl Reconciler {
    /// How to reach the machine of a row, as listed last, and what scripts may know of it: for hooks that the caller
    /// runs by itself (kubeconfig, settled, images). `None` while it is not listed or has no address.
    pub fn place(&self, name: &MachineName) -> Option<Place> {
        let target = self.target(name)?;
        let host = self.host(name, &target)?;
        Some(Place { target, host })
    }

    /// How to reach a machine, as listed last: of a row, or of the other ledger of this cluster.
    pub(super) fn target(&self, name: &MachineName) -> Option<Target> {
        let Some(row) = self.ledger.row(name) else { return self.target_elsewhere(name) };
        let host_keys = self.host_keys(name)?;
        let machine = self.machines().iter().find(|machine| {
            machine.tags.ledger == self.ledger.id
                && machine.tags.machine == *name
                && row.machine().is_none_or(|id| *id == machine.id)
        })?;
        Some(Target { name: name.clone(), machine: machine.clone(), host_keys })
    }

    /// The public host keys of a row's machine that are right now.
    pub fn host_keys(&self, name: &MachineName) -> Option<Vec<String>> {
        let (row, birth) = (self.ledger.row(name)?, self.ledger.key_birth(name)?);
        let mut host_keys = vec![self.parts.keys.second(name, birth)];
        if !row.host_key_rotated() {
            host_keys.insert(0, self.parts.keys.first(name, birth));
        }
        Some(host_keys)
    }

    /// A machine whose keys another ledger's owner derives: known by the fingerprints that its tag says.
    fn target_elsewhere(&self, name: &MachineName) -> Option<Target> {
        let machine = self.elsewhere().find(|machine| machine.tags.machine == *name)?;
        let host_keys = machine.tags.host_keys().map(str::to_owned).collect();
        Some(Target { name: name.clone(), machine: machine.clone(), host_keys })
    }

    /// The cluster's machines of the other owner.
    fn elsewhere(&self) -> impl Iterator<Item = &Machine> {
        let (cluster, owner) = (&self.ledger.cluster, self.ledger.owner);
        self.machines().iter().filter(move |m| m.tags.cluster == *cluster && m.tags.owner != owner)
    }

    /// What scripts may know of a machine. `None` while it has no address.
    pub(super) fn host(&self, name: &MachineName, target: &Target) -> Option<Host> {
        let machine = &target.machine;
        let row = self.ledger.row(name);
        let role = match row {
            Some(row) => row.role,
            None if self.elsewhere.contains(&machine.tags.pool) => Role::FrontEnd,
            None => Role::Worker,
        };
        let mut operator_addresses: Vec<_> = machine.exposed.values().map(std::net::SocketAddr::ip).collect();
        operator_addresses.dedup();
        Some(Host {
            cluster: self.ledger.cluster.clone(),
            name: name.clone(),
            pool: machine.tags.pool.clone(),
            role,
            machine: machine.id.clone(),
            address: machine.address?,
            shape: row.map_or_else(|| machine.shape.clone(), |row| row.shape.clone()),
            zone: row.and_then(|row| row.zone.clone()),
            front_ends: self.front_ends(),
            operator_addresses,
        })
    }

    /// The cluster's front-ends that have an address, the same one first as long as it is there.
    fn front_ends(&self) -> Vec<(MachineName, IpAddr)> {
        if self.ledger.owner == Owner::Autoscaler {
            let found = self.elsewhere().filter(|machine| self.elsewhere.contains(&machine.tags.pool));
            let mut found: Vec<_> =
                found.filter_map(|m| Some((m.tags.machine.clone(), m.address?))).collect();
            found.sort();
            return found;
        }
        let by_id: BTreeMap<_, _> =
            self.machines().iter().map(|machine| (&machine.id, machine.address)).collect();
        let wanted = |row: &&Row| row.role == Role::FrontEnd && row.phase().is_live();
        let rows = self.ledger.rows().iter().filter(|(_, row)| wanted(row));
        let mut found: Vec<_> = rows
            .filter_map(|(name, row)| {
                let address = (*by_id.get(row.machine()?)?)?;
                Some((row.born.ordinal, name.clone(), address))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, name, address)| (name, address)).collect()
    }
}
