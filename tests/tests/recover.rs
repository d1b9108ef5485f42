//! What goes wrong on a computer, and the way back, on real machines. Needs root; says so and passes without.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use continuum_tests::small::{changed, cluster_file, fine, ledgers, with_recipes, words};
use continuum_tests::{Ended, Lab, PATIENCE};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use provisioner::clock;
use provisioner::names::ClusterId;
use provisioner::provider::Provider;
use provisioner::provider::sandbox::machine::{pause, process::Process};
use provisioner::spec::Network;

fn up(lab: &Lab, file: &str) -> Ended {
    lab.run(&words(&with_recipes("up", file)))
}

fn down(lab: &Lab, cluster: &str) {
    let ended = lab.run(&["cluster", "down", cluster, "--yes"]);
    fine(&ended);
    assert!(ended.err.contains("0 resources left (checked by tag)"), "{ended}");
    assert_eq!(lab.tagged(cluster), [""; 0]);
    assert!(!lab.state(cluster).exists());
}

fn runs(lab: &Lab, cluster: &str, machine: &str) -> String {
    lab.ok(&["cluster", "ssh", cluster, machine, "--", "cat /root/runs"])
}

#[test]
fn a_ledger_that_is_damaged_or_lost_costs_no_machine() {
    let Some(lab) = Lab::open("ledger") else { return };
    let file = cluster_file(&lab, "led", 1, &[]);
    fine(&up(&lab, &file));
    let (path, old) = (lab.state("led").join("ledger.json"), lab.state("led").join("ledger.json.old"));
    let good = fs::read_to_string(&path).unwrap();

    // Cut in half: the copy before it is used, and the program says so.
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    let ended = up(&lab, &file);
    fine(&ended);
    assert!(ended.err.contains("ledger.json cannot be used") && ended.err.contains("is used"), "{ended}");
    assert!(lab.state("led").join("ledger.json.damaged").exists());
    assert!(!changed(&up(&lab, &file)));

    // Both: nothing is guessed, and the way on is said.
    fs::write(&path, "").unwrap();
    fs::write(&old, "{").unwrap();
    let ended = up(&lab, &file);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.err.contains("`continuum cluster adopt led`"), "{ended}");
    let before = ledgers(&lab, "led");
    // By the name alone: the file and the keys are remembered.
    fine(&lab.run(&["cluster", "adopt", "led", "--yes", "-o", "json"]));
    assert_ne!(ledgers(&lab, "led"), before);
    assert!(!changed(&up(&lab, &file)));
    assert_eq!(runs(&lab, "led", "led-workers-2"), "common\njoin\nlast\n", "no step ran twice");

    // And with nothing left that can be read, it can still be removed.
    for name in ["ledger.json", "ledger.json.old", "cluster.json", "keys/seed"] {
        fs::write(lab.state("led").join(name), "no").unwrap();
    }
    down(&lab, "led");
    lab.close();
}

#[test]
fn down_needs_no_file_no_state_and_no_whole_cluster() {
    let Some(lab) = Lab::open("down") else { return };
    let file = cluster_file(&lab, "half", 2, &[]);
    let args = with_recipes("up", &file);
    let mut run = lab.start(&words(&args));
    run.until("a machine is made", |event| event["event"] == "finished" && event["job"] == "create");
    run.kill();
    fs::remove_dir_all(lab.state("half")).unwrap();
    fs::remove_file(&file).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let ended = lab.run_elsewhere(elsewhere.path(), &["cluster", "down", "half", "--yes"]);
    fine(&ended);
    assert!(ended.err.contains("0 resources left (checked by tag)"), "{ended}");
    assert_eq!(lab.tagged("half"), [""; 0]);
    let left: Vec<_> = fs::read_dir(elsewhere.path().join("continuum")).unwrap().flatten().collect();
    assert!(left.is_empty(), "it remembers nothing of it: {left:?}");

    // Networks without machines, and two of one name.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let network = Network { internet: false, expose: Vec::new() };
    let ids = ["twin-aaaaaaaa", "twin-bbbbbbbb"].map(|id| ClusterId::new(id).unwrap());
    runtime.block_on(async {
        for id in &ids {
            lab.cloud().scaffold(id, &network).await.unwrap();
        }
    });
    let ended = lab.run_elsewhere(elsewhere.path(), &["cluster", "down", "twin", "--yes"]);
    assert_eq!(ended.code, Some(3), "{ended}");
    let said = "error: 2 clusters are called twin\n  --id twin-aaaaaaaa   (0 machines)\n  --id twin-bbbbbbbb   (0 machines)\n";
    assert!(ended.err.ends_with(said), "{ended}");
    let one = ["cluster", "down", "twin", "--id", "twin-aaaaaaaa", "--yes"];
    fine(&lab.run_elsewhere(elsewhere.path(), &one));
    assert_eq!(lab.status()["agent"]["clusters"], serde_json::json!(["twin-bbbbbbbb"]));
    fine(&lab.run_elsewhere(elsewhere.path(), &["cluster", "down", "twin", "--yes"]));
    // Of what is not there, nothing is left either.
    let ended = lab.run_elsewhere(elsewhere.path(), &["cluster", "down", "twin", "--yes"]);
    fine(&ended);
    assert!(ended.err.contains("0 resources left (checked by tag)"), "{ended}");
    lab.close();
}

/// Everything of an instance that runs, ended at once: as the end of the host would.
fn power_cut(lab: &Lab) {
    let instance = &lab.paths().instance;
    let mut ended = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.split([' ', '/']).any(|word| word == instance)
            && let Ok(process) = Process::of(pid)
        {
            ended.push(process);
        }
    }
    for machine in fs::read_dir(lab.paths().machines()).unwrap().flatten() {
        let text = fs::read_to_string(machine.path().join("process.json")).unwrap();
        ended.push(serde_json::from_str(&text).unwrap());
    }
    assert!(ended.len() > 4, "agent, supervisor, keepers, machines: {ended:?}");
    // The supervisor first would do; all of them, as nothing survives a power cut.
    ended.iter().for_each(|process| process.signal(Signal::SIGKILL));
    let since = clock::monotonic();
    while ended.iter().any(|process| process.alive()) {
        assert!(since.elapsed() < PATIENCE, "something does not end");
        pause(Duration::from_millis(20));
    }
    umount2(&lab.paths().hub(), MntFlags::MNT_DETACH).unwrap();
    fs::remove_dir_all(&lab.paths().run).unwrap();
}

#[test]
fn after_a_reboot_of_the_host_the_same_machines_come_back_from_their_disks() {
    let Some(lab) = Lab::open("reboot") else { return };
    let file = cluster_file(&lab, "boot", 2, &[]);
    fine(&up(&lab, &file));
    let before: Vec<String> = lab.machines().iter().map(|machine| machine["id"].to_string()).collect();
    lab.ok(&["cluster", "ssh", "boot", "boot-front-end-1", "--", "echo kept >/root/mine; sync"]);
    power_cut(&lab);
    fine(&up(&lab, &file));
    let after: Vec<String> = lab.machines().iter().map(|machine| machine["id"].to_string()).collect();
    assert_eq!(before, after);
    assert!(lab.machines().iter().all(|machine| machine["state"] == "running"), "{:?}", lab.machines());
    assert_eq!(lab.ok(&["cluster", "ssh", "boot", "boot-front-end-1", "--", "cat /root/mine"]), "kept\n");
    assert_eq!(runs(&lab, "boot", "boot-workers-3"), "common\njoin\nlast\n");
    assert!(!changed(&up(&lab, &file)));
    down(&lab, "boot");
    lab.close();
}

/// A small file system of its own, unmounted whatever happens.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("mode=700,size={size}");
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Self(folder)
    }

    /// Fills it to the last byte; returns what to remove.
    fn fill(&self) -> std::path::PathBuf {
        use std::io::Write;
        let path = self.0.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_up_stops_it_and_costs_nothing_once_it_has_room() {
    let Some(lab) = Lab::open("full") else { return };
    let disk = SmallDisk::new("2m");
    let home = disk.0.path();
    let file = cluster_file(&lab, "full", 2, &[]);
    let args = with_recipes("up", &file);
    let mut run = lab.start_elsewhere(home, &words(&args));
    run.until("a step has begun", |event| event["event"] == "started" && event["job"] == "small/common");
    let ballast = disk.fill();
    let ended = run.end();
    assert!(ended.code.is_some_and(|code| code != 0), "{ended}");
    assert!(ended.err.contains("No space left on device"), "{ended}");
    fs::remove_file(ballast).unwrap();
    fine(&lab.run_elsewhere(home, &words(&args)));
    assert_eq!(lab.tagged("full"), ["full-front-end-1", "full-workers-2", "full-workers-3"]);
    assert!(!changed(&lab.run_elsewhere(home, &words(&args))));
    for (machine, expected) in
        [("full-front-end-1", "common\nfront\n"), ("full-workers-3", "common\njoin\nlast\n")]
    {
        let ended = lab.run_elsewhere(home, &["cluster", "ssh", "full", machine, "--", "cat /root/runs"]);
        assert_eq!(ended.out, expected, "no step ran twice");
    }
    fine(&lab.run_elsewhere(home, &["cluster", "down", "full", "--yes"]));
    lab.close();
}

/// A second copy of a tree, in no time where hard links can be made.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-al").args([from, to]).output().unwrap();
    if !done.status.success() {
        let _ = fs::remove_dir_all(to);
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    }
}

#[test]
fn machines_whose_debian_tree_was_deleted_come_back_from_their_disks() {
    let Some(lab) = Lab::open("tree") else { return };
    let cache = tempfile::tempdir().unwrap();
    let (whole, kept) = (lab.paths().trees(), cache.path().join("trees"));
    copy(&whole, &kept);
    let file = cluster_file(&lab, "tree", 1, &[]);
    let args = with_recipes("up", &file);
    let args = words(&args);
    fine(&lab.run_cached(cache.path(), &args));
    let before: Vec<String> = lab.machines().iter().map(|machine| machine["id"].to_string()).collect();

    fs::remove_dir_all(&kept).unwrap();
    let since = clock::monotonic();
    while lab.machines().iter().any(|machine| machine["state"] != "stopped") {
        assert!(since.elapsed() < PATIENCE, "{:?}", lab.machines());
        pause(Duration::from_millis(100));
    }
    // `continuum sandbox tree`, and the next boot, make it again, in a minute: this is the same tree.
    copy(&whole, &kept);
    fine(&lab.run_cached(cache.path(), &args));
    let after: Vec<String> = lab.machines().iter().map(|machine| machine["id"].to_string()).collect();
    assert_eq!(before, after);
    let ended =
        lab.run_cached(cache.path(), &["cluster", "ssh", "tree", "tree-workers-2", "--", "cat /root/runs"]);
    assert_eq!(ended.out, "common\njoin\nlast\n");
    fine(&lab.run_cached(cache.path(), &["cluster", "down", "tree", "--yes"]));
    lab.close();
}
