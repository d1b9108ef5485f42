//! Recipes that go wrong on the machine itself, on real machines: what a user sees is in `tests/errors/machine/`, and
//! in the error reference. After a change: `CONTINUUM_BLESS=1 cargo test -p continuum-tests --test errors_machine`.
//! Needs root; says so and passes without.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::sync::Mutex;

use continuum_tests::{Ended, Lab, root};
use serde_json::Value;

/// What goes wrong, and the exit code.
const KINDS: &[(&str, i32)] =
    &[("endless", 1), ("question", 1), ("loud", 1), ("bomb", 1), ("full", 1), ("clock", 1)];

fn up(lab: &Lab, kind: &str) -> Ended {
    let template = root().join("tests/recipes-trouble/template.yaml");
    let text = format!(
        "name: {kind}\ntemplate: {}\nprovider: {{type: sandbox, internet: false}}\ninputs: {{kind: {kind}}}\n",
        template.display()
    );
    let file = lab.write(&format!("{kind}.yaml"), &text);
    let recipes = root().join("tests/recipes-trouble").display().to_string();
    lab.run(&["cluster", "up", &file, "--recipes", &recipes, "--yes", "--no-bake"])
}

/// The error, with paths as the reference shows them; what a fork bomb prints differs each time.
fn shown(lab: &Lab, kind: &str, ended: &Ended) -> String {
    let from = ended.err.find("error: ").unwrap_or_else(|| panic!("no error in {ended}"));
    let state = lab.state(kind).parent().unwrap().parent().unwrap().display().to_string();
    let mut text =
        ended.err[from..].replace(&state, "/home/you").replace(&root().display().to_string(), "/home/you");
    if kind == "bomb" {
        // Whether the machine's memory or its number of processes is used up first is chance.
        text = text.replace("exit status 137", "exit status 4");
    }
    if kind == "clock" {
        // The minute is another one each time.
        let from = text.find(", and says 2").unwrap();
        text.replace_range(from + 11..from + 28, "2026-11-25T09:00Z");
    }
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    if kind == "bomb" {
        // Which of a thousand shells says last that it cannot fork is another one each time.
        lines.retain(|line| !line.starts_with("    |"));
    }
    lines.join("\n")
}

#[test]
fn what_goes_wrong_on_a_machine_is_shown_and_stays_there() {
    let Some(lab) = Lab::open("trouble") else { return };
    let next = Mutex::new(KINDS.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some((kind, code)) = next.lock().unwrap().next() else { return };
                    let ended = up(&lab, kind);
                    println!("{ended}");
                    if ended.code != Some(*code) {
                        wrong.lock().unwrap().push(format!("{kind}: {ended}"));
                        continue;
                    }
                    let text = shown(&lab, kind, &ended);
                    let path = root().join(format!("tests/errors/machine/{kind}.txt"));
                    if provisioner::env::var("CONTINUUM_BLESS").is_some() {
                        fs::write(&path, format!("{text}\n")).unwrap();
                    }
                    let expected = fs::read_to_string(&path).unwrap();
                    if text != expected.trim_end() {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{kind}: expected\n{expected}\nbut it is\n{text}"));
                    }
                    // The machine is as well as before: it takes commands, and can be taken down.
                    let echo =
                        lab.run(&["cluster", "ssh", kind, &format!("{kind}-front-end-1"), "--", "echo here"]);
                    if echo.out != "here\n" {
                        wrong.lock().unwrap().push(format!("{kind}: {echo}"));
                    }
                    lab.ok(&["cluster", "down", kind, "--yes"]);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    lab.close();
}

#[test]
fn a_recipe_may_reboot_its_machine_or_be_killed() {
    let Some(lab) = Lab::open("reboot") else { return };
    for kind in ["killed", "reboot"] {
        let ended = up(&lab, kind);
        assert_eq!(ended.code, Some(0), "{ended}");
        let status: Value =
            serde_json::from_str(&lab.ok(&["cluster", "status", kind, "-o", "json"])).unwrap();
        assert_eq!(status["machines"][0]["phase"], "Ready", "{status}");
        lab.ok(&["cluster", "down", kind, "--yes"]);
    }
    lab.close();
}
