//! `continuum`, with points at which it can be made to kill itself (`provisioner::crash`): for tests alone.

use std::process::ExitCode;

use provisioner::{cli, cluster::site, crash};

fn main() -> ExitCode {
    site::put_between(crash::between);
    cli::main()
}
