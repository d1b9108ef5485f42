//! The `continuum` command: parses, runs, prints an error's chain once, and returns its exit code.

use std::process::ExitCode;

use provisioner::cli;

fn main() -> ExitCode {
    cli::main()
}
