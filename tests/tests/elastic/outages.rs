//! What the autoscaler does while others do not do their part: nothing is deleted, and it goes on by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use provisioner::clock;
use provisioner::provider::sandbox::machine::pause;
use serde_json::Value;

use crate::cluster::{Cluster, to_end, waits, with_kubeconfig};
use crate::objects::{job, special};

/// Longer than it takes to begin an outage while a machine is idle, and shorter than any outage.
const IDLE: Duration = Duration::from_secs(20);

#[test]
fn while_others_fail_nothing_is_deleted_and_it_goes_on_by_itself() {
    let Some(cluster) = Cluster::up_with_nothing("out", IDLE) else { return };
    without_an_api_server_nothing_is_deleted(&cluster, Duration::from_secs(40), &FROZEN);
    without_a_cloud_nothing_is_done(&cluster);
    at_the_quota_it_waits_and_still_shrinks(&cluster);
    of_two_daemons_one_acts(&cluster);
    cluster.down();
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn ten_minutes_without_an_api_server() {
    let Some(cluster) = Cluster::up_with_nothing("long", IDLE) else { return };
    without_an_api_server_nothing_is_deleted(&cluster, Duration::from_secs(600), &AWAY);
    cluster.down();
}

/// How an API server goes, and how it comes back.
struct Outage {
    begin: &'static str,
    end: &'static str,
}

/// It takes connections and never answers.
const FROZEN: Outage =
    Outage { begin: "kill -STOP $(pidof kube-apiserver)", end: "kill -CONT $(pidof kube-apiserver)" };

/// It is not there: its kubelet would not leave one frozen for so long.
const AWAY: Outage = Outage {
    begin: "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/",
    end: "mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/",
};

/// One machine is busy, one has just become idle, one is being made.
fn without_an_api_server_nothing_is_deleted(cluster: &Cluster, lasts: Duration, outage: &Outage) {
    cluster.apply(&[job("busy", 1, "1200m"), job("short", 1, "1200m")]);
    cluster.run(&["busy", "short"]);
    let busy = uid_and_restarts(cluster, "busy");
    // On the front-end itself, so that the idle time is not over before the outage begins.
    cluster.front_end(&format!(
        "{}\nkubectl apply -f - <<'END'\n{}\nEND\nsleep 2\n{}",
        to_end("short"),
        special("during", 1, "2500m"),
        outage.begin
    ));
    let (since, began) = (clock::monotonic(), cluster.now());
    let before: BTreeSet<String> = cluster.workers().into_keys().collect();
    assert_eq!(cluster.of_pool("workers"), 2, "one that is idle, and one that is not: {before:?}");
    while since.elapsed() < lasts {
        let now = cluster.workers().into_keys().collect();
        assert!(before.is_subset(&now), "{before:?}, then {now:?} after {:?}", since.elapsed());
        pause(Duration::from_millis(500));
    }
    cluster.front_end(outage.end);
    let took = cluster.until("the API server answers", || {
        cluster.lab.run(&["cluster", "ssh", cluster.name, "--", &with_kubeconfig("kubectl get nodes")]).code
            == Some(0)
    });
    println!("the API server was away for {lasts:?} and answered {took:.1?} later");
    cluster.run(&["during"]);
    let drained = cluster.logged("Ready -> Draining", began, began);
    assert!(drained.iter().all(|at| *at > lasts.as_secs_f64()), "{drained:?}");
    cluster.until("the idle machine goes after all", || cluster.of_pool("workers") == 1);
    assert_eq!(uid_and_restarts(cluster, "busy"), busy, "what ran was touched");
    assert_eq!(cluster.of_pool("special"), 1);
}

fn uid_and_restarts(cluster: &Cluster, job: &str) -> String {
    cluster.front_end(&format!(
        "kubectl get pods -l job-name={job} \
         -o jsonpath='{{range .items[*]}}{{.metadata.uid}} {{.status.containerStatuses[*].restartCount}};{{end}}'"
    ))
}

/// Every call to the cloud is refused. The command line cannot log in meanwhile, so a login from before looks on.
fn without_a_cloud_nothing_is_done(cluster: &Cluster) {
    let before = cluster.workers();
    let more = serde_json::json!(job("hungry", 1, "1200m"));
    let script = format!(
        "echo '\"begins\"'; sleep 4\nkubectl apply -f - >/dev/null <<'END'\n{more}\nEND\nsleep 12\n\
         continuum-autoscaler ask GET /v1/status | tr -d '\\n'"
    );
    let script = with_kubeconfig(&script);
    let mut watch =
        cluster.lab.start(&["cluster", "ssh", cluster.name, &cluster.front_end_name(), "--", &script]);
    assert!(watch.after(1));
    cluster.lab.ok(&["sandbox", "faults", "set", "error-500=1000"]);
    let ended = watch.end();
    let machines = cluster.workers();
    cluster.lab.ok(&["sandbox", "faults", "clear"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let status: Value = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
    let why = waits(&status, "StaleView");
    assert!(why.iter().any(|(_, text)| text.contains("the cloud does not answer")), "{status:#}");
    assert_eq!(machines, before);
    let took = cluster.until("it makes the machine", || cluster.of_pool("workers") == 2);
    println!("the cloud answers again → a machine: {took:.1?}");
    cluster.run(&["hungry"]);
    assert!(before.keys().all(|name| cluster.workers().contains_key(name)));
}

/// There is no room for another machine, and a pod that wants one: that is said. A machine that nobody needs goes all the
/// same, and leaves its room to the one that waits.
fn at_the_quota_it_waits_and_still_shrinks(cluster: &Cluster) {
    let full = cluster.lab.machines().len();
    cluster.lab.ok(&["sandbox", "faults", "set", &format!("quota={full}")]);
    let before = cluster.of_pool("special");
    cluster.apply(&[special("over", 1, "2500m")]);
    cluster.until("the quota is named", || {
        let waits = cluster.waits("Backoff");
        waits.iter().any(|(subject, text)| subject.contains("default/over") && text.contains("quota"))
    });
    assert_eq!((cluster.lab.machines().len(), cluster.of_pool("special")), (full, before));
    cluster.end(&["hungry"]);
    let took = cluster.until("its machine goes", || cluster.of_pool("workers") == 1);
    println!("at the quota, a machine that nobody needs goes after {took:.1?}");
    let took = cluster.until("the one that waits has the room", || cluster.of_pool("special") == before + 1);
    println!("… and the pod that waits gets one {took:.1?} later");
    cluster.run(&["over"]);
    cluster.lab.ok(&["sandbox", "faults", "clear"]);
}

/// A second daemon with the same configuration does nothing while the first one holds the lease, and takes over at once when
/// that gives it back.
fn of_two_daemons_one_acts(cluster: &Cluster) {
    cluster.front_end(
        "systemd-run -q --unit second -p User=continuum-autoscaler -p StateDirectory=second -p RuntimeDirectory=second \
         continuum-autoscaler run --state /var/lib/second --socket /run/second/api.sock\n\
         for i in $(seq 60); do [ -S /run/second/api.sock ] && exit; sleep 1; done; exit 1",
    );
    let before = cluster.of_pool("workers");
    cluster.apply(&[job("one", 1, "1200m")]);
    cluster.run(&["one"]);
    assert_eq!(cluster.of_pool("workers"), before + 1);
    assert_eq!(decisions(cluster, "second"), [""; 0]);
    let first = decisions(cluster, "continuum-autoscaler").len();
    cluster.front_end("systemctl stop continuum-autoscaler");
    cluster.apply(&[job("other", 1, "1200m")]);
    let took = cluster.until("the second one makes a machine", || cluster.of_pool("workers") == before + 2);
    println!("the first daemon ends → a machine by the second: {took:.1?}");
    assert_eq!(decisions(cluster, "continuum-autoscaler").len(), first);
    assert!(decisions(cluster, "second").iter().any(|line| line.contains("new, Creating")));
}

/// What a daemon has decided, as it logged it.
fn decisions(cluster: &Cluster, unit: &str) -> Vec<String> {
    let log = cluster.front_end(&format!("journalctl -u {unit} -o cat --no-pager -q"));
    log.lines().filter(|line| line.contains(" row ")).map(str::to_owned).collect()
}
