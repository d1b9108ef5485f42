//! Clusters with recipes that take a second, and no Kubernetes.

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
