//! The command line: `continuum <noun> <verb>`. One file per noun with clap's types and calls, no logic.
//!
//! Data goes to stdout, everything else to stderr; `-o json` makes the data machine-readable.

pub mod bundle;
pub mod cluster;
pub mod code;
pub mod exit;
pub mod out;
pub mod recipe;
pub mod sandbox;
pub mod scaling;
pub mod template;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use exit::{Exit, Failure};

/// Kubernetes clusters from one file, on a small cloud inside this computer.
#[derive(Debug, Parser)]
#[command(name = "continuum", version, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "First steps:\n  continuum cluster up cluster.yaml      make a cluster, or go on where it stopped\n  continuum cluster status NAME          what it is made of and how it does\n  continuum cluster down NAME            remove all of it\n\nExit codes: 0 done, 1 failed, 2 usage, 3 input refused, 4 incomplete, 5 locked, 6 environment, 130 interrupted"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// More about what happens inside, on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one JSON document, or one JSON object a line where things go on for long.
    Json,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Clusters: make, look at, remove
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// The autoscaler of a cluster whose pools have ranges
    #[command(subcommand)]
    Autoscaler(scaling::Verb),
    /// The templates that a cluster file can name
    #[command(subcommand)]
    Template(template::Verb),
    /// Recipes: what gets onto machines, and how
    #[command(subcommand)]
    Recipe(recipe::Verb),
    /// Files and images for machines without internet
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// The small cloud on this computer
    Sandbox(sandbox::Sandbox),
    /// Print a completion script: `continuum completions bash > /etc/bash_completion.d/continuum`
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// The whole command line as clap knows it: what the reference in the book is made from.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments, runs the command, prints what failed, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| usage(&error));
    logging(&cli.global);
    let output = cli.global.output;
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(output);
            failure.exit.into()
        }
    }
}

/// Wrong arguments, in clap's words; for programs also as a line of JSON, if that was to be understood.
fn usage(error: &clap::Error) -> ! {
    let words: Vec<_> = std::env::args_os().collect();
    let json = words.windows(2).any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
        || words.iter().any(|word| word == "-ojson" || word == "--output=json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let (message, _) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = message.trim_start_matches("error: ").trim().to_owned();
        let line = serde_json::json!({"v": 1, "event": "error", "code": "E0400", "exit": Exit::Usage as u8,
                                      "message": message, "hints": [], "problems": []});
        out::line(&line.to_string());
    }
    error.exit()
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.noun {
        Noun::Cluster(verb) => cluster::run(verb, cli.global.output),
        Noun::Autoscaler(verb) => scaling::run(verb, cli.global.output),
        Noun::Template(verb) => template::run(&verb, cli.global.output),
        Noun::Recipe(verb) => recipe::run(&verb, cli.global.output),
        Noun::Bundle(command) => {
            let recipes = || Ok(crate::cluster::input::recipe_files(command.recipes())?);
            bundle::run(&command, cli.global.output, &recipes, &mut out::stdout()).map_err(of_bundle)?;
            Ok(Exit::Done)
        }
        Noun::Sandbox(command) => {
            sandbox::run(command, cli.global.output)
                .map_err(|error| Failure::new(Exit::Environment, error))?;
            Ok(Exit::Done)
        }
        Noun::Completions { shell } => {
            clap_complete::generate(shell, &mut command(), "continuum", &mut out::stdout());
            Ok(Exit::Done)
        }
    }
}

/// A bundle that was given and is not right is input that is refused; what the system or the network does is not.
fn of_bundle(error: anyhow::Error) -> Failure {
    use crate::bundle::BundleError as E;
    let exit = match error.downcast_ref::<E>() {
        Some(E::NoBundle { .. } | E::Manifest { .. } | E::Version { .. }) => Exit::Refused,
        Some(E::Unsafe { .. } | E::CutShort { .. } | E::Damaged { .. }) => Exit::Refused,
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}

/// Tracing goes to stderr: warnings by default, more with `-v`, anything with `CONTINUUM_LOG`.
fn logging(global: &Global) {
    use tracing_subscriber::EnvFilter;
    let level =
        ["warn", "provisioner=info,warn", "provisioner=debug,info"][usize::from(global.verbose.min(2))];
    let filter = crate::env::var("CONTINUUM_LOG").map_or_else(|| EnvFilter::new(level), EnvFilter::new);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && crate::env::var("NO_COLOR").is_none())
        .with_target(false)
        .init();
}
