//! One test for each row of the table in `docs/architecture.md`: a world goes in, the whole plan comes out.

use std::time::Duration;

use insta::assert_snapshot;

use super::fixtures::{Case, name, pool_name, secs};
use super::{Busy, Held, Nodes};
use crate::ages::Age;
use crate::ledger::{Closing, Leaving, Phase};
use crate::names::{CloudId, ClusterId, LedgerId, MachineId, Zone};
use crate::provider::{MachineState, Owner, ProviderError};

fn asked(seconds: u64) -> Age {
    Age { asked: Some(secs(seconds)), ..Age::default() }
}

fn unseen(seconds: u64) -> Age {
    Age { asked: Some(secs(3000)), seen: Some(secs(seconds)), ..Age::default() }
}

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
    assert_snapshot!(case.plan(), @"stop: no machine of pool workers could be made, in any of its shapes and zones: rejected: no image debian-12; ask for another shape or zone, or try again later");
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
        case.ledger.step_done(&name, &super::fixtures::step("base/setup", &[], &[])).unwrap();
    }
    assert_snapshot!(case.plan(), @"
    do run kubernetes/init on lab1-front-end-1
    wait lab1-workers-2: waits for kubernetes/init on lab1-front-end-1 (0s)
    ");
    let init = super::fixtures::step("kubernetes/init", &[], &[]);
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
    assert!(super::plan(&case.spec, &case.ledger, &case.seen, super::fixtures::now()).is_settled());
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

#[test]
fn a_failed_worker_is_deleted_and_its_place_waits_for_the_back_off() {
    let mut case = Case::ready(0);
    case.spec.pools.get_mut(&pool_name("workers")).unwrap().size = 1..=1;
    let worker = case.creating("workers");
    case.run(&worker);
    case.state(&worker, MachineState::Failed("no valid host".into()));
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Creating -> Deleting (failed: no valid host)
    do delete lab1-workers-2 (m-lab1-workers-2)
    wait pool workers: tries again later: failed: no valid host (0s of 10s)
    ");
}

#[test]
fn a_worker_that_is_not_ready_in_time_goes_unless_its_node_is_ready() {
    let mut case = Case::ready(0);
    case.spec.pools.get_mut(&pool_name("workers")).unwrap().size = 1..=1;
    let worker = case.creating("workers");
    case.run(&worker);
    case.age(&worker, Age { boot: secs(15 * 60), ..Age::default() });
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Creating -> Deleting (not ready in time)
    do delete lab1-workers-2 (m-lab1-workers-2)
    wait pool workers: tries again later: not ready in time (0s of 10s)
    ");
    case.node(&worker, true);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Creating -> Configuring
    do run base/setup on lab1-workers-2
    ");
}

#[test]
fn a_worker_that_vanished_is_asked_about_and_replaced_under_a_new_name() {
    let mut case = Case::ready(2);
    let worker = name("lab1-workers-2");
    case.gone(&worker);
    case.age(&worker, unseen(20));
    assert_snapshot!(case.plan(), @"wait lab1-workers-2: not in the cloud's list: it was there a moment ago (20s of 1m)");
    case.age(&worker, unseen(60));
    assert_snapshot!(case.plan(), @"
    do ask whether lab1-workers-2 (m-lab1-workers-2) exists
    wait lab1-workers-2: not in the cloud's list: the cloud is asked (1m)
    ");
    case.seen.exists.insert(MachineId::from("m-lab1-workers-2"), false);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-2: Ready -> Deleting (gone, and nobody deleted it)
    row lab1-workers-4: new, Creating
    do forget node lab1-workers-2 on lab1-front-end-1
    do create lab1-workers-4 (2x4Gi)
    ");
}

#[test]
fn a_short_list_is_no_evidence_when_the_cloud_says_that_the_machine_exists() {
    let mut case = Case::ready(1);
    let worker = name("lab1-workers-2");
    case.gone(&worker);
    case.age(&worker, unseen(900));
    case.seen.exists.insert(MachineId::from("m-lab1-workers-2"), true);
    assert_snapshot!(case.plan(), @"wait lab1-workers-2: not in the cloud's list: the cloud says that it exists (15m)");
}

#[test]
fn nothing_counts_as_gone_in_a_pass_that_does_not_find_the_scaffold() {
    let mut case = Case::ready(1);
    let worker = name("lab1-workers-2");
    case.gone(&worker);
    case.age(&worker, unseen(900));
    case.seen.exists.insert(MachineId::from("m-lab1-workers-2"), false);
    case.seen.scaffold = false;
    assert_snapshot!(case.plan(), @"wait lab1-workers-2: not in the cloud's list: the cluster's network is not found either (15m)");
}

#[test]
fn a_cloud_that_does_not_answer_leads_to_nothing() {
    let mut case = Case::ready(1);
    case.creating("workers");
    case.seen.machines = Err("unavailable: list: no answer within 10 s".into());
    assert_snapshot!(case.plan(), @"wait cluster: the cloud does not answer: unavailable: list: no answer within 10 s (0s)");
}

#[test]
fn machines_that_vanish_together_stop_until_a_person_accepts_it() {
    let mut case = Case::ready(6);
    for ordinal in 2..=4 {
        let worker = name(&format!("lab1-workers-{ordinal}"));
        case.gone(&worker);
        case.age(&worker, unseen(60));
        case.seen.exists.insert(MachineId(format!("m-{worker}")), false);
    }
    assert_snapshot!(case.plan(), @"stop: 3 of 7 machines are gone together, though nobody here deleted them: lab1-workers-2, lab1-workers-3, lab1-workers-4; check the cloud, then say that they are really lost");
    case.seen.limits.accept_vanished = true;
    assert!(case.plan().contains("row lab1-workers-10: new"), "{}", case.plan());
}

#[test]
fn machines_that_may_vanish_together_wait_until_all_answers_are_there() {
    let mut case = Case::ready(6);
    for ordinal in 2..=4 {
        let worker = name(&format!("lab1-workers-{ordinal}"));
        case.gone(&worker);
        case.age(&worker, unseen(60));
    }
    case.seen.exists.insert(MachineId::from("m-lab1-workers-2"), false);
    assert_snapshot!(case.plan(), @"
    do ask whether lab1-workers-3 (m-lab1-workers-3) exists
    do ask whether lab1-workers-4 (m-lab1-workers-4) exists
    wait lab1-workers-3: not in the cloud's list: the cloud is asked (1m)
    wait lab1-workers-4: not in the cloud's list: the cloud is asked (1m)
    wait lab1-workers-2: not in the cloud's list: it is gone, and others are missing too (1m)
    ");
}

#[test]
fn losses_within_an_hour_have_a_budget() {
    let mut case = Case::ready(2);
    let now = super::fixtures::now();
    case.ledger.destroyed = vec![now - jiff::SignedDuration::from_mins(59); 5];
    let worker = name("lab1-workers-2");
    case.state(&worker, MachineState::Failed("host is down".into()));
    assert_snapshot!(case.plan(), @"wait lab1-workers-2: too many machines were lost within an hour to replace one more: failed: host is down (0s of 1h)");
}

#[test]
fn a_front_end_that_was_ready_and_is_lost_stops_and_names_what_is_lost() {
    let mut case = Case::ready(1);
    let front_end = name("lab1-front-end-1");
    case.state(&front_end, MachineState::Failed("disk error".into()));
    assert_snapshot!(case.plan(), @"stop: front-end lab1-front-end-1 is lost (failed: disk error), and with it the cluster's state: every Kubernetes object, certificate and token; bring the machine back if you can, else take the cluster down and up again");
}

#[test]
fn a_front_end_that_nothing_depends_on_yet_is_made_anew() {
    let mut case = Case::new(0);
    let front_end = case.creating("front-end");
    case.run(&front_end);
    case.gone(&front_end);
    case.ledger.sight(&front_end, &MachineId::from("m-1")).unwrap();
    case.age(&front_end, unseen(60));
    case.seen.exists.insert(MachineId::from("m-1"), false);
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-2: new, Creating
    row lab1-front-end-1: forgotten
    do create lab1-front-end-2 (2x4Gi)
    ");
}

#[test]
fn stopped_machines_are_started_from_their_disks() {
    let mut case = Case::ready(1);
    case.state(&name("lab1-front-end-1"), MachineState::Stopped);
    case.state(&name("lab1-workers-2"), MachineState::Stopped);
    assert_snapshot!(case.plan(), @"
    do start lab1-front-end-1 (m-lab1-front-end-1)
    do start lab1-workers-2 (m-lab1-workers-2)
    ");
}

#[test]
fn a_pool_above_its_size_drains_its_newest() {
    let mut case = Case::ready(3);
    case.spec = super::fixtures::spec(1);
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
    case.spec = super::fixtures::spec(0);
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
    case.spec = super::fixtures::spec(0);
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
    case.spec = super::fixtures::spec(1);
    let machine = case.machine(&name("lab1-workers-7"), "m-7");
    case.machines().push(machine);
    assert_snapshot!(case.plan(), @"
    row lab1-workers-7: new, Configuring
    do run base/setup on lab1-workers-7
    ");
    let plan = super::plan(&case.spec, &case.ledger, &case.seen, super::fixtures::now());
    assert_eq!(plan.ledger.next_ordinal, 8);
}

#[test]
fn the_other_owners_machines_are_not_touched_and_count_towards_the_maximum() {
    let mut case = Case::ready(0);
    case.spec = super::fixtures::spec(2);
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
    assert_snapshot!(case.plan(), @"stop: lab1-workers-2 belong to ledger cli-2, not to this one: another computer or folder manages them; use that one, or adopt them (`continuum cluster adopt`)");
    case.machines()[1].tags.cluster = ClusterId::new("lab1-zzzzzzzz").unwrap();
    assert_snapshot!(case.plan(), @"stop: another cluster of this name is there: lab1-workers-2 of cluster id lab1-zzzzzzzz; choose another name, or adopt it (`continuum cluster adopt`)");
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
    case.ledger.close(Closing { at: super::fixtures::now(), grace_secs: 0 });
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
    case.ledger.close(Closing { at: super::fixtures::now(), grace_secs: 30 });
    let worker = name("lab1-workers-2");
    case.ledger.drain(&worker, Leaving::Closing).unwrap();
    case.age(&worker, Age::default().having(Phase::Draining, Duration::from_secs(30)));
    assert_snapshot!(case.plan(), @"
    row lab1-front-end-1: Ready -> Draining (the cluster is taken down)
    row lab1-workers-2: Draining -> Deleting (the cluster is taken down)
    do delete lab1-workers-2 (m-lab1-workers-2)
    wait lab1-front-end-1: waits for a front-end that answers (0s of 30s)
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
