//! `continuum sandbox faults …`: what the sandbox does wrong on purpose.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;

use super::{Instance, Output, at, say};
use crate::duration;
use crate::provider::faults::Fault;
use crate::provider::sandbox::wire::{FaultsRequest, FaultsStatus, Pair};
use crate::provider::sandbox::{Config, connect};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Set these faults and no others; they last until they are cleared or the agent ends
    Set {
        #[command(flatten)]
        on: Instance,
        /// A fault, for example rate-limit=50 or late-list=6s; docs/reference/faults.md has all of them
        #[arg(required = true, value_name = "WORD")]
        words: Vec<Fault>,
        /// Where chance begins: the same seed gives the same faults
        #[arg(long, default_value_t = 1, value_name = "N")]
        seed: u64,
        /// They end by themselves after this time
        #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
        lasts: Option<Duration>,
    },
    /// Show what is set and cut, and how many calls met a fault
    List {
        #[command(flatten)]
        on: Instance,
    },
    /// Let nothing go wrong any more, and heal all cuts
    Clear {
        #[command(flatten)]
        on: Instance,
    },
    /// Cut two machines from each other
    Cut {
        #[command(flatten)]
        on: Instance,
        /// A machine's name or id
        a: String,
        /// Another's
        b: String,
    },
    /// Let two machines hear each other again, or all that were cut
    Heal {
        #[command(flatten)]
        on: Instance,
        /// A machine's name or id
        #[arg(requires = "b")]
        a: Option<String>,
        /// The other's
        b: Option<String>,
    },
}

pub(super) async fn run(verb: Verb, output: Output) -> Result<()> {
    match verb {
        Verb::Set { on, words, seed, lasts } => {
            let cloud = connect(&Config { instance: on.instance }).await?;
            show(&cloud.set_faults(&FaultsRequest { faults: words, seed, lasts }).await?, output)
        }
        Verb::List { on } => {
            let cloud = at(&on)?;
            // Faults end with the agent: where none runs there are none, and none is started to say so.
            let status = if cloud.is_up().await { cloud.faults().await? } else { FaultsStatus::default() };
            show(&status, output)
        }
        Verb::Clear { on } => {
            let cloud = at(&on)?;
            if cloud.is_up().await { Ok(cloud.clear_faults().await?) } else { Ok(()) }
        }
        Verb::Cut { on, a, b } => {
            Ok(connect(&Config { instance: on.instance }).await?.cut(&Pair { a, b }).await?)
        }
        Verb::Heal { on, a, b } => {
            let pair = a.zip(b).map(|(a, b)| Pair { a, b });
            Ok(connect(&Config { instance: on.instance }).await?.heal(pair.as_ref()).await?)
        }
    }
}

fn show(status: &FaultsStatus, output: Output) -> Result<()> {
    if output == Output::Json {
        return say(&format!("{}\n", serde_json::to_string_pretty(status)?));
    }
    say(&text(status))
}

fn text(status: &FaultsStatus) -> String {
    let mut text: String = status.faults.iter().map(|fault| format!("{fault}\n")).collect();
    if !status.faults.is_empty() {
        let ends = status.ends.map_or_else(String::new, |ends| format!(", until {ends:.0}"));
        text += &format!("seed {}{ends}; {} of {} calls met one\n", status.seed, status.met, status.calls);
    }
    for Pair { a, b } in &status.cuts {
        text += &format!("cut: {a} and {b}\n");
    }
    if text.is_empty() { "no faults\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_shown_a_line_each_and_none_is_said() {
        let mut status = FaultsStatus::default();
        assert_eq!(text(&status), "no faults\n");
        status.cuts.push(Pair { a: "x-w-1".into(), b: "x-w-2".into() });
        assert_eq!(text(&status), "cut: x-w-1 and x-w-2\n");
        status.faults = vec!["rate-limit=50".parse().unwrap(), "no-tokens".parse().unwrap()];
        (status.seed, status.calls, status.met) = (7, 40, 2);
        assert_eq!(
            text(&status),
            "rate-limit=50\nno-tokens\nseed 7; 2 of 40 calls met one\ncut: x-w-1 and x-w-2\n"
        );
        status.ends = Some("2026-01-02T03:04:05.678Z".parse().unwrap());
        assert!(text(&status).contains("seed 7, until 2026-01-02T03:04:0"), "{}", text(&status));
    }
}
