//! `cluster up` and `cluster plan`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{FileArgs, UpArgs, confirm, interrupts, rebuild, refused, site};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Output, out};
use crate::clock;
use crate::cluster::bake::{self, Bake, BakeError};
use crate::cluster::input::{self, Given, Input};
use crate::cluster::site::{self as sites, Site};
use crate::cluster::up::{self, Outlook, Up, UpError};
use crate::duration::took;
use crate::events::Sink;
use crate::ledger::Phase;
use crate::plan::Stop;
use crate::reconcile::Ended;
use crate::remote::log_path;
use crate::report::{Form, Reporter};
use crate::spec::Spec;

/// As many lines of a chart fit a terminal of 80 columns beside the labels.
const CHART: usize = 40;

/// Shows what `up` would do.
pub(super) async fn plan(args: &FileArgs, output: Output) -> Result<Exit, Failure> {
    let given = args.given();
    let (site, mut input) = open(&given, "cluster plan").await?;
    let heading = heading(&input);
    let bake = image_for(&mut input, false).await;
    let mut up = up::prepare(&site, input, Sink::none(), false);
    let mut outlook = up.outlook().await?;
    outlook.bake = bake.filter(|_| !outlook.create.is_empty()).map(|bake| bake.image);
    if output == Output::Json {
        out::json(&outlook)?;
    } else {
        out::note(&heading);
        if outlook.is_empty() && outlook.stop.is_none() {
            out::line("nothing to change");
        }
        if let Some(image) = &outlook.bake {
            out::line(&format!("make the machine image {image}, once"));
        }
        for line in &outlook.lines {
            out::line(line);
        }
        if !outlook.is_empty() {
            out::note("(the first pass; later ones follow from what machines and clouds answer)");
        }
    }
    site.leave_no_trace()?;
    obstacles(&outlook)?;
    Ok(Exit::Done)
}

async fn open(given: &Given, doing: &str) -> Result<(Site, Input), Failure> {
    let input = input::read(given).map_err(refused)?;
    for warning in &input.warnings {
        out::note(warning.to_string().trim_end());
    }
    let file = std::path::absolute(&given.file).unwrap_or_else(|_| given.file.clone());
    let mut opened =
        sites::open(&input.spec.cluster, &input.spec.provider, file, doing).await.map_err(site)?;
    super::say_store(&opened.store);
    opened.authorise(&input.spec.operators);
    opened.record.bundle.clone_from(&input.bundle);
    opened.record.recipes.clone_from(&given.recipes);
    opened.record.autoscaler = input.autoscaler;
    opened.dir.set_record(&opened.record)?;
    Ok((opened, input))
}

/// What was asked for, in two lines.
fn heading(input: &Input) -> String {
    let Spec { cluster, provider, pools, .. } = &input.spec;
    let pools: Vec<String> = pools
        .iter()
        .map(|(name, pool)| match (pool.size.start(), pool.size.end()) {
            (least, most) if least == most => format!("{most} {name} ({})", pool.shapes[0].name),
            (least, most) => format!("{least}..{most} {name} ({})", pool.shapes[0].name),
        })
        .collect();
    let origin = match (input.built, &input.bundle) {
        (_, None) => "no bundle".to_owned(),
        (0, Some(path)) => format!("{} artifacts from {}", input.artifacts, path.display()),
        (built, Some(path)) => {
            let (all, path) = (input.artifacts, path.display());
            format!("{all} artifacts from {path}, {built} of them built here, not by upstream")
        }
    };
    format!("{cluster} on {}: {}\n{origin}", provider.describe(), pools.join(", "))
}

/// Makes it so.
pub(super) async fn up(args: &UpArgs, output: Output) -> Result<Exit, Failure> {
    let given = args.file.given();
    let began = clock::monotonic();
    let (site, mut input) = open(&given, "cluster up").await?;
    let text = output == Output::Text;
    let note = |line: &str| {
        if text {
            out::note(line);
        }
    };
    note(&heading(&input));
    note(&format!("its state is kept in {}", site.dir.path().display()));
    let reporter = Reporter::new(if text { Form::Text } else { Form::Json });
    let bake = image_for(&mut input, args.no_bake).await;
    let mut up = up::prepare(&site, input, reporter.sink(), args.accept_lost);
    let outlook = up.outlook().await?;
    // A front-end that is lost is no obstacle for who would give it up: the run below has the last word on it.
    let gives_up = args.rebuild_front_end && outlook.lost_front_end.is_some();
    if let (false, Err(failure)) = (gives_up, obstacles(&outlook)) {
        site.leave_no_trace()?;
        return Err(failure);
    }
    let bake = bake.filter(|_| !outlook.create.is_empty());
    if !outlook.is_empty() && !args.yes {
        for line in &outlook.lines {
            note(&format!("  {line}"));
        }
        if !confirm("go on?")? {
            return Ok(Exit::Interrupted);
        }
    }
    let cancel = interrupts();
    if let Some(bake) = bake {
        make_image(&mut up, &bake, &reporter, &cancel).await;
    }
    let ended = match args.rebuild_front_end {
        true => rebuild::run(&mut up, args.yes, &reporter, &cancel).await,
        false => up.run(&cancel).await.map_err(Failure::from),
    };
    reporter.end();
    write_timeline(args.timeline.as_deref(), &reporter)?;
    match ended? {
        Ended::Settled => finish(&site, &up, &reporter, began, output).await,
        Ended::Interrupted => Err(interrupted(&up, &given)),
        Ended::Stopped(stop) => Err(stopped(&site, &up, &stop, &given)),
    }
}

/// How the machine image of this cluster is made, if it is not there and could be. Without one all works, only slower,
/// so nothing that goes wrong here is an error.
async fn image_for(input: &mut Input, without: bool) -> Option<Bake> {
    let found = if without { Ok(None) } else { bake::look(input).await };
    found.unwrap_or_else(|error| {
        out::note(&format!("warning: no prepared machine image is used: {}", chain(&error)));
        None
    })
}

async fn make_image(up: &mut Up, bake: &Bake, reporter: &Reporter, cancel: &CancellationToken) {
    reporter
        .say(&format!("preparing the machine image (once): {} steps on a machine of its own", bake.steps()));
    let waits = || reporter.say("another run prepares the same image: waiting for it");
    match bake::make(bake, reporter.sink(), waits, cancel).await {
        Ok(()) => {
            up.serve(bake);
            reporter.say("the machine image is ready");
        }
        Err(BakeError::Interrupted) => {}
        Err(error) => {
            reporter.say(&format!("warning: the machine image could not be made: {}", chain(&error)));
            reporter.say("going on without it: every machine does these steps by itself");
        }
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What stands in the way, before anything is made.
pub(super) fn obstacles(outlook: &Outlook) -> Result<(), Failure> {
    if let Some(stop) = &outlook.stop {
        return Err(Failure::say(Exit::Failed, stop).code("E0800"));
    }
    if outlook.problems.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        outlook.problems.iter().map(|p| vec![p.what.clone(), p.why.clone(), p.hint.clone()]).collect();
    let table = out::table(&["WHAT", "WHY", "WHAT TO DO"], &rows);
    Err(Failure::say(Exit::Environment, format!("the cloud cannot make this:\n{table}")).code("E0700"))
}

pub(super) async fn finish(
    site: &Site,
    up: &Up,
    reporter: &Reporter,
    began: Instant,
    output: Output,
) -> Result<Exit, Failure> {
    let usable = async { Ok::<_, UpError>((up.kubeconfig(site).await?, up.usable().await?)) }.await;
    let (kubeconfig, ()) = usable?;
    let elapsed = clock::monotonic().duration_since(began);
    let name = &site.name;
    let ready = up.ledger().rows().values().filter(|row| row.phase() == Phase::Ready).count();
    let timeline = reporter.timeline();
    if output == Output::Json {
        let kubeconfig = kubeconfig.map(|path| path.display().to_string());
        let ended = json!({
            "v": 1, "event": "done", "cluster": name, "id": site.record.id, "ready": ready,
            "changed": !timeline.is_empty(), "seconds": elapsed.as_secs_f64(), "kubeconfig": kubeconfig,
        });
        out::line(&ended.to_string());
        return Ok(Exit::Done);
    }
    if timeline.is_empty() {
        out::note(&format!("nothing to change: {ready} machines are Ready ({})", took(elapsed)));
    } else {
        out::note("");
        out::note(timeline.text(CHART).trim_end());
        out::note(&format!("\n{name} is up: {ready} machines are Ready, in {}", took(elapsed)));
    }
    out::note("");
    if let Some(path) = kubeconfig {
        out::note(&format!("  export KUBECONFIG={}", path.display()));
    }
    out::note(&format!("  continuum cluster ssh {name}      a shell on the front-end"));
    out::note(&format!("  continuum cluster status {name}   what it is made of"));
    out::note(&format!("  continuum cluster down {name}     removes all of it"));
    Ok(Exit::Done)
}

fn write_timeline(path: Option<&Path>, reporter: &Reporter) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, reporter.timeline().svg())
        .map_err(|error| Failure::say(Exit::Failed, format!("cannot write {}: {error}", path.display())))
}

fn retry(given: &Given) -> String {
    let with = |option: &str, path: &Option<PathBuf>| {
        path.as_ref().map_or_else(String::new, |path| format!(" --{option} {}", path.display()))
    };
    let (bundle, recipes) = (with("bundle", &given.bundle), with("recipes", &given.recipes));
    format!("continuum cluster up {}{bundle}{recipes}", given.file.display())
}

pub(super) fn interrupted(up: &Up, given: &Given) -> Failure {
    let count = up.ledger().rows().values().filter(|row| row.machine().is_some()).count();
    Failure::say(Exit::Interrupted, format!("interrupted: {count} machines exist"))
        .hint(format!("go on with:  {}", retry(given)))
        .hint(format!("or remove:   continuum cluster down {}", up.spec().cluster))
}

/// One block: what failed, on which machine, its last lines, where the rest is, and how to go on.
pub(super) fn stopped(site: &Site, up: &Up, stop: &Stop, given: &Given) -> Failure {
    let incomplete = up.ledger().rows().values().any(|row| row.phase() == Phase::Ready);
    let mut failure =
        Failure::say(if incomplete { Exit::Incomplete } else { Exit::Failed }, stop).code("E0800");
    if let Stop::StepFailed { name, tail, .. } = stop {
        failure = match tail.len() {
            0 => failure,
            1 => failure.hint("its last line:"),
            count => failure.hint(format!("its last {count} lines:")),
        };
        for line in tail {
            failure = failure.hint(format!("  | {line}"));
        }
        let log = log_path(&site.dir.logs(), name);
        failure = failure.hint(format!("all of them: {}", log.display()));
    }
    if up.lost_front_end(stop).is_some() {
        failure = failure.hint(format!("rebuild:     {} --rebuild-front-end", retry(given)));
    }
    failure
        .hint(format!("try again:   {}", retry(given)))
        .hint(format!("look:        continuum cluster status {}", site.name))
        .hint(format!("remove:      continuum cluster down {}", site.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_go_on_with_is_the_whole_one() {
        let given = |bundle: Option<&str>, recipes: Option<&str>| Given {
            file: "lab1.yaml".into(),
            bundle: bundle.map(Into::into),
            recipes: recipes.map(Into::into),
        };
        let cases = [
            (given(None, None), "continuum cluster up lab1.yaml"),
            (given(Some("/b"), None), "continuum cluster up lab1.yaml --bundle /b"),
            (given(Some("/b"), Some("/r")), "continuum cluster up lab1.yaml --bundle /b --recipes /r"),
        ];
        for (given, right) in cases {
            assert_eq!(retry(&given), right);
        }
    }
}
