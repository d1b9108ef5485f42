//! A real API server with its etcd, on loopback, in a temporary folder: the binaries of the bundle's images.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provisioner::{cache, clock, env};
use serde_json::Value;

/// Nothing that a test waits for takes longer on a busy computer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn unpack(archive: &Path, to: &Path) {
    let done = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "{} is not unpacked", archive.display());
}

/// A program out of an image of the bundle, kept in the cache by the image's content.
fn program(bundle: &Path, name: &str) -> PathBuf {
    let manifest = json(&bundle.join("manifest.json"));
    let entry = manifest["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == name);
    let sum = entry.and_then(|entry| entry["sha256"].as_str()).unwrap().to_owned();
    let folder = cache::folder().unwrap().join("unpacked").join(&sum);
    let program = folder.join(name);
    if program.is_file() {
        return program;
    }
    fs::create_dir_all(&folder).unwrap();
    let half = tempfile::tempdir_in(&folder).unwrap();
    unpack(&bundle.join("blobs/sha256").join(&sum), half.path());
    let blob = |digest: &Value| {
        half.path().join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"))
    };
    let index = json(&half.path().join("index.json"));
    let image = json(&blob(&index["manifests"][0]["digest"]));
    for layer in image["layers"].as_array().unwrap() {
        unpack(&blob(&layer["digest"]), half.path());
    }
    // Whole or not at all, also for a test that runs beside.
    fs::rename(half.path().join("usr/local/bin").join(name), &program).unwrap();
    program
}

fn port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A process of the test's own, ended with it.
struct Process(Child);

impl Process {
    fn start(program: &Path, args: &[String], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process ends by this too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The API server.
pub(crate) struct Server {
    // Dropped in this order: the processes end before their folder goes.
    api: Option<Process>,
    etcd: Process,
    folder: tempfile::TempDir,
    program: PathBuf,
    args: Vec<String>,
    port: u16,
}

impl Server {
    /// A new one, ready; nothing, and the reason on stdout, where there is no bundle.
    #[expect(clippy::print_stdout, reason = "a skipped test says so, in the test's own output")]
    pub(crate) async fn start() -> Option<Self> {
        let bundle = env::path("CONTINUUM_TEST_BUNDLE")
            .or_else(|| Some(cache::folder().ok()?.join("bundles/kubernetes")))
            .filter(|path| path.join("manifest.json").is_file());
        let Some(bundle) = bundle else {
            println!("skipped: no bundle (`make bundle` makes one, CONTINUUM_TEST_BUNDLE names another)");
            return None;
        };
        let (etcd, program) = (program(&bundle, "etcd"), program(&bundle, "kube-apiserver"));
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (client, peer, port) = (port(), port(), port());
        let etcd_args = [
            format!("--data-dir={}", at("etcd").display()),
            format!("--listen-client-urls=http://127.0.0.1:{client}"),
            format!("--advertise-client-urls=http://127.0.0.1:{client}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
            "--unsafe-no-fsync".to_owned(),
        ];
        let etcd = Process::start(&etcd, &etcd_args, &at("etcd.log"));
        let key = Command::new("openssl")
            .args(["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out"])
            .arg(at("sa.key"))
            .stderr(Stdio::null())
            .status();
        assert!(key.is_ok_and(|status| status.success()), "openssl makes no key");
        fs::write(at("tokens.csv"), "for-this-test,admin,admin,system:masters\n").unwrap();
        fs::write(at("token"), "for-this-test").unwrap();
        let args = vec![
            format!("--etcd-servers=http://127.0.0.1:{client}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", at("certs").display()),
            format!("--token-auth-file={}", at("tokens.csv").display()),
            "--authorization-mode=AlwaysAllow".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", at("sa.key").display()),
            format!("--service-account-signing-key-file={}", at("sa.key").display()),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            // Pods are made without their namespace's account, and nodes without a kubelet.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
        ];
        let mut server = Self { api: None, etcd, folder, program, args, port };
        server.run();
        server.write_kubeconfig().await;
        server.ready().await;
        Some(server)
    }

    /// Starts the API server, again.
    pub(crate) fn run(&mut self) {
        let log = self.folder.path().join("api.log");
        self.api = Some(Process::start(&self.program, &self.args, &log));
    }

    /// Ends the API server; etcd stays.
    pub(crate) fn end(&mut self) {
        self.api = None;
        assert!(self.etcd.0.try_wait().is_ok_and(|ended| ended.is_none()), "etcd has ended");
    }

    /// Stops it where it is: connections stay open, and nobody answers.
    pub(crate) fn freeze(&self) {
        self.api.as_ref().unwrap().signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.api.as_ref().unwrap().signal(Signal::SIGCONT);
    }

    /// Where the client finds it.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    async fn write_kubeconfig(&self) {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        until("the server's certificate", || self.folder.path().join("certs/apiserver.crt").is_file()).await;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: u, user: {{tokenFile: '{}'}}}}]\n",
            self.port,
            at("certs/apiserver.crt"),
            at("token"),
        );
        fs::write(self.kubeconfig(), text).unwrap();
    }

    /// The crate's own client: what other people do.
    pub(crate) async fn others(&self) -> kube::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
        config.proxy_url = None;
        kube::Client::try_from(config).unwrap()
    }

    /// Waits until it answers, and has its first namespaces.
    pub(crate) async fn ready(&self) {
        let client = self.others().await;
        let request =
            || kube::core::Request::new("/api/v1/namespaces").get("kube-system", &Default::default());
        let since = clock::monotonic();
        loop {
            let answer = client.request_text(request().unwrap());
            let answer = tokio::time::timeout(Duration::from_secs(2), answer).await;
            if matches!(answer, Ok(Ok(_))) {
                return;
            }
            let log = || fs::read_to_string(self.folder.path().join("api.log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "the API server is not ready: {answer:?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let since = clock::monotonic();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
