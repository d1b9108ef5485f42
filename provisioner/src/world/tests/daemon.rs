//! The engine as a daemon has it: its own ledger, the front-end another's, and a hand that edits between look and plan.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{HOUR, names, up};
use crate::events::Sink;
use crate::ledger::{Closing, Leaving, Ledger, NewRow, Phase};
use crate::names::{ClusterId, LedgerId, MachineName};
use crate::plan::{Limits, NodeState, Nodes, fixtures};
use crate::provider::Owner;
use crate::reconcile::{Reconciler, Sighted, Ticked};
use crate::spec::Spec;
use crate::store::StoreError;
use crate::world::{Faults, World};

/// A front-end, and up to three workers that are the daemon's.
fn elastic() -> Spec {
    let mut spec = fixtures::spec(0);
    spec.pools.get_mut(&fixtures::pool_name("workers")).unwrap().size = 0..=3;
    spec
}

struct Daemon {
    world: World,
    engine: Reconciler,
}

impl Daemon {
    fn new(world: &World) -> Self {
        let world = world.seat(1);
        let cluster = ClusterId::new("lab1-7k2m9qxa").unwrap();
        let new = || Ledger::new(LedgerId::from("daemon-1"), Owner::Autoscaler, cluster, World::cloud_id());
        let ledger = world.stored().unwrap_or_else(new);
        let limits = Limits { give_up: None, ..Limits::default() };
        let engine = Reconciler::new(world.parts(Sink::none()), ledger, limits);
        Self { world, engine }
    }

    /// What the cluster's API says of its nodes.
    fn nodes(&self) -> Nodes {
        let state = self.world.state();
        let now = self.world.clock.now();
        let of = |ready: bool| NodeState { ready, reason: "it boots".into(), boot: None };
        Nodes::Known(
            state.nodes.iter().map(|((_, name), node)| (name.clone(), of(node.ready <= now))).collect(),
        )
    }

    async fn tick(&mut self, edit: impl FnOnce(&Sighted<'_>) -> Ledger) -> Result<Ticked, StoreError> {
        let (spec, nodes) = (elastic(), self.nodes());
        let sighted = self.engine.begin_tick(&spec, nodes).await;
        let (edited, now) = (edit(&sighted), sighted.now);
        self.engine.carry_out(&spec, &edited, now).await
    }

    /// One edit, then ticks that change nothing, for so long.
    async fn run(&mut self, time: Duration, edit: impl FnOnce(&mut Ledger)) -> Option<Ticked> {
        let world = self.world.clone();
        let work = async {
            let until = world.clock().steady() + time;
            let mut first = Some(edit);
            let mut last = None;
            while world.clock().steady() < until {
                let first = first.take();
                let ticked = self.tick(|seen| {
                    let mut ledger = seen.ledger.clone();
                    if let Some(edit) = first {
                        edit(&mut ledger);
                    }
                    ledger
                });
                last = Some(ticked.await.unwrap());
                tokio::select! {
                    () = self.engine.stirs() => {}
                    () = world.sleep(Duration::from_secs(1)) => {}
                }
            }
            last
        };
        world.drive(work, HOUR).await.flatten()
    }

    fn phases(&self) -> BTreeMap<String, Phase> {
        self.engine.ledger().rows().iter().map(|(name, row)| (name.to_string(), row.phase())).collect()
    }
}

fn add(ledger: &mut Ledger) -> MachineName {
    let spec = elastic();
    let pool = fixtures::pool_name("workers");
    let new = NewRow {
        role: spec.pools[&pool].role,
        shape: spec.pools[&pool].shapes[0].clone(),
        image: spec.pools[&pool].image.clone(),
        pool,
        zone: None,
        expose: Vec::new(),
        expires: None,
    };
    ledger.add(new, fixtures::now()).unwrap()
}

fn phases<const N: usize>(of: [(&str, Phase); N]) -> BTreeMap<String, Phase> {
    of.into_iter().map(|(name, phase)| (name.to_owned(), phase)).collect()
}

#[tokio::test]
async fn a_row_that_is_added_becomes_a_ready_machine_that_asked_the_other_ledgers_front_end() {
    let world = World::new(1, Faults::none());
    up(&world, &elastic()).await;
    assert_eq!(names(&world), ["lab1-front-end-1"]);
    let mut daemon = Daemon::new(&world);
    let ticked = daemon.run(Duration::from_secs(60), |ledger| drop(add(ledger))).await.unwrap();
    assert_eq!((ticked.waits, ticked.stop), (vec![], None));
    // Past the ordinal of the front-end, whose ledger is another.
    assert_eq!(daemon.phases(), phases([("lab1-workers-2", Phase::Ready)]));
    assert_eq!(names(&world), ["lab1-front-end-1", "lab1-workers-2"]);
    let front_end = fixtures::name("lab1-front-end-1");
    assert!(world.asked().contains(&(front_end, "kubernetes/join".to_owned())), "{:?}", world.asked());
    assert_eq!(world.stored().unwrap().rows().len(), 1, "the other ledger has its own row only");
}

#[tokio::test]
async fn draining_is_left_to_who_decides_and_a_deleted_rows_node_is_forgotten() {
    let world = World::new(1, Faults::none());
    up(&world, &elastic()).await;
    let mut daemon = Daemon::new(&world);
    daemon.run(Duration::from_secs(60), |ledger| drop(add(ledger))).await;
    let worker = fixtures::name("lab1-workers-2");
    daemon.run(HOUR / 2, |ledger| ledger.drain(&worker, Leaving::Surplus).unwrap()).await;
    assert_eq!(daemon.phases(), phases([("lab1-workers-2", Phase::Draining)]), "no time-out of the engine's");
    daemon.run(Duration::from_secs(60), |ledger| ledger.delete(&worker, Leaving::Surplus).unwrap()).await;
    assert_eq!((daemon.phases(), names(&world)), (phases([]), vec!["lab1-front-end-1".to_owned()]));
    assert!(!world.nodes().contains(&worker));
}

#[tokio::test]
async fn a_machine_whose_steps_fail_is_replaced_and_its_shape_backs_off() {
    let world = World::new(1, Faults { step_fails: 1000, ..Faults::none() });
    world.set_faults(Faults::none());
    up(&world, &elastic()).await;
    world.set_faults(Faults { step_fails: 1000, ..Faults::none() });
    let mut daemon = Daemon::new(&world);
    let ticked = daemon.run(Duration::from_secs(120), |ledger| drop(add(ledger))).await.unwrap();
    assert_eq!((ticked.stop, daemon.phases()), (None, phases([])), "the run goes on, the machine is gone");
    let (ledger, spec) = (daemon.engine.ledger(), elastic());
    let (pool, shape) =
        (fixtures::pool_name("workers"), &spec.pools[&fixtures::pool_name("workers")].shapes[0]);
    let backoff = ledger.backoff(&pool, &shape.name, None).unwrap();
    assert_eq!((backoff.failures, backoff.why.as_str()), (1, "exit status 1"));
}

#[tokio::test]
async fn who_loses_the_race_to_save_does_nothing_and_obeys_what_was_saved() {
    let world = World::new(1, Faults::none());
    up(&world, &elastic()).await;
    let mut daemon = Daemon::new(&world);
    daemon.run(Duration::from_secs(60), |ledger| drop(add(ledger))).await;
    let mut closing = daemon.world.stored().unwrap();
    closing.generation += 1;
    closing.close(Closing { at: fixtures::now(), grace_secs: 0 });
    daemon.world.restore(Some(&closing));
    let made = world.made();
    let tick = daemon.tick(|seen| {
        let mut ledger = seen.ledger.clone();
        add(&mut ledger);
        ledger
    });
    let lost = world.drive(tick, HOUR).await.unwrap();
    assert!(matches!(lost, Err(StoreError::Conflict { expected: _, found: _ })), "{lost:?}");
    daemon.run(Duration::from_secs(60), |_| ()).await;
    assert_eq!(world.made(), made, "nothing was made after it");
    // Its own machines are gone; the front-end is not its own.
    assert_eq!((daemon.phases(), names(&world)), (phases([]), vec!["lab1-front-end-1".to_owned()]));
}

#[tokio::test]
async fn a_killed_daemon_goes_on_where_it_was_with_no_machine_twice() {
    let (reference, steps) = {
        let world = World::new(1, Faults::none());
        up(&world, &elastic()).await;
        let before = world.points();
        let mut daemon = Daemon::new(&world);
        daemon.run(Duration::from_secs(60), |ledger| drop(add(ledger))).await;
        (names(&world), world.points() - before)
    };
    for point in 0..steps {
        let world = World::new(1, Faults::none());
        up(&world, &elastic()).await;
        world.kill_at(Some(point));
        let mut daemon = Daemon::new(&world);
        daemon.run(Duration::from_secs(60), |ledger| drop(add(ledger))).await;
        world.kill_at(None);
        let mut daemon = Daemon::new(&world);
        // Decided again only if the first decision was not saved.
        let wanted = daemon.engine.ledger().rows().is_empty();
        daemon
            .run(Duration::from_secs(60), |ledger| {
                if wanted {
                    drop(add(ledger))
                }
            })
            .await;
        assert_eq!(names(&world), reference, "killed at point {point}");
        assert_eq!(world.made(), 2, "killed at point {point}");
    }
}
