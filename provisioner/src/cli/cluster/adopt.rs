//! `cluster adopt`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{AdoptArgs, confirm, interrupts, refused, site, up};
use crate::adopt::{self, Adopted};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Output, out};
use crate::clock;
use crate::cluster::adopt as adoption;
use crate::cluster::input::{self, Given};
use crate::cluster::site::{self as sites, Site};
use crate::cluster::up as ups;
use crate::names::{ClusterId, ClusterName};
use crate::plan::Limits;
use crate::provider::{Machine, Owner};
use crate::reconcile::Ended;
use crate::report::{Form, Reporter};

/// Takes a cluster over.
pub(super) async fn adopt(args: &AdoptArgs, output: Output) -> Result<Exit, Failure> {
    let began = clock::monotonic();
    let given = given(args).await?;
    let input = input::read(&given).map_err(refused)?;
    let text = output == Output::Text;
    let name = input.spec.cluster.clone();
    let (_, machines) =
        adoption::look(&input.spec.provider, &name).await.map_err(|error| site(error.into()))?;
    let (id, machines) = which(&name, machines, args.id.as_deref())?;
    let file = std::path::absolute(&given.file).unwrap_or_else(|_| given.file.clone());
    let mut opened = adoption::open(&name, &input.spec.provider, file, &id, &machines).await.map_err(site)?;
    super::say_store(&opened.store);
    opened.authorise(&input.spec.operators);
    opened.record.bundle.clone_from(&input.bundle);
    opened.record.recipes.clone_from(&given.recipes);
    opened.dir.set_record(&opened.record)?;
    if opened.ledger.closing.is_some() {
        return Err(Failure::say(Exit::Refused, format!("{name} is being taken down"))
            .hint(format!("go on with: continuum cluster down {name}")));
    }
    let question = question(&opened, &machines, text);
    if let Some(question) = question.filter(|_| !args.yes)
        && !confirm(&question)?
    {
        return Ok(Exit::Interrupted);
    }
    let cancel = interrupts();
    let reporter = Reporter::new(if text { Form::Text } else { Form::Json });
    let (spec, scripts) = (input.spec, Arc::new(input.scripts));
    let taken =
        adoption::take(&mut opened, &spec, scripts.clone(), args.key.as_deref(), reporter.sink(), &cancel)
            .await;
    let taken = taken.map_err(site)?;
    if cancel.is_cancelled() || !taken.failed.is_empty() {
        reporter.end();
        return Err(not_all(&taken, args, &name, cancel.is_cancelled()));
    }
    if !adopt::has_front_end(&opened.ledger) {
        reporter.end();
        return Err(Failure::say(Exit::Incomplete, format!("{name} has no front-end any more"))
            .hint("what it held cannot be made again, and its workers are of no use without it")
            .hint(format!("remove it with: continuum cluster down {name}")));
    }
    // Nothing is made and nothing removed here: how many machines there are to be is for the next `up`.
    let found = adopt::as_found(&spec, &opened.ledger);
    let mut run = ups::of(&opened, found, scripts, reporter.sink(), Limits::default());
    let ended = run.run(&cancel).await;
    reporter.end();
    if text {
        let count = taken.taken.len();
        out::note(&format!("{count} machines taken over; ledger {}", opened.ledger.id));
    }
    match ended? {
        Ended::Settled => up::finish(&opened, &run, &reporter, began, output).await,
        Ended::Interrupted => Err(up::interrupted(&run, &given)),
        Ended::Stopped(stop) => Err(up::stopped(&opened, &run, &stop, &given)),
    }
}

/// The cluster file and what goes with it: as given, or as remembered.
async fn given(args: &AdoptArgs) -> Result<Given, Failure> {
    let full = |path: &std::path::PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let (bundle, recipes) = (args.bundle.as_ref().map(full), args.recipes.as_ref().map(full));
    if Path::new(&args.cluster).is_file() {
        return Ok(Given { file: args.cluster.clone().into(), bundle, recipes });
    }
    let name: ClusterName = args.cluster.parse().map_err(|error| {
        Failure::say(
            Exit::Usage,
            format!("`{}` is no file, and as a cluster's name it {error}", args.cluster),
        )
    })?;
    let record = match sites::known(&name).await {
        Ok((_, record)) if !record.file.as_os_str().is_empty() => record,
        _ => {
            let text = format!("this computer does not know which file {name} was made from");
            return Err(Failure::say(Exit::Refused, text).hint("give the file: continuum cluster adopt FILE"));
        }
    };
    Ok(Given { file: record.file, bundle: bundle.or(record.bundle), recipes: recipes.or(record.recipes) })
}

/// The one id that is meant, and its machines.
fn which(
    name: &ClusterName,
    machines: Vec<Machine>,
    wanted: Option<&str>,
) -> Result<(ClusterId, Vec<Machine>), Failure> {
    let mut found: BTreeMap<ClusterId, Vec<Machine>> = BTreeMap::new();
    for machine in machines.into_iter().filter(|machine| machine.tags.owner == Owner::Cli) {
        found.entry(machine.tags.cluster.clone()).or_default().push(machine);
    }
    if let Some(wanted) = wanted {
        found.retain(|id, _| id.as_str() == wanted);
    }
    let several = found.len();
    if several > 1 {
        let failure = Failure::say(Exit::Refused, format!("{several} clusters are called {name}"));
        return Err(found.iter().fold(failure, |failure, (id, machines)| {
            failure.hint(format!("--id {id}   ({} machines)", machines.len()))
        }));
    }
    found.into_iter().next().ok_or_else(|| {
        Failure::say(Exit::Refused, format!("there is no machine of {name} to take over"))
            .hint("make the cluster with: continuum cluster up FILE")
    })
}

/// What a person is asked, and shown before: which machines change hands. `None`: all are this ledger's already.
fn question(site: &Site, machines: &[Machine], text: bool) -> Option<String> {
    let foreign = machines.iter().filter(|machine| machine.tags.ledger != site.ledger.id);
    let mut count = 0;
    for machine in foreign {
        count += 1;
        if text {
            out::note(&format!("  {} (of ledger {})", machine.tags.machine, machine.tags.ledger));
        }
    }
    (count > 0).then(|| {
        format!(
            "take over {count} machines of {}? the computer that has them now can no longer change them",
            site.name
        )
    })
}

fn not_all(taken: &Adopted, args: &AdoptArgs, name: &ClusterName, interrupted: bool) -> Failure {
    let all = taken.failed.len() + taken.taken.len() + taken.had;
    let exit = if interrupted { Exit::Interrupted } else { Exit::Incomplete };
    let mut failure =
        Failure::say(exit, format!("{} of {all} machines of {name} were not taken over", taken.failed.len()));
    for (machine, why) in &taken.failed {
        failure = failure.hint(format!("{machine}: {why}"));
    }
    let refused = taken.failed.iter().any(|(_, why)| why.contains("authentication refused"));
    if refused && args.key.is_none() {
        failure = failure
            .hint("give a key that they let in (one of `operators:` in the cluster file) with --key FILE");
    }
    failure.hint(format!("go on with: continuum cluster adopt {}", args.cluster))
}
