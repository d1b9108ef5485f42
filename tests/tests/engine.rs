//! The engine on real machines, with a recipe that takes a second: interrupted, locked, failing. Needs root; says so and
//! passes without.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use continuum_tests::small::{gone, recipes, rows, whole};
use continuum_tests::{Lab, root};

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

/// All is as asked for, and there is nothing to change.
fn converged(lab: &Lab, cluster: &str, file: &str) {
    whole(lab, cluster, 1);
    let again = lab.run(&up(file, &recipes()));
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(again.events().last().unwrap()["changed"], false, "{again}");
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
