//! Ticks over a cloud in memory and a cluster that is a list of objects.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use provisioner::events::Sink;
use provisioner::plan::Limits;
use provisioner::world::{Faults, World};
use serde_json::{Value, json};

use super::*;
use crate::decide::CORDONED_BY;
use crate::decide::fixtures::{Case, name};

const LIMIT: Duration = Duration::from_secs(3600);

/// A cluster that does what it is told.
struct Objects(Mutex<State>);

struct State {
    objects: Vec<Value>,
    stale: Option<String>,
    empty: Result<bool, KubeError>,
    evicting: Result<Acted, KubeError>,
    told: Vec<String>,
}

impl Objects {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, node: &MachineName, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let found = state.objects.iter_mut().find(|object| object["metadata"]["name"] == node.as_str());
        change(found.unwrap());
    }
}

#[async_trait]
impl Kube for Objects {
    fn view(&self) -> Snapshot {
        let state = self.state();
        Snapshot { view: KubeView::read(&state.objects), stale: state.stale.clone() }
    }
    fn leads(&self) -> bool {
        true
    }
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }
    async fn act(&self, action: &KubeAction) -> Result<Acted, KubeError> {
        self.state().told.push(action.to_string());
        match action {
            KubeAction::Cordon { node } => self.node(node, |node| {
                node["spec"]["unschedulable"] = json!(true);
                node["metadata"]["annotations"] = json!({CORDONED_BY: "continuum-autoscaler"});
            }),
            KubeAction::Uncordon { node } => self.node(node, |node| {
                node["spec"]["unschedulable"] = json!(false);
                node["metadata"]["annotations"] = json!({});
            }),
            KubeAction::Evict { .. } => return self.state().evicting.clone(),
        }
        Ok(Acted::Done)
    }
    async fn is_empty(&self, _: &MachineName) -> Result<bool, KubeError> {
        self.state().empty.clone()
    }
    async fn forget(&self, _: &MachineName) -> Result<Acted, KubeError> {
        Ok(Acted::Done)
    }
    async fn event(&self, about: &About, _: Tone, reason: &str, _: &str) {
        let about = match about {
            About::Pod { name, .. } => name.clone(),
            About::Node(name) => name.to_string(),
        };
        self.state().told.push(format!("event {reason} on {about}"));
    }
    async fn publish(&self, _: &str) -> Result<(), KubeError> {
        Ok(())
    }
}

struct Lab {
    world: World,
    kube: Arc<Objects>,
    autoscaler: Autoscaler,
}

impl Lab {
    fn new(case: Case) -> Self {
        let world = World::new(1, Faults::none());
        let state = State {
            objects: case.objects,
            stale: None,
            empty: Ok(true),
            evicting: Ok(Acted::Done),
            told: Vec::new(),
        };
        let kube = Arc::new(Objects(Mutex::new(state)));
        let mut ledger = case.ledger;
        ledger.cloud = World::cloud_id();
        let limits = Limits { give_up: None, ..Limits::default() };
        let engine = Reconciler::new(world.parts(Sink::none()), ledger, limits);
        let seen = Arc::clone(&kube) as Arc<dyn Kube>;
        let autoscaler = Autoscaler::new(engine, seen, case.spec, case.policy, Mode::Active, case.learned);
        Self { world, kube, autoscaler }
    }

    async fn tick(&mut self) -> Tick {
        let world = self.world.clone();
        world.drive(self.autoscaler.tick(), LIMIT).await.unwrap().unwrap()
    }

    /// Ticks, a second apart, until it is so.
    async fn until(&mut self, so: impl Fn(&Tick) -> bool) -> Tick {
        let world = self.world.clone();
        let ticking = async {
            loop {
                let tick = self.autoscaler.tick().await.unwrap();
                if so(&tick) {
                    return tick;
                }
                world.sleep(Duration::from_secs(1)).await;
            }
        };
        world.drive(ticking, LIMIT).await.unwrap()
    }

    /// One Ready machine with a Ready node, idle from now on.
    async fn with_one_ready() -> Self {
        let mut lab =
            Self::new(Case::new().waiting(1, "p", |_| ()).policy(|p| p.idle = Duration::from_secs(5)));
        let worker = name("lab1-workers-1");
        lab.until(|tick| tick.ledger.row(&worker).is_some_and(|row| row.phase() == Phase::Ready)).await;
        let mut state = lab.kube.state();
        state.objects = vec![json!({
            "kind": "Node", "metadata": {"name": worker, "labels": {"continuum.dev/pool": "workers"}},
            "spec": {},
            "status": {"capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                       "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                       "conditions": [{"type": "Ready", "status": "True"}]},
        })];
        drop(state);
        lab
    }

    fn phases(&self, tick: &Tick) -> Vec<String> {
        tick.ledger.rows().iter().map(|(name, row)| format!("{name} {}", row.phase())).collect()
    }
}

fn waiting(base: &str) -> Vec<Value> {
    Case::new().waiting(1, base, |_| ()).objects
}

#[tokio::test]
async fn a_waiting_pod_gets_a_machine_that_was_saved_first() {
    let mut lab = Lab::new(Case::new().waiting(1, "p", |_| ()));
    let tick = lab.tick().await;
    assert_eq!(tick.changes, ["row lab1-workers-1: new, Creating"]);
    assert_eq!(lab.world.stored().as_ref(), Some(&tick.ledger));
    let again = lab.tick().await;
    assert_eq!(lab.phases(&again), ["lab1-workers-1 Creating"], "the same pod buys one machine");
}

#[tokio::test]
async fn paused_and_shadow_change_nothing_and_shadow_says_what_it_would() {
    let mut lab = Lab::new(Case::new().waiting(1, "p", |_| ()));
    lab.autoscaler.mode = Mode::Paused;
    assert_eq!(lab.tick().await.changes, [""; 0]);
    lab.autoscaler.mode = Mode::Shadow;
    let tick = lab.tick().await;
    assert_eq!(tick.changes, ["row lab1-workers-1: new, Creating"]);
    assert!(lab.phases(&tick).is_empty() && lab.world.machines().is_empty());
}

#[tokio::test]
async fn a_stale_view_decides_nothing_and_deletes_nothing() {
    let mut lab = Lab::with_one_ready().await;
    lab.kube.state().stale = Some("no answer for 20s".into());
    let until = lab.world.clock().steady() + Duration::from_secs(300);
    let clock = lab.world.clock();
    let tick = lab.until(move |_| clock.steady() > until).await;
    assert_eq!(lab.phases(&tick), ["lab1-workers-1 Ready"]);
    lab.kube.state().stale = None;
    let world = lab.world.clone();
    let tick = lab.until(move |_| world.machines().is_empty()).await;
    // It has no front-end here that could forget the node.
    assert_eq!(lab.phases(&tick), ["lab1-workers-1 Deleting"], "then it goes on");
}

#[tokio::test]
async fn a_node_that_got_a_pod_in_the_last_moment_stays_and_the_rest_of_the_decision_counts() {
    let mut lab = Lab::with_one_ready().await;
    lab.kube.state().empty = Ok(false);
    lab.until(|tick| tick.changes.iter().any(|change| change.contains("Draining"))).await;
    let big =
        |pod: &mut Value| pod["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("7Gi");
    lab.kube.state().objects.extend(Case::new().waiting(2, "q", big).objects);
    let tick = lab.until(|tick| tick.ledger.rows().len() > 1).await;
    assert!(
        lab.world.machines().iter().any(|m| m.tags.machine == name("lab1-workers-1")),
        "{:?}",
        tick.changes
    );
    for unknown in [Err(KubeError::Unavailable("no answer".into())), Ok(false)] {
        lab.kube.state().empty = unknown;
        let tick = lab.tick().await;
        assert!(lab.phases(&tick)[0] != "lab1-workers-1 Deleting", "{:?}", lab.phases(&tick));
    }
}

#[tokio::test]
async fn an_event_is_said_once_for_each_reason() {
    let large = |pod: &mut Value| pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("64");
    let mut lab = Lab::new(Case::new().waiting(1, "large", large));
    for _ in 0..3 {
        lab.tick().await;
    }
    assert_eq!(lab.kube.state().told, ["event FitsNowhere on large0"]);
    lab.kube.state().objects = waiting("p");
    lab.tick().await;
    lab.kube.state().objects = Case::new().waiting(1, "large", large).objects;
    lab.tick().await;
    assert_eq!(lab.kube.state().told.len(), 2, "again after it was not so");
}

#[test]
fn nodes_are_unknown_where_too_many_are_not_ready_or_the_view_is_old() {
    let node = |n: usize, ready: &str| {
        json!({"kind": "Node", "metadata": {"name": format!("lab1-workers-{n}")},
               "status": {"conditions": [{"type": "Ready", "status": ready, "message": "kubelet stopped"}]}})
    };
    let of = |ready: usize, not: usize| {
        let objects: Vec<_> =
            (0..ready).map(|n| node(n, "True")).chain((0..not).map(|n| node(ready + n, "Unknown"))).collect();
        nodes(&Snapshot { view: KubeView::read(&objects), stale: None })
    };
    assert!(matches!(of(5, 3), Nodes::Known(nodes) if nodes.len() == 8), "three may be lost");
    assert!(matches!(of(6, 4), Nodes::Known(_)), "40 %");
    assert_eq!(of(4, 4), Nodes::Unknown("4 of 8 nodes are not ready".into()));
    let old = Snapshot { view: KubeView::default(), stale: Some("no answer".into()) };
    assert_eq!(nodes(&old), Nodes::Unknown("no answer".into()));
}
