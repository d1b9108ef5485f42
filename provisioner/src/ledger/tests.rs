//! The transitions, and the JSON form.

use super::*;
use crate::plan::fixtures::{self, new_row, now, pool_name, step};

fn ready(ledger: &mut Ledger, steps: &[Step]) -> MachineName {
    let name = ledger.add(new_row(&pool_name("workers")), now()).unwrap();
    ledger.sight(&name, &MachineId::from("i-0123456789abcdef0")).unwrap();
    ledger.configure(&name).unwrap();
    for step in steps {
        ledger.step_done(&name, step).unwrap();
    }
    ledger.ready(&name, steps).unwrap();
    name
}

#[test]
fn a_row_goes_along_the_arrows_and_along_no_others() {
    let steps = [step("base/setup", &[], &[])];
    let mut ledger = fixtures::ledger();
    let name = ledger.add(new_row(&pool_name("workers")), now()).unwrap();
    let refused = [
        ledger.ready(&name, &steps).unwrap_err().to_string(),
        ledger.step_done(&name, &steps[0]).unwrap_err().to_string(),
        ledger.undrain(&name).unwrap_err().to_string(),
        ledger.forget(&name).unwrap_err().to_string(),
        ledger.forget(&fixtures::name("lab1-x-9")).unwrap_err().to_string(),
    ];
    assert_eq!(
        refused,
        [
            "lab1-workers-1 is Creating: it cannot become Ready",
            "lab1-workers-1 is Creating: it cannot become further configured",
            "lab1-workers-1 is Creating: it cannot become Ready",
            "lab1-workers-1 is Creating: it cannot become forgotten",
            "lab1-x-9 has no row in the ledger",
        ]
    );
    ledger.configure(&name).unwrap();
    ledger.step_done(&name, &steps[0]).unwrap();
    ledger.ready(&name, &steps).unwrap();
    ledger.drain(&name, Leaving::Surplus).unwrap();
    ledger.undrain(&name).unwrap();
    assert_eq!(ledger.row(&name).unwrap().phase(), Phase::Ready);
    ledger.delete(&name, Leaving::Vanished).unwrap();
    ledger.delete(&name, Leaving::Closing).unwrap();
    assert_eq!(ledger.row(&name).unwrap().leaving(), Some(&Leaving::Vanished), "the first reason stays");
    ledger.forget(&name).unwrap();
    let next = ledger.add(new_row(&pool_name("workers")), now()).unwrap();
    assert_eq!(next, fixtures::name("lab1-workers-2"), "an ordinal is used once");
}

#[test]
fn a_changed_step_is_not_done_and_a_ready_row_shows_that_its_recipes_changed() {
    let mut ledger = fixtures::ledger();
    let steps = [step("base/setup", &[], &[]), step("containerd/install", &[], &[])];
    let mut changed = steps.clone();
    changed[1].hash = "another hash".into();
    let name = ready(&mut ledger, &steps);
    let row = ledger.row(&name).unwrap();
    assert_eq!((row.is_outdated(&steps_hash(&steps)), row.is_outdated(&steps_hash(&changed))), (false, true));
    ledger.rejoin(&name, &steps, &steps[0]).unwrap();
    let row = ledger.row(&name).unwrap();
    let done: Vec<_> = steps.iter().chain(&changed).map(|step| row.has_done(step)).collect();
    assert_eq!(done, [false, true, false, false]);
    assert!(row.has_passed(&changed[1].id));
}

#[test]
fn a_token_and_the_keys_birth_are_the_same_at_every_call_and_differ_between_rows_and_ledgers() {
    let mut ledger = fixtures::ledger();
    let first = ledger.add(new_row(&pool_name("workers")), now()).unwrap();
    let second = ledger.add(new_row(&pool_name("workers")), now()).unwrap();
    assert_eq!(ledger.token(&first).unwrap(), "cli-1/lab1-workers-1/1800000000000");
    assert_ne!(ledger.token(&first), ledger.token(&second));
    assert_ne!(ledger.key_birth(&first), ledger.key_birth(&second));
    let other_id = Ledger { id: LedgerId::from("cli-2"), ..ledger.clone() };
    assert_ne!(ledger.key_birth(&first), other_id.key_birth(&first));
    // An adopted machine was born at another time as far as its new row knows.
    let mut adopting = fixtures::ledger();
    let later = now() + jiff::SignedDuration::from_hours(5);
    adopting.adopt(second.clone(), MachineId::from("i-2"), new_row(&pool_name("workers")), later).unwrap();
    assert_eq!(adopting.key_birth(&second), ledger.key_birth(&second));
}

#[test]
fn a_ledger_reads_back_and_holds_two_thousand_machines() {
    let mut ledger = fixtures::ledger();
    for _ in 0..2000 {
        ready(&mut ledger, &[step("base/setup", &[], &[])]);
    }
    let refused = ledger.add(new_row(&pool_name("workers")), now()).unwrap();
    ledger.fail(&refused, "no capacity".into(), now(), 1).unwrap();
    let text = ledger.to_json().unwrap();
    assert_eq!(Ledger::from_json(&text).unwrap(), ledger);
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap().len();
    assert!(text.len() / 2000 < 320 && packed < 900_000, "{} a row, {packed} packed", text.len() / 2000);
}

#[test]
fn a_newer_or_damaged_ledger_is_refused() {
    let newer = r#"{"version": 2, "rows": "in another form"}"#;
    let error = Ledger::from_json(newer).unwrap_err().to_string();
    assert_eq!(error, "ledger has version 2, this program knows 1: use the program that wrote it");
    assert!(matches!(Ledger::from_json("{\"version\": 1}"), Err(CodecError::Damaged(_))));
    let unknown = fixtures::ledger().to_json().unwrap().replacen('{', "{\"surprise\":1,", 1);
    assert!(matches!(Ledger::from_json(&unknown), Err(CodecError::Damaged(_))), "no field is lost silently");
}

#[test]
fn a_back_off_doubles_ends_and_survives_a_clock_that_goes_back() {
    let backoff = |failures| Backoff { failures, since: now(), why: String::new() };
    let delays: Vec<_> = [1, 2, 3, 7, 40].map(backoff).iter().map(Backoff::delay_secs).collect();
    assert_eq!(delays, [10, 20, 40, 600, 600]);
    let at = |seconds| backoff(1).remaining_secs(now() + jiff::SignedDuration::from_secs(seconds));
    assert_eq!([at(0), at(9), at(10), at(-1)], [Some(10), Some(1), None, None]);
}

#[test]
fn machines_that_fail_together_count_as_one_failure() {
    let mut ledger = fixtures::ledger();
    let rows: Vec<_> = (0..3).map(|_| ledger.add(new_row(&pool_name("workers")), now()).unwrap()).collect();
    let later = now() + jiff::SignedDuration::from_secs(5);
    for row in &rows {
        ledger.fail(row, "no capacity".into(), later, 1).unwrap();
    }
    let shape = fixtures::shape().name;
    let failures = |ledger: &Ledger| ledger.backoff(&pool_name("workers"), &shape, None).unwrap().failures;
    assert_eq!(failures(&ledger), 1);
    let next =
        ledger.add(new_row(&pool_name("workers")), later + jiff::SignedDuration::from_secs(10)).unwrap();
    ledger.fail(&next, "no capacity".into(), later + jiff::SignedDuration::from_secs(11), 1).unwrap();
    assert_eq!(failures(&ledger), 2);
}
