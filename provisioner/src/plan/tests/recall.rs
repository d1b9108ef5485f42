//! Draining that is called off, and machines that were started again.

use insta::assert_snapshot;

use crate::ages::Age;
use crate::ledger::Leaving;
use crate::names::MachineId;
use crate::plan::fixtures::{self, Case, name, pool_name, secs};
use crate::plan::{Busy, Nodes};
use crate::provider::MachineState;
use crate::spec::Spec;

/// Four workers of which the last two drain; `wanted` are asked for now.
fn draining(wanted: u32) -> Case {
    let mut case = Case::ready(4);
    for worker in ["lab1-workers-4", "lab1-workers-5"] {
        case.ledger.drain(&name(worker), Leaving::Surplus).unwrap();
    }
    case.spec = fixtures::spec(wanted);
    case
}

#[test]
fn what_was_sent_away_last_comes_back_first_and_is_ready_once_its_node_takes_work() {
    let mut case = draining(3);
    assert_snapshot!(case.plan(), @"
    do uncordon lab1-workers-4 from lab1-front-end-1
    do drain lab1-workers-5 from lab1-front-end-1
    ");
    case.seen.uncordoned.insert(name("lab1-workers-4"));
    assert_snapshot!(case.plan(), @"
    row lab1-workers-4: Draining -> Ready
    do drain lab1-workers-5 from lab1-front-end-1
    ");
}

#[test]
fn what_is_left_to_lack_is_made_new() {
    assert_snapshot!(draining(6).plan(), @"
    row lab1-workers-6: new, Creating
    row lab1-workers-7: new, Creating
    do uncordon lab1-workers-4 from lab1-front-end-1
    do uncordon lab1-workers-5 from lab1-front-end-1
    do create lab1-workers-6 (2x4Gi)
    do create lab1-workers-7 (2x4Gi)
    ");
}

#[test]
fn what_is_empty_broken_or_gone_does_not_come_back() {
    let mut case = draining(4);
    case.seen.drained.insert(name("lab1-workers-4"));
    case.state(&name("lab1-workers-5"), MachineState::Failed("host is down".into()));
    assert_snapshot!(case.plan(), @"
    row lab1-workers-4: Draining -> Deleting (its pool is to be smaller)
    row lab1-workers-5: Draining -> Deleting (its pool is to be smaller)
    row lab1-workers-6: new, Creating
    row lab1-workers-7: new, Creating
    do delete lab1-workers-4 (m-lab1-workers-4)
    do delete lab1-workers-5 (m-lab1-workers-5)
    do create lab1-workers-6 (2x4Gi)
    do create lab1-workers-7 (2x4Gi)
    ");
}

#[test]
fn the_drain_that_runs_ends_first_and_no_new_machine_is_made_meanwhile() {
    let mut case = draining(3);
    case.seen.busy.insert(name("lab1-workers-4"), Busy { what: "drain".into(), since: secs(9) });
    assert_snapshot!(case.plan(), @"
    do drain lab1-workers-5 from lab1-front-end-1
    wait lab1-workers-4: drain runs (9s)
    ");
}

#[test]
fn without_a_front_end_that_answers_it_waits_and_without_nodes_it_is_back_at_once() {
    let mut case = draining(4);
    case.state(&name("lab1-front-end-1"), MachineState::Building);
    assert_snapshot!(case.plan(), @"
    wait lab1-front-end-1: starts from its disk (0s)
    wait lab1-workers-4: waits for a front-end that answers (0s)
    wait lab1-workers-5: waits for a front-end that answers (0s)
    ");
    let mut case = draining(4);
    case.seen.nodes = Nodes::Unused;
    assert_snapshot!(case.plan(), @"
    row lab1-workers-4: Draining -> Ready
    row lab1-workers-5: Draining -> Ready
    ");
}

#[test]
fn one_that_was_never_ready_goes_on_with_its_steps() {
    let mut case = Case::ready(0);
    case.spec = fixtures::spec(1);
    let worker = case.creating("workers");
    case.run(&worker);
    case.ledger.sight(&worker, &MachineId::from("m-lab1-workers-2")).unwrap();
    case.ledger.configure(&worker).unwrap();
    case.ledger.step_done(&worker, &fixtures::step("base/setup", &[], &[])).unwrap();
    case.ledger.drain(&worker, Leaving::Surplus).unwrap();
    case.seen.uncordoned.insert(worker);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Draining -> Configuring
    do run kubernetes/join on lab1-workers-2 with facts from lab1-front-end-1
    ");
}

/// A worker that was stopped; the cluster still believes its last word, said in boot-1.
fn restarted() -> Case {
    let mut case = Case::ready(1);
    let worker = name("lab1-workers-2");
    case.state(&worker, MachineState::Stopped);
    let plan = crate::plan::plan(&case.spec, &case.ledger, &case.seen, fixtures::now());
    assert!(
        plan.ledger.row(&worker).unwrap().restarted(),
        "it is written down before the machine is started"
    );
    case.ledger = plan.ledger;
    case.state(&worker, MachineState::Running);
    case
}

#[test]
fn a_node_is_believed_after_a_restart_once_it_reports_the_boot_that_runs() {
    let mut case = restarted();
    let worker = name("lab1-workers-2");
    assert_snapshot!(case.plan(), @"
    do ask which boot of lab1-workers-2 runs
    wait lab1-workers-2: its node is not ready: it has not reported since its machine was started (0s of 3m)
    ");
    case.seen.boots.insert(worker.clone(), "boot-2".into());
    assert_snapshot!(case.plan(), @"wait lab1-workers-2: its node is not ready: it has not reported since its machine was started (0s of 3m)");
    if let Nodes::Known(nodes) = &mut case.seen.nodes {
        nodes.get_mut(&worker).unwrap().boot = Some("boot-2".into());
    }
    let plan = crate::plan::plan(&case.spec, &case.ledger, &case.seen, fixtures::now());
    assert!(plan.is_settled() && !plan.ledger.row(&worker).unwrap().restarted(), "{plan}");
}

#[test]
fn a_node_that_does_not_report_after_a_restart_joins_again() {
    let mut case = restarted();
    let worker = name("lab1-workers-2");
    case.seen.boots.insert(worker.clone(), "boot-2".into());
    case.age(&worker, Age { node: secs(180), ..Age::default() });
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Ready -> Configuring
    do run kubernetes/join on lab1-workers-2 with facts from lab1-front-end-1
    ");
}

#[test]
fn a_recipe_that_does_not_say_boots_is_believed() {
    let mut case = restarted();
    if let Nodes::Known(nodes) = &mut case.seen.nodes {
        nodes.get_mut(&name("lab1-workers-2")).unwrap().boot = None;
    }
    assert_snapshot!(case.plan(), @"");
}

/// The same with other recipes.
fn changed(mut spec: Spec) -> Spec {
    for pool in spec.pools.values_mut() {
        pool.steps.push(fixtures::step("extra/step", &[], &[]));
    }
    spec
}

#[test]
fn a_front_end_whose_recipes_changed_is_told_and_left_alone() {
    let mut case = Case::ready(1);
    case.spec = changed(case.spec);
    case.seen.limits.give_up_front_end = Some(name("lab1-front-end-1"));
    let plan = crate::plan::plan(&case.spec, &case.ledger, &case.seen, fixtures::now());
    assert!(plan.is_settled(), "{plan}");
    assert_eq!(plan.ledger, case.ledger);
    assert_eq!(plan.outdated, [name("lab1-front-end-1"), name("lab1-workers-2")]);
    // Nor is it the one that goes when the pool is to be smaller.
    case.spec.pools.get_mut(&pool_name("front-end")).unwrap().size = 0..=0;
    assert!(
        case.plan().starts_with("stop: front-end lab1-front-end-1 is more than was asked for"),
        "{}",
        case.plan()
    );
}
