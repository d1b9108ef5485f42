//! The engine's seam for host keys, filled with a cluster's keys.

use jiff::Timestamp;

use crate::keys::{Generation, Keys, rotation_job};
use crate::names::MachineName;
use crate::provider::UserData;
use crate::reconcile::HostKeys;
use crate::remote::Job;

/// A cluster's keys as the engine asks for them.
#[derive(Debug)]
pub(super) struct ClusterKeys(pub(super) Keys);

impl HostKeys for ClusterKeys {
    fn user_data(&self, machine: &MachineName, birth: Timestamp) -> UserData {
        self.0.user_data(machine, birth, None)
    }
    fn fingerprint(&self, machine: &MachineName, birth: Timestamp) -> String {
        self.0.host_key(machine, birth, Generation::First).fingerprint()
    }
    fn first(&self, machine: &MachineName, birth: Timestamp) -> String {
        self.0.host_key(machine, birth, Generation::First).public().to_owned()
    }
    fn second(&self, machine: &MachineName, birth: Timestamp) -> String {
        self.0.host_key(machine, birth, Generation::Second).public().to_owned()
    }
    fn rotation(&self, machine: &MachineName, birth: Timestamp) -> Option<Job> {
        Some(rotation_job(&self.0.host_key(machine, birth, Generation::Second)))
    }
}
