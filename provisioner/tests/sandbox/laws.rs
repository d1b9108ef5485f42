//! The laws of a provider over a real agent and real machines.

use std::time::Duration;

use async_trait::async_trait;
use provisioner::names::{ClusterId, MachineName};
use provisioner::provider::conformance::{Bed, check};
use provisioner::provider::{MachineRequest, Provider};

use crate::harness::{Lab, PATIENCE, empty_lab, request};

#[async_trait]
impl Bed for Lab {
    fn provider(&self) -> &dyn Provider {
        &self.cloud
    }
    fn request(&self, cluster: &ClusterId, ordinal: u64) -> MachineRequest {
        let name = cluster.name().unwrap();
        let mut request = request("a", ordinal);
        request.tags.cluster = cluster.clone();
        request.tags.machine = MachineName::new(format!("{name}-w-{ordinal}")).unwrap();
        request.token = format!("ledger/{cluster}/{ordinal}");
        request
    }
    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    fn patience(&self) -> Duration {
        *PATIENCE
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_keeps_every_law() {
    let Some(lab) = empty_lab("laws").await else { return };
    assert_eq!(check(&lab).await, []);
    lab.close().await;
}
