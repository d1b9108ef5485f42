//! The sandbox cloud, end to end: real machines on this computer. Needs root; says so and passes without.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says why it is skipped")]

mod agent;
mod faults;
mod gateway;
mod harness;
mod laws;
mod network;
mod network_faults;
mod recovery;

use harness::{Lab, PATIENCE, empty_lab, key, lab, request};
use provisioner::names::ImageName;
use provisioner::provider::sandbox::machine::process::Process;
use provisioner::provider::{MachineState, Provider, ProviderError, Scope};
use provisioner::quantity::{Cpu, Memory};
use provisioner::spec::Shape;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_answers_ssh_and_is_deleted() {
    let Some(lab) = lab("basic").await else { return };
    let machine = lab.make(&request("a", 1)).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_same_token_gives_the_same_machine_and_another_request_is_refused() {
    let Some(lab) = lab("token").await else { return };
    let wanted = request("a", 1);
    let (first, second) = tokio::join!(lab.cloud.create(&wanted), lab.cloud.create(&wanted));
    assert_eq!((first, second), (Ok(()), Ok(())));
    let machine = lab.make(&wanted).await;
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap(), [machine]);
    let mut larger = request("a", 1);
    larger.shape = Shape::of(Cpu::cores(2), Memory::gib(1));
    let message = "this token made another machine: a request that differs needs a new one".to_owned();
    assert_eq!(lab.cloud.create(&larger).await, Err(ProviderError::Rejected { message }));
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_a_whole_system_of_its_own() {
    let Some(lab) = lab("whole").await else { return };
    let mut wanted = request("a", 1);
    wanted.user_data.script = "#!/bin/sh\necho hello from the first boot\nhostname >/root/booted".into();
    let machine = lab.make(&wanted).await;
    let script = "systemctl is-system-running --wait; systemctl --failed --no-legend --plain";
    assert_eq!(lab.inside(&machine, script), "running\n");
    assert_eq!(
        lab.inside(&machine, "hostname; cat /root/booted; cat /proc/1/comm"),
        "a-w-1\na-w-1\nsystemd\n"
    );
    assert_eq!(lab.inside(&machine, "cat /root/.ssh/authorized_keys").trim(), key(0).1);
    assert_eq!(lab.inside(&machine, "cat /etc/ssh/ssh_host_ed25519_key.pub").trim(), key(1).1);
    assert_eq!(lab.inside(&machine, "stat -c %a /root /etc/ssh/ssh_host_ed25519_key"), "700\n600\n");
    // Nothing of the host: no process, no other mount than its own, no write to the host's settings.
    assert_eq!(lab.inside(&machine, "findmnt -no FSTYPE /; ls /.old 2>&1 | wc -l"), "overlay\n1\n");
    assert_eq!(
        lab.inside(&machine, "echo 7 >/proc/sys/vm/swappiness 2>/dev/null || echo refused"),
        "refused\n"
    );
    assert_eq!(lab.inside(&machine, "cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic"), "1\n10\n");
    assert_eq!(
        lab.inside(&machine, "touch /var/lib/continuum/shared/x 2>/dev/null || echo refused"),
        "refused\n"
    );
    assert_eq!(
        lab.inside(&machine, "stat -fc %T /var/lib/containerd /var/lib/etcd | grep -c overlay || true"),
        "0\n"
    );
    let console = lab.cloud.console(&machine.id).await.unwrap();
    assert!(console.contains("hello from the first boot"), "{console}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_shows_its_shape_even_one_larger_than_this_computer() {
    let Some(lab) = lab("shape").await else { return };
    let mut wanted = request("a", 1);
    // The quota allows eight times the memory.
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    wanted.shape = Shape::of(Cpu::cores(64), Memory { bytes: kib * 2 * 1024 });
    let machine = lab.make(&wanted).await;
    let script = "awk '/^MemTotal/ { print $2 }' /proc/meminfo; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online; \
                  ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l; wc -l </proc/swaps";
    assert_eq!(lab.inside(&machine, script), format!("{}\n64\n0-63\n64\n1\n", kib * 2));
    // What would tell a kubelet which processors of the host these are, and of what the shape has nothing.
    let none = "find /sys/devices/system/node /sys/kernel/mm/hugepages -mindepth 1; \
                find /sys/devices/system/cpu/ -name physical_package_id";
    assert_eq!(lab.inside(&machine, none), "");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_those_of_the_shape() {
    let Some(lab) = lab("limits").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    let v1 = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max";
    let v2 =
        "cat /sys/fs/cgroup/memory.max; cut -d' ' -f1 /sys/fs/cgroup/cpu.max; cat /sys/fs/cgroup/pids.max";
    let script = format!("if [ -e /sys/fs/cgroup/memory.max ]; then {v2}; else {v1}; fi");
    assert_eq!(lab.inside(&machine, &script), "536870912\n100000\n16384\n");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_machine_is_stopped_and_starts_again_from_its_disk() {
    let Some(lab) = lab("reboot").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    lab.inside(&machine, "echo kept >/root/file; mkdir -p /sys/fs/cgroup/pids/left/over 2>/dev/null || true");
    let before = lab.inside(&machine, "cat /proc/sys/kernel/random/boot_id");
    let pid = Process::of(lab.pid1(&machine)).unwrap();
    pid.signal(nix::sys::signal::Signal::SIGKILL);
    let stopped = lab.wait(|all| all.iter().find(|m| m.state == MachineState::Stopped).cloned()).await;
    assert_eq!((&stopped.id, stopped.address), (&machine.id, machine.address));
    lab.cloud.start(&machine.id).await.unwrap();
    let again = lab.running(&machine.id).await;
    assert_eq!(lab.inside(&again, "cat /root/file"), "kept\n");
    assert_ne!(lab.inside(&again, "cat /proc/sys/kernel/random/boot_id"), before);
    // Running already is fine.
    lab.cloud.start(&machine.id).await.unwrap();
    assert_eq!(lab.pid1(&again), lab.pid1(&lab.running(&machine.id).await));
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_while_the_machine_is_still_being_stopped_is_not_lost() {
    let Some(lab) = lab("restart").await else { return };
    let machine = lab.make(&request("a", 1)).await;
    for _ in 0..3 {
        let (stopped, started) = tokio::join!(lab.cloud.stop(&machine.id), async {
            // It is listed as stopped before the last of its processes has ended.
            lab.wait(|all| all.iter().find(|m| m.state == MachineState::Stopped).cloned()).await;
            lab.cloud.start(&machine.id).await
        });
        assert_eq!((stopped, started), (Ok(()), Ok(())));
        lab.running(&machine.id).await;
    }
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_boot_script_runs_once() {
    let Some(lab) = lab("once").await else { return };
    let mut wanted = request("a", 1);
    wanted.user_data.script = "echo boot >>/root/boots; exit 3".into();
    let machine = lab.make(&wanted).await;
    lab.cloud.stop(&machine.id).await.unwrap();
    let stopped = lab.wait(|all| all.iter().find(|m| m.state == MachineState::Stopped).cloned()).await;
    assert_eq!(stopped.id, machine.id);
    lab.cloud.start(&machine.id).await.unwrap();
    let again = lab.running(&machine.id).await;
    assert_eq!(lab.inside(&again, "cat /root/boots"), "boot\n");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_in_a_kind_that_the_plan_acts_on() {
    let Some(lab) = lab("refused").await else { return };
    let mut unknown = request("a", 1);
    unknown.image = ImageName::from("debian-12+nothing");
    let message = "no image nothing was captured here".to_owned();
    assert_eq!(lab.cloud.create(&unknown).await, Err(ProviderError::Rejected { message }));
    let mut huge = request("a", 1);
    huge.shape = Shape::of(Cpu::cores(1), Memory::gib(1 << 20));
    let error = lab.cloud.create(&huge).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Quota { message } if message.starts_with("memory: ")), "{error}");
    let error = lab.cloud.create(&request("b", 1)).await.unwrap_err();
    assert!(
        matches!(&error, ProviderError::Rejected { message } if message.contains("b-00000000")),
        "{error}"
    );
    assert_eq!(lab.cloud.list(&Scope::All).await.unwrap(), []);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_captured_from_a_stopped_machine_without_its_identity() {
    let Some(lab) = lab("image").await else { return };
    let name = format!("t{}", std::process::id());
    let image = ImageName(format!("debian-12+{name}"));
    let source = lab.make(&request("a", 1)).await;
    lab.inside(
        &source,
        "echo tool >/usr/local/bin/tool; rm /etc/motd; echo content >/var/lib/containerd/file",
    );
    let error = lab.cloud.capture(&name, &source.id).await.unwrap_err();
    assert!(
        matches!(&error, ProviderError::Rejected { message } if message.contains("stop it first")),
        "{error}"
    );
    lab.cloud.stop(&source.id).await.unwrap();
    assert!(!lab.cloud.image_exists(&image).await.unwrap());
    lab.cloud.capture(&name, &source.id).await.unwrap();
    assert!(lab.cloud.image_exists(&image).await.unwrap());
    let _remove = RemoveOnDrop(lab.paths.layers().join(&name));
    let mut wanted = request("a", 2);
    wanted.image = image;
    let copy = lab.make(&wanted).await;
    assert_eq!(
        lab.inside(&copy, "cat /usr/local/bin/tool; ls /etc/motd 2>&1 | wc -l; hostname"),
        "tool\n1\na-w-2\n"
    );
    assert_eq!(lab.inside(&copy, "cat /var/lib/containerd/file"), "content\n");
    assert_eq!(lab.inside(&copy, "cat /etc/ssh/ssh_host_ed25519_key.pub").trim(), key(2).1);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fifty machines: part of the long tests"]
async fn fifty_machines_at_once_all_answer() {
    let Some(lab) = lab("fifty").await else { return };
    let begun = provisioner::clock::monotonic();
    for ordinal in 1..=50 {
        lab.cloud.create(&request("a", ordinal)).await.unwrap();
    }
    println!("fifty asked for: {:?}", begun.elapsed());
    let up = |all: &[provisioner::provider::Machine]| {
        all.iter().filter(|m| m.state == MachineState::Running).count()
    };
    lab.wait_for(*PATIENCE * 5, |all| (up(all) == 50).then_some(())).await;
    println!("fifty answer ssh: {:?}", begun.elapsed());
    lab.cloud.stop_all(true).await.unwrap();
    lab.until_nothing_is_left().await;
    println!("and gone: {:?}", begun.elapsed());
    lab.close().await;
}

struct RemoveOnDrop(std::path::PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_live_side_by_side() {
    let Some(left) = lab("left").await else { return };
    let Some(right) = lab("right").await else { return };
    let (a, b) = tokio::join!(left.make_one(), right.make_one());
    assert_eq!(a.address, b.address);
    assert_ne!(left.cloud.cloud().await.unwrap(), right.cloud.cloud().await.unwrap());
    left.cloud.delete(&a.id).await.unwrap();
    assert_eq!(right.banner(&b).await, "SSH-2.0-OpenSSH_9.2p1");
    left.close().await;
    right.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_ends_by_itself_and_comes_back_as_the_same_cloud() {
    let Some(lab) = empty_lab("ends").await else { return };
    let before = lab.cloud.cloud().await.unwrap();
    lab.until_nothing_is_left().await;
    assert!(!lab.cloud.is_up().await);
    assert_eq!(lab.cloud.cloud().await.unwrap(), before);
    lab.close().await;
}

impl Lab {
    async fn make_one(&self) -> provisioner::provider::Machine {
        self.make(&request("a", 1)).await
    }
}
