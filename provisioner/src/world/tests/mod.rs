//! The engine over the world: whole runs.

mod adoption;
mod crash;
mod daemon;
mod laws;
mod promises;
mod rebuild;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Faults, World};
use crate::events::Sink;
use crate::ledger::{Ledger, Phase};
use crate::names::{ClusterId, LedgerId};
use crate::plan::{Limits, Stop, fixtures};
use crate::provider::Owner;
use crate::reconcile::{Ended, Reconciler};
use crate::spec::Spec;
use crate::teardown::{self, Down};

const HOUR: Duration = Duration::from_secs(3600);

fn new_ledger() -> Ledger {
    Ledger::new(
        LedgerId::from("cli-1"),
        Owner::Cli,
        ClusterId::new("lab1-7k2m9qxa").unwrap(),
        World::cloud_id(),
    )
}

/// One `up`: a new process over what is stored. `None`: killed, or not done within an hour.
async fn up(world: &World, spec: &Spec) -> Option<Ended> {
    world.drive(settle(world, spec), HOUR).await
}

async fn settle(world: &World, spec: &Spec) -> Ended {
    let ledger = world.stored().unwrap_or_else(new_ledger);
    let mut engine = Reconciler::new(world.parts(Sink::none()), ledger, Limits::default());
    engine.settle(spec, &CancellationToken::new()).await.unwrap()
}

fn names(world: &World) -> Vec<String> {
    world.machines().iter().map(|machine| machine.tags.machine.to_string()).collect()
}

/// Rows and machines are the same, all Ready, and the pools as large as asked for.
fn assert_whole(world: &World, spec: &Spec, context: &str) {
    let ledger = world.stored().unwrap();
    let mut rows: Vec<_> = ledger.rows().iter().map(|(name, row)| (name.to_string(), row.phase())).collect();
    rows.sort();
    let mut machines: Vec<_> = names(world).into_iter().map(|name| (name, Phase::Ready)).collect();
    machines.sort();
    assert_eq!(rows, machines, "{context}");
    let mut sizes = BTreeMap::new();
    for row in ledger.rows().values() {
        *sizes.entry(row.pool.clone()).or_insert(0) += 1;
    }
    let asked: BTreeMap<_, _> =
        spec.pools.iter().map(|(name, pool)| (name.clone(), *pool.size.end())).collect();
    assert_eq!(sizes, asked, "{context}");
}

#[tokio::test]
async fn up_makes_a_cluster_and_the_second_up_does_nothing() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "first");
    assert_eq!(names(&world), ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"]);
    let (log, stored) = (world.log(), world.stored());
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_eq!((world.log(), world.stored()), (log, stored));
}

#[tokio::test]
async fn one_more_worker_touches_no_machine_that_is_ready() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(2)).await;
    let before = world.log().len();
    assert_eq!(up(&world, &fixtures::spec(3)).await, Some(Ended::Settled));
    let after: Vec<_> = world.log()[before..].iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(after, ["lab1-workers-4", "lab1-workers-4"]);
}

#[tokio::test]
async fn one_worker_less_drains_the_newest_and_forgets_its_node() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(3)).await;
    let before = world.log().len();
    assert_eq!(up(&world, &fixtures::spec(2)).await, Some(Ended::Settled));
    assert_whole(&world, &fixtures::spec(2), "smaller");
    assert_eq!(names(&world), ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"]);
    let jobs: Vec<_> = world.log()[before..].iter().map(|(on, unit)| format!("{on} {unit}")).collect();
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0].starts_with("lab1-front-end-1 continuum-drain-lab1-workers-4-"), "{jobs:?}");
    assert!(jobs[1].starts_with("lab1-front-end-1 continuum-forget-lab1-workers-4-"), "{jobs:?}");
    assert!(!world.nodes().contains(&fixtures::name("lab1-workers-4")));
}

#[tokio::test]
async fn a_worker_that_is_gone_is_replaced_under_a_new_name() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    world.destroy(&fixtures::name("lab1-workers-2"));
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "replaced");
    let nodes: Vec<_> = world.nodes().iter().map(ToString::to_string).collect();
    assert_eq!(nodes, ["lab1-front-end-1", "lab1-workers-3", "lab1-workers-4"]);
}

#[tokio::test]
async fn a_worker_that_was_switched_off_is_started_again_from_its_disk() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let log = world.log();
    world.switch_off(&fixtures::name("lab1-workers-2"));
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_eq!(world.log(), log);
    assert_eq!(world.stale(), [], "its node has reported since");
    assert_eq!(names(&world), ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_a_day_delays_nothing() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    let jump = async {
        world.sleep(Duration::from_secs(4)).await;
        world.set_clock(-24 * 3600);
    };
    let both = async { futures::join!(jump, settle(&world, &spec)).1 };
    let began = world.true_time();
    assert_eq!(world.drive(both, HOUR).await, Some(Ended::Settled));
    let took = world.true_time().duration_since(began).as_secs();
    assert!(took < 30, "{took} s");
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_makes_no_list_settle_sooner() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(0));
    up(&world, &spec).await;
    let jump = async {
        world.sleep(Duration::from_secs(3)).await;
        world.set_clock(3600);
    };
    let (cancel, began) = (CancellationToken::new(), world.true_time());
    let run = teardown::down(world.parts(Sink::none()), world.stored().unwrap(), Duration::ZERO, &cancel);
    let both = async { futures::join!(jump, run).1.unwrap() };
    assert_eq!(world.drive(both, HOUR).await, Some(Down::Gone));
    let took = world.true_time().duration_since(began).as_secs();
    assert!(took >= 20, "{took} s");
}

#[tokio::test]
async fn a_cluster_that_was_taken_down_elsewhere_ends_the_run_and_down_forgets_it() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(1));
    up(&world, &spec).await;
    let other = world.seat(1);
    let ledger = world.stored().unwrap();
    let stand_in = teardown::stand_in(LedgerId::from("other"), ledger.cluster.clone(), World::cloud_id());
    assert_eq!(down(&other, stand_in).await, Some(Down::Gone));
    let Some(Ended::Stopped(Stop::NoGround { machines, of })) = up(&world, &spec).await else {
        panic!("it must stop")
    };
    assert_eq!((machines.len(), of), (2, 2));
    assert_eq!(down(&world, ledger).await, Some(Down::Gone));
}

#[tokio::test]
async fn a_front_end_that_is_gone_stops_with_what_is_lost() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let front_end = fixtures::name("lab1-front-end-1");
    world.destroy(&front_end);
    let ended = up(&world, &spec).await;
    let why = "gone, and nobody deleted it".to_owned();
    assert_eq!(ended, Some(Ended::Stopped(Stop::FrontEndLost { name: front_end, why, others: false })));
    assert_eq!(names(&world), ["lab1-workers-2", "lab1-workers-3"], "nothing else was touched");
}

#[tokio::test]
async fn an_older_ledger_adopts_what_it_does_not_know() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(1)).await;
    let older = world.stored();
    up(&world, &fixtures::spec(3)).await;
    world.restore(older.as_ref());
    assert_eq!(up(&world, &fixtures::spec(3)).await, Some(Ended::Settled));
    assert_whole(&world, &fixtures::spec(3), "adopted");
    let expected = ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3", "lab1-workers-4"];
    assert_eq!(names(&world), expected, "nothing was deleted and no name was used twice");
}

#[tokio::test]
async fn a_step_that_keeps_failing_stops_the_run_with_its_last_lines() {
    let (world, spec) = (World::new(1, Faults { step_fails: 1000, ..Faults::none() }), fixtures::spec(1));
    let Some(Ended::Stopped(Stop::StepFailed { step, why, tail, .. })) = up(&world, &spec).await else {
        panic!("the run must stop")
    };
    assert_eq!((step.to_string().as_str(), why.as_str()), ("base/setup", "exit status 1"));
    assert_eq!(tail, ["something went wrong"]);
    world.calm();
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled), "the next run really tries again");
}

async fn down(world: &World, ledger: Ledger) -> Option<Down> {
    let cancel = CancellationToken::new();
    let run = teardown::down(world.parts(Sink::none()), ledger, Duration::ZERO, &cancel);
    world.drive(run, HOUR).await.map(|ended| ended.unwrap())
}

#[tokio::test]
async fn down_is_saved_even_if_no_row_changes() {
    let world = World::new(1, Faults::none());
    let mut ledger = new_ledger();
    ledger.generation = 1;
    world.restore(Some(&ledger));
    assert_eq!(down(&world, ledger).await, Some(Down::Gone));
    assert!(world.stored().unwrap().closing.is_some(), "a daemon of this cluster must hear of it");
}

#[tokio::test]
async fn down_leaves_nothing_and_says_so_only_after_two_settle_times() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let before = world.clock().now();
    assert_eq!(down(&world, world.stored().unwrap()).await, Some(Down::Gone));
    let took = world.clock().now().duration_since(before).as_secs();
    assert!(took >= 20, "{took} s");
    assert_eq!(world.machines().len(), 0);
    let left = world.stored().unwrap();
    assert!(left.rows().is_empty() && left.closing.is_some());
}

#[tokio::test]
async fn down_works_without_a_ledger_by_the_tags_alone() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    world.restore(None);
    let found = world.drive(teardown::find(&world, &spec.cluster), HOUR).await.unwrap().unwrap();
    let ids: Vec<_> = found.keys().cloned().collect();
    assert_eq!((ids.len(), found.values().flatten().count()), (1, 3));
    let ledger = teardown::stand_in(LedgerId::from("other"), ids[0].clone(), World::cloud_id());
    assert_eq!(down(&world, ledger).await, Some(Down::Gone));
    assert_eq!(world.machines().len(), 0);
}

/// Ends that a bad day may have: what is lost is lost, and only a person can say what then.
fn is_for_a_person(ended: Option<&Ended>) -> bool {
    matches!(ended, Some(Ended::Stopped(Stop::FrontEndLost { .. } | Stop::Vanished { .. })))
}

#[tokio::test]
async fn after_a_bad_day_everything_converges() {
    let spec = fixtures::spec(3);
    let (mut converged, mut faults) = (0, 0);
    for seed in 0..30 {
        let world = World::new(seed, Faults { no_tokens: seed % 2 == 0, ..Faults::bad_day() });
        for run in 0..4 {
            // Most runs of a bad day are killed somewhere.
            world.kill_at(Some((seed * 37 + run * 61) % 250));
            let _ = up(&world, &spec).await;
            world.kill_at(None);
            world.drive(world.clock().sleep(Duration::from_secs(50)), HOUR).await;
        }
        world.calm();
        faults += world.faults();
        let ended = up(&world, &spec).await;
        if is_for_a_person(ended.as_ref()) {
            continue;
        }
        assert_eq!(ended, Some(Ended::Settled), "seed {seed}");
        assert_whole(&world, &spec, &format!("seed {seed}"));
        converged += 1;
    }
    // The day must have been bad, and most clusters must have lived through it.
    assert!(faults > 300 && converged >= 20, "{faults} faults, {converged} converged");
}
