//! `continuum cluster …`: clap's types, and which call each verb is.

mod adopt;
mod down;
mod image;
mod look;
mod rebuild;
mod up;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::{Output, out};
use crate::cluster::input::{Given, InputError};
use crate::cluster::site::SiteError;
use crate::names::{ClusterName, MachineName};
use crate::store::StoreError;

/// What can be done with clusters.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a cluster, or go on where the last run stopped; changes nothing if all is as asked for
    Up(UpArgs),
    /// Show what `up` would do, and what would fail
    Plan(FileArgs),
    /// Remove a cluster and everything of it
    Down(DownArgs),
    /// Take a cluster over from another computer, or from a lost ledger: its machines stay as they are
    Adopt(AdoptArgs),
    /// What a cluster is made of and how it does
    Status {
        /// The cluster's name.
        name: ClusterName,
    },
    /// The clusters that this computer knows
    List,
    /// Log in to a machine, or run a command on it: `continuum cluster ssh lab1 lab1-workers-2 -- uptime`
    Ssh(SshArgs),
    /// Print the kubeconfig
    Kubeconfig {
        /// The cluster's name.
        name: ClusterName,
        /// Print the path of the file instead
        #[arg(long)]
        path: bool,
    },
    /// What recipes printed on a machine, or what the machine wrote to its console
    Logs(LogsArgs),
    /// Put a container image of your own on every node, also on later ones
    LoadImage {
        /// The cluster's name
        name: ClusterName,
        /// An image archive (`docker save`, OCI), or the name of an image in the cluster's bundle
        image: String,
    },
    /// Connect stdin and stdout to a port of a machine: what `ssh` uses
    #[command(hide = true)]
    Dial {
        /// The cluster's name.
        name: ClusterName,
        /// The machine's id in the cloud.
        machine: String,
        /// The port.
        port: u16,
    },
}

/// A cluster file and what goes with it.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The cluster file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Files and images for machines without internet: a folder or a .tar.zst (see `continuum bundle`)
    #[arg(long, env = "CONTINUUM_BUNDLE", value_name = "PATH")]
    pub bundle: Option<PathBuf>,
    /// Recipes of your own, beside or instead of those that ship
    #[arg(long, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
}

/// `cluster up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// What to make
    #[command(flatten)]
    pub file: FileArgs,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Machines that are gone together are really lost: replace them
    #[arg(long)]
    pub accept_lost: bool,
    /// If the front-end is lost, make a new one and replace every worker: all that Kubernetes knew is given up
    #[arg(long)]
    pub rebuild_front_end: bool,
    /// Boot the plain image, and do on each machine what a prepared image would have brought
    #[arg(long)]
    pub no_bake: bool,
    /// Write a chart of what ran when (SVG)
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
}

/// `cluster down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// The cluster's name, or its file
    #[arg(value_name = "NAME|FILE")]
    pub cluster: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Which cluster, where several have this name
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Show what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// `cluster adopt`.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The cluster's file; its name, where this computer knows the file already
    #[arg(value_name = "FILE|NAME")]
    pub cluster: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// A private key that the machines let in: one of `operators:` in the cluster file (ed25519, no passphrase)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Which cluster, where several have this name
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Files and images for machines without internet: a folder or a .tar.zst (see `continuum bundle`)
    #[arg(long, env = "CONTINUUM_BUNDLE", value_name = "PATH")]
    pub bundle: Option<PathBuf>,
    /// Recipes of your own, beside or instead of those that ship
    #[arg(long, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
}

/// `cluster ssh`.
#[derive(Debug, Args)]
pub struct SshArgs {
    /// The cluster's name
    pub name: ClusterName,
    /// The machine; the first front-end if none is named
    pub machine: Option<MachineName>,
    /// A command to run instead of a shell
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `cluster logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The cluster's name
    pub name: ClusterName,
    /// The machine; all of them if none is named
    pub machine: Option<MachineName>,
    /// What the machine itself wrote to its console, asked of the cloud
    #[arg(long)]
    pub console: bool,
    /// Only so many lines from the end
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
}

impl FileArgs {
    /// As the library takes it, with absolute paths: they are remembered.
    fn given(&self) -> Given {
        let full = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Given {
            file: self.file.clone(),
            bundle: self.bundle.as_ref().map(full),
            recipes: self.recipes.as_ref().map(full),
        }
    }
}

/// Runs the command.
pub fn run(verb: Verb, output: Output) -> Result<Exit, Failure> {
    block_on(async {
        match verb {
            Verb::Up(args) => up::up(&args, output).await,
            Verb::Plan(args) => up::plan(&args, output).await,
            Verb::Adopt(args) => adopt::adopt(&args, output).await,
            Verb::Down(args) => down::down(&args, output).await,
            Verb::Status { name } => look::status(&name, output).await,
            Verb::List => look::list(output),
            Verb::Ssh(args) => look::ssh(&args).await,
            Verb::Kubeconfig { name, path } => look::kubeconfig(&name, path),
            Verb::Logs(args) => look::logs(&args).await,
            Verb::LoadImage { name, image } => image::load(&name, &image, output).await,
            Verb::Dial { name, machine, port } => look::dial(&name, &machine, port).await,
        }
    })
}

/// Runs a verb that waits for others.
pub(super) fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Environment, error))?.block_on(verb)
}

/// Problems with what was given, as they are shown.
fn refused(error: InputError) -> Failure {
    match error {
        InputError::File(problems) => super::template::refused(&problems),
        InputError::Recipes(problems) => {
            let missing = problems.iter().any(|problem| problem.message.contains("bundle"));
            let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let failure = Failure::say(Exit::Refused, text.join("\n       "));
            if missing {
                failure.code("E0201").hint("make one with: continuum bundle create PATH, then --bundle PATH")
            } else {
                failure.code("E0200")
            }
        }
        other => Failure::new(Exit::Refused, other),
    }
}

/// Why a cluster cannot be worked on, with the exit code that says so.
pub(super) fn site(error: SiteError) -> Failure {
    use crate::provider::ProviderError;
    let text = error.to_string();
    match error {
        SiteError::Store(StoreError::Locked { .. }) => Failure::new(Exit::Locked, error),
        SiteError::Cloud(ProviderError::Rejected { .. } | ProviderError::Unavailable { .. })
        | SiteError::Store(StoreError::Io { .. })
        | SiteError::State(_)
        | SiteError::Keys(_) => Failure::new(Exit::Environment, error),
        SiteError::Unknown(_) => {
            Failure::new(Exit::Refused, error).hint("continuum cluster list shows those it knows")
        }
        SiteError::OtherId { name, known, .. } => {
            let hint = format!("forget that one first: continuum cluster down {name} --id {known}");
            Failure::say(Exit::Refused, text).hint(hint)
        }
        SiteError::Adopt(_) => Failure::new(Exit::Refused, error),
        other => Failure::new(Exit::Failed, other),
    }
}

/// What a store has to tell when it is opened.
fn say_store(store: &crate::store::FileStore) {
    for note in store.notes() {
        out::note(note);
    }
}

/// Asks a person; without a terminal nobody can answer.
fn confirm(question: &str) -> Result<bool, Failure> {
    use std::io::{IsTerminal, Write};
    if !std::io::stdin().is_terminal() {
        return Err(Failure::say(Exit::Usage, "nobody can be asked here")
            .hint("say --yes to go on without a question"));
    }
    let mut err = std::io::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Cancelled by the first Ctrl-C (or SIGTERM); the second ends the process at once, which is safe too.
fn interrupts() -> tokio_util::sync::CancellationToken {
    let cancel = tokio_util::sync::CancellationToken::new();
    let first = cancel.clone();
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut term) = signal(SignalKind::terminate()) else { return };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = term.recv() => {}
        }
        first.cancel();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = term.recv() => {}
        }
        out::note("left at once; what exists is written down, the same command goes on");
        leave();
    });
    cancel
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the second Ctrl-C waits for nothing")]
fn leave() -> ! {
    std::process::exit(Exit::Interrupted as i32)
}
