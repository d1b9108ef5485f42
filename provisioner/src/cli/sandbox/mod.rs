//! `continuum sandbox …`: the small cloud on this computer.

mod faults;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::Output;
use crate::cache;
use crate::names::MachineId;
use crate::provider::sandbox::agent::{run, supervise};
use crate::provider::sandbox::machine::{init, keeper};
use crate::provider::sandbox::paths::Paths;
use crate::provider::sandbox::{Config, SandboxProvider, connect, tree};
use crate::provider::{Machine, MachineState, Provider};

/// `continuum sandbox`.
#[derive(Debug, Args)]
pub(crate) struct Sandbox {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Instance {
    /// Which sandbox of this computer; several live side by side
    #[arg(long, env = "CONTINUUM_SANDBOX", default_value = "default", value_name = "NAME")]
    instance: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the agent, its quota and its machines
    Status {
        #[command(flatten)]
        on: Instance,
    },
    /// Show the end of what a machine wrote to its console
    Console {
        #[command(flatten)]
        on: Instance,
        /// The machine's name or id
        machine: String,
    },
    /// Cut the power of one machine, or of all and end the agent; disks are kept
    Stop {
        #[command(flatten)]
        on: Instance,
        /// The machine's name or id; all if none is named
        machine: Option<String>,
        /// Delete all machines, networks and disks of this sandbox
        #[arg(long, conflicts_with = "machine")]
        delete: bool,
    },
    /// Boot a stopped machine from its disk
    Start {
        #[command(flatten)]
        on: Instance,
        /// The machine's name or id
        machine: String,
    },
    /// Make the image debian-12+NAME out of a stopped machine's disk
    Capture {
        #[command(flatten)]
        on: Instance,
        /// The machine's name or id
        machine: String,
        /// The image's name
        name: String,
    },
    /// Make things go wrong on purpose: calls, machines, networks
    #[command(subcommand)]
    Faults(faults::Verb),
    /// Make the Debian tree that machines boot from, if it is not there (a minute or two)
    Tree,
    /// Run the agent of an instance (it is started on demand)
    Agent {
        #[command(flatten)]
        on: Instance,
        /// Be the agent itself, not the parent that keeps it running
        #[arg(long, hide = true)]
        worker: bool,
    },
    #[command(hide = true)]
    Keeper { file: PathBuf },
    #[command(hide = true)]
    Init { file: PathBuf, console: PathBuf },
}

/// Runs the command. Not async: two of the verbs must have no second thread.
pub(crate) fn run(args: Sandbox, output: Output) -> Result<()> {
    match args.verb {
        Verb::Keeper { file } => Ok(keeper::run(&file)?),
        Verb::Init { file, console } => Ok(init::run(&file, &console)?),
        Verb::Agent { on, worker: false } => Ok(supervise::supervise(&paths(&on.instance)?)?),
        Verb::Agent { on, worker: true } => {
            runtime()?.block_on(async { Ok(run::run(paths(&on.instance)?).await?) })
        }
        Verb::Tree => {
            let dir = tree::ensure(&paths("default")?)?;
            say(&format!("{}\n", dir.display()))
        }
        verb => runtime()?.block_on(ask(verb, output)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

fn paths(instance: &str) -> Result<Paths> {
    Paths::new(instance, &cache::folder()?).map_err(anyhow::Error::msg)
}

async fn ask(verb: Verb, output: Output) -> Result<()> {
    match verb {
        Verb::Status { on } => status(&on, output == Output::Json).await,
        Verb::Console { on, machine } => {
            let (provider, machine) = find(&on, &machine).await?;
            say(&provider.console(&machine.id).await?)
        }
        Verb::Start { on, machine } => {
            let (provider, machine) = find(&on, &machine).await?;
            Ok(provider.start(&machine.id).await?)
        }
        Verb::Stop { on, machine: Some(machine), .. } => {
            let (provider, machine) = find(&on, &machine).await?;
            Ok(provider.stop(&machine.id).await?)
        }
        Verb::Stop { on, machine: None, delete } => {
            let provider = at(&on)?;
            if !provider.is_up().await && !delete {
                return say("no agent runs\n");
            }
            Ok(provider.stop_all(delete).await?)
        }
        Verb::Capture { on, machine, name } => {
            let (provider, machine) = find(&on, &machine).await?;
            Ok(provider.capture(&name, &machine.id).await?)
        }
        Verb::Faults(verb) => faults::run(verb, output).await,
        Verb::Tree | Verb::Agent { .. } | Verb::Keeper { .. } | Verb::Init { .. } => Ok(()),
    }
}

fn at(on: &Instance) -> Result<SandboxProvider> {
    let exe = std::env::current_exe().context("cannot find this program")?;
    Ok(SandboxProvider::at(&Config { instance: on.instance.clone() }, exe)?)
}

async fn find(on: &Instance, name: &str) -> Result<(SandboxProvider, Machine)> {
    let provider = connect(&Config { instance: on.instance.clone() }).await?;
    // Past all faults: this is how people get out of them.
    let all = provider.inventory().await?;
    let id = MachineId::from(name);
    let found = all.into_iter().find(|machine| machine.id == id || machine.tags.machine.as_str() == name);
    let machine =
        found.with_context(|| format!("no machine {name:?} (continuum sandbox status lists them)"))?;
    Ok((provider, machine))
}

async fn status(on: &Instance, json: bool) -> Result<()> {
    let provider = at(on)?;
    if !provider.is_up().await {
        let text =
            if json { "null\n".to_owned() } else { format!("sandbox {}: no agent runs\n", on.instance) };
        return say(&text);
    }
    let status = provider.status().await?;
    let machines = provider.inventory().await?;
    if json {
        let all = serde_json::json!({ "agent": status, "machines": machines });
        return say(&format!("{}\n", serde_json::to_string_pretty(&all)?));
    }
    let (used, quota) = (status.used, status.quota);
    let mut text = format!(
        "sandbox {}: agent {} since {:.0}, cloud {}\nused {} of {} machines, {} of {} cpu, {} of {} memory\n",
        status.instance,
        status.pid,
        status.started,
        status.cloud,
        used.machines,
        quota.machines,
        used.cpu,
        quota.cpu,
        used.memory.short(),
        quota.memory.short()
    );
    if !status.faults.is_empty() {
        let words: Vec<String> = status.faults.iter().map(ToString::to_string).collect();
        text += &format!("faults: {}; `continuum sandbox faults clear` ends them\n", words.join(" "));
    }
    for stray in &status.strays {
        text += &format!(
            "left: {stray}; it stays as it is, `continuum sandbox stop --delete` removes all of this sandbox\n"
        );
    }
    for machine in machines {
        let address = machine.address.map_or_else(String::new, |address| address.to_string());
        let state = match &machine.state {
            MachineState::Building => "building".to_owned(),
            MachineState::Running => "running".to_owned(),
            MachineState::Stopped => "stopped".to_owned(),
            MachineState::Failed(reason) => format!("failed: {reason}"),
        };
        let ports: String =
            machine.exposed.iter().map(|(port, local)| format!("  {local} -> {port}")).collect();
        let name = &machine.tags.machine;
        text +=
            &format!("{name:<30} {}  {address:<15} {:<10} {state}{ports}\n", machine.id, machine.shape.name);
    }
    say(&text)
}

fn say(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")
}
