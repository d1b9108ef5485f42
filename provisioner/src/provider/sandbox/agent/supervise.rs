//! The agent's parent: a few lines that hold the instance's lock and start the agent again when it dies.
//!
//! It ends with the agent's own good end, or when the agent dies again and again.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::setsid;

use super::super::machine::{StepError, pause};
use super::super::paths::{LOCK, Paths, RUN_ROOT};
use super::run::remove_empty_parents;
use crate::clock;

/// An agent that dies this often within [`WINDOW`] has a reason that one more start will not remove.
const RESTARTS_MAX: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// Whether an instance's supervisor is alive.
///
/// A supervisor that starts in the very moment of this look gives up; whoever started it tries again.
pub fn is_supervised(instance: &str) -> bool {
    let lock = Path::new(RUN_ROOT).join(instance).join(LOCK);
    File::open(lock).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Runs the agent of an instance until it ends well. Another supervisor of this instance: returns at once.
pub fn supervise(paths: &Paths) -> Result<(), StepError> {
    // It fails for a process that leads its group, which then has a session already.
    let _ = setsid();
    let at = || StepError::at(format!("make {}", paths.run.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&paths.run).map_err(at())?;
    let lock =
        File::create(paths.lock()).map_err(StepError::at(format!("make {}", paths.lock().display())))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(StepError::at("lock the instance")(error)),
    }
    // Somebody who ended just now may have removed the file under this lock: then it protects nothing.
    if !paths.lock().exists() {
        return Ok(());
    }
    let mut deaths = Vec::new();
    loop {
        let mut child = Command::new("/proc/self/exe")
            .args(["sandbox", "agent", "--worker", "--instance", &paths.instance])
            .stdin(Stdio::null())
            .spawn()
            .map_err(StepError::at("start the agent"))?;
        let status = child.wait().map_err(StepError::at("wait for the agent"))?;
        if status.success() {
            let _ = fs::remove_dir_all(&paths.run);
            remove_empty_parents(&paths.run);
            return Ok(());
        }
        let now = clock::monotonic();
        deaths.retain(|death| now.duration_since(*death) < WINDOW);
        deaths.push(now);
        tracing::warn!(%status, deaths = deaths.len(), "the agent died");
        if deaths.len() >= RESTARTS_MAX || status.code().is_some() && deaths.len() >= 3 {
            let words = format!("it died {} times, last with {status}", deaths.len());
            return Err(StepError {
                step: "keep the agent running".into(),
                source: std::io::Error::other(words),
            });
        }
        pause(Duration::from_millis(20 * deaths.len() as u64));
    }
}
