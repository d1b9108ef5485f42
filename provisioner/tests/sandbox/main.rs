//! The sandbox cloud, end to end: real machines on this computer. Needs root; says so and passes without.

mod harness;

use harness::{Lab, cluster, lab, request};
use provisioner::provider::{MachineState, Provider, ProviderError, Scope};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_answers_ssh_and_is_deleted() {
    let Some(lab) = lab("basic").await else { return };
    let begun = std::time::Instant::now();
    let machine = lab.make(&request("a", 1)).await;
    println!("boot to ssh: {:?}", begun.elapsed());
    assert_eq!(lab.banner(&machine).await, "SSH-2.0-OpenSSH_9.2p1");
    assert_eq!(machine.tags, request("a", 1).tags);
    assert_eq!(machine.shape, request("a", 1).shape);
    assert!(lab.cloud.exists(&machine.id).await.unwrap());
    lab.cloud.delete(&machine.id).await.unwrap();
    assert!(!lab.cloud.exists(&machine.id).await.unwrap());
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap(), []);
    // Once more: gone already is fine.
    lab.cloud.delete(&machine.id).await.unwrap();
    lab.close().await;
}
