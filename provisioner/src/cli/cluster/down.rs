//! `cluster down`.

use std::path::Path;

use serde_json::json;

use super::{DownArgs, confirm, interrupts, site};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Output, out};
use crate::clock;
use crate::cluster::input::{self, Given};
use crate::cluster::site::{self as sites, Site};
use crate::cluster::{bake, down};
use crate::duration::{short, took};
use crate::names::ClusterName;
use crate::provider::{self, sandbox};
use crate::report::{Form, Reporter};
use crate::state::StateDir;
use crate::store::FileStore;
use crate::teardown::{self, Down};

/// Removes a cluster.
pub(super) async fn down(args: &DownArgs, output: Output) -> Result<Exit, Failure> {
    let began = clock::monotonic();
    let (name, config) = which(&args.cluster)?;
    let Some(opened) = open(&name, &config, args).await? else {
        say_gone(&name, output, "0 resources left (checked by tag): there is nothing of it")?;
        return Ok(Exit::Done);
    };
    let machines = down::doomed(&opened).await.map_err(site)?;
    if output == Output::Text {
        let now = clock::now();
        for machine in &machines {
            let age = machine.created.map_or_else(String::new, |at| {
                format!(", {} old", short(now.duration_since(at).unsigned_abs()))
            });
            out::note(&format!("  {} ({}{age})", machine.tags.machine, machine.shape.name));
        }
        for name in down::unlisted(&opened, &machines) {
            out::note(&format!("  {name} (decided, not in the cloud)"));
        }
    }
    if args.dry_run {
        return Ok(Exit::Done);
    }
    if !args.yes && !confirm(&format!("remove {name} and all that runs on it?"))? {
        return Ok(Exit::Interrupted);
    }
    let reporter = Reporter::new(if output == Output::Text { Form::Text } else { Form::Json });
    let cancel = interrupts();
    // What an `up` left that was killed while it made an image keeps the sandbox alive. It is not this cluster's.
    if let Err(error) = bake::clear(&cancel).await {
        tracing::warn!(%error, "an unfinished image was not removed");
    }
    let ended = down::run(opened, reporter.sink(), &cancel).await;
    reporter.end();
    let id = args.id.as_ref().map_or_else(String::new, |id| format!(" --id {id}"));
    let go_on = format!("go on with: continuum cluster down {}{id}", args.cluster);
    match ended? {
        Down::Gone => {
            let elapsed = took(clock::monotonic().duration_since(began));
            say_gone(&name, output, &format!("0 resources left (checked by tag), in {elapsed}"))?;
            Ok(Exit::Done)
        }
        Down::Left(left) => {
            let mut failure = Failure::say(Exit::Incomplete, format!("{} resources are left", left.len()));
            for one in left {
                failure = failure.hint(format!("{}: {}", one.what, one.blocker));
            }
            Err(failure.hint(go_on))
        }
        Down::Stopped(stop) => Err(Failure::say(Exit::Failed, stop)),
        Down::Interrupted => Err(Failure::say(Exit::Interrupted, "interrupted").hint(go_on)),
    }
}

fn say_gone(name: &ClusterName, output: Output, text: &str) -> Result<(), Failure> {
    match output {
        Output::Json => out::line(&json!({"v": 1, "event": "gone", "cluster": name, "left": 0}).to_string()),
        Output::Text => out::note(&format!("{name}: {text}")),
    }
    Ok(())
}

/// The cluster that a name or a file means, and where it is: from what is remembered, from the file, or, with
/// neither, on this computer.
fn which(text: &str) -> Result<(ClusterName, provider::Config), Failure> {
    if Path::new(text).is_file() {
        let given = Given { file: text.into(), ..Given::default() };
        let (name, config) = input::place(&given).map_err(super::refused)?;
        return Ok((name, config));
    }
    let name: ClusterName = text.parse().map_err(|error| {
        Failure::say(Exit::Usage, format!("`{text}` is no file, and as a cluster's name it {error}"))
    })?;
    let (_, config) = sites::own(&name).map_err(site)?;
    Ok((name, config.unwrap_or_else(|| provider::Config::Sandbox(sandbox::Config::default()))))
}

/// The cluster, by its tags and by what this computer remembers; `None` if there is nothing.
async fn open(
    name: &ClusterName,
    config: &provider::Config,
    args: &DownArgs,
) -> Result<Option<Site>, Failure> {
    let provider = sites::connect(config).await.map_err(|error| site(error.into()))?;
    let mut found = teardown::find(&*provider, name).await?;
    let (own, _) = sites::own(name).map_err(site)?;
    let decided = FileStore::peek(StateDir::of(name)?.path()).is_ok_and(|ledger| ledger.is_some());
    // What was decided may be asked of the cloud and not be listed yet. An id without a ledger was never asked for.
    if let Some(own) = own.as_ref().filter(|_| decided || found.is_empty()) {
        found.entry(own.clone()).or_default();
    }
    if let Some(wanted) = args.id.as_deref() {
        found.retain(|found, _| found.as_str() == wanted);
    }
    if found.len() > 1 {
        let failure = Failure::say(Exit::Refused, format!("{} clusters are called {name}", found.len()));
        return Err(found.into_iter().fold(failure, |failure, (id, machines)| {
            failure.hint(format!("--id {id}   ({} machines)", machines.len()))
        }));
    }
    let Some(id) = found.into_keys().next() else { return Ok(None) };
    // A folder in which no id can be read any more is this cluster's by its name.
    let known = own.is_none_or(|own| own == id);
    let opened = sites::open_to_remove(name, config, id, known).await.map_err(site)?;
    super::say_store(&opened.store);
    Ok(Some(opened))
}
