//! An agent whose books were deleted, damaged or changed by another's word.

use std::fs;

use nix::sys::signal::Signal;
use provisioner::names::LedgerId;
use provisioner::provider::sandbox::machine::process::Process;
use provisioner::provider::{MachineState, Provider, ProviderError, Scope, Tags};

use super::harness::{Lab, cluster, lab, request};

impl Lab {
    /// Ends agent and supervisor, as a crash of both does: the next call starts new ones.
    async fn crash(&self) {
        let pid = self.cloud.status().await.unwrap().pid;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let parent: i32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
        let both = [parent, i32::try_from(pid).unwrap()].map(|pid| Process::of(pid).unwrap());
        both.iter().for_each(|process| process.signal(Signal::SIGKILL));
        self.until(|| both.iter().all(|process| !process.alive())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_written_again_as_often_as_one_likes_and_survive_the_agent() {
    let Some(lab) = lab("retag").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    let tags = Tags { ledger: LedgerId::from("other"), host_key: "SHA256:y".into(), ..machine.tags.clone() };
    for _ in 0..2 {
        assert_eq!(lab.cloud.retag(&machine.id, &tags).await, Ok(()));
        assert_eq!(lab.running(&machine.id).await.tags, tags);
    }
    lab.crash().await;
    assert_eq!(lab.running(&machine.id).await.tags, tags);
    // What a machine is cannot be changed, and what is gone has no tags.
    let other = Tags { machine: request("a", 2).tags.machine, ..tags.clone() };
    let message = format!("{} is a-w-1 and stays it", machine.id);
    assert_eq!(lab.cloud.retag(&machine.id, &other).await, Err(ProviderError::Rejected { message }));
    lab.cloud.delete(&machine.id).await.unwrap();
    let gone = lab.cloud.retag(&machine.id, &tags).await;
    assert!(matches!(gone, Err(ProviderError::Rejected { .. })), "{gone:?}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_identity_and_lost_clusters_are_made_again_from_what_machines_know() {
    let Some(lab) = lab("books").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    let (cloud, pid1) = (lab.cloud.cloud().await.unwrap(), lab.pid1(&machine));
    lab.crash().await;
    fs::write(lab.paths.identity(), "{").unwrap();
    fs::remove_dir_all(lab.paths.clusters()).unwrap();
    assert_eq!(lab.running(&machine.id).await, machine);
    assert_eq!(lab.pid1(&machine), pid1, "it ran all the time");
    assert_eq!(lab.cloud.cloud().await.unwrap(), cloud);
    assert!(lab.cloud.find_scaffold(&cluster("a")).await.unwrap().is_some());
    // It has the network that it had: it boots in it, and so does another.
    lab.cloud.stop(&machine.id).await.unwrap();
    lab.cloud.start(&machine.id).await.unwrap();
    assert_eq!(lab.running(&machine.id).await.address, machine.address);
    lab.make(&request("a", 2)).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_record_is_damaged_is_named_and_left_as_it_is() {
    let Some(lab) = lab("stray").await else { return };
    let (bad, good) = (lab.make(&request("a", 1)).await, lab.make(&request("a", 2)).await);
    let pid1 = Process::of(lab.pid1(&bad)).unwrap();
    lab.crash().await;
    let folder = lab.paths.machine(&bad.id);
    fs::write(folder.join("machine.json"), "{\"version\":").unwrap();
    assert_eq!(lab.running(&good.id).await, good);
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap(), [good]);
    let strays = lab.cloud.status().await.unwrap().strays;
    let [stray] = &strays[..] else { panic!("{strays:?}") };
    let begins = format!("{} is a machine without a record (cannot understand ", folder.display());
    assert!(
        stray.starts_with(&begins) && stray.ends_with(&format!("its pid 1 runs ({})", pid1.pid)),
        "{stray}"
    );
    assert!(pid1.alive() && folder.join("upper").exists());
    // Switching all off keeps it; deleting all removes it.
    lab.cloud.stop_all(false).await.unwrap();
    lab.until(|| !pid1.alive() && !lab.paths.run.exists()).await;
    assert!(folder.join("upper").exists());
    lab.cloud.status().await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_whose_disks_were_deleted_are_ended_and_nothing_is_left() {
    let Some(lab) = lab("wiped").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    let (cloud, agent) = (lab.cloud.cloud().await.unwrap(), lab.cloud.status().await.unwrap().pid);
    let pid1 = Process::of(lab.pid1(&machine)).unwrap();
    fs::remove_dir_all(&lab.paths.state).unwrap();
    lab.until(|| !pid1.alive()).await;
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap(), []);
    assert_eq!(lab.cloud.cloud().await.unwrap(), cloud, "it is the same cloud, without its machines");
    assert_ne!(lab.cloud.status().await.unwrap().pid, agent);
    // It is of use again at once.
    let network = provisioner::spec::Network { internet: false, expose: Vec::new() };
    lab.cloud.scaffold(&cluster("a"), &network).await.unwrap();
    let again = lab.make(&request("a", 2)).await;
    assert_eq!(again.state, MachineState::Running);
    lab.close().await;
}
