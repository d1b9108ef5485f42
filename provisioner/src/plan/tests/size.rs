//! How long a plan of many machines takes, and how much memory.

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

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Prints; fails for nothing that a busy computer could cause.
#[test]
#[ignore = "measures: run by make bench"]
fn measure_passes_over_ten_thousand_rows() {
    let before = resident();
    let mut case = Case::ready(9_999);
    let per_row = resident().saturating_sub(before) * 1024 / 10_000;
    let passes = |case: &Case, count: u32| {
        let began = monotonic();
        let actions: usize =
            (0..count).map(|_| plan(&case.spec, &case.ledger, &case.seen, now()).actions.len()).sum();
        (f64::from(count) / began.elapsed().as_secs_f64(), actions)
    };
    let (settled, none) = passes(&case, 5);
    assert_eq!(none, 0);
    let names: Vec<_> = case.ledger.rows().keys().step_by(10).skip(1).cloned().collect();
    for name in &names {
        case.state(name, crate::provider::MachineState::Stopped);
    }
    let (busy, actions) = passes(&case, 5);
    assert_eq!(actions, names.len() * 5);
    let bytes = serde_json::to_vec(&case.ledger).unwrap().len() / 10_000;
    println!(
        "passes over 10,000 rows: {settled:.1} a second with nothing to do, {busy:.1} with {} machines to start; \
         {per_row} bytes of memory a row with what is seen of its machine, {bytes} in the ledger's file",
        names.len()
    );
}
