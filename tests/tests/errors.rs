//! The error reference: `tests/errors/*.yaml` has cases, each run by the real program in a folder of its own, and
//! `docs/reference/errors.md` has the exact text that a user sees. After a change of either:
//! `CONTINUUM_BLESS=1 cargo test -p continuum-tests --test errors`, and read what changed.
//!
//! Needs root, as many of the cases (a full disk, a read-only home) do; says so and passes without.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use continuum_tests::{program, root};
use provisioner::cli::code::CODES;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// What is behind this line of the page is made here.
const GENERATED: &str = "<!-- from here on made from tests/errors -->\n";
/// No case takes longer on a busy computer, or it hangs.
const PATIENCE: &str = "120";
/// What there must be at least.
const CASES: usize = 150;

/// Cases of one area, in one file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Area {
    /// Its heading.
    area: String,
    /// Where in the page it stands.
    order: u32,
    /// What is said under the heading.
    about: String,
    /// Shell before each case: what most of them share.
    #[serde(default)]
    setup: String,
    cases: Vec<Case>,
}

/// One thing that somebody gets wrong, or that goes wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What is wrong, as a heading.
    case: String,
    /// Its code.
    code: String,
    /// The exit code.
    exit: i32,
    /// Shell that prepares the folder.
    #[serde(default)]
    setup: String,
    /// The command as a user types it.
    run: String,
    /// Words around it that make the trouble: `unshare -m …`, run as shell with the command in `$RUN`.
    #[serde(default)]
    within: String,
    /// Further text of the page: what to do, where the message alone does not say it.
    #[serde(default)]
    note: String,
    /// Kept beside the cases: what a machine is needed for is run by `errors_machine.rs`.
    #[serde(default)]
    text: Option<String>,
    /// The part of the text that differs from run to run, as regular expressions.
    #[serde(default)]
    mask: Vec<String>,
}

fn areas() -> Vec<Area> {
    let mut areas: Vec<Area> = fs::read_dir(root().join("tests/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            provisioner::yaml::from_str(&text, &path.display().to_string()).unwrap_or_else(|e| panic!("{e}"))
        })
        .collect();
    areas.sort_by_key(|area: &Area| area.order);
    areas
}

/// Runs a shell in a case's folder, with the program on its path and nothing of the user's own.
fn shell(folder: &Path, script: &str, run: &str) -> std::process::Output {
    let home = folder.display();
    // An instance for each case: some start an agent, which ends by itself, and none may meet another's.
    let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let instance: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    Command::new("timeout")
        .args(["--kill-after=5", PATIENCE, "sh", "-ec", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{home}/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("HOME", folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("CONTINUUM_CACHE", folder.join("cache"))
        .env("CONTINUUM_SANDBOX", format!("errors-{instance}"))
        .env("RUN", run)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The text that a case shows, or what is wrong with the case.
fn shown(area: &Area, case: &Case) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(path.join(".bin")).unwrap();
    std::os::unix::fs::symlink(program(), path.join(".bin/continuum")).unwrap();
    let made = shell(&path, &format!("{}\n{}", area.setup, case.setup), "");
    if !made.status.success() {
        return Err(format!("its setup failed: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let script = if case.within.is_empty() { &case.run } else { &case.within };
    let output = shell(&path, script, &case.run);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() != Some(case.exit) {
        return Err(format!("exit {:?}, not {}:\n{out}{err}", output.status.code(), case.exit));
    }
    let run = format!("{} -o json", case.run);
    let script = if case.within.is_empty() { &run } else { &case.within };
    let json = shell(&path, script, &run);
    let last = String::from_utf8_lossy(&json.stdout).lines().last().unwrap_or_default().to_owned();
    let last: Value = serde_json::from_str(&last).unwrap_or_default();
    if last["event"] != "error" || last["code"] != case.code.as_str() || last["exit"] != case.exit {
        let err = String::from_utf8_lossy(&json.stderr);
        return Err(format!("with -o json it is not {} but {last}\n{err}", case.code));
    }
    Ok(masked(&err, &path, case))
}

fn masked(text: &str, folder: &Path, case: &Case) -> String {
    let mut text = text.replace(&folder.display().to_string(), "/home/you");
    for pattern in &case.mask {
        text = Regex::new(pattern).unwrap().replace_all(&text, "…").into_owned();
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned()
}

/// Runs all cases, four at a time: most of each is waiting for a process to start.
fn run_all(areas: &[Area]) -> Vec<Vec<Result<String, String>>> {
    let work: Vec<(usize, usize)> =
        areas.iter().enumerate().flat_map(|(a, area)| (0..area.cases.len()).map(move |c| (a, c))).collect();
    let next = Mutex::new(work.iter());
    let results: Mutex<Vec<Vec<Result<String, String>>>> =
        Mutex::new(areas.iter().map(|area| vec![Err("not run".into()); area.cases.len()]).collect());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((a, c)) = next.lock().unwrap().next().copied() else { return };
                    let case = &areas[a].cases[c];
                    let result = match &case.text {
                        Some(file) => fs::read_to_string(root().join("tests/errors").join(file))
                            .map(|text| text.trim_end().to_owned())
                            .map_err(|error| format!("{file}: {error}")),
                        None => shown(&areas[a], case),
                    };
                    results.lock().unwrap()[a][c] = result;
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn page(areas: &[Area], results: &[Vec<Result<String, String>>]) -> String {
    let mut text = String::from("## Codes\n\n| code | what it means |\n| --- | --- |\n");
    for (code, meaning) in CODES {
        let _ = writeln!(text, "| `{code}` | {meaning} |");
    }
    for (area, results) in areas.iter().zip(results) {
        let _ = write!(text, "\n## {}\n\n{}\n", area.area, area.about.trim_end());
        for (case, result) in area.cases.iter().zip(results) {
            let shown = result.as_deref().unwrap_or_default();
            let _ = write!(
                text,
                "\n### {}\n\n`{}`, exit code {}\n\n```text\n$ {}\n{shown}\n```\n",
                case.case, case.code, case.exit, case.run
            );
            if !case.note.is_empty() {
                let _ = write!(text, "\n{}\n", case.note.trim_end());
            }
        }
    }
    text
}

#[test]
fn the_error_reference_is_what_users_see() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let areas = areas();
    let results = run_all(&areas);
    let mut wrong = Vec::new();
    for (area, results) in areas.iter().zip(&results) {
        for (case, result) in area.cases.iter().zip(results) {
            if let Err(why) = result {
                wrong.push(format!("{}, {}: {why}", area.area, case.case));
            }
        }
    }
    let text = page(&areas, &results);
    let path = root().join("docs/reference/errors.md");
    let now = fs::read_to_string(&path).unwrap();
    let (head, now) = now.split_once(GENERATED).expect("the line that parts written from made");
    if provisioner::env::var("CONTINUUM_BLESS").is_some() {
        fs::write(&path, format!("{head}{GENERATED}\n{text}")).unwrap();
    }
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let cases: usize = areas.iter().map(|area| area.cases.len()).sum();
    assert!(cases >= CASES, "only {cases} cases");
    if provisioner::env::var("CONTINUUM_BLESS").is_none() {
        for (line, (is, should)) in now.trim().lines().zip(text.trim().lines()).enumerate() {
            assert_eq!(is, should, "line {line} behind the mark; run again with CONTINUUM_BLESS=1");
        }
        assert_eq!(
            now.trim().lines().count(),
            text.trim().lines().count(),
            "run again with CONTINUUM_BLESS=1"
        );
    }
}

#[test]
fn cases_have_known_codes_and_are_there_once() {
    let known: BTreeSet<&str> = CODES.iter().map(|(id, _)| *id).collect();
    let mut seen = BTreeSet::new();
    for area in areas() {
        for case in area.cases {
            assert!(known.contains(case.code.as_str()), "{}: {}", case.case, case.code);
            assert!(case.run.contains("continuum "), "{}: {}", case.case, case.run);
            assert!(seen.insert((area.area.clone(), case.case.clone())), "{} is there twice", case.case);
        }
    }
}
