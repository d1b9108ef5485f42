//! The architecture's rules, as tests. Each says why; `docs/architecture.md` has the whole picture.

use std::fs;
use std::path::{Path, PathBuf};

/// Files (or folders) whose code is a function of its arguments: no I/O, no clock, no chance, no tasks.
/// What they decide can then be tested by tables, simulated by seed and explained from the same values.
const CORE: &[&str] = &[
    "provisioner/src/names.rs",
    "provisioner/src/quantity.rs",
    "provisioner/src/spec.rs",
    "provisioner/src/ledger",
    "provisioner/src/plan",
    "provisioner/src/policy",
    "provisioner/src/cluster_file",
    "provisioner/src/tosca",
    "provisioner/src/recipe",
    "autoscaler/src/quantity",
    "autoscaler/src/view",
    "autoscaler/src/fit",
    "autoscaler/src/learned",
    "autoscaler/src/pack",
    "autoscaler/src/forecast",
    "autoscaler/src/decide",
    "autoscaler/src/explain",
    "autoscaler/src/sim",
];

/// The shell at the edge of a core folder: it reads files, and hands texts to the core.
const SHELL_IN_CORE: &[&str] = &["provisioner/src/recipe/load.rs"];

const IMPURE: &[(&str, &str)] = &[
    ("async fn", "the core is synchronous"),
    (".await", "the core is synchronous"),
    ("tokio", "the core has no tasks and no timers"),
    ("std::fs", "the core reads no files: texts are its arguments"),
    ("std::env", "the core reads no environment"),
    ("SystemTime", "time is an argument"),
    ("Instant", "time is an argument"),
    ("Timestamp::now", "time is an argument"),
    ("clock::", "time is an argument"),
    ("getrandom", "names are ordinals from the ledger, not chance"),
    ("reqwest", "the core does not talk to anybody"),
    ("ureq", "the core does not talk to anybody"),
];

/// Heavy or exchangeable clients, and the one place that may name each: what replaces it touches one file.
const ONE_PLACE: &[(&str, &[&str])] = &[
    ("minijinja", &["provisioner/src/render.rs", "provisioner/src/render/"]),
    ("serde_yaml", &["provisioner/src/yaml.rs", "provisioner/src/yaml/"]),
    ("ssh2", &["provisioner/src/remote/ssh.rs", "provisioner/src/remote/ssh/"]),
    ("humantime", &["provisioner/src/duration.rs"]),
    ("openstack", &["provisioner/src/provider/openstack/"]),
    ("aws_sdk_ec2", &["provisioner/src/provider/ec2/"]),
    ("kube", &["autoscaler/src/kube.rs", "autoscaler/src/kube/"]),
];

/// The longest file, tests included: past it there is a second idea in the file that wants its own.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of ours: its path from the root, and its lines.
fn files() -> Vec<(String, Vec<String>)> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["provisioner", "autoscaler", "tests"] {
        sources(&root.join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 10, "the sources were not found under {}", root.display());
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
            (name, text.lines().map(str::to_owned).collect())
        })
        .collect()
}

fn is_test_code(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/") || name.starts_with("tests/")
}

/// The lines of a file before its own test module, comments left out.
fn code(lines: &[String]) -> impl Iterator<Item = (usize, &str)> {
    let end = lines.iter().position(|l| l.trim_start().starts_with("#[cfg(test)]")).unwrap_or(lines.len());
    lines[..end]
        .iter()
        .enumerate()
        .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
}

fn names_crate(line: &str, krate: &str) -> bool {
    line.match_indices(krate).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + krate.len()..];
        let starts = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '"');
        starts && (after.starts_with("::") || line.trim_start().starts_with("use ") && after.starts_with(';'))
    })
}

fn verdict(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

fn covers(entry: &str, name: &str) -> bool {
    name == entry
        || name == format!("{entry}.rs")
        || name.starts_with(&format!("{}/", entry.trim_end_matches('/')))
}

#[test]
fn the_core_is_pure() {
    let mut broken = Vec::new();
    for (name, lines) in files() {
        let core = CORE.iter().any(|e| covers(e, &name)) && !SHELL_IN_CORE.contains(&name.as_str());
        if !core || is_test_code(&name) {
            continue;
        }
        for (n, line) in code(&lines) {
            for (word, why) in IMPURE {
                if line.contains(word) {
                    broken.push(format!("{name}:{n}: `{word}`: {why}"));
                }
            }
        }
    }
    verdict("core files are functions of their arguments", &broken);
}

#[test]
fn each_client_is_named_in_one_place() {
    let mut broken = Vec::new();
    for (name, lines) in files() {
        if is_test_code(&name) {
            continue;
        }
        for (krate, places) in ONE_PLACE {
            if places.iter().any(|place| covers(place, &name)) {
                continue;
            }
            for (n, line) in code(&lines) {
                if names_crate(line, krate) {
                    broken.push(format!("{name}:{n}: names {krate}; only {} may", places[0]));
                }
            }
        }
    }
    verdict("a client that can be exchanged is named in one place", &broken);
}

#[test]
fn dependencies_point_from_the_autoscaler_to_the_provisioner() {
    let mut broken = Vec::new();
    for (name, lines) in files() {
        if !name.starts_with("provisioner/") {
            continue;
        }
        broken.extend(
            code(&lines)
                .filter(|(_, line)| names_crate(line, "autoscaler"))
                .map(|(n, _)| format!("{name}:{n}")),
        );
    }
    let manifest = fs::read_to_string(root().join("provisioner/Cargo.toml")).expect("the manifest");
    if manifest.lines().any(|l| l.starts_with("autoscaler")) {
        broken.push("provisioner/Cargo.toml".into());
    }
    verdict("the provisioner knows nothing of the autoscaler", &broken);
}

#[test]
fn files_are_short() {
    let broken: Vec<String> = files()
        .into_iter()
        .filter(|(_, lines)| lines.len() > LONGEST)
        .map(|(name, lines)| format!("{name}: {} lines: what is the second idea in it?", lines.len()))
        .collect();
    verdict("a file has one idea", &broken);
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    // in two halves, so that this file does not find itself
    let needles = [concat!("#[al", "low("), concat!("#![al", "low(")];
    let mut broken = Vec::new();
    for (name, lines) in files() {
        for (n, line) in lines.iter().enumerate() {
            if needles.iter().any(|needle| line.trim_start().starts_with(needle)) {
                broken.push(format!("{name}:{}", n + 1));
            }
        }
    }
    verdict("a silenced lint says why, and goes when it is no longer needed", &broken);
}

#[test]
fn nothing_is_left_for_later() {
    let needles =
        [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("X", "XX")];
    let mut broken = Vec::new();
    for (name, lines) in files() {
        for (n, line) in lines.iter().enumerate() {
            if needles.iter().any(|needle| line.contains(needle)) {
                broken.push(format!("{name}:{}", n + 1));
            }
        }
    }
    verdict("what is merged is finished", &broken);
}

#[test]
fn every_module_says_what_it_is_for() {
    let broken: Vec<String> = files()
        .into_iter()
        .filter(|(name, lines)| !is_test_code(name) && !lines.first().is_some_and(|l| l.starts_with("//!")))
        .map(|(name, _)| name)
        .collect();
    verdict("a module begins with its purpose", &broken);
}
