//! A cluster with two elastic pools, and what the tests ask of it.

use std::collections::BTreeMap;
use std::time::Duration;

use continuum_tests::{Lab, bundle};
use provisioner::clock;
use provisioner::provider::sandbox::machine::pause;
use serde_json::{Value, json};

use crate::objects::TAINT;

/// No single step takes longer, on a busy computer with two cores: a machine has booted and joined several times by then.
const PATIENCE: Duration = Duration::from_secs(150);

/// A cluster and the lab that it is in.
pub(crate) struct Cluster {
    pub(crate) lab: Lab,
    pub(crate) name: &'static str,
    file: String,
    idle: Duration,
}

impl Cluster {
    /// Without a worker, with an image for pods; machines go after so much idle time. `None` where there can be none.
    pub(crate) fn up_with_nothing(name: &'static str, idle: Duration) -> Option<Self> {
        let bundle = bundle()?;
        let lab = Lab::open(name)?.with_bundle(bundle);
        let file = lab.write("cluster.yaml", "");
        let cluster = Self { lab, name, file, idle };
        cluster.wants("0..3", "0..2");
        cluster.up();
        cluster.lab.ok(&["cluster", "load-image", name, "busybox"]);
        cluster.up();
        assert_eq!(cluster.workers(), BTreeMap::new());
        Some(cluster)
    }

    /// Writes the file: these ranges for the pool `workers`, and for the larger and tainted pool `special`.
    pub(crate) fn wants(&self, workers: &str, special: &str) {
        let text = format!(
            "name: {}\ntemplate: elastic-kubernetes\nprovider: {{type: sandbox, internet: false}}\ninputs:\n  \
             front_end: {{cpu: 2, memory: 4Gi}}\n  workers: {{shape: {{cpu: 2, memory: 2Gi}}, count: {workers}}}\n  \
             pools:\n    special: {{shape: {{cpu: 3, memory: 3Gi}}, count: {special}, labels: {{kind: special}}, \
             taints: [\"{TAINT}\"]}}\nautoscaler: {{idle: {}s}}\n",
            self.name,
            self.idle.as_secs()
        );
        self.lab.write("cluster.yaml", &text);
    }

    pub(crate) fn up(&self) {
        self.lab.ok(&["cluster", "up", &self.file, "--yes", "-o", "json"]);
    }

    pub(crate) fn down(self) {
        self.lab.ok(&["cluster", "down", self.name, "--yes"]);
        self.is_gone();
        self.lab.close();
    }

    /// Nothing of it is left, and nothing comes back.
    fn is_gone(&self) {
        assert_eq!(self.lab.tagged(self.name), [""; 0]);
        assert!(!self.lab.state(self.name).exists());
        pause(Duration::from_secs(3));
        assert_eq!(self.lab.tagged(self.name), [""; 0], "somebody still makes machines");
    }

    /// The front-end's name.
    pub(crate) fn front_end_name(&self) -> String {
        format!("{}-front-end-1", self.name)
    }

    pub(crate) fn front_end(&self, script: &str) -> String {
        self.lab.ok(&["cluster", "ssh", self.name, &self.front_end_name(), "--", &with_kubeconfig(script)])
    }

    /// Applies objects; the front-end's clock, as its journal counts, just before and just after.
    pub(crate) fn apply(&self, objects: &[Value]) -> (f64, f64) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let script = format!("date +%s.%N\nkubectl apply -f - >/dev/null <<'END'\n{list}\nEND\ndate +%s.%N");
        let times = self.front_end(&script);
        let mut times = times.lines().map(|time| time.parse().unwrap());
        (times.next().unwrap(), times.next().unwrap())
    }

    /// The daemon's machines that the cloud has, by its tags: name and pool. None is there twice.
    pub(crate) fn workers(&self) -> BTreeMap<String, String> {
        let front_end = self.front_end_name();
        let names = self.lab.tagged(self.name);
        let of_daemon: Vec<&String> = names.iter().filter(|name| **name != front_end).collect();
        let pool = |name: &str| {
            let pool = name.strip_prefix(self.name).unwrap().rsplit_once('-').unwrap().0;
            pool.trim_start_matches('-').to_owned()
        };
        let found: BTreeMap<_, _> = of_daemon.iter().map(|name| ((*name).clone(), pool(name))).collect();
        assert_eq!(found.len(), of_daemon.len(), "a machine is there twice: {names:?}");
        found
    }

    /// How many of a pool the cloud has.
    pub(crate) fn of_pool(&self, pool: &str) -> usize {
        self.workers().values().filter(|of| *of == pool).count()
    }

    /// Nodes by name, and whether each is Ready.
    pub(crate) fn nodes(&self) -> BTreeMap<String, bool> {
        let list: Value = serde_json::from_str(&self.front_end("kubectl get nodes -o json")).unwrap();
        let ready = |node: &Value| {
            let conditions = node["status"]["conditions"].as_array().unwrap();
            conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        let nodes = list["items"].as_array().unwrap();
        nodes
            .iter()
            .map(|node| (node["metadata"]["name"].as_str().unwrap().to_owned(), ready(node)))
            .collect()
    }

    /// What the daemon says of itself.
    pub(crate) fn status(&self) -> Value {
        let ended = self.lab.run(&["autoscaler", "status", self.name, "-o", "json"]);
        let status = serde_json::from_str(&ended.out).ok();
        let status = status.filter(|status: &Value| status["waits"].is_array());
        status.unwrap_or_else(|| panic!("no status: {ended}"))
    }

    /// The machines that the daemon has rows for.
    pub(crate) fn rows(&self) -> Vec<String> {
        let status = self.status();
        let machines = status["machines"].as_array().unwrap();
        machines.iter().map(|machine| machine["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Why something does not happen now, by one of the daemon's words: subject and text.
    pub(crate) fn waits(&self, word: &str) -> Vec<(String, String)> {
        waits(&self.status(), word)
    }

    /// Waits until it is so. What the daemon says and what it logged is shown if it never is.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
        let since = clock::monotonic();
        while !is_so() {
            if since.elapsed() > PATIENCE {
                let status = self.lab.run(&["autoscaler", "status", self.name]);
                let log = self.log();
                panic!("not in time: {what}\nmachines: {:?}\n{status}\n{log}", self.workers());
            }
            pause(Duration::from_millis(100));
        }
        since.elapsed()
    }

    /// All pods of these Jobs run.
    pub(crate) fn run(&self, jobs: &[&str]) {
        for job in jobs {
            self.front_end(&format!(
                "kubectl wait --for=jsonpath='{{.status.ready}}'=\"$(kubectl get job {job} -o jsonpath='{{.spec.parallelism}}')\" \
                 job/{job} --timeout={}s",
                PATIENCE.as_secs()
            ));
        }
    }

    /// Lets the pods of these Jobs end, all of them well, and removes the Jobs.
    pub(crate) fn end(&self, jobs: &[&str]) {
        self.front_end(&jobs.iter().map(|job| to_end(job)).collect::<Vec<_>>().join("\n"));
    }

    /// Seconds since the epoch by the front-end's clock, as its journal counts.
    pub(crate) fn now(&self) -> f64 {
        self.front_end("date +%s.%N").trim().parse().unwrap()
    }

    /// The end of what the daemon logged, or both daemons, for whoever wants to know why.
    pub(crate) fn log(&self) -> String {
        let script = "journalctl -u continuum-autoscaler -u second -n 80 --no-pager -o short-precise; exit 0";
        self.lab.run(&["cluster", "ssh", self.name, &self.front_end_name(), "--", script]).to_string()
    }

    /// When the daemon logged these words, from `since` on, in seconds from `origin` on.
    pub(crate) fn logged(&self, words: &str, since: f64, origin: f64) -> Vec<f64> {
        let script = format!(
            "journalctl -u continuum-autoscaler -o short-unix --no-pager --since '@{}'",
            since.floor()
        );
        let log = self.front_end(&script);
        let lines = log.lines().filter(|line| line.contains(words));
        let at = lines.filter_map(|line| line.split(' ').next()?.parse::<f64>().ok());
        at.filter(|at| *at >= since).map(|at| at - origin).collect()
    }
}

/// A script that lets the pods of a Job end, all of them well, and removes it.
pub(crate) fn to_end(job: &str) -> String {
    format!(
        "for pod in $(kubectl get pods -l job-name={job} -o name); do kubectl exec \"$pod\" -- touch /done; done\n\
         kubectl wait --for=condition=Complete job/{job} --timeout={}s\nkubectl delete job {job} --wait=false",
        PATIENCE.as_secs()
    )
}

/// For scripts on a front-end that use `kubectl`.
pub(crate) fn with_kubeconfig(script: &str) -> String {
    format!("export KUBECONFIG=/etc/kubernetes/admin.conf\nset -e\n{script}")
}

/// The waits of a status that have this word.
pub(crate) fn waits(status: &Value, word: &str) -> Vec<(String, String)> {
    let all = status["waits"].as_array().unwrap();
    let text = |wait: &Value, key: &str| wait[key].as_str().unwrap().to_owned();
    let with_word = all.iter().filter(|wait| wait["word"] == word);
    with_word.map(|wait| (text(wait, "subject"), text(wait, "text"))).collect()
}
