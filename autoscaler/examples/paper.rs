//! The paper's case, simulated for both policies: `cargo run -p autoscaler --example paper` prints the table of
//! `docs/benchmarks.md`; a number of videos as argument prints that story's timeline for both.

use std::io::Write as _;
use std::process::ExitCode;

use autoscaler::sim::{Autoscaler, Outcome, paper, run};

const POLICIES: [(&str, Autoscaler); 2] =
    [("CLUES", Autoscaler::Clues), ("continuum", Autoscaler::Continuum)];

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
    for (videos, known) in [(1, false), (1, true), (5, false), (5, true), (10, true), (20, true)] {
        for (policy, autoscaler) in POLICIES {
            let Outcome { account, .. } = run(&paper::story(videos, autoscaler, known))?;
            let first = if known { "" } else { ", the first ever" };
            text.push_str(&format!(
                "| {videos}{first} | {policy} | {} s | {} | {} | {} |\n",
                account.makespan / 1000,
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
    for (policy, autoscaler) in POLICIES {
        let outcome = run(&paper::story(videos, autoscaler, true))?;
        text.push_str(&format!("{policy}: {}\n{}\n\n", outcome.account, outcome.timeline.join("\n")));
    }
    Ok(text)
}
