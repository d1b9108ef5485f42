//! The keeper of a machine: a process that sets up what needs the host's view, starts pid 1, then copies its console.
//!
//! It runs single-threaded, as `continuum sandbox keeper FILE`. It leaves the machine's control groups again:
//! version 2 allows no process beside the groups that systemd makes inside.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::net::if_::if_nameindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getpid, setsid, ttyname};

use super::process::Process;
use super::{Boot, StepError, mac, veth_prefix};

/// A console file is turned at this size, one older one is kept: enough for a few hundred boots of systemd.
const CONSOLE_MAX: u64 = 1 << 20;

/// Starts the machine of this boot file; prints its pid 1 as one line of JSON; returns when the machine has ended.
pub fn run(file: &Path) -> Result<(), StepError> {
    let boot = Boot::read(file)?;
    setsid().map_err(StepError::at("leave the agent's session"))?;
    let home = own_groups(&boot)?;
    for procs in &boot.procs {
        fs::write(procs, "0").map_err(StepError::at(format!("enter {}", procs.display())))?;
    }
    network(&boot)?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(StepError::at("make a pid namespace"))?;
    let pty = openpty(None, None).map_err(StepError::at("make a console"))?;
    let name = ttyname(&pty.slave).map_err(StepError::at("name the console"))?;
    let stdio = || pty.slave.try_clone().map(Stdio::from).map_err(StepError::at("open the console"));
    let mut child = Command::new("/proc/self/exe")
        .args(["sandbox", "init"])
        .args([file, &name])
        .stdin(stdio()?)
        .stdout(stdio()?)
        .stderr(stdio()?)
        .spawn()
        .map_err(StepError::at("start pid 1"))?;
    for procs in &home {
        fs::write(procs, "0").map_err(StepError::at(format!("return to {}", procs.display())))?;
    }
    report(i32::try_from(child.id()).unwrap_or_default(), &boot.dir.join("process.json"))?;
    let ended = end_of(&mut child)?;
    // The slave stays open here: without it the console hangs up whenever nobody inside has it open,
    // and systemd then tries for a second each time to open it.
    copy_console(File::from(pty.master), &ended, &mut child, &boot.dir.join("console.log"));
    drop(pty.slave);
    Ok(())
}

/// A descriptor that can be read when a child has ended.
fn end_of(child: &mut Child) -> Result<SignalFd, StepError> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block().map_err(StepError::at("block SIGCHLD"))?;
    let ended = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(StepError::at("wait for pid 1"))?;
    // It may have ended before the signal was blocked: then there is nothing to copy and `copy_console` sees it.
    let _ = child.try_wait();
    Ok(ended)
}

/// The groups that this process is in now, as `cgroup.procs` files, for the hierarchies that it is about to change.
fn own_groups(boot: &Boot) -> Result<Vec<PathBuf>, StepError> {
    let text = fs::read_to_string("/proc/self/cgroup").map_err(StepError::at("read /proc/self/cgroup"))?;
    let mut all = Vec::new();
    for hierarchy in &boot.hierarchies {
        let path = text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let same = if hierarchy.v2 {
                controllers.is_empty()
            } else {
                let wanted = hierarchy.options.trim_start_matches("none,");
                wanted.split(',').next().is_some_and(|first| controllers.split(',').any(|c| c == first))
            };
            same.then(|| path.trim_start_matches('/').to_owned())
        });
        all.push(hierarchy.mount.join(path.unwrap_or_default()).join("cgroup.procs"));
    }
    Ok(all)
}

/// An own network namespace with `eth0` on the cluster's bridge. It goes away with the machine's last process.
fn network(boot: &Boot) -> Result<(), StepError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(StepError::at("make a network namespace"))?;
    let own = File::open("/proc/self/ns/net").map_err(StepError::at("open the network namespace"))?;
    let hub = File::open(&boot.hub).map_err(StepError::at(format!("open {}", boot.hub.display())))?;
    setns(&hub, CloneFlags::CLONE_NEWNET).map_err(StepError::at("enter the hub"))?;
    clear_address(boot)?;
    let (veth, pid, fd) = (&boot.veth, getpid(), own.as_raw_fd());
    ip_batch(&format!(
        "link add {veth} type veth peer name eth0 address {} netns /proc/{pid}/fd/{fd}\nlink set {veth} master {} up\n",
        mac(boot.address),
        boot.bridge
    ))?;
    setns(&own, CloneFlags::CLONE_NEWNET).map_err(StepError::at("enter the network namespace"))?;
    ip_batch(&format!(
        "link set lo up\naddr add {}/{} dev eth0\nlink set eth0 up\nroute add default via {}\n",
        boot.address, boot.prefix, boot.gateway
    ))
}

/// Removes what earlier machines of this address left in the hub. A network namespace outlives its machine for
/// minutes if a connection was cut while it still had something to send: its link would have our name and our MAC.
fn clear_address(boot: &Boot) -> Result<(), StepError> {
    let links = if_nameindex().map_err(StepError::at("list the hub's devices"))?;
    let prefix = veth_prefix(boot.address);
    for link in &links {
        let name = link.name().to_string_lossy();
        if name.starts_with(&prefix) {
            // It may go by itself between the list and now; if it stays, what follows fails and says so.
            let _ = ip_batch(&format!("link del {name}\n"));
        }
    }
    Ok(())
}

/// Runs `ip -batch` in this thread's network namespace: one process for all lines.
pub fn ip_batch(lines: &str) -> Result<(), StepError> {
    let fail = || StepError::at("run ip (package iproute2)");
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes()).map_err(fail())?;
    }
    let output = child.wait_with_output().map_err(fail())?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(StepError { step: "set up network devices".into(), source: io::Error::other(words) })
}

/// Tells who pid 1 is: to a file, for every agent to come, and to the agent that waits.
fn report(pid: i32, path: &Path) -> Result<(), StepError> {
    let process = Process::of(pid).map_err(StepError::at("see pid 1"))?;
    let mut line = serde_json::to_string(&process).map_err(StepError::at("report pid 1"))?;
    let temp = path.with_extension("json.new");
    fs::write(&temp, &line)
        .and_then(|()| fs::rename(&temp, path))
        .map_err(StepError::at(format!("write {}", path.display())))?;
    line.push('\n');
    let mut out = io::stdout();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(StepError::at("report pid 1"))?;
    // The agent reads one line; a pipe kept open would be all that ties the two together.
    let null = File::options().write(true).open("/dev/null").map_err(StepError::at("open /dev/null"))?;
    nix::unistd::dup2_stdout(&null).map_err(StepError::at("let go of the agent's pipe"))
}

/// Copies what is written to the console until pid 1 has ended and nothing is left to read.
fn copy_console(mut master: File, ended: &SignalFd, child: &mut Child, path: &Path) {
    let open = || File::options().create(true).append(true).open(path);
    let Ok(mut log) = open() else { return };
    let mut size = log.metadata().map_or(0, |meta| meta.len());
    let mut buffer = [0; 8192];
    loop {
        let over = !matches!(child.try_wait(), Ok(None));
        let timeout = if over { PollTimeout::ZERO } else { PollTimeout::NONE };
        let mut events = [master.as_fd(), ended.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if over {
            events[1] = PollFd::new(ended.as_fd(), PollFlags::empty());
        }
        if poll(&mut events, timeout).is_err() {
            continue;
        }
        let has = |event: &PollFd<'_>| event.revents().is_some_and(|flags| flags.contains(PollFlags::POLLIN));
        let (text, signal) = (has(&events[0]), has(&events[1]));
        if signal {
            let _ = ended.read_signal();
        }
        if !text {
            if over {
                return;
            }
            continue;
        }
        let Ok(n @ 1..) = master.read(&mut buffer) else { return };
        // A full disk must not stop the machine: it would block on its console.
        let _ = log.write_all(&buffer[..n]);
        size += n as u64;
        if size > CONSOLE_MAX {
            let _ = fs::rename(path, path.with_extension("log.1"));
            if let Ok(fresh) = open() {
                (log, size) = (fresh, 0);
            }
        }
    }
}
