//! Taking over what another ledger made.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{HOUR, assert_whole, names, new_ledger, up};
use crate::adopt::{self, AdoptError, Adopted};
use crate::events::Sink;
use crate::ledger::Ledger;
use crate::names::{LedgerId, MachineName};
use crate::plan::{Limits, Stop, fixtures};
use crate::provider::{MachineRequest, MachineState, Owner, Provider, Tags};
use crate::reconcile::{Ended, HostKeys, Reconciler};
use crate::spec::{Role, Spec};
use crate::world::{Faults, World, WorldScripts};

/// The ledger of whoever takes over: as it was saved, or a new one in the place of what is stored.
fn taker(world: &World) -> Ledger {
    let stored = world.stored();
    let id = LedgerId::from("cli-2");
    if let Some(own) = stored.clone().filter(|stored| stored.id == id) {
        return own;
    }
    let generation = stored.map_or(0, |stored| stored.generation);
    let mut ledger = new_ledger();
    (ledger.id, ledger.generation) = (id, generation);
    ledger
}

/// One `adopt`. `None`: killed.
async fn take(world: &World, spec: &Spec) -> Option<Result<(Adopted, Ledger), AdoptError>> {
    let run = async {
        let mut ledger = taker(world);
        let parts = world.parts(Sink::none());
        let adopted = adopt::take(&parts, &mut ledger, spec, &CancellationToken::new()).await?;
        Ok((adopted, ledger))
    };
    world.drive(run, HOUR).await
}

async fn settle(world: &World, spec: &Spec) -> Option<Ended> {
    let run = async {
        let ledger = taker(world);
        let spec = adopt::as_found(spec, &ledger);
        let mut engine = Reconciler::new(world.parts(Sink::none()), ledger, Limits::default());
        engine.settle(&spec, &CancellationToken::new()).await.unwrap()
    };
    world.drive(run, HOUR).await
}

fn all_by(world: &World, ledger: &str) -> bool {
    world.machines().iter().all(|machine| machine.tags.ledger.as_str() == ledger)
}

async fn make(world: &World, request: &MachineRequest) {
    world.drive(world.create(request), HOUR).await.unwrap().unwrap();
}

/// A machine beside those that `up` made.
fn beside(world: &World, name: &str, owner: Owner) -> MachineRequest {
    let like = world.machines().remove(1);
    let machine: MachineName = fixtures::name(name);
    MachineRequest {
        token: format!("{name}/{owner:?}"),
        tags: Tags { machine: machine.clone(), owner, ledger: LedgerId::from("another"), ..like.tags },
        role: Role::Worker,
        shape: like.shape,
        image: "debian-12".into(),
        zone: None,
        expose: Vec::new(),
        user_data: WorldScripts.user_data(&machine, fixtures::now()),
    }
}

#[tokio::test]
async fn a_lost_ledger_is_rebuilt_and_nothing_is_done_twice() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let (log, old) = (world.log(), world.stored());
    world.restore(None);
    let (adopted, ledger) = take(&world, &spec).await.unwrap().unwrap();
    let mut taken: Vec<_> = adopted.taken.iter().map(ToString::to_string).collect();
    taken.sort();
    assert_eq!((taken, adopted.had, adopted.failed.len()), (names(&world), 0, 0));
    assert_eq!((ledger.next_ordinal, world.stored().as_ref()), (4, Some(&ledger)));
    assert_eq!(settle(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "adopted");
    assert_eq!(world.log(), log, "the machines kept the results of their steps");
    let (stored, made) = (world.stored(), world.made());
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_eq!((world.stored(), world.made()), (stored.clone(), made), "nothing to change");
    // Again: everything is this ledger's already.
    let (again, _) = take(&world, &spec).await.unwrap().unwrap();
    assert_eq!(again, Adopted { had: 3, ..Adopted::default() });

    // Whoever has the ledger of before stops, and adds nothing.
    world.restore(old.as_ref());
    let ended = up(&world, &fixtures::spec(5)).await;
    let Some(Ended::Stopped(Stop::OtherLedger { other, machines })) = ended else { panic!("{ended:?}") };
    assert_eq!((other.as_str(), machines.len(), world.made()), ("cli-2", 3, made));
}

#[tokio::test]
async fn killed_at_any_point_adoption_goes_on_when_called_again() {
    let spec = fixtures::spec(2);
    let made = World::new(1, Faults::none());
    up(&made, &spec).await;
    let before = made.points();
    take(&made, &spec).await.unwrap().unwrap();
    let total = made.points() - before;
    assert!(total >= 12, "a save, a list, three retags, each with a point before and after: {total}");
    for point in 0..total {
        let world = World::new(1, Faults::none());
        up(&world, &spec).await;
        let log = world.log();
        world.kill_at(Some(point));
        assert!(take(&world, &spec).await.is_none(), "killed at {point}");
        world.kill_at(None);
        let (adopted, _) = take(&world, &spec).await.unwrap().unwrap();
        assert_eq!(
            (adopted.taken.len() + adopted.had, adopted.failed.len()),
            (3, 0),
            "after a kill at {point}"
        );
        assert_eq!(settle(&world, &spec).await, Some(Ended::Settled), "after a kill at {point}");
        assert_whole(&world, &spec, &format!("after a kill at {point}"));
        assert!(all_by(&world, "cli-2") && world.machines().len() == 3, "after a kill at {point}");
        assert_eq!(world.log(), log, "after a kill at {point}");
    }
}

#[tokio::test]
async fn answers_that_are_lost_are_asked_for_again() {
    let spec = fixtures::spec(3);
    let mut faults = 0;
    for seed in 0..40 {
        let world = World::new(seed, Faults::none());
        up(&world, &spec).await;
        world.set_faults(Faults { lost_request: 150, lost_answer: 150, ..Faults::none() });
        let mut taken = false;
        for _ in 0..10 {
            if let Some(Ok((adopted, _))) = take(&world, &spec).await {
                taken = adopted.failed.is_empty();
            }
            if taken {
                break;
            }
        }
        assert!(taken && all_by(&world, "cli-2"), "seed {seed}");
        faults += world.faults();
        world.calm();
        assert_eq!(settle(&world, &spec).await, Some(Ended::Settled), "seed {seed}");
        assert_whole(&world, &spec, &format!("seed {seed}"));
    }
    assert!(faults > 40, "{faults}");
}

#[tokio::test]
async fn what_is_off_is_started_and_what_is_the_other_owners_is_left() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    make(&world, &beside(&world, "lab1-elastic-9", Owner::Autoscaler)).await;
    world.switch_off(&fixtures::name("lab1-workers-3"));
    world.restore(None);
    let (adopted, ledger) = take(&world, &spec).await.unwrap().unwrap();
    assert_eq!(adopted.taken.len(), 3);
    assert_eq!(ledger.next_ordinal, 10, "past every name, whoever's it is");
    assert!(ledger.row(&fixtures::name("lab1-elastic-9")).is_none());
    let others: Vec<_> = world
        .machines()
        .iter()
        .filter(|m| m.tags.owner == Owner::Autoscaler)
        .map(|m| m.tags.ledger.to_string())
        .collect();
    assert_eq!(others, ["another"]);
}

#[tokio::test]
async fn clocks_that_are_set_meanwhile_end_no_wait() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    world.switch_off(&fixtures::name("lab1-workers-3"));
    world.restore(None);
    let jumps = async {
        for day in 1..=10 {
            world.sleep(Duration::from_millis(200)).await;
            world.set_clock(-24 * 3600 * day);
        }
    };
    let run = async {
        let mut ledger = taker(&world);
        let parts = world.parts(Sink::none());
        let adopted = adopt::take(&parts, &mut ledger, &spec, &CancellationToken::new()).await.unwrap();
        (adopted, world.machines())
    };
    let (adopted, machines) = world.drive(async { futures::join!(jumps, run).1 }, HOUR).await.unwrap();
    assert_eq!((adopted.taken.len(), adopted.failed), (3, vec![]));
    assert!(machines.iter().all(|machine| machine.state == MachineState::Running), "{machines:?}");
}

#[tokio::test]
async fn an_adopted_front_end_is_never_replaced_in_silence() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(1));
    up(&world, &spec).await;
    world.restore(None);
    take(&world, &spec).await.unwrap().unwrap();
    let front_end = fixtures::name("lab1-front-end-1");
    // It is lost before this ledger has ever seen it Ready.
    world.destroy(&front_end);
    let ended = settle(&world, &spec).await;
    assert!(
        matches!(&ended, Some(Ended::Stopped(Stop::FrontEndLost { name, .. })) if *name == front_end),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_written() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    up(&world, &spec).await;
    let stored = world.stored();
    make(&world, &beside(&world, "lab1-workers-3", Owner::Cli)).await;
    let Some(Err(AdoptError::Twice { name, ids })) = take(&world, &spec).await else {
        panic!("it must be refused")
    };
    assert_eq!((name.as_str(), ids.len()), ("lab1-workers-3", 2));
    let mut less = spec.clone();
    less.pools.remove(&fixtures::pool_name("workers"));
    world.destroy(&fixtures::name("lab1-workers-3"));
    let Some(Err(AdoptError::UnknownPool { pool, .. })) = take(&world, &less).await else {
        panic!("it must be refused")
    };
    assert_eq!(pool.as_str(), "workers");
    assert_eq!(world.stored(), stored);
    assert!(all_by(&world, "cli-1"));
}

#[tokio::test]
async fn adoption_changes_no_number_of_machines() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(2)).await;
    world.restore(None);
    for asked in [1, 4] {
        take(&world, &fixtures::spec(asked)).await.unwrap().unwrap();
        assert_eq!(settle(&world, &fixtures::spec(asked)).await, Some(Ended::Settled));
        assert_eq!(
            names(&world),
            ["lab1-front-end-1", "lab1-workers-2", "lab1-workers-3"],
            "{asked} asked for"
        );
    }
    let ledger = world.stored().unwrap();
    assert!(adopt::has_front_end(&ledger));
    let workers = &adopt::as_found(&fixtures::spec(4), &ledger).pools[&fixtures::pool_name("workers")].size;
    assert_eq!(*workers, 2..=2);
}
