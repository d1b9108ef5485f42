//! A real Kubernetes cluster, end to end: one cluster for many checks, because it takes a while. Needs root and a
//! bundle; says so and passes without.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use continuum_tests::points::{effects, spread};
use continuum_tests::{Ended, Lab, bundle};
use provisioner::quantity::{Cpu, Memory};
use provisioner::recipe::load;
use serde_json::{Value, json};

const NAME: &str = "kt";
/// As the bundle has it.
const IMAGE: &str = "docker.io/library/busybox:1.35";

/// What the template puts on every machine.
const RECIPES: [&str; 4] = ["base", "containerd", "flannel", "kubernetes"];

/// What this computer has: processors, and memory in whole GiB.
fn computer() -> (u64, u64) {
    let read = |path| std::fs::read_to_string(path).unwrap();
    let processors = read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    let total = read("/proc/meminfo").lines().find(|line| line.starts_with("MemTotal")).unwrap().to_owned();
    let kib: u64 = total.split_whitespace().nth(1).unwrap().parse().unwrap();
    (u64::try_from(processors).unwrap(), kib >> 20)
}

/// The workers' shape: processors and GiB, one more of either than this computer has.
fn worker() -> (u64, u64) {
    let (processors, gib) = computer();
    // Of memory a part of a GiB may be left over.
    (processors + 1, gib + 2)
}

/// A cluster and the lab that it is in.
struct Cluster {
    lab: Lab,
    file: String,
}

impl Cluster {
    /// Writes the file: workers of another shape than the front-end's, larger than this computer.
    fn wants(&self, workers: u32) {
        let (cpu, gib) = worker();
        let text = format!(
            "name: {NAME}\ntemplate: elastic-kubernetes\nprovider: {{type: sandbox, internet: false}}\ninputs:\n  \
             front_end: {{cpu: 2, memory: 4Gi}}\n  workers:\n    shape: {{cpu: {cpu}, memory: {gib}Gi}}\n    count: {workers}\n"
        );
        self.lab.write("cluster.yaml", &text);
    }

    fn up_args(&self) -> [&str; 6] {
        ["cluster", "up", &self.file, "--yes", "-o", "json"]
    }

    fn try_up(&self) -> Ended {
        self.lab.run(&self.up_args())
    }

    /// `up`; what happened.
    fn up(&self) -> Vec<Value> {
        Self::done(&self.try_up())
    }

    /// The same where no machine may count on a prepared image: every step is run.
    fn up_without_image(&self) -> Vec<Value> {
        Self::done(&self.lab.run(&["cluster", "up", &self.file, "--yes", "-o", "json", "--no-bake"]))
    }

    fn done(ended: &Ended) -> Vec<Value> {
        assert_eq!(ended.code, Some(0), "{ended}");
        ended.events()
    }

    fn on(&self, machine: &str, script: &str) -> String {
        self.lab.ok(&["cluster", "ssh", NAME, machine, "--", script])
    }

    fn front_end(&self, script: &str) -> String {
        let names = self.lab.tagged(NAME);
        let front_end = names.iter().find(|name| name.starts_with("kt-front-end-")).unwrap();
        self.on(front_end, &format!("export KUBECONFIG=/etc/kubernetes/admin.conf\n{script}"))
    }

    /// Applies objects.
    fn apply(&self, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.front_end(&format!("kubectl apply -f - <<'END'\n{list}\nEND"));
    }

    /// Nodes by name, as the API has them. All of them are Ready.
    fn nodes(&self) -> BTreeMap<String, Value> {
        let list: Value = serde_json::from_str(&self.front_end("kubectl get nodes -o json")).unwrap();
        let nodes = list["items"].as_array().unwrap().clone();
        for node in &nodes {
            let conditions = node["status"]["conditions"].as_array().unwrap();
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
            assert_eq!(ready["status"], "True", "{node:#}");
        }
        nodes.into_iter().map(|node| (node["metadata"]["name"].as_str().unwrap().to_owned(), node)).collect()
    }

    /// Machines and nodes are these, all Ready.
    fn consists_of(&self, names: &[&str]) {
        assert_eq!(self.lab.tagged(NAME), names);
        assert_eq!(self.nodes().keys().collect::<Vec<_>>(), names);
    }

    /// What recipes printed on a machine.
    fn log(&self, machine: &str) -> String {
        std::fs::read_to_string(self.lab.state(NAME).join(format!("logs/{machine}.log"))).unwrap()
    }
}

/// The jobs of some machine that ended well, in order.
fn jobs(events: &[Value], machine: &str) -> Vec<String> {
    let finished = events.iter().filter(|event| event["event"] == "finished" && event["machine"] == machine);
    finished
        .map(|event| event["job"].as_str().unwrap().to_owned())
        .filter(|job| !job.starts_with("ask "))
        .collect()
}

/// Every machine that anything was done to, or with.
fn touched(events: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "started")
        .map(|event| event["machine"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A pod of one container; where no node is named, the scheduler finds one.
fn pod(name: &str, node: &str, command: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "it", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", command]}]}})
}

#[test]
fn a_cluster_from_one_file_through_its_whole_life() {
    let Some(bundle) = bundle() else { return };
    let Some(lab) = Lab::open("kube") else { return };
    let lab = lab.with_bundle(bundle);
    let file = lab.write("cluster.yaml", "");
    let cluster = Cluster { lab, file };
    cluster.wants(2);
    it_comes_up_over_three_kills(&cluster);
    cluster.consists_of(&["kt-front-end-1", "kt-workers-2", "kt-workers-3"]);
    a_node_is_as_large_as_its_shape(&cluster);
    every_recipe_run_again_changes_nothing(&cluster);
    what_is_done_faster_is_as_good(&cluster);
    cluster.lab.ok(&["cluster", "load-image", NAME, "busybox"]);
    a_node_larger_than_this_computer_runs_a_pod_that_needs_it(&cluster);
    pods_run_talk_and_are_found(&cluster);
    nothing_to_change_touches_nothing(&cluster);
    a_lost_ledger_is_rebuilt_from_the_machines(&cluster);
    one_more_is_added_beside_the_others(&cluster);
    a_drain_is_called_off_when_the_pool_grows_again(&cluster);
    one_less_is_drained_first(&cluster);
    a_stopped_worker_is_started_again(&cluster);
    a_worker_that_is_gone_is_replaced_under_a_new_name(&cluster);
    a_front_end_that_is_gone_is_not_replaced_in_silence(&cluster);
    a_front_end_that_is_given_up_is_made_anew_with_every_worker(&cluster);
    cluster.lab.ok(&["cluster", "down", NAME, "--yes"]);
    assert_eq!(cluster.lab.tagged(NAME), [""; 0]);
    assert!(!cluster.lab.state(NAME).exists());
    cluster.lab.close();
}

/// Each `up` goes on where the one before was killed: while machines are made, while steps run, while they are written down.
fn it_comes_up_over_three_kills(cluster: &Cluster) {
    for point in ["provider.create:2:after", "remote.run:4:after", "save:3:before"] {
        let killed = cluster.lab.killed_at(point, &cluster.up_args());
        assert_eq!(killed.code, None, "it did not come to {point}: {killed}");
    }
    cluster.up();
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn killed_at_ten_points_the_same_command_makes_a_cluster() {
    let Some(bundle) = bundle() else { return };
    let Some(lab) = Lab::open("kube-crash") else { return };
    let lab = lab.with_bundle(bundle);
    let file = lab.write("cluster.yaml", "");
    let cluster = Cluster { lab, file };
    cluster.wants(1);
    let down = ["cluster", "down", NAME, "--yes"];
    // The first may have to make a machine image, which the others find.
    cluster.up();
    cluster.lab.ok(&down);
    let (ended, points) = cluster.lab.points(&cluster.up_args());
    Cluster::done(&ended);
    cluster.lab.ok(&down);
    let effects = effects(&points);
    println!("{} points, {} of them effects", points.len(), effects.len());
    for point in spread(&effects, 10) {
        let began = provisioner::clock::monotonic();
        let killed = cluster.lab.killed_at(&point, &cluster.up_args());
        println!("{point}: killed: {}, {:?}", killed.code.is_none(), began.elapsed());
        cluster.up();
        cluster.consists_of(&["kt-front-end-1", "kt-workers-2"]);
        nothing_to_change_touches_nothing(&cluster);
        cluster.lab.ok(&down);
        assert_eq!(cluster.lab.tagged(NAME), [""; 0], "killed at {point}");
    }
    cluster.lab.close();
}

/// Capacity is the shape; allocatable is what the recipes' reservations leave of it, to the byte.
fn a_node_is_as_large_as_its_shape(cluster: &Cluster) {
    let (mut millis, mut bytes) = (0, 0);
    let shipped = load::shipped().unwrap();
    for recipe in shipped.iter().filter(|recipe| RECIPES.contains(&recipe.name().as_str())) {
        let taken = recipe.file.reservations;
        millis += taken.cpu.map_or(0, |cpu: Cpu| cpu.millis);
        bytes += taken.memory.map_or(0, |memory: Memory| memory.bytes);
    }
    assert!(millis > 0 && bytes > 0);
    let nodes = cluster.nodes();
    let (wide, large) = worker();
    for (name, cpu, gib) in
        [("kt-front-end-1", 2, 4), ("kt-workers-2", wide, large), ("kt-workers-3", wide, large)]
    {
        let status = &nodes[name]["status"];
        let capacity = status["capacity"].as_object().unwrap();
        assert!(
            !capacity.keys().any(|key| key.starts_with("hugepages")),
            "{name} has the computer's: {capacity:?}"
        );
        let of = |what: &str| {
            let cpu: Cpu = status[what]["cpu"].as_str().unwrap().parse().unwrap();
            let memory: Memory = status[what]["memory"].as_str().unwrap().parse().unwrap();
            (cpu.millis, memory.bytes)
        };
        assert_eq!(of("capacity"), (cpu * 1000, gib << 30), "{name}");
        assert_eq!(of("allocatable"), (cpu * 1000 - millis, (gib << 30) - bytes), "{name}");
    }
}

/// A pod asks for more processors than this computer has. It gets the node, and its limit as it stands; the processors
/// that it may run on are all of its machine's, not the first few.
fn a_node_larger_than_this_computer_runs_a_pod_that_needs_it(cluster: &Cluster) {
    let (processors, _) = computer();
    let cpu = format!("{}m", processors * 1000 + 250);
    let command =
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max; nproc";
    let mut wide = pod("wide", "", command);
    wide["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
    cluster.apply(&[wide]);
    cluster.front_end("kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/wide --timeout=120s");
    let may = cluster.on("kt-workers-2", "nproc");
    assert_eq!(cluster.front_end("kubectl logs wide"), format!("{}\n{may}", processors * 100_000 + 25_000));
    cluster.front_end("kubectl delete pod wide");
}

/// The ledger forgets that any step was done, and the machines that they ever ran one: then every check is asked again,
/// and each says that there is nothing to do.
fn every_recipe_run_again_changes_nothing(cluster: &Cluster) {
    let path = cluster.lab.state(NAME).join("ledger.json");
    let mut ledger: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let machines: Vec<String> = ledger["rows"].as_object().unwrap().keys().cloned().collect();
    for machine in &machines {
        ledger["rows"][machine]["phase"] = json!("configuring");
        ledger["rows"][machine]["done"] = json!({"steps": {}});
        cluster.on(machine, "rm -rf /var/lib/continuum/jobs/continuum-*");
    }
    std::fs::write(&path, ledger.to_string()).unwrap();
    let events = cluster.up_without_image();
    let mut recipes = Vec::new();
    for event in events.iter().filter(|event| event["event"] == "finished") {
        let job = event["job"].as_str().unwrap();
        if let Some((recipe, _)) = job.split_once('/') {
            assert_eq!(event["changed"], false, "{job} on {} changed something again", event["machine"]);
            recipes.push(recipe.to_owned());
        }
    }
    recipes.sort();
    recipes.dedup();
    assert_eq!(recipes, RECIPES);
}

/// flannel's objects are applied without validation, and the kubelet is not started again after `kubeadm init`: the objects
/// are valid, and the file that the kubelet starts with leads to the certificate that it renews.
fn what_is_done_faster_is_as_good(cluster: &Cluster) {
    cluster.front_end("kubectl apply --dry-run=server --validate=strict -f /etc/kubernetes/flannel.yaml");
    let conf = cluster.front_end("cat /etc/kubernetes/kubelet.conf");
    assert_eq!(conf.matches(": /var/lib/kubelet/pki/kubelet-client-current.pem").count(), 2);
    assert!(!conf.contains("client-certificate-data") && !conf.contains("client-key-data"));
    let own = "kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node kt-front-end-1 -o name";
    assert_eq!(cluster.front_end(own), "node/kt-front-end-1\n");
}

/// A Job completes; pods on two nodes talk by address and by a Service's name; their logs and a shell in them are at hand.
fn pods_run_talk_and_are_found(cluster: &Cluster) {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum"}, "spec": {"template": {
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "it", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["sh", "-c", "echo $((6 * 7)) by $(hostname | cut -d- -f1)"]}]}}}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
        "selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    let serve = "mkdir /www; echo served by $(hostname) >/www/index.html; echo begun; exec httpd -f -v -p 8080 -h /www";
    cluster.apply(&[
        job,
        service,
        pod("server", "kt-workers-2", serve),
        pod("client", "kt-workers-3", "exec sleep 3600"),
    ]);
    cluster.front_end("kubectl wait --for=condition=Ready pod/server pod/client --timeout=120s");
    cluster.front_end("kubectl wait --for=condition=Complete job/sum --timeout=120s");
    assert_eq!(cluster.front_end("kubectl logs job/sum"), "42 by sum\n");
    let address = cluster.front_end("kubectl get pod server -o jsonpath='{.status.podIP}'");
    for from in [format!("{address}:8080"), "web".into(), "web.default.svc.cluster.local".into()] {
        // The rules for a new Service reach each node in their own time.
        let ask = format!(
            "for i in 1 2 3 4 5; do timeout 5 wget -q -O - http://{from}/ && exit; sleep 1; done; exit 1"
        );
        let answer = cluster.front_end(&format!("kubectl exec client -- sh -c '{ask}'"));
        assert_eq!(answer, "served by server\n", "{from}");
    }
    let log = cluster.front_end("kubectl logs server");
    assert!(log.starts_with("begun\n"), "{log}");
    cluster.front_end("kubectl delete pod/server pod/client service/web job/sum --wait=false");
}

/// A second `up` changes nothing. The one thing that it runs is the question whether the cluster is usable.
fn nothing_to_change_touches_nothing(cluster: &Cluster) {
    let machines = cluster.lab.tagged(NAME);
    let before: Vec<String> = machines.iter().map(|machine| cluster.log(machine)).collect();
    let events = cluster.up();
    assert_eq!(touched(&events), [""; 0], "{events:#?}");
    assert_eq!(events.last().unwrap()["changed"], false);
    for (machine, before) in machines.iter().zip(before) {
        let log = cluster.log(machine);
        let more = log.strip_prefix(&before).expect("a log only grows");
        let mut units = more.lines().filter(|line| line.starts_with("== "));
        let asked = |line: &str| machine == "kt-front-end-1" && line.contains(" continuum-settled-");
        assert!(units.all(asked), "on {machine}:\n{more}");
    }
}

/// `adopt` finds out what each machine has behind it; nothing runs on any of them a second time.
fn a_lost_ledger_is_rebuilt_from_the_machines(cluster: &Cluster) {
    for file in ["ledger.json", "ledger.json.old"] {
        std::fs::remove_file(cluster.lab.state(NAME).join(file)).unwrap();
    }
    let ended = cluster.try_up();
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(
        ended.err.contains("continuum cluster adopt") || ended.out.contains("continuum cluster adopt"),
        "{ended}"
    );
    cluster.lab.ok(&["cluster", "adopt", &cluster.file, "--yes"]);
    let events = cluster.up();
    assert_eq!(touched(&events), [""; 0], "{events:#?}");
    cluster.consists_of(&["kt-front-end-1", "kt-workers-2", "kt-workers-3"]);
}

/// 2 → 3: the machines that are Ready are left alone; images of the user's own are on the new one too.
fn one_more_is_added_beside_the_others(cluster: &Cluster) {
    let workers = ["kt-workers-2", "kt-workers-3"];
    let before = workers.map(|machine| cluster.log(machine));
    cluster.wants(3);
    let events = cluster.up();
    assert_eq!(touched(&events), ["kt-workers-4"], "{events:#?}");
    assert_eq!(workers.map(|machine| cluster.log(machine)), before);
    cluster.consists_of(&["kt-front-end-1", "kt-workers-2", "kt-workers-3", "kt-workers-4"]);
    cluster.apply(&[pod("late", "kt-workers-4", "hostname")]);
    cluster.front_end("kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/late --timeout=60s");
    assert_eq!(cluster.front_end("kubectl logs late"), "late\n");
    cluster.front_end("kubectl delete pod late");
}

/// 3 → 2 → 3 while a pod keeps its node from being empty: the machine stays, and takes work again.
fn a_drain_is_called_off_when_the_pool_grows_again(cluster: &Cluster) {
    // Nobody would start this pod again, so no drain ends while it runs.
    cluster.apply(&[pod("stays", "kt-workers-4", "exec sleep 3600")]);
    cluster.front_end("kubectl wait --for=condition=Ready pod/stays --timeout=60s");
    cluster.wants(2);
    let mut smaller = cluster.lab.start(&["cluster", "up", &cluster.file, "--yes", "-o", "json"]);
    smaller.until("a drain has failed", |event| {
        event["event"] == "failed" && event["machine"] == "kt-workers-4"
    });
    smaller.kill();
    let cordoned = "kubectl get node kt-workers-4 -o jsonpath='{.spec.unschedulable}'";
    assert_eq!(cluster.front_end(cordoned), "true");
    cluster.wants(3);
    let events = cluster.up();
    assert_eq!(touched(&events), ["kt-workers-4"], "{events:#?}");
    assert_eq!(jobs(&events, "kt-workers-4"), ["uncordon"]);
    assert_eq!(cluster.front_end(cordoned), "");
    assert_eq!(cluster.front_end("kubectl get pod stays -o jsonpath='{.status.phase}'"), "Running");
    cluster.consists_of(&["kt-front-end-1", "kt-workers-2", "kt-workers-3", "kt-workers-4"]);
    cluster.front_end("kubectl delete pod stays");
}

/// 3 → 2: the newest goes, and what runs there goes elsewhere before.
fn one_less_is_drained_first(cluster: &Cluster) {
    let spec = json!({"terminationGracePeriodSeconds": 1,
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": {
            "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["kt-workers-4"]}]}}]}},
        "containers": [{"name": "it", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "3600"]}]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "moves"}, "spec": {
        "selector": {"matchLabels": {"app": "moves"}}, "template": {"metadata": {"labels": {"app": "moves"}}, "spec": spec}}});
    cluster.apply(&[deployment]);
    let at = "kubectl rollout status deployment/moves --timeout=60s >/dev/null; \
              kubectl get pods -l app=moves --field-selector=status.phase=Running -o jsonpath='{.items[*].spec.nodeName}'";
    assert_eq!(cluster.front_end(at), "kt-workers-4");
    cluster.wants(2);
    let events = cluster.up();
    assert_eq!(touched(&events), ["kt-workers-4"], "{events:#?}");
    assert_eq!(jobs(&events, "kt-workers-4"), ["drain", "delete", "forget node"]);
    cluster.consists_of(&["kt-front-end-1", "kt-workers-2", "kt-workers-3"]);
    let moved = cluster.front_end(at);
    assert!(["kt-workers-2", "kt-workers-3"].contains(&moved.as_str()), "{moved}");
}

fn a_stopped_worker_is_started_again(cluster: &Cluster) {
    let before = cluster.on("kt-workers-3", "cat /proc/sys/kernel/random/boot_id");
    cluster.lab.ok(&["sandbox", "stop", "kt-workers-3"]);
    let events = cluster.up();
    assert_eq!(jobs(&events, "kt-workers-3"), ["start"]);
    assert_eq!(touched(&events), ["kt-workers-3"]);
    // `up` ends only when the kubelet has reported from this boot: until then the API believes what it heard before.
    let reported = cluster.front_end("kubectl get node kt-workers-3 -o jsonpath='{.status.nodeInfo.bootID}'");
    let boot = cluster.on("kt-workers-3", "cat /proc/sys/kernel/random/boot_id");
    assert_ne!(boot, before);
    assert_eq!(reported, boot.trim());
    cluster.consists_of(&["kt-front-end-1", "kt-workers-2", "kt-workers-3"]);
}

fn a_worker_that_is_gone_is_replaced_under_a_new_name(cluster: &Cluster) {
    cluster.lab.delete_machine("kt-workers-2");
    let events = cluster.up();
    let why: Vec<&Value> =
        events.iter().filter(|event| event["to"] == "deleting").map(|event| &event["why"]).collect();
    assert_eq!(why.len(), 1, "{events:#?}");
    assert_eq!(touched(&events), ["kt-workers-2", "kt-workers-5"]);
    cluster.consists_of(&["kt-front-end-1", "kt-workers-3", "kt-workers-5"]);
}

fn a_front_end_that_is_gone_is_not_replaced_in_silence(cluster: &Cluster) {
    cluster.lab.delete_machine("kt-front-end-1");
    let ended = cluster.try_up();
    let text = "error: front-end kt-front-end-1 is lost (gone, and nobody deleted it), and with it the cluster's state: every \
                Kubernetes object, certificate and token; bring the machine back if you can, else `cluster up --rebuild-front-end` makes \
                a new one and replaces every worker with it\n";
    assert!(ended.code == Some(4) && ended.err.contains(text), "{text} is not in {ended}");
    assert_eq!(cluster.lab.tagged(NAME), ["kt-workers-3", "kt-workers-5"]);
}

/// The same cluster id and network, another control plane: what trusted the old one is replaced, and the kubeconfig too.
fn a_front_end_that_is_given_up_is_made_anew_with_every_worker(cluster: &Cluster) {
    let path = cluster.lab.state(NAME).join("kubeconfig");
    let before = std::fs::read(&path).unwrap();
    let ended =
        cluster.lab.run(&["cluster", "up", &cluster.file, "--yes", "-o", "json", "--rebuild-front-end"]);
    Cluster::done(&ended);
    cluster.consists_of(&["kt-front-end-6", "kt-workers-7", "kt-workers-8"]);
    assert_ne!(std::fs::read(&path).unwrap(), before);
    cluster.apply(&[pod("anew", "kt-workers-7", "hostname")]);
    cluster.front_end("kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/anew --timeout=60s");
}
