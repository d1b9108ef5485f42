//! One cluster's life with its autoscaler, in stages.

use std::collections::BTreeMap;
use std::time::Duration;

use provisioner::provider::sandbox::machine::pause;

use crate::cluster::Cluster;
use crate::objects::{bare, budget, deployment, job, special};

#[test]
fn a_cluster_grows_and_shrinks_with_its_pods() {
    let Some(cluster) = Cluster::up_with_nothing("el", Duration::from_secs(10)) else { return };
    jobs_bring_machines_of_both_pools(&cluster);
    a_pod_that_fits_nowhere_gets_its_reason_at_once(&cluster);
    what_people_see_of_it(&cluster);
    a_lowered_maximum_and_a_budget_hold_what_runs(&cluster);
    a_machine_that_is_gone_is_replaced_under_a_new_name(&cluster);
    paused_it_adds_nothing_and_resumed_it_does(&cluster);
    killed_while_machines_are_made_it_makes_none_twice(&cluster);
    when_nobody_needs_them_all_machines_go(&cluster);
    taken_down_while_machines_are_made_nothing_is_left(cluster);
}

/// 0 → 3 and 0 → 1: each pod has its own machine, of the pool that takes it.
fn jobs_bring_machines_of_both_pools(cluster: &Cluster) {
    let (since, applied) =
        cluster.apply(&[job("wide", 3, "1200m"), special("picky", 1, "2500m"), bare("giant", "50")]);
    cluster.until("the cloud has a machine for each pod", || cluster.workers().len() == 4);
    cluster.run(&["wide", "picky"]);
    assert_eq!((cluster.of_pool("workers"), cluster.of_pool("special")), (3, 1), "{}", cluster.log());
    let added = cluster.logged(": new, Creating", since, applied);
    let ready = cluster.logged("Configuring -> Ready", since, applied);
    assert_eq!(added.len(), 4, "rows: {added:?}");
    println!(
        "applied in {:.1} s; from then on: to be created after {added:.1?} s, Ready after {ready:.1?} s",
        applied - since
    );
}

fn a_pod_that_fits_nowhere_gets_its_reason_at_once(cluster: &Cluster) {
    // The machines that the others wanted are there, so it had its turn long ago.
    assert_eq!(
        cluster.waits("FitsNowhere"),
        [("pod default/giant".to_owned(), "fits on nothing that could be added".to_owned())]
    );
    let event = "kubectl get events --field-selector involvedObject.name=giant,reason=FitsNowhere \
                 -o jsonpath='{range .items[*]}{.type} {.message}{\"\\n\"}{end}'";
    assert_eq!(cluster.front_end(event), "Warning fits on nothing that could be added\n");
    let said = cluster.lab.ok(&["autoscaler", "explain", cluster.name, "giant"]);
    insta::assert_snapshot!(said, @r"
    default/giant: it fits on nothing that could be added
      pool special, 3x3Gi: it wants 50 cpu, 2750m of 2750m is free; it does not tolerate the taint kind=special:NoSchedule
      pool workers, 2x2Gi: it wants 50 cpu, 1750m of 1750m is free
    what would help: ask for at most 1750m cpu, or add a larger shape
    ");
    cluster.front_end("kubectl delete pod giant");
}

fn what_people_see_of_it(cluster: &Cluster) {
    insta::with_settings!({filters => vec![
        (r"-\d+\b", "-N"),
        (r"\b\d+(\.\d+)?(ms|s|m|h)( \d+s)?\b", "TIME"),
        (r"\b\d+\.\d+\.\d+\.\d+(:\d+)?", "ADDRESS"),
        (r" +", " "),
    ]}, {
        let ended = cluster.lab.run(&["cluster", "status", cluster.name]);
        insta::assert_snapshot!(ended.out, @r"
        MACHINE PHASE CLOUD NODE SHAPE ADDRESS EXPOSED
        el-front-end-N Ready running Ready 2x4Gi ADDRESS 6443 at ADDRESS
        el-special-N Ready running Ready 3x3Gi ADDRESS -
        el-workers-N Ready running Ready 2x2Gi ADDRESS -
        el-workers-N Ready running Ready 2x2Gi ADDRESS -
        el-workers-N Ready running Ready 2x2Gi ADDRESS -
        ");
        let ended = cluster.lab.run(&["autoscaler", "status", cluster.name]);
        let first = ended.out.split("\nlast decisions:").next().unwrap().to_owned();
        insta::assert_snapshot!(ended.err + &first, @r"
        el: the autoscaler is active, looked TIME ago
        POOL MIN MAX READY BOOTING LEAVING
        special 0 2 1 0 0
        workers 0 3 3 0 0

        MACHINE PHASE SHAPE AGE LEAVES BECAUSE
        el-special-N Ready 3x3Gi TIME -
        el-workers-N Ready 2x2Gi TIME -
        el-workers-N Ready 2x2Gi TIME -
        el-workers-N Ready 2x2Gi TIME -
        ");
    });
    // Its host keys are the autoscaler's; they are pinned all the same.
    let (machine, _) = cluster.workers().pop_first().unwrap();
    let said = cluster.lab.ok(&["cluster", "ssh", cluster.name, &machine, "--", "hostname"]);
    assert_eq!(said.trim(), machine);
}

/// N → 0, in the cloud and in Kubernetes.
fn when_nobody_needs_them_all_machines_go(cluster: &Cluster) {
    cluster.end(&["many", "late"]);
    let took = cluster.until("all machines are gone", || cluster.workers().is_empty());
    cluster.until("only the front-end is a node", || {
        cluster.nodes() == BTreeMap::from([(cluster.front_end_name(), true)])
    });
    cluster.until("no row is left", || cluster.rows().is_empty());
    println!("jobs ended → no machine left, 10 s of idle time with it: {took:.1?}");
}

/// The Jobs end, and each worker keeps a pod that may be moved, if a budget lets it: the pool is to have two at most, and one at least.
fn a_lowered_maximum_and_a_budget_hold_what_runs(cluster: &Cluster) {
    cluster.apply(&[deployment("web", 3, "300m"), budget("web", 3)]);
    cluster.front_end("kubectl rollout status deployment/web --timeout=120s");
    cluster.end(&["wide", "picky"]);
    cluster.wants("1..2", "0..2");
    cluster.up();
    let before = pods_of_web(cluster);
    let on: std::collections::BTreeSet<_> = before.values().collect();
    assert!(on.len() > 1, "all on one node, so nothing is to be moved: {before:?}");
    cluster.until("the budget is named as what holds a machine", || {
        !cluster.waits("DisruptionBudget").is_empty()
    });
    pause(Duration::from_secs(5));
    assert_eq!(pods_of_web(cluster), before);
    assert_eq!(cluster.of_pool("workers"), 3, "a maximum that is lowered removes nothing that is in use");
    // From now on one may be missing.
    cluster.front_end(
        "systemd-run -q --unit watch-web -p RuntimeMaxSec=300 -E KUBECONFIG=$KUBECONFIG sh -c 'while :; do \
         kubectl get deployment web -o jsonpath=\"{.status.availableReplicas}{\\\"\\\\n\\\"}\"; sleep 0.5; done'",
    );
    cluster.apply(&[budget("web", 2)]);
    let took = cluster.until("one worker has all of it", || cluster.of_pool("workers") == 1);
    println!("a budget that allows it → from 3 workers to 1: {took:.1?}");
    let seen = cluster
        .front_end("systemctl stop watch-web; journalctl -u watch-web -o cat --no-pager -q | sort | uniq -c");
    assert!(
        seen.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).all(|n: u32| n >= 2),
        "fewer than the budget allows were there:\n{seen}"
    );
}

/// Of each pod of the Deployment the node.
fn pods_of_web(cluster: &Cluster) -> BTreeMap<String, String> {
    let script = "kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.uid} {.spec.nodeName}{\"\\n\"}{end}'";
    let list = cluster.front_end(script);
    list.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(uid, node)| (uid.into(), node.into()))
        .collect()
}

fn a_machine_that_is_gone_is_replaced_under_a_new_name(cluster: &Cluster) {
    let (lost, _) = cluster.workers().pop_first().unwrap();
    cluster.lab.delete_machine(&lost);
    let mut new = String::new();
    let took = cluster.until("another one is a Ready node, and the lost one is none", || {
        new = cluster.workers().into_keys().next().unwrap_or_default();
        let nodes = cluster.nodes();
        !new.is_empty() && new != lost && nodes.get(&new) == Some(&true) && !nodes.contains_key(&lost)
    });
    println!("{lost} deleted behind its back → {new} Ready: {took:.1?}");
    let (number, before) = (ordinal(&new), ordinal(&lost));
    assert!(number > before, "{new} after {lost}");
    cluster.until("only the new one has a row", || cluster.rows() == [new.clone()]);
    cluster.front_end("kubectl delete deployment/web pdb/web --wait=false");
}

fn ordinal(name: &str) -> u64 {
    name.rsplit_once('-').unwrap().1.parse().unwrap()
}

fn paused_it_adds_nothing_and_resumed_it_does(cluster: &Cluster) {
    cluster.lab.ok(&["autoscaler", "pause", cluster.name]);
    cluster.apply(&[special("late", 1, "2500m")]);
    pause(Duration::from_secs(5));
    assert_eq!(cluster.of_pool("special"), 0);
    assert_eq!(cluster.status()["mode"], "paused");
    cluster.lab.ok(&["autoscaler", "resume", cluster.name]);
    cluster.until("it makes a machine", || cluster.of_pool("special") == 1);
    assert_eq!(cluster.status()["mode"], "active");
}

/// It comes back after two seconds, waits until its own lease of before has run out, and goes on where it was.
fn killed_while_machines_are_made_it_makes_none_twice(cluster: &Cluster) {
    cluster.wants("0..4", "0..2");
    cluster.up();
    let before = cluster.of_pool("workers");
    cluster.apply(&[job("many", 4, "1200m")]);
    cluster.until("the first new machine is there", || cluster.of_pool("workers") > before);
    cluster.front_end("systemctl kill --signal=KILL continuum-autoscaler");
    cluster.run(&["many"]);
    cluster.run(&["late"]);
    cluster.until("each of the machines has a row, and each row a machine", || {
        cluster.rows() == cluster.workers().into_keys().collect::<Vec<_>>()
    });
    assert_eq!(cluster.of_pool("workers"), 4);
    // On a computer that is very busy it may not reach the API server at first, and is started once more.
    let restarts = cluster.front_end("systemctl show -P NRestarts continuum-autoscaler");
    assert_ne!(restarts.trim(), "0");
    if restarts.trim() != "1" {
        println!("{}", cluster.log());
    }
}

fn taken_down_while_machines_are_made_nothing_is_left(cluster: Cluster) {
    cluster.apply(&[special("doomed", 2, "2500m")]);
    cluster.until("one of its machines is there", || cluster.of_pool("special") > 0);
    cluster.down();
}
