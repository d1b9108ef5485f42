//! A cluster's keys as the engine asks for them.

use std::sync::Arc;

use jiff::Timestamp;

use crate::keys::{Generation, Keys, rotation_job, takeover_job};
use crate::names::MachineName;
use crate::provider::UserData;
use crate::reconcile::HostKeys;
use crate::remote::Job;

/// The keys of this computer, and the public keys of further people (`operators:` of the cluster file).
#[derive(Debug, Clone)]
pub(super) struct ClusterKeys {
    pub(super) keys: Arc<Keys>,
    pub(super) operators: Vec<String>,
}

impl HostKeys for ClusterKeys {
    fn user_data(&self, machine: &MachineName, birth: Timestamp) -> UserData {
        self.keys.user_data(machine, birth, &self.operators)
    }
    fn fingerprint(&self, machine: &MachineName, birth: Timestamp) -> String {
        let of = |generation| self.keys.host_key(machine, birth, generation).fingerprint();
        format!("{} {}", of(Generation::First), of(Generation::Second))
    }
    fn takeover(&self, machine: &MachineName, birth: Timestamp) -> Option<(Job, String)> {
        let key = self.keys.host_key(machine, birth, Generation::Second);
        Some((takeover_job(&key, &self.keys.authorized(&self.operators)), key.fingerprint()))
    }
    fn first(&self, machine: &MachineName, birth: Timestamp) -> String {
        self.keys.host_key(machine, birth, Generation::First).public().to_owned()
    }
    fn second(&self, machine: &MachineName, birth: Timestamp) -> String {
        self.keys.host_key(machine, birth, Generation::Second).public().to_owned()
    }
    fn rotation(&self, machine: &MachineName, birth: Timestamp) -> Option<Job> {
        Some(rotation_job(&self.keys.host_key(machine, birth, Generation::Second)))
    }
}
