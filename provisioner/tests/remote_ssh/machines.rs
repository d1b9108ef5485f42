//! Two machines of a sandbox of these tests' own, made once and shared by all of them.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use provisioner::provider::sandbox::{Config, SandboxProvider};
use provisioner::provider::{Machine, Provider, Scope};

use crate::harness::{Lab, lab, program, request};

struct Machines {
    lab: Lab,
    two: Vec<Machine>,
    /// Removes the sandbox once the process of the tests is gone, however it ends: a static is never dropped.
    _remover: Child,
}

static MACHINES: LazyLock<Mutex<Option<Machines>>> = LazyLock::new(|| Mutex::new(make()));

/// The machines, or `None` (and the reason on stdout) where none can be made.
pub(crate) fn two() -> Option<Vec<Machine>> {
    MACHINES.lock().unwrap().as_ref().map(|machines| machines.two.clone())
}

/// Their cloud, for the caller's own runtime.
pub(crate) fn cloud() -> Arc<dyn Provider> {
    let instance = MACHINES.lock().unwrap().as_ref().unwrap().lab.instance.clone();
    Arc::new(SandboxProvider::at(&Config { instance }, program()).unwrap())
}

fn make() -> Option<Machines> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let lab = lab("ssh").await?;
        let _remover = remover(&lab.instance);
        for ordinal in [1, 2] {
            let mut wanted = request("a", ordinal);
            wanted.expose = vec![22];
            lab.make(&wanted).await;
        }
        let mut two = lab.cloud.list(&Scope::All).await.unwrap();
        two.sort_by(|a, b| a.tags.machine.cmp(&b.tags.machine));
        Some(Machines { lab, two, _remover })
    })
}

/// Waits for the end of its stdin, which is the end of this process. In a group of its own: Ctrl-C is not for it.
fn remover(instance: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", "cat; exec \"$0\" sandbox stop --delete --instance \"$1\""])
        .arg(program())
        .arg(instance)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}
