//! The client against a real API server and etcd, out of the bundle: no kubelet, no controllers. Each test has its own server.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod memory;
mod server;

use std::sync::Arc;
use std::time::Duration;

use autoscaler::decide::{CORDONED_BY, KubeAction};
use autoscaler::kube::{About, Acted, Client, ConfigMapStore, Kube, KubeError, Names, Tone};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use provisioner::clock;
use provisioner::ledger::Ledger;
use provisioner::names::{CloudId, ClusterId, LedgerId, MachineName};
use provisioner::provider::Owner;
use provisioner::store::{Store, StoreError};
use serde_json::{Value, json};

use crate::server::{Server, until};

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

fn name(text: &str) -> MachineName {
    MachineName::new(text).unwrap()
}

async fn client(server: &Server, identity: &str) -> Arc<Client> {
    let names = Names { namespace: "kube-system".into(), identity: identity.into(), leads: true };
    Client::connect(&server.kubeconfig(), names).await.unwrap()
}

/// One that sees everything and has the lease.
async fn leader(server: &Server) -> Arc<Client> {
    let client = client(server, "me").await;
    until("a fresh view", || client.view().stale.is_none()).await;
    until("the lease", || client.lease().holds().is_some()).await;
    client
}

/// What other people do.
struct Others(kube::Client);

impl Others {
    async fn create(&self, path: &str, object: &Value) -> Value {
        let body = object.to_string().into_bytes();
        let request = Request::new(path).create(&PostParams::default(), body).unwrap();
        self.0.request(request).await.unwrap()
    }

    async fn get(&self, path: &str, name: &str) -> Value {
        self.0.request(Request::new(path).get(name, &Default::default()).unwrap()).await.unwrap()
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let list: Value =
            self.0.request(Request::new(path).list(&ListParams::default()).unwrap()).await.unwrap();
        list["items"].as_array().unwrap().clone()
    }

    async fn merge(&self, path: &str, name: &str, fields: &Value) -> Value {
        let request = Request::new(path).patch(name, &PatchParams::default(), &Patch::Merge(fields)).unwrap();
        self.0.request(request).await.unwrap()
    }

    async fn status(&self, path: &str, name: &str, status: &Value) {
        let fields = json!({ "status": status });
        let patch = Patch::Merge(&fields);
        let request = Request::new(path).patch_subresource("status", name, &PatchParams::default(), &patch);
        let _: Value = self.0.request(request.unwrap()).await.unwrap();
    }

    async fn node(&self, name: &str) {
        self.create(NODES, &json!({"metadata": {"name": name}})).await;
    }

    /// A pod on a node; its uid.
    async fn pod(&self, name: &str, node: &str) -> String {
        let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": node, "containers": [{"name": "a", "image": "a", "resources": {"requests": {"cpu": "1"}}}]}});
        self.create(PODS, &pod).await["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    async fn budget(&self, name: &str, allowed: u32) {
        let budget = json!({"metadata": {"name": name},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
        let made = self.create(BUDGETS, &budget).await;
        // What the disruption controller would count.
        let status = json!({"observedGeneration": made["metadata"]["generation"], "disruptionsAllowed": allowed,
            "currentHealthy": 1 + allowed, "desiredHealthy": 1, "expectedPods": 1 + allowed});
        self.status(BUDGETS, name, &status).await;
    }
}

fn evict(name: &str, uid: &str) -> KubeAction {
    KubeAction::Evict { namespace: "default".into(), name: name.into(), uid: uid.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_make_is_seen_and_what_is_ordered_is_done() {
    let Some(server) = Server::start().await else { return };
    let others = Others(server.others().await);
    let client = leader(&server).await;
    cordons(&others, &client).await;
    evictions(&others, &client).await;
    words(&others, &client).await;
    client.close().await;
    let refused = client.act(&KubeAction::Cordon { node: name("lab1-workers-1") }).await;
    assert!(matches!(refused, Err(KubeError::Conflict(_))), "{refused:?}");
    let lease = others
        .get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", "continuum-autoscaler")
        .await;
    assert_eq!(lease["spec"].get("holderIdentity"), None, "given back: {lease}");
}

async fn cordons(others: &Others, client: &Client) {
    let node = name("lab1-workers-1");
    others.node(node.as_str()).await;
    until("the node in the view", || client.view().view.nodes.len() == 1).await;
    let cordon = KubeAction::Cordon { node: node.clone() };
    let uncordon = KubeAction::Uncordon { node: node.clone() };
    assert_eq!(client.act(&cordon).await, Ok(Acted::Done));
    assert_eq!(client.act(&cordon).await, Ok(Acted::Needless));
    let seen = others.get(NODES, node.as_str()).await;
    assert_eq!(seen["spec"]["unschedulable"], json!(true));
    assert_eq!(seen["metadata"]["annotations"][CORDONED_BY], json!("continuum-autoscaler"));
    until("the cordon in the view", || client.view().view.nodes[0].spec.unschedulable).await;
    assert_eq!(client.act(&uncordon).await, Ok(Acted::Done));
    assert_eq!(client.act(&uncordon).await, Ok(Acted::Needless));
    let seen = others.get(NODES, node.as_str()).await;
    assert_eq!(seen["spec"].get("unschedulable"), None);
    assert!(seen["metadata"]["annotations"].get(CORDONED_BY).is_none(), "{seen}");
    // A person's cordon is neither claimed nor taken away.
    others.merge(NODES, node.as_str(), &json!({"spec": {"unschedulable": true}})).await;
    assert_eq!(client.act(&cordon).await, Ok(Acted::Needless));
    assert_eq!(client.act(&uncordon).await, Ok(Acted::Needless));
    let seen = others.get(NODES, node.as_str()).await;
    assert_eq!(seen["spec"]["unschedulable"], json!(true));
    assert!(seen["metadata"].pointer("/annotations/continuum.dev~1cordoned-by").is_none());
    let gone = KubeAction::Cordon { node: name("lab1-workers-9") };
    assert_eq!(client.act(&gone).await, Ok(Acted::Needless));
    assert_eq!(client.forget(&node).await, Ok(Acted::Done));
    assert_eq!(client.forget(&node).await, Ok(Acted::Needless));
    until("no node in the view", || client.view().view.nodes.is_empty()).await;
}

async fn evictions(others: &Others, client: &Client) {
    let node = name("lab1-workers-2");
    others.node(node.as_str()).await;
    assert_eq!(client.is_empty(&node).await, Ok(true));
    let uid = others.pod("web", node.as_str()).await;
    // Running: the API server lets pods that never ran go without asking a budget.
    others
        .status(
            PODS,
            "web",
            &json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
        )
        .await;
    assert_eq!(client.is_empty(&node).await, Ok(false));
    others.budget("first", 0).await;
    let said = client.act(&evict("web", &uid)).await;
    assert!(matches!(&said, Err(KubeError::Budget(words)) if words.contains("first")), "{said:?}");
    others.budget("second", 1).await;
    let said = client.act(&evict("web", &uid)).await;
    assert!(matches!(&said, Err(KubeError::Budget(words)) if words.contains("more than one")), "{said:?}");
    for budget in ["first", "second"] {
        let request = Request::new(BUDGETS).delete(budget, &Default::default()).unwrap();
        let _: Value = others.0.request(request).await.unwrap();
    }
    assert_eq!(client.act(&evict("web", "another")).await, Ok(Acted::Needless), "it is another pod");
    assert_eq!(client.is_empty(&node).await, Ok(false), "and it is still there");
    until("the pod in the view", || client.view().view.pods.len() == 1).await;
    assert_eq!(client.view().view.pods[0].spec.containers[0].resources.requests["cpu"].milli(), 1000);
    assert_eq!(client.act(&evict("web", &uid)).await, Ok(Acted::Done));
    assert_eq!(client.act(&evict("nobody", &uid)).await, Ok(Acted::Needless));
    // No kubelet ends it: it stays on its way out, and counts until it is gone.
    until("the pod on its way out", || {
        let pods = client.view().view.pods;
        pods.first().is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
    })
    .await;
}

async fn words(others: &Others, client: &Client) {
    let about = About::Node(name("lab1-workers-2"));
    for _ in 0..3 {
        client.event(&about, Tone::Warning, "Unplaced", "fits nowhere").await;
    }
    client.event(&about, Tone::Warning, "Unplaced", "other words").await;
    let events = others.list("/apis/events.k8s.io/v1/namespaces/default/events").await;
    let mut notes: Vec<_> =
        events.iter().filter(|e| e["reason"] == "Unplaced").map(|e| e["note"].as_str().unwrap()).collect();
    notes.sort_unstable();
    assert_eq!(notes, ["fits nowhere", "other words"]);
    for status in ["one", "two"] {
        client.publish(status).await.unwrap();
        let map =
            others.get("/api/v1/namespaces/kube-system/configmaps", "continuum-autoscaler-status").await;
        assert_eq!(map["data"]["status"], json!(status));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_noticed_and_is_no_evidence_and_a_restart_is_survived() {
    let Some(mut server) = Server::start().await else { return };
    let others = Others(server.others().await);
    let client = leader(&server).await;
    others.node("lab1-workers-1").await;
    until("the node in the view", || client.view().view.nodes.len() == 1).await;
    server.freeze();
    let since = clock::monotonic();
    until("a stale view", || client.view().stale.is_some()).await;
    // Three unanswered questions and the pause before them, on a busy computer.
    assert!(since.elapsed() < Duration::from_secs(25), "{:?}", since.elapsed());
    assert_eq!(client.view().view.nodes.len(), 1, "what was seen is still shown, as old");
    until("nobody sure of the lease", || client.lease().holds().is_none()).await;
    let said = client.is_empty(&name("lab1-workers-1")).await;
    assert!(matches!(said, Err(KubeError::Unavailable(_))), "{said:?}");
    server.thaw();
    until("a fresh view", || client.view().stale.is_none()).await;
    server.end();
    until("a stale view", || client.view().stale.is_some()).await;
    assert_eq!(client.view().view.nodes.len(), 1);
    server.run();
    server.ready().await;
    others.node("lab1-workers-2").await;
    until("both nodes, freshly seen", || {
        let now = client.view();
        now.stale.is_none() && now.view.nodes.len() == 2
    })
    .await;
    client.close().await;
}

fn ledger(generation: u64) -> Ledger {
    let cluster = ClusterId::new("lab1-7k2m9qxa").unwrap();
    let mut ledger = Ledger::new(LedgerId::from("a-1"), Owner::Autoscaler, cluster, CloudId::from("here"));
    ledger.generation = generation;
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_writers_wins_and_one_of_two_daemons_acts() {
    let Some(server) = Server::start().await else { return };
    let first = leader(&server).await;
    let id = LedgerId::from("a-1");
    let ours = first.store(&id);
    let missing = ours.load().await.unwrap_err().to_string();
    assert!(missing.contains("a missing ledger is not an empty one"), "{missing}");
    assert!(matches!(ours.save(&ledger(1), 0).await, Err(StoreError::Unavailable(_))));
    let theirs = ConfigMapStore::connect(&server.kubeconfig(), "kube-system", &id).await.unwrap();
    theirs.create(&ledger(1)).await.unwrap();
    let twice = theirs.create(&ledger(5)).await;
    assert!(matches!(twice, Err(StoreError::Conflict { expected: 0, found: 1 })), "{twice:?}");
    assert_eq!(ours.load().await.unwrap(), Some(ledger(1)));
    ours.save(&ledger(2), 1).await.unwrap();
    let late = theirs.save(&ledger(2), 1).await;
    assert!(matches!(late, Err(StoreError::Conflict { expected: 1, found: 2 })), "{late:?}");
    theirs.save(&ledger(3), 2).await.unwrap();
    // What we remember of it is old by now, and its version says so.
    let late = ours.save(&ledger(3), 2).await;
    assert!(matches!(late, Err(StoreError::Conflict { expected: 2, found: 3 })), "{late:?}");
    // Somebody else's label is no other ledger.
    let others = Others(server.others().await);
    let maps = "/api/v1/namespaces/kube-system/configmaps";
    others.merge(maps, "continuum-ledger-a-1", &json!({"metadata": {"labels": {"a": "b"}}})).await;
    ours.save(&ledger(4), 3).await.unwrap();
    assert_eq!(others.get(maps, "continuum-ledger-a-1").await["metadata"]["labels"]["a"], json!("b"));

    let second = client(&server, "you").await;
    until("a fresh view", || second.view().stale.is_none()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(second.lease().holds(), None);
    let refused = second.act(&KubeAction::Cordon { node: name("lab1-workers-1") }).await;
    assert!(matches!(&refused, Err(KubeError::Conflict(words)) if words.contains("me holds")), "{refused:?}");
    assert!(matches!(second.store(&id).save(&ledger(5), 4).await, Err(StoreError::Locked { .. })));
    let before = first.lease().holds().unwrap();
    let since = clock::monotonic();
    first.close().await;
    assert_eq!(first.lease().holds(), None);
    until("the lease with the second", || second.lease().holds().is_some()).await;
    assert!(since.elapsed() < Duration::from_secs(12), "given back, not run out: {:?}", since.elapsed());
    assert!(second.lease().holds().unwrap() > before);
    assert!(matches!(ours.save(&ledger(5), 4).await, Err(StoreError::Locked { .. })));
    // One that is gone without a word is waited for, and no longer.
    drop(second);
    let third = client(&server, "third").await;
    let since = clock::monotonic();
    until("the lease with the third", || third.lease().holds().is_some()).await;
    assert!(since.elapsed() > Duration::from_secs(14), "run out, not stolen: {:?}", since.elapsed());
    third.close().await;
}
