//! Sizes of pools, machines that leave, machines of others, and the end.

use std::collections::BTreeSet;
use std::time::Duration;

use insta::assert_snapshot;

use crate::ages::Age;
use crate::ledger::{Closing, Leaving, Phase};
use crate::names::{CloudId, ClusterId, ImageName, LedgerId, MachineId};
use crate::plan::Busy;
use crate::plan::fixtures::{self, Case, name, pool_name, secs};
use crate::provider::Owner;
use crate::spec::Baked;

#[test]
fn a_new_machine_boots_the_prepared_image_and_has_its_steps_behind_it() {
    let mut case = Case::new(1);
    // One machine was asked for before there was an image: it keeps what it was asked with.
    let plain = case.creating("front-end");
    for pool in case.spec.pools.values_mut() {
        let steps = BTreeSet::from([pool.steps[0].id.clone()]);
        pool.baked = Some(Baked { image: ImageName::from("debian-12+baked-1"), steps });
    }
    let plan = crate::plan::plan(&case.spec, &case.ledger, &case.seen, fixtures::now());
    let images: Vec<_> =
        plan.ledger.rows().iter().map(|(name, row)| format!("{name} {}", row.image)).collect();
    assert_eq!(images, ["lab1-front-end-1 debian-12", "lab1-workers-2 debian-12+baked-1"]);
    case.ledger = plan.ledger;
    case.run(&plain);
    case.run(&name("lab1-workers-2"));
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Creating -> Configuring
    row lab1-workers-2: Creating -> Configuring
    do run base/setup on lab1-front-end-1
    wait lab1-workers-2: waits for kubernetes/init on lab1-front-end-1 (0s)
    ");
    // Another image is none of its steps' word: they are checked.
    case.spec.pools.get_mut(&pool_name("workers")).unwrap().baked.as_mut().unwrap().image =
        ImageName::from("debian-12+baked-2");
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Creating -> Configuring
    row lab1-workers-2: Creating -> Configuring
    do run base/setup on lab1-front-end-1
    do run base/setup on lab1-workers-2
    ");
}

#[test]
fn a_pool_above_its_size_drains_its_newest() {
    let mut case = Case::ready(3);
    case.spec = fixtures::spec(1);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-3: Ready -> Draining (its pool is to be smaller)
    row lab1-workers-4: Ready -> Draining (its pool is to be smaller)
    do drain lab1-workers-3 from lab1-front-end-1
    do drain lab1-workers-4 from lab1-front-end-1
    ");
}

#[test]
fn a_pool_that_is_gone_or_the_daemons_is_drained() {
    let mut case = Case::ready(1);
    case.spec.pools.get_mut(&pool_name("workers")).unwrap().size = 0..=3;
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Ready -> Draining (its pool is to be smaller)
    do drain lab1-workers-2 from lab1-front-end-1
    ");
    case.spec.pools.remove(&pool_name("workers"));
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Ready -> Draining (its pool is to be smaller)
    do drain lab1-workers-2 from lab1-front-end-1
    ");
}

#[test]
fn draining_ends_with_its_job_or_by_force() {
    let mut case = Case::ready(1);
    case.spec = fixtures::spec(0);
    let worker = name("lab1-workers-2");
    case.ledger.drain(&worker, Leaving::Surplus).unwrap();
    case.seen.busy.insert(worker.clone(), Busy { what: "drain".into(), since: secs(9) });
    assert_snapshot!(case.plan(), @"wait lab1-workers-2: drain runs (9s)");
    case.seen.busy.clear();
    case.age(&worker, Age::default().having(Phase::Draining, secs(300)));
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Draining -> Deleting (its pool is to be smaller)
    do delete lab1-workers-2 (m-lab1-workers-2)
    ");
    case.age(&worker, Age::default());
    case.seen.drained.insert(worker);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Draining -> Deleting (its pool is to be smaller)
    do delete lab1-workers-2 (m-lab1-workers-2)
    ");
}

#[test]
fn deleting_ends_when_the_cloud_says_no_and_the_node_is_forgotten() {
    let mut case = Case::ready(1);
    case.spec = fixtures::spec(0);
    let worker = name("lab1-workers-2");
    case.ledger.delete(&worker, Leaving::Surplus).unwrap();
    assert_snapshot!(case.plan(), @"do delete lab1-workers-2 (m-lab1-workers-2)");
    case.gone(&worker);
    assert_snapshot!(case.plan(), @"do ask whether lab1-workers-2 (m-lab1-workers-2) exists");
    case.seen.exists.insert(MachineId::from("m-lab1-workers-2"), false);
    assert_snapshot!(case.plan(), @"do forget node lab1-workers-2 on lab1-front-end-1");
    case.seen.forgotten.insert(worker);
    assert_snapshot!(case.plan(), @"row lab1-workers-2: forgotten");
}

#[test]
fn of_two_machines_of_one_name_the_one_seen_first_stays() {
    let mut case = Case::ready(1);
    let worker = name("lab1-workers-2");
    let double = case.machine(&worker, "a-lower-id");
    case.machines().push(double);
    assert_snapshot!(case.plan(), @"
    do delete lab1-workers-2 (a-lower-id)
    wait lab1-workers-2: another machine of this name is deleted first (0s)
    ");
}

#[test]
fn a_machine_of_this_ledger_without_a_row_is_adopted_never_deleted() {
    let mut case = Case::ready(0);
    case.spec = fixtures::spec(1);
    let machine = case.machine(&name("lab1-workers-7"), "m-7");
    case.machines().push(machine);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-7: new, Configuring
    do run base/setup on lab1-workers-7
    ");
    let plan = crate::plan::plan(&case.spec, &case.ledger, &case.seen, fixtures::now());
    assert_eq!(plan.ledger.next_ordinal, 8);
}

#[test]
fn the_other_owners_machines_are_not_touched_and_count_towards_the_maximum() {
    let mut case = Case::ready(0);
    case.spec = fixtures::spec(2);
    for ordinal in [8, 9] {
        let mut machine = case.machine(&name(&format!("lab1-workers-{ordinal}")), &format!("m-{ordinal}"));
        (machine.tags.owner, machine.tags.ledger) = (Owner::Autoscaler, LedgerId::from("daemon-1"));
        case.machines().push(machine);
    }
    assert_snapshot!(case.plan(), @"wait pool workers: has its maximum of 2 machines, others' among them (0s)");
}

#[test]
fn our_name_under_another_id_and_our_owner_under_another_ledger_stop() {
    let mut case = Case::ready(0);
    let mut machine = case.machine(&name("lab1-workers-2"), "m-2");
    machine.tags.ledger = LedgerId::from("cli-2");
    case.machines().push(machine);
    assert_snapshot!(case.plan(), @"stop: lab1-workers-2 belong to ledger cli-2, not to this one: another computer or folder manages them; use that one, or take them over with `continuum cluster adopt`");
    case.machines()[1].tags.cluster = ClusterId::new("lab1-zzzzzzzz").unwrap();
    assert_snapshot!(case.plan(), @"stop: another cluster of this name is there: lab1-workers-2 of cluster id lab1-zzzzzzzz; choose another name, take that one over with `continuum cluster adopt`, or take it down first");
    case.seen.cloud = CloudId::from("elsewhere");
    assert_snapshot!(case.plan(), @"stop: the ledger is for cloud here, but elsewhere answers; check the provider's settings in the cluster file");
}

#[test]
fn closing_deletes_everything_of_the_cluster_whoever_the_owner() {
    let mut case = Case::ready(1);
    case.creating("workers");
    let mut machine = case.machine(&name("lab1-elastic-9"), "m-9");
    (machine.tags.owner, machine.tags.ledger) = (Owner::Autoscaler, LedgerId::from("daemon-1"));
    case.machines().push(machine);
    case.ledger.close(Closing { at: fixtures::now(), grace_secs: 0 });
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Ready -> Deleting (the cluster is taken down)
    row lab1-workers-2: Ready -> Deleting (the cluster is taken down)
    row lab1-workers-3: forgotten
    do delete lab1-front-end-1 (m-lab1-front-end-1)
    do delete lab1-workers-2 (m-lab1-workers-2)
    do delete lab1-elastic-9 (m-9)
    ");
}

#[test]
fn closing_with_grace_drains_first_and_forces_then() {
    let mut case = Case::ready(1);
    case.ledger.close(Closing { at: fixtures::now(), grace_secs: 30 });
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Ready -> Draining (the cluster is taken down)
    do drain lab1-workers-2 from lab1-front-end-1
    wait lab1-front-end-1: goes last, after the machines that it empties (0s)
    ");
    let worker = name("lab1-workers-2");
    case.ledger.drain(&worker, Leaving::Closing).unwrap();
    case.age(&worker, Age::default().having(Phase::Draining, Duration::from_secs(30)));
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Draining -> Deleting (the cluster is taken down)
    do delete lab1-workers-2 (m-lab1-workers-2)
    wait lab1-front-end-1: goes last, after the machines that it empties (0s)
    ");
}

#[test]
fn a_thousand_machines_are_planned_in_time() {
    let case = Case::ready(1000);
    let began = crate::clock::monotonic();
    assert_eq!(case.plan(), "");
    // Two orders of magnitude above what it takes: this finds a square, not a slow computer.
    assert!(began.elapsed() < secs(2), "{:?}", began.elapsed());
}
