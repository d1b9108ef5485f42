//! `cluster status | list | ssh | kubeconfig | logs`: verbs that change nothing.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::json;

use super::{LogsArgs, SshArgs, site};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Output, out};
use crate::cluster::look::{self, Seen};
use crate::cluster::site::SiteError;
use crate::keys::Keys;
use crate::names::{ClusterName, MachineId};
use crate::remote::{Access, log_path, ssh_command};
use crate::state;

/// Everything about a cluster.
pub(super) async fn status(name: &ClusterName, output: Output) -> Result<Exit, Failure> {
    let mut seen = look::look(name).await.map_err(site)?;
    let status = seen.status(name).await;
    let fine =
        status.machines.iter().all(|line| line.phase.as_deref() == Some("Ready") && line.node != Some(false));
    let exit = if fine { Exit::Done } else { Exit::Incomplete };
    if output == Output::Json {
        out::json(&status)?;
        return Ok(exit);
    }
    let dash = || "-".to_owned();
    let rows: Vec<Vec<String>> = status
        .machines
        .iter()
        .map(|line| {
            let node = match line.node {
                Some(true) => "Ready".to_owned(),
                Some(false) => "not Ready".to_owned(),
                None => dash(),
            };
            let exposed: Vec<String> =
                line.exposed.iter().map(|(port, at)| format!("{port} at {at}")).collect();
            vec![
                line.machine.to_string(),
                line.phase.clone().unwrap_or_else(|| "no row".into()),
                line.state.clone().unwrap_or_else(|| "not there".into()),
                node,
                line.shape.clone(),
                line.address.clone().unwrap_or_else(dash),
                if exposed.is_empty() { dash() } else { exposed.join(", ") },
            ]
        })
        .collect();
    out::line(&out::table(&["MACHINE", "PHASE", "CLOUD", "NODE", "SHAPE", "ADDRESS", "EXPOSED"], &rows));
    if status.closing {
        out::note("it is being taken down");
    }
    if let Some(why) = status.nodes_unknown {
        out::note(&format!("nodes are not known: {why}"));
    }
    Ok(exit)
}

/// The clusters that this computer knows.
pub(super) fn list(output: Output) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for name in state::clusters()? {
        let dir = state::StateDir::of(&name)?;
        let Some(record) = dir.record()? else { continue };
        let ledger = crate::store::FileStore::peek(dir.path()).ok().flatten();
        let count = ledger.map_or(0, |ledger| ledger.rows().len());
        let (id, place, file) =
            (record.id.to_string(), record.provider.describe(), record.file.display().to_string());
        objects.push(json!({"cluster": name, "id": id, "provider": place, "machines": count, "file": file}));
        rows.push(vec![name.to_string(), id, place, count.to_string(), file]);
    }
    match output {
        Output::Json => out::json(&objects)?,
        Output::Text if rows.is_empty() => {
            out::note("none; make one with: continuum cluster up cluster.yaml")
        }
        Output::Text => out::line(&out::table(&["NAME", "ID", "ON", "MACHINES", "FILE"], &rows)),
    }
    Ok(Exit::Done)
}

/// A shell on a machine, by the system's ssh.
pub(super) async fn ssh(args: &SshArgs) -> Result<Exit, Failure> {
    let seen = look::look(&args.name).await.map_err(site)?;
    let reached = seen.reach_with_keys(&args.name, args.machine.as_ref()).await;
    let Some(target) = reached.map_err(crate::cli::scaling::asked)? else {
        return Err(unreachable(args, &seen));
    };
    let exe = std::env::current_exe()?.display().to_string();
    let proxy: Vec<String> =
        [exe.as_str(), "cluster", "dial", args.name.as_str(), target.machine.id.as_str(), "22"]
            .map(str::to_owned)
            .to_vec();
    let key = Keys::operator_file(&seen.dir.keys());
    let known_hosts = seen.dir.path().join("known_hosts");
    let access = Access { target: &target, key_file: &key, known_hosts: &known_hosts, proxy: &proxy };
    let mut command = ssh_command(&access, &args.command)?;
    // from here on this process is ssh, with its terminal, signals and exit code
    let error = command.exec();
    Err(Failure::say(Exit::Environment, format!("cannot start ssh: {error}"))
        .hint("apt-get install openssh-client"))
}

fn unreachable(args: &SshArgs, seen: &Seen) -> Failure {
    let what =
        args.machine.as_ref().map_or_else(|| "a front-end that is Ready".to_owned(), ToString::to_string);
    let known: Vec<&str> = seen.ledger().rows().keys().map(|name| name.as_str()).collect();
    Failure::say(Exit::Failed, format!("cannot reach {what}")).hint(format!("machines: {}", known.join(", ")))
}

/// Copies between stdin/stdout and a port.
pub(super) async fn dial(name: &ClusterName, machine: &str, port: u16) -> Result<Exit, Failure> {
    let seen = look::look_at_cloud(name).await.map_err(site)?;
    let id = MachineId::from(machine);
    let machine = seen.1.into_iter().find(|machine| machine.id == id);
    let machine = machine.ok_or_else(|| Failure::say(Exit::Failed, format!("there is no machine {id}")))?;
    let stream = seen.0.dial(&machine, port).await?;
    let (mut reader, mut writer) = (stream.try_clone()?, stream);
    // ends with the connection; this thread would wait for stdin for ever
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut writer);
        let _ = writer.close_write();
    });
    let mut buffer = vec![0; 64 << 10];
    let mut out = io::stdout().lock();
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Exit::Done),
            read => {
                out.write_all(&buffer[..read])?;
                out.flush()?;
            }
        }
    }
}

/// The kubeconfig that `up` wrote.
pub(super) fn kubeconfig(name: &ClusterName, path: bool) -> Result<Exit, Failure> {
    let file = state::StateDir::of(name)?.kubeconfig();
    if path {
        out::line(&file.display().to_string());
        return Ok(Exit::Done);
    }
    let known = state::StateDir::of(name)?.record().map_err(|error| site(error.into()))?.is_some();
    let text = fs::read_to_string(&file).map_err(|error| {
        if !known {
            return site(SiteError::Unknown(name.clone()));
        }
        let why = match error.kind() {
            io::ErrorKind::NotFound => {
                format!("{name} has no kubeconfig yet: there is no {}", file.display())
            }
            _ => format!("cannot read {}: {error}", file.display()),
        };
        Failure::say(Exit::Refused, why).hint("`continuum cluster up` writes it once the front-end is Ready")
    })?;
    out::line(text.trim_end());
    Ok(Exit::Done)
}

/// Logs of recipes, or the console.
pub(super) async fn logs(args: &LogsArgs) -> Result<Exit, Failure> {
    let tail = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        let from = args.lines.map_or(0, |count| lines.len().saturating_sub(count));
        lines[from..].join("\n")
    };
    if args.console {
        let (provider, machines) = look::look_at_cloud(&args.name).await.map_err(site)?;
        for machine in machines {
            if args.machine.as_ref().is_none_or(|name| *name == machine.tags.machine) {
                let text = provider.console(&machine.id).await?;
                out::line(&format!("==> {} <==\n{}", machine.tags.machine, tail(&text)));
            }
        }
        return Ok(Exit::Done);
    }
    let dir = state::StateDir::of(&args.name)?;
    if dir.record().map_err(|error| site(error.into()))?.is_none() {
        return Err(site(SiteError::Unknown(args.name.clone())));
    }
    let files = match &args.machine {
        Some(machine) => vec![log_path(&dir.logs(), machine)],
        None => files(&dir.logs()),
    };
    if files.is_empty() {
        return Err(Failure::say(Exit::Refused, format!("no machine of {} has a log yet", args.name)));
    }
    for file in files {
        let text = fs::read(&file).map_err(|error| {
            Failure::say(Exit::Refused, format!("no log to show: {}: {error}", file.display()))
        })?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        out::line(&format!("==> {name} <==\n{}", tail(&String::from_utf8_lossy(&text))));
    }
    Ok(Exit::Done)
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.retain(|path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "log"));
    files.sort();
    files
}
