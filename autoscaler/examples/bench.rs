//! Benchmarks of the decision core: `cargo run --release -p autoscaler --example bench [NAME…]`.
//!
//! One process per benchmark, since the peak of memory is the process's: without a name it starts itself once for each. Every
//! result is checked before it is printed; a wrong one ends with an error. `docs/benchmarks.md` says what each is.

mod bench {
    pub(crate) mod cases;
    pub(crate) mod clusters;
    pub(crate) mod measure;
    pub(crate) mod w1;
}

use std::process::ExitCode;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let result = match names.as_slice() {
        [] => bench::cases::each_in_its_own_process(),
        names => names.iter().try_for_each(|name| bench::cases::run(name)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            bench::measure::say(&format!("failed: {why}"));
            ExitCode::FAILURE
        }
    }
}
