//! Starting an agent on demand, and what must be there for it: one clear word for each thing that is missing.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::machine::{StepError, cgroup, pause};
use super::paths::Paths;
use crate::clock;
use crate::provider::Problem;

/// An agent is up in 0.1 s; after a crash with many machines in a few seconds.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Namespaces, mounts and control groups need it.
    #[error("the sandbox makes machines out of namespaces and needs root: run the command with sudo")]
    NotRoot,
    /// Something of the kernel's or of the distribution's.
    #[error("{what}: {why}; {hint}", what = .0.what, why = .0.why, hint = .0.hint)]
    Missing(Problem),
    /// A step that the operating system refused.
    #[error(transparent)]
    Step(#[from] StepError),
    /// It ended, or is not heard of.
    #[error("the sandbox agent does not start; the end of {}:\n{tail}", log.display())]
    Silent {
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
}

/// Makes sure that an agent listens. `exe` is the `continuum` program.
pub fn ensure_agent(paths: &Paths, exe: &Path) -> Result<(), StartError> {
    if answers(paths) {
        return Ok(());
    }
    preflight()?;
    let since = clock::monotonic();
    let mut child: Option<Child> = None;
    while since.elapsed() < START_TIMEOUT {
        if answers(paths) {
            return Ok(());
        }
        // One that ends at once met another that was just about to end, or failed: the first is worth a second try.
        let status = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        match status {
            Some(status) if !status.success() => break,
            None if child.is_some() => {}
            _ => child = Some(spawn(paths, exe)?),
        }
        pause(Duration::from_millis(10));
    }
    let text = fs::read_to_string(paths.log()).unwrap_or_default();
    let from = text.lines().count().saturating_sub(10);
    let tail: Vec<&str> = text.lines().skip(from).collect();
    Err(StartError::Silent { log: paths.log(), tail: tail.join("\n") })
}

fn answers(paths: &Paths) -> bool {
    UnixStream::connect(paths.socket()).is_ok()
}

fn spawn(paths: &Paths, exe: &Path) -> Result<Child, StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&paths.run)
        .map_err(StepError::at(format!("make {}", paths.run.display())))?;
    let log = File::options().create(true).append(true).open(paths.log());
    let log = log.map_err(StepError::at(format!("open {}", paths.log().display())))?;
    let out = log.try_clone().map_err(StepError::at("open the agent's log"))?;
    let child = Command::new(exe)
        .args(["sandbox", "agent", "--instance", &paths.instance])
        .env("CONTINUUM_CACHE", &paths.cache)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(log)
        .spawn()
        .map_err(StepError::at(format!("run {}", exe.display())))?;
    Ok(child)
}

/// What the host must have, whatever will be made.
pub fn preflight() -> Result<(), StartError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(StartError::NotRoot);
    }
    let problem = |what: &str, why: String, hint: &str| {
        StartError::Missing(Problem { what: what.into(), why, hint: hint.into() })
    };
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.split_whitespace().last() == Some("overlay"))
        && !load_module("overlay")
    {
        let why = "this kernel has no overlayfs".to_owned();
        return Err(problem(
            "kernel",
            why,
            "load it with modprobe overlay, or use a kernel with CONFIG_OVERLAY_FS",
        ));
    }
    for name in ["mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        if !Path::new("/proc/self/ns").join(name).exists() {
            let hint = "use a kernel with CONFIG_NAMESPACES and all kinds of namespaces";
            return Err(problem("kernel", format!("this kernel has no {name} namespaces"), hint));
        }
    }
    cgroup::of_host()
        .map_err(|why| problem("control groups", why, "every distribution of the last ten years has them"))?;
    match missing_commands(false, false).into_iter().next() {
        Some(problem) => Err(StartError::Missing(problem)),
        None => Ok(()),
    }
}

fn load_module(name: &str) -> bool {
    Command::new("modprobe").arg(name).output().is_ok_and(|output| output.status.success())
}

/// Commands that are needed and are not there, each with its Debian package.
pub fn missing_commands(tree: bool, internet: bool) -> Vec<Problem> {
    let needed = [
        ("ip", "iproute2", true),
        ("mmdebstrap", "mmdebstrap", tree),
        ("slirp4netns", "slirp4netns", internet),
    ];
    let missing = needed.into_iter().filter(|(command, _, needed)| *needed && !found(command));
    missing
        .map(|(command, package, _)| Problem {
            what: format!("command {command}"),
            why: "it is not installed".into(),
            hint: format!("apt-get install {package}"),
        })
        .collect()
}

fn found(command: &str) -> bool {
    let path = crate::env::var("PATH").unwrap_or_default();
    let dirs = path.split(':').chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"]);
    dirs.filter(|dir| !dir.is_empty()).any(|dir| Path::new(dir).join(command).is_file())
}
