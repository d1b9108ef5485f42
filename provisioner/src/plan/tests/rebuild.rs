//! A front-end that is lost and that a person gives up.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::unseen;
use crate::ages::Age;
use crate::ledger::{Leaving, Phase};
use crate::names::MachineId;
use crate::plan::fixtures::{self, Case, name, pool_name, secs};
use crate::plan::{Stop, lost_front_end};
use crate::provider::MachineState;

/// The front-end is gone for sure.
fn vanished(case: &mut Case) {
    let front_end = name("lab1-front-end-1");
    case.gone(&front_end);
    case.age(&front_end, unseen(60));
    case.seen.exists.insert(MachineId::from("m-lab1-front-end-1"), false);
}

fn giving_up(mut case: Case, front_end: &str) -> Case {
    case.seen.limits.give_up_front_end = Some(name(front_end));
    case
}

#[test]
fn one_that_vanished_is_made_anew_and_every_worker_leaves_in_the_same_plan() {
    let mut case = Case::ready(2);
    vanished(&mut case);
    case.ledger.drain(&name("lab1-workers-3"), Leaving::Surplus).unwrap();
    assert!(case.plan().starts_with("stop: front-end lab1-front-end-1 is lost"), "{}", case.plan());
    let case = giving_up(case, "lab1-front-end-1");
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-4: new, Creating
    row lab1-workers-2: Ready -> Deleting (its front-end is given up)
    row lab1-workers-3: Draining -> Deleting (its front-end is given up)
    row lab1-front-end-1: forgotten
    do create lab1-front-end-4 (2x4Gi)
    do delete lab1-workers-2 (m-lab1-workers-2)
    do delete lab1-workers-3 (m-lab1-workers-3)
    ");
}

#[test]
fn one_that_failed_is_deleted_before_the_next_is_made() {
    let mut case = giving_up(Case::ready(1), "lab1-front-end-1");
    case.state(&name("lab1-front-end-1"), MachineState::Failed("disk error".into()));
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Ready -> Deleting (given up for a new one: failed: disk error)
    row lab1-workers-2: Ready -> Deleting (its front-end is given up)
    do delete lab1-front-end-1 (m-lab1-front-end-1)
    do delete lab1-workers-2 (m-lab1-workers-2)
    ");
}

#[test]
fn one_whose_node_does_not_become_ready_is_given_up_only_after_its_time() {
    let mut case = giving_up(Case::ready(1), "lab1-front-end-1");
    let front_end = name("lab1-front-end-1");
    case.node(&front_end, false);
    case.age(&front_end, Age { node: secs(179), ..Age::default() });
    assert_snapshot!(case.plan(), @"wait lab1-front-end-1: its node is not ready: kubelet stopped posting status (2m 59s of 3m)");
    case.age(&front_end, Age { node: secs(180), ..Age::default() });
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Ready -> Deleting (given up for a new one: it runs, but its node does not come)
    row lab1-workers-2: Ready -> Deleting (its front-end is given up)
    do delete lab1-front-end-1 (m-lab1-front-end-1)
    do delete lab1-workers-2 (m-lab1-workers-2)
    ");
}

#[test]
fn one_that_is_well_or_was_switched_off_is_left_alone() {
    let mut case = giving_up(Case::ready(1), "lab1-front-end-1");
    assert_snapshot!(case.plan(), @"");
    case.state(&name("lab1-front-end-1"), MachineState::Stopped);
    assert_snapshot!(case.plan(), @"do start lab1-front-end-1 (m-lab1-front-end-1)");
}

#[test]
fn the_word_is_for_one_front_end_alone() {
    let mut case = Case::ready(1);
    vanished(&mut case);
    let case = giving_up(case, "lab1-front-end-9");
    assert!(case.plan().starts_with("stop: front-end lab1-front-end-1 is lost"), "{}", case.plan());
}

#[test]
fn what_was_decided_goes_on_without_the_word_and_nobody_is_asked_to_forget_the_old_nodes() {
    let mut case = Case::ready(1);
    vanished(&mut case);
    let case = giving_up(case, "lab1-front-end-1");
    let decided = crate::plan::plan(&case.spec, &case.ledger, &case.seen, fixtures::now()).ledger;
    let mut case = Case { ledger: decided, ..case };
    case.seen.limits.give_up_front_end = None;
    assert_snapshot!(case.plan(), @"
    do create lab1-front-end-3 (2x4Gi)
    do delete lab1-workers-2 (m-lab1-workers-2)
    ");
    // The new one is Ready and the old worker gone: its row goes, and only now a new one comes.
    let new = name("lab1-front-end-3");
    case.run(&new);
    case.make_ready(&new);
    let worker = name("lab1-workers-2");
    case.gone(&worker);
    case.seen.exists.insert(MachineId::from("m-lab1-workers-2"), false);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-4: new, Creating
    row lab1-workers-2: forgotten
    do create lab1-workers-4 (2x4Gi)
    ");
}

#[test]
fn of_several_front_ends_none_is_given_up_this_way() {
    let mut case = Case::ready(0);
    case.spec.pools.get_mut(&pool_name("front-end")).unwrap().size = 2..=2;
    let second = case.creating("front-end");
    case.run(&second);
    case.make_ready(&second);
    case.state(&name("lab1-front-end-1"), MachineState::Failed("disk error".into()));
    let case = giving_up(case, "lab1-front-end-1");
    assert!(case.plan().contains("the other front-ends still hold the cluster's state"), "{}", case.plan());
    let stop = Stop::NodeNotReady { name: name("lab1-front-end-1"), why: String::new(), since: secs(180) };
    assert_eq!(lost_front_end(&case.ledger, &stop), None);
}

#[test]
fn the_whole_decision_is_one_change_of_the_ledger() {
    let mut ledger = Case::ready(2).ledger;
    let worker = name("lab1-workers-2");
    ledger.delete(&worker, Leaving::BootTimeout).unwrap();
    ledger.give_up_front_end(&name("lab1-front-end-1"), "gone".into()).unwrap();
    let reasons: BTreeMap<_, _> = ledger
        .rows()
        .iter()
        .map(|(name, row)| (name.to_string(), (row.phase(), row.leaving().cloned())))
        .collect();
    let expected = [
        ("lab1-front-end-1", Leaving::GivenUp("gone".into())),
        ("lab1-workers-2", Leaving::BootTimeout),
        ("lab1-workers-3", Leaving::FrontEndGivenUp),
    ];
    let expected = expected.map(|(name, why)| (name.to_owned(), (Phase::Deleting, Some(why))));
    assert_eq!(reasons, BTreeMap::from(expected));
    let illegal = ledger.give_up_front_end(&name("lab1-front-end-1"), "again".into()).unwrap_err();
    assert_eq!(illegal.to_string(), "lab1-front-end-1 is Deleting: it cannot become given up");
}
