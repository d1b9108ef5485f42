//! The `continuum` command: parse, run, print the error chain once, exit code.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Elastic Kubernetes clusters, from one file.
#[derive(Debug, Parser)]
#[command(name = "continuum", version)]
struct Cli {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// The small cloud on this computer
    Sandbox(cli::sandbox::Sandbox),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    let result = match cli.noun {
        Noun::Sandbox(args) => cli::sandbox::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
