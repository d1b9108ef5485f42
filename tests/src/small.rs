//! Clusters with recipes that take a second, and no Kubernetes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Ended, Lab, root};

/// The recipes.
pub fn recipes() -> String {
    root().join("tests/recipes-small").display().to_string()
}

/// The file of a cluster of one front-end and so many workers, for whoever has one of these keys.
pub fn cluster_file(lab: &Lab, name: &str, workers: u32, operators: &[&str]) -> String {
    let template = root().join("tests/recipes-small/template.yaml");
    let operators: String = operators.iter().map(|key| format!("\n  - {key}")).collect();
    let operators = if operators.is_empty() { String::new() } else { format!("operators:{operators}\n") };
    let text = format!(
        "name: {name}\ntemplate: {}\nprovider: {{type: sandbox, internet: false}}\n{operators}inputs:\n  workers:\n    \
         shape: {{cpu: 1, memory: 512Mi}}\n    count: {workers}\n",
        template.display()
    );
    lab.write(&format!("{name}.yaml"), &text)
}

/// A verb on a cluster file, with these recipes, without a question.
pub fn with_recipes(verb: &str, file: &str) -> Vec<String> {
    ["cluster", verb, file, "--recipes", &recipes(), "--yes", "-o", "json"].map(str::to_owned).to_vec()
}

/// The command went well.
pub fn fine(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended}");
}

/// The command went well: whether it changed anything.
pub fn changed(ended: &Ended) -> bool {
    fine(ended);
    ended.events().last().unwrap()["changed"].as_bool().unwrap()
}

/// As commands take them.
pub fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// The ledgers that the machines of a cluster carry, each once.
pub fn ledgers(lab: &Lab, cluster: &str) -> Vec<String> {
    let of = |machine: &Value| machine["tags"]["ledger"].as_str().unwrap().to_owned();
    let machines = lab.machines();
    let ours =
        |machine: &&Value| machine["tags"]["cluster"].as_str().unwrap().starts_with(&format!("{cluster}-"));
    let mut all: Vec<String> = machines.iter().filter(ours).map(of).collect();
    all.sort();
    all.dedup();
    all
}

/// The rows of a cluster's ledger: each machine's phase.
pub fn rows(lab: &Lab, cluster: &str) -> BTreeMap<String, String> {
    let ledger = std::fs::read_to_string(lab.state(cluster).join("ledger.json")).unwrap();
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    let rows = ledger["rows"].as_object().unwrap();
    rows.iter().map(|(name, row)| (name.clone(), row["phase"].as_str().unwrap().to_owned())).collect()
}

/// A front-end and so many workers: a row for each machine and a machine for each row, all Ready, and every step ran once on
/// every machine of its role, as the machines themselves tell.
pub fn whole(lab: &Lab, cluster: &str, workers: usize) {
    let rows = rows(lab, cluster);
    let machines = lab.tagged(cluster);
    assert_eq!(machines, rows.keys().cloned().collect::<Vec<_>>(), "{cluster}");
    assert!(rows.values().all(|phase| phase == "ready"), "{rows:?}");
    let on = |machine: &str, script: &str| lab.ok(&["cluster", "ssh", cluster, machine, "--", script]);
    let (front_ends, others): (Vec<_>, Vec<_>) =
        machines.into_iter().partition(|name| name.contains("-front-end-"));
    let [front_end] = &front_ends[..] else { panic!("{front_ends:?}") };
    assert_eq!(others.len(), workers, "{others:?}");
    assert_eq!(on(front_end, "cat /root/runs"), "common\nfront\n", "{front_end}");
    for worker in &others {
        let told = on(worker, "cat /root/runs /root/joined");
        assert_eq!(told, format!("common\njoin\nlast\nword of {front_end}\n"), "{worker}");
    }
}

/// Nothing of the cluster is in the cloud, and nothing is remembered.
pub fn gone(lab: &Lab, cluster: &str) {
    assert_eq!(lab.tagged(cluster), [""; 0]);
    let clusters = lab.status()["agent"]["clusters"].to_string();
    assert!(!clusters.contains(&format!("\"{cluster}-")), "{clusters}");
    assert!(!lab.state(cluster).exists(), "its folder is still there");
}
