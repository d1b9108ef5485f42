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
async fn the_laws_hold_over_a_sandbox_whose_answers_are_lost_late_short_and_refused() {
    let Some(lab) = empty_lab("bad-laws").await else { return };
    let words = ["drop-after=100", "rate-limit=20", "error-500=100", "late-list=1s", "short-list=200"];
    lab.set_faults(&words, 11).await;
    assert_eq!(check(&lab).await, []);
    let status = lab.cloud.faults().await.unwrap();
    assert!(status.met > 20, "{status:?}");
    lab.cloud.clear_faults().await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_keeps_every_law() {
    let Some(lab) = empty_lab("laws").await else { return };
    assert_eq!(check(&lab).await, []);
    lab.close().await;
}
