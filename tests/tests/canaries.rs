//! Secrets are where they belong and nowhere else: known values are searched for in every process of this computer
//! while a cluster comes up, fails and goes, in all that was printed, and in every file that is not their own.
//! Needs root; says so and passes without.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use continuum_tests::{Lab, bundle, root};
use provisioner::provider::sandbox::machine::pause;
use serde_json::Value;

/// What is looked for, and the only files that may have it: path ends.
struct Canary {
    what: &'static str,
    value: Vec<u8>,
    at_home: &'static [&'static str],
}

/// Arguments and environment of every process, as often as can be, while something else works.
fn sampled<T>(work: impl FnOnce() -> T) -> (T, HashSet<Vec<u8>>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut seen: HashSet<Vec<u8>> = HashSet::new();
            while !done.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    for name in ["cmdline", "environ"] {
                        // It may have ended meanwhile.
                        seen.extend(fs::read(process.path().join(name)).ok().filter(|text| !text.is_empty()));
                    }
                }
                pause(Duration::from_millis(10));
            }
            seen
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, sampler.join().unwrap())
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every regular file below, links not followed. Disks of machines too: they are folders here.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() && entry.metadata().is_ok_and(|meta| meta.len() < 16 << 20) {
            found.push(entry.path());
        }
    }
}

/// The lines of a private key between its marks: each is enough to know it by.
fn body(key: &str) -> Vec<u8> {
    // The first line holds what all keys of this kind have in common.
    key.lines().filter(|line| !line.starts_with('-')).nth(1).unwrap().as_bytes().to_vec()
}

fn canaries(lab: &Lab, instance: &str, cluster: &str, front_end: &str) -> Vec<Canary> {
    let keys = lab.state(cluster).join("keys");
    let seed = fs::read(keys.join("seed")).unwrap();
    let agent = PathBuf::from("/run/continuum/sandbox").join(instance).join("token");
    let agent = fs::read_to_string(agent).unwrap().trim().as_bytes().to_vec();
    let clusters = PathBuf::from("/var/lib/continuum/sandbox").join(instance).join("clusters");
    let record = fs::read_dir(clusters).unwrap().flatten().next().unwrap().path();
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let secret = lab.ok(&["cluster", "ssh", cluster, front_end, "--", "cat /root/secret"]);
    let host_key = lab.ok(&["cluster", "ssh", cluster, front_end, "--", "cat /etc/ssh/ssh_host_ed25519_key"]);
    let canary = |what, value: Vec<u8>, at_home| {
        assert!(value.len() >= 16, "{what} is too short to be looked for");
        Canary { what, value, at_home }
    };
    vec![
        canary(
            "the operator's key",
            body(&fs::read_to_string(keys.join("operator")).unwrap()),
            &["keys/operator"],
        ),
        canary("the seed of host keys", seed.clone(), &["keys/seed"]),
        canary("the seed of host keys in hex", hex(&seed).into_bytes(), &[]),
        canary("the agent's token", agent, &["/token"]),
        canary("the cluster's token at the gateway", record["token"].as_str().unwrap().into(), &[".json"]),
        canary("a secret that a front-end made", secret.trim().into(), &["root/secret"]),
        canary("a host key", body(&host_key), &["etc/ssh/ssh_host_ed25519_key"]),
    ]
}

/// Where a secret is that must not be there.
fn leaks(
    lab: &Lab,
    instance: &str,
    cluster: &str,
    canaries: &[Canary],
    texts: &[(String, Vec<u8>)],
) -> Vec<String> {
    let mut leaks = Vec::new();
    for (name, text) in texts {
        let found = canaries.iter().filter(|canary| contains(text, &canary.value));
        leaks.extend(found.map(|canary| format!("{} in {name}", canary.what)));
    }
    let mut all = Vec::new();
    for folder in ["/run/continuum/sandbox", "/var/lib/continuum/sandbox"] {
        files(&PathBuf::from(folder).join(instance), &mut all);
    }
    files(&lab.state(cluster), &mut all);
    assert!(all.len() > 50, "only {} files were found", all.len());
    for path in all {
        let Ok(text) = fs::read(&path) else { continue };
        let shown = path.display().to_string();
        for canary in canaries.iter().filter(|canary| contains(&text, &canary.value)) {
            let gateway = canary.what.contains("gateway") && !shown.contains("/clusters/");
            if gateway || !canary.at_home.iter().any(|end| shown.ends_with(end)) {
                leaks.push(format!("{} in {shown}", canary.what));
            }
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                leaks.push(format!("{} in {shown} of mode {mode:03o}", canary.what));
            }
        }
    }
    leaks
}

/// Arguments and environments that have a secret.
fn in_processes(canaries: &[Canary], processes: &HashSet<Vec<u8>>) -> Vec<String> {
    let leak = |text: &Vec<u8>| {
        let canary = canaries.iter().find(|canary| contains(text, &canary.value))?;
        Some(format!("{} in {:?}", canary.what, String::from_utf8_lossy(text)))
    };
    processes.iter().filter_map(leak).collect()
}

/// Everything of a cluster's folder is ours alone.
fn modes(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let right = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, right, "{}", entry.path().display());
        if entry.path().is_dir() {
            modes(&entry.path());
        }
    }
}

fn cluster_file(lab: &Lab, fail: bool) -> String {
    let template = root().join("tests/recipes-canary/template.yaml");
    let text = format!(
        "name: bird\ntemplate: {}\nprovider: {{type: sandbox, internet: false}}\ninputs:\n  fail: {fail}\n  workers:\n    shape: {{cpu: 1, memory: 512Mi}}\n    count: 1\n",
        template.display()
    );
    lab.write("bird.yaml", &text)
}

#[test]
fn no_secret_is_anywhere_but_at_home() {
    let Some(lab) = Lab::open("canary") else { return };
    let recipes = root().join("tests/recipes-canary").display().to_string();
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut processes = HashSet::new();
    let mut run = |file: &str, form: &[&str], code: i32| {
        let args = [&["cluster", "up", file, "--recipes", &recipes, "--yes", "--no-bake"], form].concat();
        let (ended, seen) = sampled(|| lab.run(&args));
        assert_eq!(ended.code, Some(code), "{ended}");
        processes.extend(seen);
        texts.push((format!("what {} printed", ended.command), format!("{}{}", ended.out, ended.err).into()));
    };
    // With everything that it says of itself.
    run(&cluster_file(&lab, true), &["-o", "json", "-vv"], 4);
    run(&cluster_file(&lab, false), &["-vv"], 0);
    modes(&lab.state("bird"));
    let file = cluster_file(&lab, false);
    let instance = lab.status()["agent"]["instance"].as_str().unwrap().to_owned();
    let canaries = canaries(&lab, &instance, "bird", "bird-front-end-1");
    for args in [
        vec!["cluster", "plan", &file, "--recipes", &recipes, "-o", "json", "-vv"],
        vec!["cluster", "status", "bird", "-o", "json", "-vv"],
        vec!["cluster", "logs", "bird"],
        vec!["cluster", "logs", "bird", "--console"],
        vec!["sandbox", "status", "-o", "json", "-vv"],
        vec![
            "cluster",
            "ssh",
            "bird",
            "bird-workers-2",
            "--",
            "ls -lR /run/continuum /var/lib/continuum; cat /root/used",
        ],
        vec![
            "cluster",
            "ssh",
            "bird",
            "bird-workers-2",
            "--",
            "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline",
        ],
    ] {
        let (ended, seen) = sampled(|| lab.run(&args));
        assert_eq!(ended.code, Some(0), "{ended}");
        processes.extend(seen);
        texts.push((format!("what {} printed", ended.command), format!("{}{}", ended.out, ended.err).into()));
    }
    // A worker's user-data is its own host key and nothing else that is secret; that one is replaced at the first login.
    let worker = lab.ok(&["cluster", "ssh", "bird", "bird-workers-2", "--", "cat /root/used"]);
    assert_eq!(worker.split(' ').next().unwrap().len(), 64, "{worker}");
    let found_before = leaks(&lab, &instance, "bird", &canaries, &texts);
    let (ended, seen) = sampled(|| lab.run(&["cluster", "down", "bird", "--yes", "-vv"]));
    assert_eq!(ended.code, Some(0), "{ended}");
    processes.extend(seen);
    assert!(processes.len() > 100, "only {} processes were seen", processes.len());
    println!("{} different arguments and environments of processes", processes.len());
    let mut found = found_before;
    found.extend(in_processes(&canaries, &processes));
    let said = format!("{}{}", ended.out, ended.err).into_bytes();
    found.extend(
        canaries.iter().filter(|c| contains(&said, &c.value)).map(|c| format!("{} in `down`", c.what)),
    );
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
    lab.close();
}

/// What Kubernetes itself keeps secret: the authority's key and the tokens that nodes join with.
#[test]
fn no_secret_of_a_real_cluster_is_anywhere_but_at_home() {
    let Some(bundle) = bundle() else { return };
    let Some(lab) = Lab::open("canary-k8s").map(|lab| lab.with_bundle(bundle)) else { return };
    let text = "name: nest\ntemplate: elastic-kubernetes\nprovider: {type: sandbox, internet: false}\ninputs:\n  \
                front_end: {cpu: 2, memory: 4Gi}\n  workers:\n    shape: {cpu: 1, memory: 3Gi}\n    count: 1\n";
    let file = lab.write("nest.yaml", text);
    let (ended, mut processes) = sampled(|| lab.run(&["cluster", "up", &file, "--yes", "-o", "json", "-vv"]));
    assert_eq!(ended.code, Some(0), "{ended}");
    let texts = vec![("what `up` printed".to_owned(), format!("{}{}", ended.out, ended.err).into_bytes())];
    modes(&lab.state("nest"));
    let instance = lab.status()["agent"]["instance"].as_str().unwrap().to_owned();
    let on = |script: &str| lab.ok(&["cluster", "ssh", "nest", "nest-front-end-1", "--", script]);
    let key = on("cat /etc/kubernetes/pki/ca.key");
    let tokens =
        on("kubeadm token list -o jsonpath='{.token}{\"\\n\"}' --kubeconfig /etc/kubernetes/admin.conf");
    let mut canaries = vec![Canary {
        what: "the authority's key",
        value: body(&key),
        at_home: &["etc/kubernetes/pki/ca.key"],
    }];
    // Only the second half of a token is secret. etcd has it as Kubernetes writes it.
    let secrets = tokens.lines().filter_map(|token| token.split_once('.'));
    canaries.extend(secrets.map(|(_, secret)| Canary {
        what: "a join token",
        value: secret.as_bytes().to_vec(),
        at_home: &[".wal", "/db", ".snap"],
    }));
    assert!(canaries.len() > 1, "no token was found: {tokens}");
    let mut found = leaks(&lab, &instance, "nest", &canaries, &texts);
    let (ended, seen) = sampled(|| lab.run(&["cluster", "down", "nest", "--yes"]));
    assert_eq!(ended.code, Some(0), "{ended}");
    processes.extend(seen);
    found.extend(in_processes(&canaries, &processes));
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
    lab.close();
}

/// The search itself finds what is there: a test that cannot see would always pass.
#[test]
fn a_secret_in_an_argument_or_the_environment_is_seen() {
    let canary = "a-canary-that-sings-in-the-open";
    let (_, seen) = sampled(|| {
        let mut child = std::process::Command::new("sleep").arg("1").env("SONG", canary).spawn().unwrap();
        child.wait().unwrap();
    });
    assert!(seen.iter().any(|text| contains(text, canary.as_bytes())));
}
