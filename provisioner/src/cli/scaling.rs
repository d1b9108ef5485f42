//! `continuum autoscaler …`: asks and tells the autoscaler on a cluster's front-end.

use clap::Subcommand;
use serde_json::Value;

use super::exit::{Exit, Failure};
use super::{Output, out};
use crate::api::{Mode, Status};
use crate::clock;
use crate::cluster::look::{self, AskError, Seen};
use crate::duration::short;
use crate::names::{ClusterName, MachineName};

/// Decisions that are shown.
const SHOWN: usize = 10;

/// What can be asked and told.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Its pools and machines, what waits and why, and what it decided last
    Status {
        /// The cluster's name
        name: ClusterName,
    },
    /// Why a pod waits, or why a machine stays: `continuum autoscaler explain lab1 default/my-pod`
    Explain {
        /// The cluster's name
        name: ClusterName,
        /// NAMESPACE/POD, POD (in the namespace default), or a machine
        #[arg(value_name = "POD|MACHINE")]
        about: String,
    },
    /// Let it finish what it has begun, and decide nothing new
    Pause {
        /// The cluster's name
        name: ClusterName,
    },
    /// Let it decide again
    Resume {
        /// The cluster's name
        name: ClusterName,
    },
}

/// Runs a verb.
pub fn run(verb: Verb, output: Output) -> Result<Exit, Failure> {
    super::cluster::block_on(async {
        match verb {
            Verb::Status { name } => status(&name, output).await,
            Verb::Explain { name, about } => explain(&name, &about, output).await,
            Verb::Pause { name } => tell(&name, Mode::Paused, output).await,
            Verb::Resume { name } => tell(&name, Mode::Active, output).await,
        }
    })
}

async fn seen(name: &ClusterName) -> Result<Seen, Failure> {
    look::look(name).await.map_err(super::cluster::site)
}

/// The autoscaler does not answer, with the exit code that says why.
pub(super) fn asked(error: AskError) -> Failure {
    let exit = match error {
        AskError::NotElastic(_) | AskError::Refused(_) => Exit::Refused,
        AskError::NoFrontEnd(_) | AskError::Remote(_) | AskError::Answer(_) => Exit::Failed,
    };
    Failure::new(exit, error)
}

async fn status(name: &ClusterName, output: Output) -> Result<Exit, Failure> {
    let status: Status = seen(name).await?.ask(name, "GET", "/v1/status").await.map_err(asked)?;
    let exit = if status.stop.is_none() && status.stale.is_none() { Exit::Done } else { Exit::Incomplete };
    if output == Output::Json {
        out::json(&status)?;
        return Ok(exit);
    }
    let ago = |at| short(clock::now().duration_since(at).unsigned_abs());
    let looked =
        status.at.map_or_else(|| "has not looked yet".to_owned(), |at| format!("looked {} ago", ago(at)));
    let role = if status.leads { "" } else { "; another one acts" };
    out::note(&format!("{name}: the autoscaler is {}, {looked}{role}", status.mode));
    for why in status.stop.iter().chain(&status.stale) {
        out::note(&format!("nothing is decided: {why}"));
    }
    let pools: Vec<Vec<String>> = status
        .pools
        .iter()
        .map(|pool| {
            let counts = [pool.min, pool.max, pool.ready, pool.booting, pool.leaving];
            std::iter::once(pool.name.to_string()).chain(counts.map(|count| count.to_string())).collect()
        })
        .collect();
    out::line(&out::table(&["POOL", "MIN", "MAX", "READY", "BOOTING", "LEAVING"], &pools));
    if !status.machines.is_empty() {
        let rows: Vec<Vec<String>> = status
            .machines
            .iter()
            .map(|machine| {
                let why = machine.leaving.clone().unwrap_or_else(|| "-".to_owned());
                vec![
                    machine.name.to_string(),
                    machine.phase.clone(),
                    machine.shape.clone(),
                    ago(machine.born),
                    why,
                ]
            })
            .collect();
        out::line("");
        out::line(&out::table(&["MACHINE", "PHASE", "SHAPE", "AGE", "LEAVES BECAUSE"], &rows));
    }
    if !status.waits.is_empty() {
        out::line("\nwaits:");
        status.waits.iter().for_each(|wait| out::line(&format!("  {}: {}", wait.subject, wait.text)));
    }
    if !status.decisions.is_empty() {
        out::line("\nlast decisions:");
        let skip = status.decisions.len().saturating_sub(SHOWN);
        for decision in status.decisions.iter().skip(skip) {
            out::line(&format!("  {:>4} ago  {}", ago(decision.at), decision.text));
        }
    }
    Ok(exit)
}

async fn explain(name: &ClusterName, about: &str, output: Output) -> Result<Exit, Failure> {
    let machine = MachineName::new(about).ok().filter(|machine| machine.ordinal().is_some());
    let of_cluster = machine.filter(|machine| machine.as_str().starts_with(&format!("{name}-")));
    let path = match (of_cluster, about.split_once('/')) {
        (Some(machine), _) => format!("/v1/explain/node/{machine}"),
        (None, Some((namespace, pod))) => {
            format!("/v1/explain/pod/{}/{}", checked(namespace)?, checked(pod)?)
        }
        (None, None) => format!("/v1/explain/pod/default/{}", checked(about)?),
    };
    let said: Value = seen(name).await?.ask(name, "GET", &path).await.map_err(asked)?;
    if output == Output::Json {
        out::json(&said)?;
        return Ok(Exit::Done);
    }
    for line in words(&said) {
        out::line(&line);
    }
    Ok(Exit::Done)
}

/// A name as Kubernetes has them.
fn checked(name: &str) -> Result<&str, Failure> {
    let fine = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    if fine { Ok(name) } else { Err(Failure::say(Exit::Usage, format!("{name:?} is no name of a pod"))) }
}

/// An explanation in lines: the verdict, then pool by pool, then what would help.
fn words(said: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let reasons = |value: &Value| -> Vec<String> {
        let list = value.get("reasons").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|reason| text(reason, "text")).collect()
    };
    let subject = text(said, "pod").or_else(|| text(said, "machine")).unwrap_or_default();
    let mut lines = Vec::new();
    match said.get("verdict").and_then(|verdict| text(verdict, "text")) {
        Some(verdict) => lines.push(format!("{subject}: {verdict}")),
        None => lines.extend(reasons(said).into_iter().map(|reason| format!("{subject}: {reason}"))),
    }
    for pool in said.get("pools").and_then(Value::as_array).into_iter().flatten() {
        let zone = text(pool, "zone").map_or_else(String::new, |zone| format!(" in {zone}"));
        let (name, shape) = (text(pool, "pool").unwrap_or_default(), text(pool, "shape").unwrap_or_default());
        let why = reasons(pool);
        let why = if why.is_empty() { "it would take it".to_owned() } else { why.join("; ") };
        lines.push(format!("  pool {name}{zone}, {shape}: {why}"));
    }
    lines.extend(text(said, "change").map(|change| format!("what would help: {change}")));
    lines
}

async fn tell(name: &ClusterName, mode: Mode, output: Output) -> Result<Exit, Failure> {
    let seen = seen(name).await?;
    let _: Value = seen.ask(name, "POST", &format!("/v1/mode/{mode}")).await.map_err(asked)?;
    match output {
        Output::Json => out::json(&serde_json::json!({"cluster": name, "mode": mode}))?,
        Output::Text if mode == Mode::Paused => {
            out::note(&format!("paused; go on with: continuum autoscaler resume {name}"));
        }
        Output::Text => out::note("it decides again"),
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_read_from_the_verdict_to_what_would_help() {
        let pod = serde_json::json!({
            "pod": "default/a", "verdict": {"word": "FitsNowhere", "text": "fits on nothing"},
            "pools": [
                {"pool": "workers", "zone": null, "shape": "2x2Gi",
                 "reasons": [{"word": "Cpu", "text": "3 cpu are too much"}, {"word": "Memory", "text": "so is 4Gi"}]},
                {"pool": "large", "zone": "b", "shape": "8x8Gi", "reasons": []},
            ],
            "change": "ask for 2 cpu",
        });
        let lines = [
            "default/a: fits on nothing",
            "  pool workers, 2x2Gi: 3 cpu are too much; so is 4Gi",
            "  pool large in b, 8x8Gi: it would take it",
            "what would help: ask for 2 cpu",
        ];
        assert_eq!(words(&pod), lines);
        let node = serde_json::json!({"machine": "lab1-workers-2", "reasons": [{"word": "x", "text": "it is needed"}]});
        assert_eq!(words(&node), ["lab1-workers-2: it is needed"]);
    }

    #[test]
    fn a_name_that_a_shell_would_read_is_refused() {
        for bad in ["a;b", "$(x)", "a b", "", "A"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert!(checked("my-pod.1").is_ok());
    }
}
