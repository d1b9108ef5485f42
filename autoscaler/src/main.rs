//! `continuum-autoscaler`: a systemd service on the front-end, and the few commands around it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use autoscaler::daemon::{Daemon, Turn};
use autoscaler::fence::Fenced;
use autoscaler::here::FromHere;
use autoscaler::kube::{Client, ConfigMapStore, Kube, Names};
use autoscaler::learned::{Learned, Reserved};
use autoscaler::{ask, serve, status, tick::Autoscaler};
use clap::{Parser, Subcommand};
use provisioner::api::Mode;
use provisioner::cluster::daemon::{Assembled, CONFIG, FOLDER, assemble};
use provisioner::cluster::site;
use provisioner::events::Sink;
use provisioner::handover::Handover;
use provisioner::ledger::Ledger;
use provisioner::plan::Limits;
use provisioner::provider::{Owner, Provider};
use provisioner::reconcile::{Parts, Reconciler};
use provisioner::store::{Store, StoreError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Where its objects are in the cluster.
const NAMESPACE: &str = "continuum-system";
/// How long it waits for a ledger that cannot be read, before the supervisor starts it anew.
const PATIENCE: Duration = Duration::from_secs(60);

/// Adds machines to a cluster when pods need them, and removes them when nobody does.
#[derive(Parser)]
#[command(name = "continuum-autoscaler", version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs until it is told to end; SIGHUP lets it read its configuration anew
    Run {
        /// What `continuum cluster up` handed over
        #[arg(long, default_value_t = format!("{FOLDER}/{CONFIG}"))]
        config: String,
        /// How it reaches the API server
        #[arg(long, default_value_t = format!("{FOLDER}/kubeconfig"))]
        kubeconfig: String,
        /// Its own folder: keys and logs
        #[arg(long, default_value = "/var/lib/continuum-autoscaler")]
        state: PathBuf,
        /// Where it listens for people
        #[arg(long, default_value = ask::SOCKET)]
        socket: PathBuf,
    },
    /// Makes the object of a new ledger, once in the life of a cluster
    CreateLedger {
        /// What is to be handed over
        #[arg(long)]
        config: PathBuf,
        /// A kubeconfig that may make it
        #[arg(long)]
        kubeconfig: PathBuf,
    },
    /// Asks the one that runs, and prints its answer
    Ask {
        /// GET or POST
        method: String,
        /// For example /v1/status
        path: String,
    },
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let filter = tracing_subscriber::EnvFilter::try_from_env("CONTINUUM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .init();
    let done = match Args::parse().verb {
        Verb::Run { config, kubeconfig, state, socket } => {
            run(Path::new(&config), Path::new(&kubeconfig), &state, &socket).await
        }
        Verb::CreateLedger { config, kubeconfig } => create_ledger(&config, &kubeconfig).await,
        Verb::Ask { method, path } => ask::ask(&method, &path).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as a line of the log: whoever asked over SSH shows it as it is.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(config: &Path) -> anyhow::Result<Handover> {
    let text = std::fs::read(config).with_context(|| format!("cannot read {}", config.display()))?;
    Handover::read(&text).with_context(|| config.display().to_string())
}

async fn create_ledger(config: &Path, kubeconfig: &Path) -> anyhow::Result<()> {
    let handover = read(config)?;
    let store = ConfigMapStore::connect(kubeconfig, NAMESPACE, &handover.ledger).await?;
    let mut ledger = Ledger::new(handover.ledger, Owner::Autoscaler, handover.cluster, handover.cloud);
    ledger.generation = 1;
    match store.create(&ledger).await {
        // It was made by a run that did not come to its end.
        Ok(()) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn names(leads: bool) -> Names {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let identity = format!("{}_{}_{}", host.trim(), std::process::id(), boot.trim());
    Names { namespace: NAMESPACE.to_owned(), identity, leads }
}

/// Everything that a configuration comes to.
struct Made {
    handover: Handover,
    assembled: Assembled,
    parts: Parts,
}

async fn make(
    handover: Handover,
    client: &Arc<Client>,
    kubeconfig: &Path,
    state: &Path,
) -> anyhow::Result<Made> {
    let provider = site::connect(&handover.spec.provider).await.context("the cloud")?;
    let held = Arc::clone(client);
    let provider: Arc<dyn Provider> = Arc::new(Fenced::new(provider, Arc::new(move || held.leads())));
    let assembled = assemble(&handover, state)?;
    let remote = Arc::new(FromHere::new(assembled.ssh(&provider, state), kubeconfig.to_owned()));
    let store = Arc::new(client.store(&handover.ledger));
    let parts = assembled.parts(provider, remote, store, Sink::none());
    Ok(Made { handover, assembled, parts })
}

/// The ledger, once it can be read. A missing one is an error, never an empty one.
async fn load(store: &dyn Store) -> anyhow::Result<Ledger> {
    let since = provisioner::clock::monotonic();
    loop {
        match store.load().await {
            Ok(Some(ledger)) => return Ok(ledger),
            Ok(None) => bail!("there is no ledger"),
            Err(StoreError::Unavailable(why)) if since.elapsed() < PATIENCE => {
                tracing::warn!(why, "the ledger cannot be read yet");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn run(config: &Path, kubeconfig: &Path, state: &Path, socket: &Path) -> anyhow::Result<()> {
    let handover = read(config)?;
    let shadow = handover.shadow;
    let client = Client::connect(kubeconfig, names(!shadow)).await?;
    let kube: Arc<dyn Kube> = Arc::clone(&client) as _;
    let Made { handover, assembled, parts } = make(handover, &client, kubeconfig, state).await?;
    let ledger = load(&*parts.store).await?;
    if ledger.cluster != handover.cluster || ledger.owner != Owner::Autoscaler {
        bail!("the ledger {} is not this cluster's", ledger.id);
    }
    let mode = if shadow { Mode::Shadow } else { Mode::Active };
    let clock = parts.clock.clone();
    let limits = Limits { give_up: None, ..Limits::default() };
    let engine = Reconciler::new(parts, ledger, limits);
    let reserved = assembled.reserved.iter();
    let reserved = reserved
        .map(|(pool, &(cpu, memory))| (pool.clone(), Reserved { cpu, memory, ..Reserved::default() }));
    let mut learned = Learned::default();
    learned.reserved = reserved.collect();
    let autoscaler =
        Autoscaler::new(engine, Arc::clone(&kube), assembled.spec, handover.policy.clone(), mode, learned);
    let (send, commands) = mpsc::channel(16);
    let first = status::of(&autoscaler, &handover.cluster, false, None, Vec::new());
    let (status, seen) = watch::channel(first);
    let desk = socket.to_owned();
    let served = tokio::spawn(async move { serve::serve(&desk, seen, send).await });
    let mut daemon = Daemon::new(autoscaler, kube, clock, handover.cluster.clone(), commands, status);
    let mut signals = turns()?;
    tracing::info!(cluster = %handover.cluster, ledger = %handover.ledger, "begins");
    while daemon.run(&mut signals).await == Turn::Reload {
        match reload(config, &handover, &client, kubeconfig, state).await {
            Ok(made) => {
                let policy = made.handover.policy.clone();
                daemon.autoscaler.reconfigure(made.assembled.spec, policy, made.parts);
                tracing::info!("the new configuration is obeyed");
            }
            Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
        }
    }
    tracing::info!("ends");
    daemon.end().await;
    client.close().await;
    served.abort();
    let _ = std::fs::remove_file(socket);
    Ok(())
}

async fn reload(
    config: &Path,
    before: &Handover,
    client: &Arc<Client>,
    kubeconfig: &Path,
    state: &Path,
) -> anyhow::Result<Made> {
    let new = read(config)?;
    if new.ledger != before.ledger || new.cluster != before.cluster {
        bail!("it is another cluster's: restart the service");
    }
    make(new, client, kubeconfig, state).await
}

/// Signals as the loop sees them.
fn turns() -> anyhow::Result<mpsc::Receiver<Turn>> {
    let (send, turns) = mpsc::channel(4);
    let kinds = [
        (SignalKind::hangup(), Turn::Reload),
        (SignalKind::terminate(), Turn::End),
        (SignalKind::interrupt(), Turn::End),
    ];
    for (kind, turn) in kinds {
        let mut signal = signal(kind)?;
        let send = send.clone();
        tokio::spawn(async move { while signal.recv().await.is_some() && send.send(turn).await.is_ok() {} });
    }
    Ok(turns)
}
