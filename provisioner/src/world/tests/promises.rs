//! What a run promises beside that it converges.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretSlice;

use super::*;
use crate::events::{Event, What};
use crate::names::MachineName;
use crate::provider::UserData;
use crate::reconcile::{HostKeys, Parts};
use crate::remote::{Done, Job, Remote, RemoteError, Target};
use crate::store::StoreError;
use crate::world::WorldScripts;

async fn run(world: &World, spec: &Spec, parts: Parts) -> Option<Result<Ended, StoreError>> {
    let ledger = world.stored().unwrap_or_else(new_ledger);
    let work = async {
        let mut engine = Reconciler::new(parts, ledger, Limits::default());
        engine.settle(spec, &CancellationToken::new()).await
    };
    world.drive(work, HOUR).await
}

fn recorder() -> (Sink, Arc<Mutex<Vec<Event>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    (Sink::new(move |event| heard.lock().unwrap().push(event)), events)
}

#[tokio::test]
async fn a_run_tells_what_it_does_in_order_and_no_machine_waits_for_another_without_need() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(1));
    let (sink, events) = recorder();
    let began = world.clock().now();
    run(&world, &spec, world.parts(sink)).await.unwrap().unwrap();
    let line = |event: &Event| {
        let second = event.at.duration_since(began).as_millis() as f64 / 1000.0;
        let text = match &event.what {
            What::Added { machine, .. } => format!("new {machine}"),
            What::Phase { machine, to, .. } => format!("{machine} is {to}"),
            What::Started { machine, job, .. } => format!("{machine} begins {job}"),
            What::Finished { machine, job, .. } => format!("{machine} ends {job}"),
            What::Settled { .. } => "settled".to_owned(),
            _ => return None,
        };
        Some(format!("{second:6.2} {text}"))
    };
    let lines: Vec<_> = events.lock().unwrap().iter().filter_map(line).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
     0.09 new lab1-front-end-1
     0.09 new lab1-workers-2
     0.09 lab1-front-end-1 begins create
     0.09 lab1-workers-2 begins create
     0.12 lab1-front-end-1 ends create
     0.15 lab1-workers-2 ends create
     2.91 lab1-front-end-1 is Configuring
     2.91 lab1-workers-2 is Configuring
     2.91 lab1-front-end-1 begins base/setup
     2.91 lab1-workers-2 begins base/setup
     5.91 lab1-front-end-1 ends base/setup
     5.91 lab1-front-end-1 begins kubernetes/init
     5.91 lab1-workers-2 ends base/setup
     8.91 lab1-front-end-1 ends kubernetes/init
     8.91 lab1-front-end-1 is Ready
     8.91 lab1-workers-2 begins kubernetes/join
    11.94 lab1-workers-2 ends kubernetes/join
    11.94 lab1-workers-2 is Ready
    16.10 settled
    ");
}

#[tokio::test]
async fn ten_workers_that_join_together_ask_for_a_kept_fact_once() {
    let world = World::new(1, Faults::none());
    up(&world, &fixtures::spec(10)).await;
    let joins = world.asked().iter().filter(|(_, script)| script == "kubernetes/join").count();
    assert_eq!(joins, 1);
}

#[tokio::test]
async fn an_interrupted_run_finishes_what_runs_and_saves_it() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(2));
    let cancel = CancellationToken::new();
    let ended = world
        .drive(
            async {
                let mut engine = Reconciler::new(world.parts(Sink::none()), new_ledger(), Limits::default());
                let stop = async {
                    world.clock().sleep(Duration::from_secs(4)).await;
                    cancel.cancel();
                };
                let (ended, ()) = futures::join!(engine.settle(&spec, &cancel), stop);
                ended.unwrap()
            },
            HOUR,
        )
        .await;
    assert_eq!(ended, Some(Ended::Interrupted));
    let before = world.log();
    assert!(!before.is_empty(), "something ran");
    for (machine, _) in &before {
        assert!(world.stored().unwrap().row(machine).unwrap().has_begun(), "{machine}: its step is saved");
    }
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    let mut log = world.log();
    log.sort();
    let all = log.len();
    log.dedup();
    assert_eq!((all, log.len()), (6, 6), "no step ran twice");
}

#[tokio::test]
async fn who_works_on_an_older_ledger_stops_at_the_first_save() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(1));
    up(&world, &spec).await;
    let older = world.stored().unwrap();
    up(&world, &fixtures::spec(2)).await;
    let made = world.made();
    let work = async {
        let mut engine = Reconciler::new(world.parts(Sink::none()), older, Limits::default());
        engine.settle(&fixtures::spec(4), &CancellationToken::new()).await
    };
    let error = world.drive(work, HOUR).await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    assert_eq!(world.made(), made, "nothing was made that was not saved");
}

#[tokio::test]
async fn a_quota_ends_in_a_stop_and_leaves_the_rest_working() {
    let (world, spec) = (World::new(1, Faults { quota: Some(2), ..Faults::none() }), fixtures::spec(2));
    let why = "quota: instances: 2 of 2 used".to_owned();
    let pool = fixtures::pool_name("workers");
    assert_eq!(up(&world, &spec).await, Some(Ended::Stopped(Stop::GivenUp { pool, why })));
    assert_eq!(world.machines().len(), 2);
    world.calm();
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "after the quota");
}

#[tokio::test]
async fn lists_that_are_late_but_within_the_settle_time_make_no_duplicates() {
    let faults = Faults { late_list: Duration::from_secs(9), no_tokens: true, ..Faults::none() };
    let (world, spec) = (World::new(3, faults), fixtures::spec(4));
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_eq!(world.made(), 5);
}

#[tokio::test]
async fn duplicates_of_a_cloud_that_is_later_than_it_says_are_deleted() {
    let faults = Faults { late_list: Duration::from_secs(40), no_tokens: true, ..Faults::none() };
    let (world, spec) = (World::new(3, faults), fixtures::spec(4));
    up(&world, &spec).await;
    assert!(world.made() > 5, "this cloud must have made duplicates");
    world.calm();
    world.drive(world.clock().sleep(Duration::from_secs(60)), HOUR).await;
    assert_eq!(up(&world, &spec).await, Some(Ended::Settled));
    assert_whole(&world, &spec, "without duplicates");
}

/// Keys that are replaced at the first contact.
struct Rotating;

impl HostKeys for Rotating {
    fn user_data(&self, machine: &MachineName, birth: Timestamp) -> UserData {
        WorldScripts.user_data(machine, birth)
    }
    fn fingerprint(&self, machine: &MachineName, birth: Timestamp) -> String {
        WorldScripts.fingerprint(machine, birth)
    }
    fn first(&self, machine: &MachineName, birth: Timestamp) -> String {
        WorldScripts.first(machine, birth)
    }
    fn second(&self, machine: &MachineName, birth: Timestamp) -> String {
        WorldScripts.second(machine, birth)
    }
    fn rotation(&self, _: &MachineName, _: Timestamp) -> Option<Job> {
        let script = "rotate".to_owned();
        let unit = "continuum-host-key".to_owned();
        Some(Job { unit, script, files: Vec::new(), blobs: Vec::new(), timeout: Duration::from_secs(60) })
    }
}

/// Units of jobs, each with the number of host keys that were right for it.
type Accepted = Arc<Mutex<Vec<(String, usize)>>>;

/// Notes which host keys are accepted at each job.
struct Watching {
    world: World,
    accepted: Accepted,
    error: Option<RemoteError>,
}

#[async_trait]
impl Remote for Watching {
    async fn run(&self, target: &Target, job: &Job) -> Result<Done, RemoteError> {
        let result = match &self.error {
            Some(error) => Err(error.clone()),
            None => self.world.run(target, job).await,
        };
        if !matches!(result, Err(RemoteError::NotUp(_))) {
            self.accepted.lock().unwrap().push((job.unit.clone(), target.host_keys.len()));
        }
        result
    }
    async fn ask(&self, target: &Target, script: &str) -> Result<SecretSlice<u8>, RemoteError> {
        self.world.ask(target, script).await
    }
}

fn watched(world: &World, error: Option<RemoteError>) -> (Parts, Accepted) {
    let accepted = Accepted::default();
    let remote = Watching { world: world.clone(), accepted: Arc::clone(&accepted), error };
    let parts = world.parts(Sink::none());
    (Parts { remote: Arc::new(remote), keys: Arc::new(Rotating), ..parts }, accepted)
}

#[tokio::test]
async fn the_first_contact_replaces_the_host_key_and_only_the_second_is_right_then() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(0));
    let (parts, accepted) = watched(&world, None);
    assert_eq!(run(&world, &spec, parts).await.unwrap().unwrap(), Ended::Settled);
    let jobs = accepted.lock().unwrap().clone();
    let expected = [("continuum-host-key", 2), ("continuum-base-setup", 1), ("continuum-kubernetes-init", 1)];
    assert_eq!(jobs, expected.map(|(unit, keys)| (unit.to_owned(), keys)));
}

#[tokio::test]
async fn a_wrong_host_key_stops_at_once() {
    let (world, spec) = (World::new(1, Faults::none()), fixtures::spec(0));
    let error = RemoteError::WrongHostKey { expected: "SHA256:a".into(), got: "SHA256:b".into() };
    let (parts, accepted) = watched(&world, Some(error));
    let Some(Ok(Ended::Stopped(stop))) = run(&world, &spec, parts).await else { panic!("it must stop") };
    assert_eq!(
        stop.to_string(),
        "replace host key failed for lab1-front-end-1: wrong host key: expected SHA256:a, got SHA256:b"
    );
    assert_eq!(accepted.lock().unwrap().len(), 1, "tried once");
}
