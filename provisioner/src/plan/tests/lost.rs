//! Rows whose machine failed, is late, is missing or was stopped.

use insta::assert_snapshot;

use super::unseen;
use crate::ages::Age;
use crate::names::MachineId;
use crate::plan::fixtures::{self, Case, name, pool_name, secs};
use crate::provider::MachineState;

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
fn machines_and_network_that_are_not_there_end_the_run_instead_of_a_wait_without_end() {
    let mut case = Case::ready(1);
    for machine in ["lab1-front-end-1", "lab1-workers-2"] {
        case.gone(&name(machine));
        case.age(&name(machine), unseen(60));
    }
    (case.seen.scaffold, case.seen.no_scaffold) = (false, true);
    assert_snapshot!(case.plan(), @"stop: the cluster's network is not in this cloud, and neither are 2 of 2 machines: lab1-front-end-1, lab1-workers-2; was it taken down from another computer, or is this another cloud? the same command again asks for each machine; `cluster down` forgets them");
    case.age(&name("lab1-workers-2"), unseen(20));
    case.age(&name("lab1-front-end-1"), unseen(20));
    assert!(!case.plan().contains("stop"), "not before the settle time");
}

#[test]
fn a_drain_of_a_machine_that_is_not_listed_ends_with_its_time_limit() {
    let mut case = Case::ready(1);
    let worker = name("lab1-workers-2");
    case.spec = fixtures::spec(0);
    case.ledger.drain(&worker, crate::ledger::Leaving::Surplus).unwrap();
    case.gone(&worker);
    case.seen.scaffold = false;
    case.age(&worker, unseen(60).having(crate::ledger::Phase::Draining, secs(299)));
    assert!(case.plan().starts_with("wait lab1-workers-2: not in the cloud's list"), "{}", case.plan());
    case.age(&worker, unseen(60).having(crate::ledger::Phase::Draining, secs(300)));
    let plan = case.plan();
    assert!(plan.starts_with("row lab1-workers-2: Draining -> Deleting"), "{plan}");
    assert!(plan.contains("do ask whether lab1-workers-2 (m-lab1-workers-2) exists"), "{plan}");
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
    assert_snapshot!(case.plan(), @"stop: 3 of 7 machines are gone together, though nobody here deleted them: lab1-workers-2, lab1-workers-3, lab1-workers-4; check the cloud; if they are really lost, say so with `--accept-lost`");
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
    let now = fixtures::now();
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
    assert_snapshot!(case.plan(), @"stop: front-end lab1-front-end-1 is lost (failed: disk error), and with it the cluster's state: every Kubernetes object, certificate and token; bring the machine back if you can, else `cluster up --rebuild-front-end` makes a new one and replaces every worker with it");
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
