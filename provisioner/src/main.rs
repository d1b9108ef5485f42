//! The `continuum` command: parse, run, print the error chain once, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use provisioner::cli::bundle::{self, BundleCommand};

/// Kubernetes clusters out of one file.
#[derive(Debug, Parser)]
#[command(name = "continuum", version)]
struct Cli {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Files and images for machines without internet
    #[command(subcommand)]
    Bundle(BundleCommand),
}

fn main() -> ExitCode {
    let Noun::Bundle(command) = Cli::parse().noun;
    match bundle::run(&command, &|| Ok(Vec::new()), &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            // Nothing is left to do where even this cannot be written.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
