//! Plays histories by seed, as many as asked for, on all cores: `sim --seeds N [--from N]`, or one: `--replay SEED`.
//! `--mutations N` plants each known mistake in the engine, and says which of the first N seeds sees it.
//!
//! Prints every seed that breaks a law, seeds per second, and what the histories ended with.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use provisioner::clock;
use provisioner::sim;

/// After so many failures the rest tells nothing new.
const MOST: usize = 20;
/// Seeds that a thread takes at a time.
const BATCH: u64 = 16;

struct Options {
    from: u64,
    seeds: u64,
    replay: bool,
    mutations: bool,
    jobs: usize,
}

fn options() -> Result<Options, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { from: 0, seeds: 10_000, replay: false, mutations: false, jobs: cores };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        let number: u64 = value.parse().map_err(|_| format!("{word} {value}: a number is expected"))?;
        match word.as_str() {
            "--seeds" => options.seeds = number,
            "--from" => options.from = number,
            "--jobs" => options.jobs = usize::try_from(number).unwrap_or(1).max(1),
            "--mutations" => (options.seeds, options.mutations) = (number, true),
            "--replay" => (options.from, options.replay) = (number, true),
            _ => return Err(format!("{word} is unknown; known: --seeds --from --jobs --replay --mutations")),
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Sums {
    failed: Vec<u64>,
    ends: BTreeMap<String, u64>,
    steps: u64,
    faults: u64,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    if options.replay {
        return match sim::run(options.from, None, true) {
            Ok(report) => {
                println!("{report}\nhash {:016x}", report.hash);
                if report.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if options.mutations {
        return mutations(&options);
    }
    let began = clock::monotonic();
    let sums = all(&options);
    let seconds = clock::monotonic().duration_since(began).as_secs_f64();
    let rate = options.seeds as f64 / seconds;
    println!(
        "{} seeds from {} in {seconds:.1} s on {} threads: {rate:.0} seeds/s; {} steps, {} faults, {} failed",
        options.seeds,
        options.from,
        options.jobs,
        sums.steps,
        sums.faults,
        sums.failed.len()
    );
    for (end, count) in &sums.ends {
        println!("{count:>9}  {end}");
    }
    if sums.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mutations(options: &Options) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for mutation in sim::Mutation::ALL {
        match sim::first_broken(options.from, options.seeds, Some(mutation), options.jobs) {
            Ok(Some(report)) => {
                let broken = report.broken.map(|broken| format!("{}: {}", broken.law, broken.text));
                println!("{mutation:?}: seed {}: {}", report.seed, broken.unwrap_or_default());
            }
            Ok(None) => {
                println!("{mutation:?}: not seen");
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("error: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn all(options: &Options) -> Sums {
    let (next, full) = (AtomicU64::new(options.from), AtomicBool::new(false));
    let (sums, end) = (Mutex::new(Sums::default()), options.from.saturating_add(options.seeds));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while !full.load(Ordering::Relaxed) {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    if first >= end {
                        break;
                    }
                    for seed in first..end.min(first + BATCH) {
                        one(seed, &sums, &full);
                    }
                }
            });
        }
    });
    sums.into_inner().unwrap_or_default()
}

fn one(seed: u64, sums: &Mutex<Sums>, full: &AtomicBool) {
    let Ok(report) = sim::run(seed, None, false) else { return };
    let Ok(mut sums) = sums.lock() else { return };
    sums.steps += report.steps;
    sums.faults += report.faults;
    let kind = report.end.split(['(', ';']).next().unwrap_or_default();
    let kind: Vec<_> = kind.split(' ').filter(|word| !word.contains("lab1-")).collect();
    *sums.ends.entry(kind.join(" ")).or_default() += 1;
    if report.broken.is_some() {
        println!("{report}");
        sums.failed.push(seed);
        full.fetch_or(sums.failed.len() >= MOST, Ordering::Relaxed);
    }
}
