//! An instance of its own for each test, removed at its end whatever happens.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use provisioner::names::{ClusterId, MachineId, MachineName, PoolName};
use provisioner::provider::sandbox::wire::FaultsRequest;
use provisioner::provider::sandbox::{Config, SandboxProvider, connect_with, tree};
use provisioner::provider::sandbox::{paths::Paths, start};
use provisioner::provider::{Machine, MachineRequest, MachineState, Owner, Provider, Scope, Tags, UserData};
use provisioner::quantity::{Cpu, Memory};
use provisioner::spec::{Network, Role, Shape};
use provisioner::{clock, env};
use secrecy::SecretString;

/// No machine of these tests takes longer, on a busy computer with two cores; in seconds, `CONTINUUM_TEST_PATIENCE`
/// says what a slower one needs (`tests/lab/v2` emulates one).
pub(crate) static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let said = env::var("CONTINUUM_TEST_PATIENCE").map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(said.unwrap_or(40))
});

pub(crate) struct Lab {
    pub(crate) instance: String,
    pub(crate) cloud: SandboxProvider,
    pub(crate) paths: Paths,
    closed: bool,
}

/// An instance with one cluster, or `None` (and the reason on stdout) where machines cannot be made.
pub(crate) async fn lab(name: &str) -> Option<Lab> {
    let lab = empty_lab(name).await?;
    let network = Network { internet: false, expose: Vec::new() };
    lab.cloud.scaffold(&cluster("a"), &network).await.unwrap();
    Some(lab)
}

pub(crate) async fn empty_lab(name: &str) -> Option<Lab> {
    let mut lacks = start::preflight().err().map(|error| error.to_string());
    let cache = provisioner::cache::folder().unwrap();
    let instance = format!("test-{name}-{}", std::process::id());
    let paths = Paths::new(&instance, &cache).unwrap();
    if lacks.is_none() {
        let building = paths.clone();
        let made = tokio::task::spawn_blocking(move || tree::ensure(&building)).await.unwrap();
        lacks = made.err().map(|error| error.to_string());
    }
    if let Some(reason) = lacks {
        println!("skipped: {reason}");
        return None;
    }
    let config = Config { instance: instance.clone() };
    let cloud = connect_with(&config, program()).await.unwrap();
    Some(Lab { instance, cloud, paths, closed: false })
}

pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_continuum"))
}

pub(crate) fn cluster(name: &str) -> ClusterId {
    ClusterId::new(format!("{name}-00000000")).unwrap()
}

/// A small machine of a cluster.
pub(crate) fn request(cluster_name: &str, ordinal: u64) -> MachineRequest {
    let name = MachineName::new(format!("{cluster_name}-w-{ordinal}")).unwrap();
    let (host_key, host_key_public) = key(ordinal);
    MachineRequest {
        token: format!("ledger/{name}/0"),
        tags: Tags {
            cluster: cluster(cluster_name),
            pool: PoolName::new("w").unwrap(),
            owner: Owner::Cli,
            ledger: "ledger".into(),
            machine: name,
            expires: None,
            host_key: "SHA256:x".into(),
        },
        role: Role::Worker,
        shape: Shape::of(Cpu::cores(1), Memory { bytes: 512 << 20 }),
        image: tree::BASE.into(),
        zone: None,
        expose: Vec::new(),
        user_data: UserData {
            host_key,
            host_key_public,
            authorized_keys: vec![key(0).1],
            script: String::new(),
        },
    }
}

/// An ed25519 key, private and public half.
pub(crate) fn key(n: u64) -> (SecretString, String) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let private = ssh_key::PrivateKey::from(pair);
    let public = private.public_key().to_openssh().unwrap();
    let text = private.to_openssh(ssh_key::LineEnding::LF).unwrap();
    (SecretString::from(text.to_string()), public)
}

impl Lab {
    /// Makes a machine and waits until it runs.
    pub(crate) async fn make(&self, request: &MachineRequest) -> Machine {
        self.cloud.create(request).await.unwrap();
        let name = request.tags.machine.clone();
        self.wait(|all| {
            all.iter().find(|m| m.tags.machine == name && m.state == MachineState::Running).cloned()
        })
        .await
    }

    /// Sets these faults and no others.
    pub(crate) async fn set_faults(&self, words: &[&str], seed: u64) {
        let faults = words.iter().map(|word| word.parse().unwrap()).collect();
        self.cloud.set_faults(&FaultsRequest { faults, seed, lasts: None }).await.unwrap();
    }

    /// The names of all machines that are really there, in their order.
    pub(crate) async fn there(&self) -> Vec<String> {
        let all = self.cloud.inventory().await.unwrap();
        let mut names: Vec<_> = all.iter().map(|machine| machine.tags.machine.to_string()).collect();
        names.sort();
        names
    }

    /// Waits until the list shows something.
    pub(crate) async fn wait<T>(&self, seen: impl FnMut(&[Machine]) -> Option<T>) -> T {
        self.wait_for(*PATIENCE, seen).await
    }

    /// Waits for so long until the list shows something.
    pub(crate) async fn wait_for<T>(
        &self,
        patience: Duration,
        mut seen: impl FnMut(&[Machine]) -> Option<T>,
    ) -> T {
        let since = clock::monotonic();
        loop {
            let all = self.cloud.list(&Scope::All).await.unwrap();
            if let Some(found) = seen(&all) {
                return found;
            }
            let broken = all.iter().find(|machine| matches!(machine.state, MachineState::Failed(_)));
            if since.elapsed() > patience || broken.is_some() {
                let log = std::fs::read_to_string(self.paths.log()).unwrap_or_default();
                let console = match all.first() {
                    Some(machine) => self.cloud.console(&machine.id).await.unwrap_or_default(),
                    None => String::new(),
                };
                panic!("not seen: {all:#?}\n{log}\n{console}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a machine runs.
    pub(crate) async fn running(&self, id: &MachineId) -> Machine {
        self.wait(|all| all.iter().find(|m| &m.id == id && m.state == MachineState::Running).cloned()).await
    }

    /// Waits until a machine has failed; returns why.
    pub(crate) async fn first_failure(&self) -> String {
        let since = clock::monotonic();
        loop {
            for machine in self.cloud.list(&Scope::All).await.unwrap() {
                if let MachineState::Failed(reason) = machine.state {
                    return reason;
                }
            }
            assert!(since.elapsed() < *PATIENCE, "no machine has failed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, is_so: impl Fn() -> bool) {
        let since = clock::monotonic();
        while !is_so() {
            assert!(since.elapsed() < *PATIENCE, "it is not so after {:?}", *PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the instance has left this computer.
    pub(crate) async fn until_nothing_is_left(&self) {
        let since = clock::monotonic();
        loop {
            let left = leftovers(&self.instance, &self.paths);
            if left.is_empty() {
                return;
            }
            assert!(since.elapsed() < *PATIENCE, "left behind: {left:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the machine's sshd says first.
    pub(crate) async fn banner(&self, machine: &Machine) -> String {
        let mut stream = self.cloud.dial(machine, 22).await.unwrap();
        tokio::task::spawn_blocking(move || {
            let mut buffer = [0; 64];
            let length = stream.read(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).split_whitespace().next().unwrap().to_owned()
        })
        .await
        .unwrap()
    }

    /// The machine's pid 1 on the host.
    pub(crate) fn pid1(&self, machine: &Machine) -> i32 {
        let path = self.paths.machine(&machine.id).join("process.json");
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        i32::try_from(value["pid"].as_i64().unwrap()).unwrap()
    }

    /// Runs a script inside a machine, beside sshd; returns what it prints.
    pub(crate) fn inside(&self, machine: &Machine, script: &str) -> String {
        let pid = self.pid1(machine).to_string();
        let output = Command::new("nsenter")
            .args(["-t", &pid, "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w", "/bin/sh", "-c", script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Deletes everything; then nothing of the instance may be left.
    pub(crate) async fn close(mut self) {
        for machine in self.cloud.list(&Scope::All).await.unwrap() {
            self.cloud.delete(&machine.id).await.unwrap();
        }
        for id in self.cloud.status().await.unwrap().clusters {
            assert_eq!(self.cloud.sweep(&id).await.unwrap(), []);
        }
        self.closed = true;
        // It would end by itself after some seconds, which one test waits for.
        self.cloud.stop_all(true).await.unwrap();
        self.until_nothing_is_left().await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // A failed test: its own instance is removed by the tool's own way out.
        let stop = || {
            Command::new(program())
                .args(["sandbox", "stop", "--delete", "--instance", &self.instance])
                .output()
        };
        let _ = stop();
        let since = clock::monotonic();
        while !leftovers(&self.instance, &self.paths).is_empty() && since.elapsed() < *PATIENCE {
            provisioner::provider::sandbox::machine::pause(Duration::from_millis(50));
        }
        println!("after the failure: {:?}", leftovers(&self.instance, &self.paths));
    }
}

/// Everything of an instance that is on this computer: mounts, control groups, processes, files.
pub(crate) fn leftovers(instance: &str, paths: &Paths) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut note = |what: &str, detail: String| {
        all.insert(format!("{what} {detail}"), String::new());
    };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines().filter(|line| line.contains(&format!("/{instance}/"))) {
        note("mount", line.to_owned());
    }
    for dir in [&paths.state, &paths.run] {
        if dir.exists() {
            note("folder", dir.display().to_string());
        }
    }
    for line in mounts.lines().filter(|line| line.starts_with("cgroup")) {
        let group = Path::new(line.split(' ').nth(1).unwrap()).join(format!("continuum.{instance}"));
        if group.exists() {
            note("cgroup", group.display().to_string());
        }
    }
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        if !own && words.contains(instance) && !words.contains("sandbox stop") {
            note("process", words);
        }
    }
    all
}
