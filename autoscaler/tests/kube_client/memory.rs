//! How much a large cluster takes: measured in a process of its own, since a test binary has other tests.

use autoscaler::kube::Kube;
use serde_json::{Value, json};

use crate::server::{Server, until};
use crate::{Others, client};

const NODES: usize = 1000;
const PODS: usize = 30_000;

/// A pod as a cluster has it: with what nobody decides by.
fn pod(n: usize) -> Value {
    json!({"metadata": {"name": format!("worker-{n}"), "labels": {"app": "web", "job": format!("j-{}", n / 100)},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(1500)}},
        "spec": {"nodeName": format!("lab1-workers-{}", n % NODES),
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "containers": [{"name": "a", "image": "registry.example/a:1", "command": ["sleep", "1000"],
                "env": (0..10).map(|n| json!({"name": format!("V{n}"), "value": "some value"})).collect::<Vec<_>>(),
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}})
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes 30,000 pods: run alone, by hand"]
async fn thirty_thousand_pods_take_little_memory() {
    let Some(server) = Server::start().await else { return };
    let others = std::sync::Arc::new(Others(server.others().await));
    for n in 0..NODES {
        others.node(&format!("lab1-workers-{n}")).await;
    }
    let makers = (0..8).map(|part| {
        let others = std::sync::Arc::clone(&others);
        tokio::spawn(async move {
            for n in (part..PODS).step_by(8) {
                others.create(crate::PODS, &pod(n)).await;
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap();
    }
    let before = resident();
    let client = client(&server, "me").await;
    until("everything in the view", || {
        let now = client.view();
        now.stale.is_none() && now.view.pods.len() == PODS && now.view.nodes.len() == NODES
    })
    .await;
    let after = resident();
    println!("{before} kB before, {after} kB with {PODS} pods and {NODES} nodes");
    assert!(after < 150 * 1024, "{after} kB");
    client.close().await;
}
