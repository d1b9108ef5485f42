//! Helpers of the tests that drive the program itself: an instance of the sandbox for each test, removed whatever
//! happens, and nothing of it left behind.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says why it is skipped")]

mod leftovers;
pub mod parsers;
pub mod points;
mod run;
pub mod small;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use provisioner::names::MachineId;
use provisioner::provider::Provider;
use provisioner::provider::sandbox::machine::pause;
use provisioner::provider::sandbox::{Config, SandboxProvider, paths::Paths, start, tree};
use provisioner::{cache, clock, env};
use serde_json::Value;

pub use leftovers::leftovers;
pub use run::{Ended, Running, events};

/// No single thing that a test waits for takes longer, on a busy computer with two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test: `CONTINUUM_BIN`, else the one that cargo has put beside the test itself. Cargo builds it
/// with the tests of the whole workspace; a single crate's tests use what was built last.
pub fn program() -> PathBuf {
    if let Some(path) = env::path("CONTINUUM_BIN") {
        return path;
    }
    beside_the_test("continuum")
}

fn beside_the_test(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/TEST-0123456789abcdef
    let program = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(program.is_file(), "{} is not there: cargo build --workspace makes it", program.display());
    program
}

/// The same with points at which it can be made to kill itself.
pub fn program_with_points() -> PathBuf {
    beside_the_test("continuum-crash")
}

/// The bundle for real clusters: `CONTINUUM_TEST_BUNDLE`, else the one that `make` keeps in the cache.
pub fn bundle() -> Option<PathBuf> {
    let folder =
        env::path("CONTINUUM_TEST_BUNDLE").or_else(|| Some(cache::folder().ok()?.join("bundles/kubernetes")));
    let found = folder.filter(|path| path.join("manifest.json").is_file());
    if found.is_none() {
        println!("skipped: no bundle (`make bundle` makes one, CONTINUUM_TEST_BUNDLE names another)");
    }
    found
}

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// An instance of the sandbox with a state folder of its own.
pub struct Lab {
    home: tempfile::TempDir,
    paths: Paths,
    bundle: Option<PathBuf>,
    closed: bool,
}

impl Lab {
    /// A new one, or `None` (and the reason on stdout) where machines cannot be made.
    pub fn open(name: &str) -> Option<Self> {
        let paths =
            Paths::new(&format!("e2e-{name}-{}", std::process::id()), &cache::folder().unwrap()).unwrap();
        let lacks = start::preflight()
            .map_err(|error| error.to_string())
            .and_then(|()| tree::ensure(&paths).map(drop).map_err(|error| error.to_string()));
        if let Err(reason) = lacks {
            println!("skipped: {reason}");
            return None;
        }
        Some(Self { home: tempfile::tempdir().unwrap(), paths, bundle: None, closed: false })
    }

    /// The same with a bundle for every command.
    #[must_use]
    pub fn with_bundle(mut self, bundle: PathBuf) -> Self {
        self.bundle = Some(bundle);
        self
    }

    /// Writes a file of the test's own.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The state folder of this computer.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder of a cluster.
    pub fn state(&self, cluster: &str) -> PathBuf {
        self.home.path().join("continuum").join(cluster)
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_of(&program(), args)
    }

    fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        command.env("CONTINUUM_SANDBOX", &self.paths.instance).env("XDG_STATE_HOME", self.home.path());
        match &self.bundle {
            Some(bundle) => command.env("CONTINUUM_BUNDLE", bundle),
            None => command.env_remove("CONTINUUM_BUNDLE"),
        };
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::of(args, self.command(args).output().unwrap())
    }

    /// Runs a command to its end, and notes every point of it at which it could be killed, in order.
    pub fn points(&self, args: &[&str]) -> (Ended, Vec<String>) {
        let log = self.home.path().join("points");
        let _ = std::fs::remove_file(&log);
        let mut command = self.command_of(&program_with_points(), args);
        let ended = Ended::of(args, command.env("CONTINUUM_CRASH_LOG", &log).output().unwrap());
        let points = std::fs::read_to_string(&log).unwrap_or_default();
        (ended, points.lines().map(str::to_owned).collect())
    }

    /// Runs a command that kills itself at this point, given by its name, if it comes to it: without a word, as `kill -9`
    /// does it.
    pub fn killed_at(&self, point: &str, args: &[&str]) -> Ended {
        let mut command = self.command_of(&program_with_points(), args);
        Ended::of(args, command.env("CONTINUUM_CRASH_AT", point).output().unwrap())
    }

    /// Runs a command as another computer would: with a state folder of its own, in the same cloud.
    pub fn run_elsewhere(&self, home: &Path, args: &[&str]) -> Ended {
        Ended::of(args, self.elsewhere(home, args).output().unwrap())
    }

    /// The same, followed.
    pub fn start_elsewhere(&self, home: &Path, args: &[&str]) -> Running {
        Running::new(args, self.elsewhere(home, args))
    }

    fn elsewhere(&self, home: &Path, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.env("XDG_STATE_HOME", home).current_dir(home);
        command
    }

    /// Runs a command with another cache folder.
    pub fn run_cached(&self, cache: &Path, args: &[&str]) -> Ended {
        Ended::of(args, self.command(args).env("CONTINUUM_CACHE", cache).output().unwrap())
    }

    /// The instance's folders.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The cloud itself, for what no command does.
    pub fn cloud(&self) -> SandboxProvider {
        SandboxProvider::at(&Config { instance: self.paths.instance.clone() }, program()).unwrap()
    }

    /// Runs a command that must succeed; what it prints.
    pub fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{ended}");
        ended.out
    }

    /// Starts a command whose events are followed.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::new(args, self.command(args))
    }

    /// What the agent has, whoever made it: machines as the sandbox lists them.
    pub fn machines(&self) -> Vec<Value> {
        self.status()["machines"].as_array().cloned().unwrap_or_default()
    }

    /// What the agent says of itself and its machines; null if none runs.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["sandbox", "status", "-o", "json"])).unwrap()
    }

    /// The names of the machines of a cluster in the cloud, by their tags. A name that is there twice is listed twice.
    pub fn tagged(&self, cluster: &str) -> Vec<String> {
        let machines = self.machines();
        let mut names: Vec<String> = machines
            .iter()
            .filter(|machine| {
                machine["tags"]["cluster"].as_str().unwrap().starts_with(&format!("{cluster}-"))
            })
            .map(|machine| machine["tags"]["machine"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Deletes a machine behind everybody's back, as a person with the cloud's own tool would.
    pub fn delete_machine(&self, name: &str) {
        let config = Config { instance: self.paths.instance.clone() };
        let machines = self.machines();
        let machine = machines.iter().find(|machine| machine["tags"]["machine"] == name);
        let id = MachineId::from(machine.unwrap()["id"].as_str().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cloud = SandboxProvider::at(&config, program()).unwrap();
            cloud.delete(&id).await.unwrap();
            let since = clock::monotonic();
            while cloud.exists(&id).await.unwrap() {
                assert!(since.elapsed() < PATIENCE, "{name} is not deleted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }

    /// Ends the test: everything is removed, and nothing may be left.
    pub fn close(mut self) {
        self.closed = true;
        self.remove();
        let left = self.what_stays();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    fn remove(&self) {
        let args = ["sandbox", "stop", "--delete", "--instance", &self.paths.instance];
        let stopped = self.command(&args).output();
        if !stopped.as_ref().is_ok_and(|output| output.status.success()) {
            println!("sandbox stop: {stopped:?}");
        }
    }

    /// What is left after a while.
    fn what_stays(&self) -> Vec<String> {
        let since = clock::monotonic();
        loop {
            let left = leftovers(&self.paths);
            if left.is_empty() || since.elapsed() > PATIENCE {
                return left;
            }
            pause(Duration::from_millis(50));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.closed {
            self.remove();
            println!("after the failure: {:?}", self.what_stays());
        }
    }
}
