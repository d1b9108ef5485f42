//! The agent's own life: killed, stopped, asked by strangers.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use provisioner::names::LedgerId;
use provisioner::provider::sandbox::machine::process::Process;
use provisioner::provider::{MachineState, Provider, Scope};

use super::harness::{lab, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_started_again_and_knows_what_runs() {
    let Some(lab) = lab("killed").await else { return };
    let mut wanted = request("a", 1);
    wanted.expose = vec![22];
    let machine = lab.make(&wanted).await;
    let (status, pid1) = (lab.cloud.status().await.unwrap(), lab.pid1(&machine));
    let agent = Process::of(i32::try_from(status.pid).unwrap()).unwrap();
    agent.signal(nix::sys::signal::Signal::SIGKILL);
    let again = lab.running(&machine.id).await;
    assert_eq!(again, machine);
    assert_eq!(lab.pid1(&again), pid1);
    let after = lab.cloud.status().await.unwrap();
    assert_ne!(after.pid, status.pid);
    assert_eq!((after.cloud, after.clusters), (status.cloud, status.clusters));
    assert_eq!(lab.banner(&again).await, "SSH-2.0-OpenSSH_9.2p1");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_while_machines_boot_loses_and_doubles_none() {
    let Some(lab) = lab("storm").await else { return };
    for ordinal in 1..=3 {
        lab.cloud.create(&request("a", ordinal)).await.unwrap();
        let pid = lab.cloud.status().await.unwrap().pid;
        let agent = Process::of(i32::try_from(pid).unwrap()).unwrap();
        agent.signal(nix::sys::signal::Signal::SIGKILL);
        // The plan asks again when it has no answer; it had one, so this finds the same machine.
        lab.cloud.create(&request("a", ordinal)).await.unwrap();
    }
    let ids: Vec<_> =
        lab.cloud.list(&Scope::All).await.unwrap().into_iter().map(|machine| machine.id).collect();
    assert_eq!(ids.len(), 3);
    for id in ids {
        // One whose boot was cut in half is stopped; the plan starts it.
        lab.wait(|all| {
            let machine = all.iter().find(|machine| machine.id == id)?;
            (machine.state != MachineState::Building).then_some(())
        })
        .await;
        lab.cloud.start(&id).await.unwrap();
        lab.running(&id).await;
    }
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_halfway_leaves_nothing_half_done() {
    let Some(lab) = lab("leaver").await else { return };
    // A machine is written in some milliseconds, and deleted in some tens of them.
    for (ordinal, millis) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)] {
        let wanted = request("a", ordinal);
        let gone = std::time::Duration::from_millis(millis);
        let _ = tokio::time::timeout(gone, lab.cloud.create(&wanted)).await;
        let machine = lab.make(&wanted).await;
        let _ = tokio::time::timeout(gone * 4, lab.cloud.delete(&machine.id)).await;
        lab.cloud.delete(&machine.id).await.unwrap();
        assert!(!lab.cloud.exists(&machine.id).await.unwrap());
    }
    let cluster = request("a", 1).tags.cluster;
    assert_eq!(lab.cloud.sweep(&cluster).await.unwrap(), []);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sandbox_keeps_its_disks() {
    let Some(lab) = lab("stopped").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    lab.inside(&machine, "echo kept >/root/file");
    lab.cloud.stop_all(false).await.unwrap();
    lab.until(|| !lab.paths.run.exists()).await;
    assert!(!std::path::Path::new(&format!("/proc/{}", lab.pid1(&machine))).exists());
    // As after a reboot of this computer: the machine is there, and stopped.
    let all = lab.cloud.list(&Scope::All).await.unwrap();
    assert_eq!(
        all.iter().map(|m| (&m.id, &m.state)).collect::<Vec<_>>(),
        [(&machine.id, &MachineState::Stopped)]
    );
    lab.cloud.start(&machine.id).await.unwrap();
    let again = lab.running(&machine.id).await;
    assert_eq!(lab.inside(&again, "cat /root/file"), "kept\n");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_the_token_is_refused() {
    let Some(lab) = lab("token-less").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    let id = &machine.id;
    // Every route of the table in `wire.rs`, and what is no route: no path tells a stranger anything.
    let routes = [
        "GET /v1/status".to_owned(),
        "GET /v1/cloud".into(),
        "POST /v1/check".into(),
        "GET /v1/clusters".into(),
        "PUT /v1/clusters/a-00000000/token".into(),
        "DELETE /v1/clusters/a-00000000/token".into(),
        "PUT /v1/clusters/a-00000000".into(),
        "GET /v1/clusters/a-00000000".into(),
        "DELETE /v1/clusters/a-00000000".into(),
        "GET /v1/clusters/a-00000000/access".into(),
        "GET /v1/machines".into(),
        "POST /v1/machines".into(),
        format!("GET /v1/machines/{id}"),
        format!("DELETE /v1/machines/{id}"),
        format!("POST /v1/machines/{id}/start"),
        format!("POST /v1/machines/{id}/stop"),
        format!("GET /v1/machines/{id}/console"),
        format!("GET /v1/machines/{id}/dial/22"),
        "GET /v1/images/debian-12".into(),
        "POST /v1/images".into(),
        "POST /v1/stop".into(),
        "GET /v1/faults".into(),
        "PUT /v1/faults".into(),
        "DELETE /v1/faults".into(),
        "PUT /v1/faults/cuts".into(),
        "DELETE /v1/faults/cuts".into(),
        "GET /v1/machines?faults=off".into(),
        "GET //v1/machines".into(),
        "GET /v1/../v1/machines".into(),
        "GET http://x/v1/machines".into(),
    ];
    for route in &routes {
        for header in [
            "",
            "Authorization: Bearer wrong\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: Basic eDp5\r\n",
        ] {
            let mut stream = UnixStream::connect(lab.paths.socket()).unwrap();
            let request = format!(
                "{route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            let refused = ["HTTP/1.1 401 ", "HTTP/1.1 404 "].iter().any(|status| reply.starts_with(status));
            assert!(refused, "{route}: {reply}");
            assert!(!reply.contains("a-00000000") && !reply.contains("a-w-1"), "{route}: {reply}");
        }
    }
    assert_eq!(lab.running(id).await, machine);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(lab.paths.run.clone()), mode(lab.paths.token())), (0o700, 0o600));
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_boot_is_shown_with_its_reason_and_can_be_deleted() {
    let Some(lab) = lab("failed").await else { return };
    let mut wanted = request("a", 1);
    wanted.tags.ledger = LedgerId::from("another");
    // The script ends the machine before sshd is up.
    wanted.user_data.script = "echo no way; kill -9 -1; systemctl halt -ff; sleep 100".into();
    lab.cloud.create(&wanted).await.unwrap();
    let reason = lab.first_failure().await;
    assert!(reason.contains("it ended before sshd answered"), "{reason}");
    lab.close().await;
}
