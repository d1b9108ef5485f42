//! The engine on real machines, with a recipe that takes a second: killed at chosen moments, interrupted, locked, failing.
//! Needs root; says so and passes without.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says how far it came")]

use std::collections::BTreeMap;

use continuum_tests::{Lab, root};
use serde_json::Value;

fn recipes() -> String {
    root().join("tests/recipes-small").display().to_string()
}

/// A cluster of one front-end and one worker.
fn cluster_file(lab: &Lab, name: &str, fail: bool) -> String {
    let template = root().join("tests/recipes-small/template.yaml");
    let text = format!(
        "name: {name}\ntemplate: {}\nprovider: {{type: sandbox, internet: false}}\ninputs:\n  fail: {fail}\n  workers:\n    \
         shape: {{cpu: 1, memory: 512Mi}}\n    count: 1\n",
        template.display()
    );
    lab.write(&format!("{name}.yaml"), &text)
}

fn up<'a>(file: &'a str, recipes: &'a str) -> [&'a str; 8] {
    ["cluster", "up", file, "--recipes", recipes, "--yes", "-o", "json"]
}

fn down(name: &str) -> [&str; 6] {
    ["cluster", "down", name, "--yes", "-o", "json"]
}

/// The rows of a cluster's ledger: each machine's phase.
fn rows(lab: &Lab, name: &str) -> BTreeMap<String, String> {
    let ledger = std::fs::read_to_string(lab.state(name).join("ledger.json")).unwrap();
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    let rows = ledger["rows"].as_object().unwrap();
    rows.iter().map(|(name, row)| (name.clone(), row["phase"].as_str().unwrap().to_owned())).collect()
}

/// Every step ran once on every machine of its role, as the machines themselves tell.
fn ran_once(lab: &Lab, cluster: &str) {
    let machines = lab.tagged(cluster);
    let [front_end, worker] = &machines[..] else { panic!("{machines:?}") };
    let runs = |machine: &str| lab.ok(&["cluster", "ssh", cluster, machine, "--", "cat /root/runs"]);
    assert_eq!(runs(front_end), "common\nfront\n");
    assert_eq!(runs(worker), "common\njoin\nlast\n");
    let joined = lab.ok(&["cluster", "ssh", cluster, worker, "--", "cat /root/joined"]);
    assert_eq!(joined, format!("word of {front_end}\n"));
}

/// All is as asked for: a row for each machine and a machine for each row, all Ready, and nothing to change.
fn converged(lab: &Lab, cluster: &str, file: &str) {
    let rows = rows(lab, cluster);
    assert_eq!(lab.tagged(cluster), rows.keys().cloned().collect::<Vec<_>>());
    assert!(rows.len() == 2 && rows.values().all(|phase| phase == "ready"), "{rows:?}");
    ran_once(lab, cluster);
    let again = lab.run(&up(file, &recipes()));
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(again.events().last().unwrap()["changed"], false, "{again}");
}

/// Nothing of the cluster is in the cloud, and nothing is remembered.
fn gone(lab: &Lab, cluster: &str) {
    assert_eq!(lab.tagged(cluster), [""; 0]);
    let clusters = lab.status()["agent"]["clusters"].to_string();
    assert!(!clusters.contains(&format!("\"{cluster}-")), "{clusters}");
    assert!(!lab.state(cluster).exists(), "its folder is still there");
}

/// Kills `up` after so many events, and `down` too; the same command again goes on each time.
fn killed_after(lab: &Lab, cluster: &str, up_events: usize, down_events: usize) {
    let recipes = recipes();
    let file = cluster_file(lab, cluster, false);
    let mut first = lab.start(&up(&file, &recipes));
    first.after(up_events);
    let killed = first.kill();
    println!("{cluster}: `up` was killed after {} events", killed.events().len());
    let second = lab.run(&up(&file, &recipes));
    assert_eq!(second.code, Some(0), "{cluster}: {second}");
    converged(lab, cluster, &file);

    let mut first = lab.start(&down(cluster));
    first.after(down_events);
    let killed = first.kill();
    println!("{cluster}: `down` was killed after {} events", killed.events().len());
    let second = lab.run(&down(cluster));
    assert_eq!(second.code, Some(0), "{cluster}: {second}");
    gone(lab, cluster);
}

#[test]
fn killed_at_ten_moments_the_same_command_goes_on() {
    let Some(lab) = Lab::open("kill") else { return };
    let recipes = recipes();
    let file = cluster_file(&lab, "whole", false);
    let made = lab.run(&up(&file, &recipes));
    assert_eq!(made.code, Some(0), "{made}");
    converged(&lab, "whole", &file);
    let removed = lab.run(&down("whole"));
    assert_eq!(removed.code, Some(0), "{removed}");
    gone(&lab, "whole");
    let (up_events, down_events) = (made.events().len(), removed.events().len());
    assert!(up_events > 20 && down_events > 5, "{made}\n{removed}");
    // The last moment is before the event `done`: after it nothing is left to be killed.
    let moments: Vec<(usize, usize)> =
        (0..10).map(|n| (n * (up_events - 2) / 9, n * (down_events - 2) / 9)).collect();
    // Two at a time: much of each is waiting.
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (lab, moments) = (&lab, &moments);
            scope.spawn(move || {
                for (n, (up, down)) in moments.iter().enumerate().filter(|(n, _)| n % 2 == half) {
                    killed_after(lab, &format!("k{n}"), *up, *down);
                }
            });
        }
    });
    lab.close();
}

#[test]
fn a_front_end_that_is_lost_is_rebuilt_on_a_persons_word_which_is_kept_over_a_kill() {
    let Some(lab) = Lab::open("rebuild") else { return };
    let recipes = recipes();
    let file = cluster_file(&lab, "re", false);
    let word = ["cluster", "up", &file, "--recipes", &recipes, "--rebuild-front-end"];
    lab.ok(&up(&file, &recipes));
    let well = lab.run(&[&word[..], &["--yes"]].concat());
    assert_eq!(well.code, Some(0), "{well}");
    assert!(well.err.contains("the front-end is well: nothing to rebuild"), "{well}");
    assert!(!well.err.contains("is small"), "{well}");
    converged(&lab, "re", &file);

    lab.delete_machine("re-front-end-1");
    let lost = lab.run(&up(&file, &recipes));
    assert_eq!(lost.code, Some(4), "{lost}");
    let hint =
        format!("  rebuild:     continuum cluster up {file} --recipes {recipes} --rebuild-front-end\n");
    assert!(lost.err.contains(&hint), "{hint} is not in {lost}");
    let before =
        BTreeMap::from(["re-front-end-1", "re-workers-2"].map(|name| (name.to_owned(), "ready".to_owned())));
    assert_eq!(rows(&lab, "re"), before);

    // Nobody can be asked here, so nothing is given up.
    let unasked = lab.run(&word);
    assert_eq!(unasked.code, Some(2), "{unasked}");
    assert!(
        unasked.err.contains("rebuilding: front-end re-front-end-1 is given up (gone, and nobody"),
        "{unasked}"
    );
    assert!(unasked.err.contains("every Kubernetes object and all that etcd held"), "{unasked}");
    assert_eq!(rows(&lab, "re"), before);
    assert_eq!(lab.tagged("re"), ["re-workers-2"]);

    let mut first = lab.start(&[&word[..], &["--yes", "-o", "json"]].concat());
    first.until("the new front-end is made", |event| {
        event["event"] == "started" && event["job"] == "create" && event["machine"] == "re-front-end-3"
    });
    first.kill();
    let second = lab.run(&up(&file, &recipes));
    assert_eq!(second.code, Some(0), "{second}");
    assert_eq!(lab.tagged("re"), ["re-front-end-3", "re-workers-4"]);
    converged(&lab, "re", &file);
    lab.ok(&down("re"));
    gone(&lab, "re");
    lab.close();
}

#[test]
fn a_second_up_names_who_holds_the_lock_and_an_interrupted_one_goes_on() {
    let Some(lab) = Lab::open("lock") else { return };
    let recipes = recipes();
    let file = cluster_file(&lab, "one", false);
    let mut first = lab.start(&up(&file, &recipes));
    first.until("a step has begun", |event| event["event"] == "started" && event["job"] == "small/common");

    let second = lab.run(&up(&file, &recipes));
    assert_eq!(second.code, Some(5), "{second}");
    let holder = format!("(pid {})", first.pid());
    let said = second.err.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(said.starts_with("error: `cluster up` of root on ") && said.contains(&holder), "{second}");
    assert!(said.ends_with("works on this cluster; wait until it is done, or end it"), "{second}");

    first.interrupt();
    let ended = first.end();
    assert_eq!(ended.code, Some(130), "{ended}");
    let events = ended.events();
    let at = events.iter().position(|event| event["event"] == "interrupted").expect("an event says so");
    assert!(events[at..].iter().all(|event| event["event"] != "started"), "{ended}");
    let hint = format!("go on with:  continuum cluster up {file} --recipes {recipes}");
    assert!(ended.err.contains("error: interrupted: 2 machines exist"), "{ended}");
    assert!(ended.err.contains(&hint), "{hint:?} is not in {ended}");

    let second = lab.run(&up(&file, &recipes));
    assert_eq!(second.code, Some(0), "{second}");
    converged(&lab, "one", &file);
    lab.ok(&down("one"));
    gone(&lab, "one");
    lab.close();
}

#[test]
fn a_step_that_fails_is_shown_with_its_last_lines_its_log_and_the_way_on() {
    let Some(lab) = Lab::open("fail") else { return };
    let recipes = recipes();
    let file = cluster_file(&lab, "bad", true);
    let ended = lab.run(&["cluster", "up", &file, "--recipes", &recipes, "--yes"]);
    assert_eq!(ended.code, Some(4), "{ended}");
    let from = ended.err.find("error: ").unwrap_or_else(|| panic!("no error in {ended}"));
    let log = lab.state("bad").join("logs/bad-workers-2.log");
    let lines: String = (11..=30).map(|n| format!("    | line {n}\n")).collect();
    let block = format!(
        "error: step small/last failed on bad-workers-2: exit status 7\n  its last 20 lines:\n{lines}  all of them: {}\n  \
         try again:   continuum cluster up {file} --recipes {recipes}\n  look:        continuum cluster status bad\n  \
         remove:      continuum cluster down bad\n",
        log.display()
    );
    assert_eq!(&ended.err[from..], block);
    assert!(std::fs::read_to_string(&log).unwrap().contains("line 1\nline 2\n"), "{}", log.display());
    assert_eq!(rows(&lab, "bad")["bad-front-end-1"], "ready");

    // What is put right goes on from where it stopped: nothing that was done is done again.
    cluster_file(&lab, "bad", false);
    let again = lab.run(&up(&file, &recipes));
    assert_eq!(again.code, Some(0), "{again}");
    let events = again.events();
    let started = events.iter().filter(|event| event["event"] == "started");
    assert!(
        started.clone().count() > 0 && started.clone().all(|event| event["machine"] == "bad-workers-2"),
        "{again}"
    );
    let runs = |machine: &str| lab.ok(&["cluster", "ssh", "bad", machine, "--", "cat /root/runs"]);
    assert_eq!(runs("bad-front-end-1"), "common\nfront\n");
    let worker = runs("bad-workers-2");
    let last = worker.strip_prefix("common\njoin\n").unwrap_or_else(|| panic!("{worker}"));
    assert!(last.lines().count() > 1 && last.lines().all(|line| line == "last"), "{worker}");
    lab.ok(&down("bad"));
    gone(&lab, "bad");
    lab.close();
}
