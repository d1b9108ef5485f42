//! The paper's case, simulated for both policies: `cargo run -p autoscaler --example paper` prints the table of
//! `docs/benchmarks.md`; a number of videos as argument prints that story's timeline for both.

use std::io::Write as _;
use std::process::ExitCode;

use autoscaler::sim::{Autoscaler, Outcome, Story, paper, run};

/// The name, who scales, and whether it is told what follows each job.
const POLICIES: [(&str, Autoscaler, bool); 3] = [
    ("CLUES", Autoscaler::Clues, false),
    ("continuum", Autoscaler::Continuum, false),
    ("continuum, told the workflow", Autoscaler::Continuum, true),
];

fn main() -> ExitCode {
    let videos = std::env::args().nth(1).and_then(|text| text.parse().ok());
    match videos.map_or_else(table, timelines) {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "failed: {why}");
            ExitCode::FAILURE
        }
    }
}

fn table() -> Result<String, String> {
    let mut text = "| videos | policy | makespan | machine-seconds | of them wasted | peak machines |\n\
                    | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (videos, known) in [(1, false), (1, true), (5, true), (10, true), (20, true)] {
        for (policy, autoscaler, forecast) in POLICIES {
            // What follows when is worked out from run times: without these there is nothing to tell.
            if forecast && !known {
                continue;
            }
            let story = Story { forecast, ..paper::story(videos, autoscaler, known) };
            let Outcome { account, .. } = run(&story)?;
            let first = if known { "" } else { ", the first ever" };
            text.push_str(&format!(
                "| {videos}{first} | {policy} | {} s | {} | {} | {} |\n",
                seconds(account.makespan),
                account.machine_time / 1000,
                account.wasted / 1000,
                account.peak
            ));
        }
    }
    Ok(text)
}

fn timelines(videos: u32) -> Result<String, String> {
    let mut text = String::new();
    for (policy, autoscaler, forecast) in POLICIES {
        let outcome = run(&Story { forecast, ..paper::story(videos, autoscaler, true) })?;
        text.push_str(&format!("{policy}: {}\n{}\n\n", outcome.account, outcome.timeline.join("\n")));
    }
    Ok(text)
}

fn seconds(millis: i64) -> String {
    format!("{}.{}", millis / 1000, millis % 1000 / 100)
}
