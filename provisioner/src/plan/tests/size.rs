//! How long a plan of many machines takes.

use super::super::fixtures::{Case, now};
use crate::clock::monotonic;
use crate::plan::plan;

/// Prints; fails for nothing that a busy computer could cause. `make bench` runs it.
#[test]
#[ignore = "measures: run by make bench"]
fn measure_plan_of_a_thousand_machines() {
    let mut case = Case::ready(999);
    let settled = plan(&case.spec, &case.ledger, &case.seen, now());
    assert!(settled.is_settled(), "{settled}");
    // A pass with work: every tenth machine was switched off.
    let names: Vec<_> = case.ledger.rows().keys().step_by(10).skip(1).cloned().collect();
    for name in &names {
        case.state(name, crate::provider::MachineState::Stopped);
    }
    let mut fastest = f64::MAX;
    let mut all = 0.0;
    for _ in 0..50 {
        let began = monotonic();
        let planned = plan(&case.spec, &case.ledger, &case.seen, now());
        let took = began.elapsed().as_secs_f64() * 1000.0;
        assert_eq!(planned.actions.len(), names.len());
        fastest = fastest.min(took);
        all += took;
    }
    println!("plan of 1000 machines: {:.2} ms on average, {fastest:.2} ms at best", all / 50.0);
}
