//! The simulation as `make test` runs it, and the proof that it can see.

use super::*;

/// How many histories `make test` plays.
const SEEDS: u64 = 2000;

#[test]
fn the_laws_hold_in_every_history() {
    for seed in 0..SEEDS {
        let report = run(seed, None, false).unwrap();
        if report.broken.is_some() {
            panic!("{}", run(seed, None, true).unwrap());
        }
    }
}
