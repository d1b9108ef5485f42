//! Rows whose machine is there or on its way.

use insta::assert_snapshot;

use super::asked;
use crate::ages::Age;
use crate::names::Zone;
use crate::plan::fixtures::{self, Case, name, pool_name, secs};
use crate::plan::{Busy, Held, Nodes};
use crate::provider::{MachineState, ProviderError};

#[test]
fn an_empty_cloud_gets_every_machine_at_once_the_front_end_first() {
    assert_snapshot!(Case::new(2).plan(), @"
    row lab1-front-end-1: new, Creating
    row lab1-workers-2: new, Creating
    row lab1-workers-3: new, Creating
    do create lab1-front-end-1 (2x4Gi)
    do create lab1-workers-2 (2x4Gi)
    do create lab1-workers-3 (2x4Gi)
    ");
}

#[test]
fn creating_asked_and_not_quiet_waits() {
    let mut case = Case::new(0);
    let front_end = case.creating("front-end");
    case.age(&front_end, asked(20));
    assert_snapshot!(case.plan(), @"wait lab1-front-end-1: asked for, not listed yet (20s of 1m)");
}

#[test]
fn creating_quiet_and_never_seen_is_asked_for_again() {
    let mut case = Case::new(0);
    let front_end = case.creating("front-end");
    case.age(&front_end, asked(60));
    assert_snapshot!(case.plan(), @"do create lab1-front-end-1 (2x4Gi)");
}

#[test]
fn creating_refused_for_lack_of_room_tries_the_next_zone() {
    let mut case = Case::ready(0);
    let worker = case.creating("workers");
    let pool = case.spec.pools.get_mut(&pool_name("workers")).unwrap();
    (pool.size, pool.zones) = (1..=1, vec![Zone::from(""), Zone::from("b")]);
    let error = ProviderError::NoCapacity { message: "no host has room".into() };
    case.seen.refused.insert(worker, error);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-3: new, Creating
    row lab1-workers-2: forgotten
    do create lab1-workers-3 (2x4Gi)
    ");
}

#[test]
fn creating_refused_everywhere_waits_for_the_back_off() {
    let mut case = Case::ready(0);
    let worker = case.creating("workers");
    case.spec.pools.get_mut(&pool_name("workers")).unwrap().size = 1..=1;
    let error = ProviderError::Quota { message: "instances: 3 of 3 used".into() };
    case.seen.refused.insert(worker, error);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: forgotten
    wait pool workers: tries again later: quota: instances: 3 of 3 used (0s of 10s)
    ");
}

#[test]
fn creating_rejected_is_given_up_at_once() {
    let mut case = Case::ready(0);
    let worker = case.creating("workers");
    case.spec.pools.get_mut(&pool_name("workers")).unwrap().size = 1..=1;
    case.seen.refused.insert(worker, ProviderError::Rejected { message: "no image debian-12".into() });
    assert_snapshot!(case.plan(), @"stop: no machine of pool workers could be made, in any of its shapes and zones: no image debian-12; ask for another shape or zone, or try again later");
}

#[test]
fn creating_and_building_waits_and_running_gets_its_first_step() {
    let mut case = Case::new(1);
    let front_end = case.creating("front-end");
    let worker = case.creating("workers");
    case.run(&front_end);
    case.run(&worker);
    case.state(&worker, MachineState::Building);
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Creating -> Configuring
    do run base/setup on lab1-front-end-1
    wait lab1-workers-2: boots (0s of 15m)
    ");
}

#[test]
fn the_host_key_is_replaced_before_the_first_step() {
    let mut case = Case::new(0);
    let front_end = case.creating("front-end");
    case.run(&front_end);
    case.seen.limits.rotate_host_keys = true;
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Creating -> Configuring
    do replace the host key of lab1-front-end-1
    ");
}

#[test]
fn a_worker_waits_for_the_step_of_the_front_end_that_its_own_needs() {
    let mut case = Case::new(1);
    for pool in ["front-end", "workers"] {
        let name = case.creating(pool);
        case.run(&name);
        case.ledger.configure(&name).unwrap();
        case.ledger.step_done(&name, &fixtures::step("base/setup", &[], &[])).unwrap();
    }
    assert_snapshot!(case.plan(), @"
    do run kubernetes/init on lab1-front-end-1
    wait lab1-workers-2: waits for kubernetes/init on lab1-front-end-1 (0s)
    ");
    let init = fixtures::step("kubernetes/init", &[], &[]);
    case.ledger.step_done(&name("lab1-front-end-1"), &init).unwrap();
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Configuring -> Ready
    do run kubernetes/join on lab1-workers-2 with facts from lab1-front-end-1
    wait lab1-front-end-1: its node is not ready: it has not registered (0s of 3m)
    ");
}

#[test]
fn configuring_with_its_last_step_done_is_ready() {
    let mut case = Case::ready(0);
    let front_end = case.creating("front-end");
    case.spec.pools.get_mut(&pool_name("front-end")).unwrap().size = 2..=2;
    case.run(&front_end);
    case.ledger.configure(&front_end).unwrap();
    for step in case.spec.pools[&pool_name("front-end")].steps.clone() {
        case.ledger.step_done(&front_end, &step).unwrap();
    }
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-2: Configuring -> Ready
    wait lab1-front-end-2: its node is not ready: it has not registered (0s of 3m)
    ");
}

#[test]
fn a_job_that_runs_and_one_that_failed_a_moment_ago_let_nothing_start() {
    let mut case = Case::new(1);
    for pool in ["front-end", "workers"] {
        let name = case.creating(pool);
        case.run(&name);
    }
    let busy = Busy { what: "base/setup".into(), since: secs(42) };
    case.seen.busy.insert(name("lab1-front-end-1"), busy);
    let held = Held { why: "not up yet: connection refused".into(), since: secs(3) };
    case.seen.held.insert(name("lab1-workers-2"), held);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Creating -> Configuring
    wait lab1-front-end-1: base/setup runs (42s)
    wait lab1-workers-2: will be tried again: not up yet: connection refused (3s of 15m)
    ");
}

#[test]
fn a_settled_cluster_has_nothing_to_do() {
    let case = Case::ready(2);
    assert!(crate::plan::plan(&case.spec, &case.ledger, &case.seen, fixtures::now()).is_settled());
    assert_snapshot!(case.plan(), @"");
}

#[test]
fn ready_without_its_node_waits_then_joins_again_then_is_replaced() {
    let mut case = Case::ready(1);
    let worker = name("lab1-workers-2");
    case.node(&worker, false);
    case.age(&worker, Age { node: secs(100), ..Age::default() });
    assert_snapshot!(case.plan(), @"wait lab1-workers-2: its node is not ready: kubelet stopped posting status (1m 40s of 3m)");
    case.age(&worker, Age { node: secs(180), ..Age::default() });
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Ready -> Configuring
    do run kubernetes/join on lab1-workers-2 with facts from lab1-front-end-1
    ");
    let steps = case.spec.pools[&pool_name("workers")].steps.clone();
    case.ledger.rejoin(&worker, &steps, &steps[1]).unwrap();
    case.ledger.step_done(&worker, &steps[1]).unwrap();
    case.ledger.ready(&worker, &steps).unwrap();
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Ready -> Deleting (it runs, but its node does not come)
    row lab1-workers-3: new, Creating
    do delete lab1-workers-2 (m-lab1-workers-2)
    do create lab1-workers-3 (2x4Gi)
    ");
}

#[test]
fn nodes_that_are_not_known_are_no_evidence() {
    let mut case = Case::ready(1);
    case.seen.nodes = Nodes::Unknown("lab1-front-end-1: connection refused".into());
    case.age(&name("lab1-workers-2"), Age { node: secs(9000), ..Age::default() });
    assert_snapshot!(case.plan(), @"wait cluster: nodes are not known: lab1-front-end-1: connection refused (0s)");
}
