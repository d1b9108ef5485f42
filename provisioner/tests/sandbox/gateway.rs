//! The agent asked from inside a cluster: through its gateway, from where its machines are.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use provisioner::names::{CloudId, ClusterId, ClusterName, MachineId};
use provisioner::provider::conformance::{Bed, check_only};
use provisioner::provider::sandbox::{SandboxProvider, connect_at_gateway, gateway, wire};
use provisioner::provider::{
    Demand, Leftover, Machine, MachineRequest, Owner, Problem, Provider, ProviderError, Scaffold, Scope,
    Stream, Tags,
};
use provisioner::spec::{Network, Role, Shape};

use crate::harness::{Lab, PATIENCE, cluster, empty_lab, lab, request};

/// Runs something where the gateways are: on a thread of its own, since a thread that has entered a network namespace
/// serves nobody else.
async fn in_hub<T, F>(lab: &Lab, work: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let hub = lab.paths.hub();
    let thread = std::thread::spawn(move || {
        nix::sched::setns(File::open(hub).unwrap(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
    });
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap()
}

/// What the daemon of a cluster is given.
fn given(access: &wire::Access, folder: &Path) -> gateway::Access {
    let token_file = folder.join("token");
    let _ = std::fs::remove_file(&token_file);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&token_file);
    std::io::Write::write_all(&mut file.unwrap(), access.token.as_bytes()).unwrap();
    gateway::Access { address: access.address, certificate: access.fingerprint.clone(), token_file }
}

/// A worker of the autoscaler.
fn worker(cluster_name: &str, ordinal: u64) -> MachineRequest {
    let mut request = request(cluster_name, ordinal);
    request.tags.owner = Owner::Autoscaler;
    request
}

fn why<T: std::fmt::Debug>(result: Result<T, ProviderError>) -> String {
    match result {
        Err(ProviderError::Rejected { message }) => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_does_at_its_gateway_what_its_autoscaler_needs_and_nothing_else() {
    let Some(lab) = lab("door").await else { return };
    let network = Network { internet: false, expose: Vec::new() };
    lab.cloud.scaffold(&cluster("b"), &network).await.unwrap();
    let mut head = request("a", 1);
    head.role = Role::FrontEnd;
    let (head, fixed, other) = (head, request("a", 2), request("b", 1));
    let (head, fixed, other) = tokio::join!(lab.make(&head), lab.make(&fixed), lab.make(&other));
    let access = lab.cloud.access(&cluster("a")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let access = given(&access, folder.path());
    let lab = Arc::new(lab);
    let (outside, machines) = (Arc::clone(&lab), (head, fixed, other));
    in_hub(&lab, move || async move {
        let inside = connect_at_gateway(&access).await.unwrap();
        allowed(&inside, &outside, &machines.1).await;
        refused(&inside, &machines).await;
        revoked(&inside, &outside, &access).await;
        for machine in [&machines.0, &machines.1, &machines.2] {
            assert_eq!(&outside.running(&machine.id).await, machine);
        }
    })
    .await;
    Arc::into_inner(lab).unwrap().close().await;
}

async fn allowed(inside: &SandboxProvider, lab: &Lab, fixed: &Machine) {
    assert_eq!(inside.cloud().await.unwrap(), lab.cloud.cloud().await.unwrap());
    let (own, name) = (cluster("a"), ClusterName::new("a").unwrap());
    assert_eq!(inside.clusters(&name).await.unwrap(), std::slice::from_ref(&own));
    assert_eq!(inside.clusters(&ClusterName::new("b").unwrap()).await.unwrap(), []);
    let kept = inside.find_scaffold(&own).await.unwrap().unwrap();
    let network = Network { internet: false, expose: Vec::new() };
    assert_eq!(inside.scaffold(&own, &network).await.unwrap(), kept);
    let wanted = worker("a", 3);
    let machines = vec![(1, wanted.shape.clone(), wanted.image.clone())];
    assert_eq!(inside.check(&Demand { cluster: name.clone(), network, machines }).await.unwrap(), []);
    assert_eq!(inside.shapes().await.unwrap(), []);
    inside.create(&wanted).await.unwrap();
    let scope = Scope::Cluster { name, id: Some(own) };
    let made = lab.wait(|all| all.iter().find(|m| m.tags == wanted.tags).cloned()).await;
    let made = lab.running(&made.id).await;
    let mut listed: Vec<_> = inside.list(&scope).await.unwrap().into_iter().map(|m| m.tags.machine).collect();
    listed.sort();
    assert_eq!(listed.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a-w-1", "a-w-2", "a-w-3"]);
    assert!(inside.exists(&made.id).await.unwrap());
    assert!(inside.console(&made.id).await.unwrap().contains("systemd"));
    // Straight to its address: the agent is not between.
    let stream = inside.dial(&made, 22).await.unwrap();
    assert!(matches!(stream, Stream::Tcp(_)), "{stream:?}");
    let mut stream = stream;
    let mut banner = [0; 7];
    stream.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0");
    lab.cloud.stop(&made.id).await.unwrap();
    inside.start(&made.id).await.unwrap();
    lab.running(&made.id).await;
    inside.start(&fixed.id).await.unwrap();
    inside.delete(&made.id).await.unwrap();
    inside.delete(&made.id).await.unwrap();
    assert!(!inside.exists(&made.id).await.unwrap());
}

async fn refused(inside: &SandboxProvider, (head, fixed, other): &(Machine, Machine, Machine)) {
    let commands = "this is the command line's to ask for: a cluster's token makes and deletes workers of its autoscaler";
    let only = "this token is for one cluster only";
    // What is the command line's.
    assert!(
        why(inside.create(&request("a", 4)).await)
            .contains("this token makes machines of the autoscaler only")
    );
    let mut front_end = worker("a", 4);
    front_end.role = Role::FrontEnd;
    assert!(why(inside.create(&front_end).await).contains("only the command line makes those"));
    let mut exposed = worker("a", 4);
    exposed.expose = vec![22];
    assert!(why(inside.create(&exposed).await).contains("only front-ends have"));
    assert_eq!(
        why(inside.delete(&head.id).await),
        "a-w-1 is a front-end: only the command line deletes those"
    );
    assert!(why(inside.delete(&fixed.id).await).starts_with("a-w-2 is the command line's: "));
    let stolen = Tags { owner: Owner::Autoscaler, ..fixed.tags.clone() };
    assert_eq!(why(inside.retag(&fixed.id, &stolen).await), commands);
    assert_eq!(why(inside.sweep(&cluster("a")).await), commands);
    let open = Network { internet: true, expose: Vec::new() };
    assert!(why(inside.scaffold(&cluster("a"), &open).await).contains("by the command line only"));
    assert_eq!(why(inside.status().await), commands);
    assert_eq!(why(inside.stop(&fixed.id).await), commands);
    assert_eq!(why(inside.stop_all(true).await), commands);
    assert_eq!(why(inside.capture("mine", &fixed.id).await), commands);
    assert_eq!(why(inside.faults().await), commands);
    assert_eq!(why(inside.clear_faults().await), commands);
    assert_eq!(why(inside.access(&cluster("a")).await.map(|_| ())), commands);
    assert_eq!(why(inside.renew_access(&cluster("a")).await.map(|_| ())), commands);
    assert_eq!(why(inside.revoke_access(&cluster("a")).await), commands);
    // What is another cluster's: it is not there.
    assert_eq!(why(inside.create(&worker("b", 2)).await), only);
    assert_eq!(why(inside.find_scaffold(&cluster("b")).await), only);
    assert!(!inside.exists(&other.id).await.unwrap());
    assert!(why(inside.start(&other.id).await).starts_with("there is no machine "));
    inside.delete(&other.id).await.unwrap();
}

async fn revoked(inside: &SandboxProvider, lab: &Lab, access: &gateway::Access) {
    let wrong = "wrong or missing token";
    lab.cloud.revoke_access(&cluster("a")).await.unwrap();
    assert_eq!(why(inside.list(&Scope::All).await), wrong);
    assert_eq!(why(inside.create(&worker("a", 5)).await), wrong);
    assert!(
        why(lab.cloud.access(&cluster("a")).await.map(|_| ())).contains("was revoked: ask for a new one")
    );
    // Gone stays gone when the agent is killed, and once more is fine.
    lab.cloud.revoke_access(&cluster("a")).await.unwrap();
    let pid = i32::try_from(lab.cloud.status().await.unwrap().pid).unwrap();
    provisioner::provider::sandbox::machine::process::Process::of(pid)
        .unwrap()
        .signal(nix::sys::signal::Signal::SIGKILL);
    assert!(why(lab.cloud.access(&cluster("a")).await.map(|_| ())).contains("was revoked"));
    assert_eq!(why(inside.list(&Scope::All).await), wrong);
    let folder = access.token_file.parent().unwrap();
    let new = lab.cloud.renew_access(&cluster("a")).await.unwrap();
    assert_eq!(why(inside.list(&Scope::All).await), wrong);
    given(&new, folder);
    assert_eq!(inside.list(&Scope::All).await.unwrap().len(), 2);
    // Of a cluster that is not there: nothing to revoke, and nothing to have.
    lab.cloud.revoke_access(&cluster("gone")).await.unwrap();
    assert!(why(lab.cloud.renew_access(&cluster("gone")).await.map(|_| ())).contains("there is no cluster"));
}

/// The laws that hold for whoever has one cluster's token. The others are about several clusters, about clusters that
/// are not there, and about sweeps.
const LAWS: &[&str] = &[
    "a cloud is always the same cloud",
    "a scaffold is made once, and found by its cluster's id",
    "the same token makes one machine",
    "another token makes another machine",
    "a token with another request is refused for good",
    "a machine carries every tag from the first list on",
    "a machine has the shape that was asked for",
    "a machine runs in time, with an address of its own",
    "what is listed exists",
    "starting what runs changes nothing",
    "what is deleted goes from the list, and does not exist",
    "deleting what is gone is fine",
    "deleting one machine leaves the others",
    "a deleted machine's token makes a machine again",
];

/// A law's cluster, made and swept over the socket, and everything between asked at its gateway.
struct Inside {
    lab: Arc<Lab>,
    folder: tempfile::TempDir,
    open: Mutex<Option<(ClusterId, SandboxProvider)>>,
    asked: Mutex<u32>,
}

impl Inside {
    /// At the gateway, where there is one.
    fn now(&self) -> SandboxProvider {
        let open = self.open.lock().unwrap();
        *self.asked.lock().unwrap() += u32::from(open.is_some());
        open.as_ref().map_or_else(|| self.lab.cloud.clone(), |(_, provider)| provider.clone())
    }
}

#[async_trait]
impl Provider for Inside {
    fn settle(&self) -> Duration {
        self.lab.cloud.settle()
    }
    async fn cloud(&self) -> Result<CloudId, ProviderError> {
        self.now().cloud().await
    }
    async fn check(&self, demand: &Demand) -> Result<Vec<Problem>, ProviderError> {
        self.now().check(demand).await
    }
    async fn scaffold(&self, id: &ClusterId, network: &Network) -> Result<Scaffold, ProviderError> {
        if self.open.lock().unwrap().is_some() {
            return self.now().scaffold(id, network).await;
        }
        let made = self.lab.cloud.scaffold(id, network).await?;
        let access = given(&self.lab.cloud.access(id).await?, self.folder.path());
        *self.open.lock().unwrap() = Some((id.clone(), SandboxProvider::at_gateway(&access)?));
        Ok(made)
    }
    async fn find_scaffold(&self, id: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
        self.now().find_scaffold(id).await
    }
    async fn clusters(&self, name: &ClusterName) -> Result<Vec<ClusterId>, ProviderError> {
        self.now().clusters(name).await
    }
    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, ProviderError> {
        self.now().list(scope).await
    }
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError> {
        self.now().exists(id).await
    }
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError> {
        self.now().create(request).await
    }
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.now().start(id).await
    }
    async fn retag(&self, id: &MachineId, tags: &Tags) -> Result<(), ProviderError> {
        self.now().retag(id, tags).await
    }
    async fn delete(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.now().delete(id).await
    }
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
        self.now().shapes().await
    }
    async fn sweep(&self, id: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        let left = self.lab.cloud.sweep(id).await?;
        let mut open = self.open.lock().unwrap();
        if left.is_empty() && open.as_ref().is_some_and(|(own, _)| own == id) {
            *open = None;
        }
        Ok(left)
    }
    async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError> {
        self.now().dial(machine, port).await
    }
    async fn console(&self, id: &MachineId) -> Result<String, ProviderError> {
        self.now().console(id).await
    }
}

#[async_trait]
impl Bed for Inside {
    fn provider(&self) -> &dyn Provider {
        self
    }
    fn request(&self, cluster: &ClusterId, ordinal: u64) -> MachineRequest {
        let mut request = Bed::request(&*self.lab, cluster, ordinal);
        request.tags.owner = Owner::Autoscaler;
        request
    }
    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    fn patience(&self) -> Duration {
        *PATIENCE
    }
}

async fn keeps_the_laws(lab: Lab, asked: u32) -> Lab {
    let lab = Arc::new(lab);
    let inner = Arc::clone(&lab);
    in_hub(&lab, move || async move {
        let folder = tempfile::tempdir().unwrap();
        let inside = Inside { lab: inner, folder, open: Mutex::new(None), asked: Mutex::new(0) };
        assert_eq!(check_only(&inside, LAWS).await, []);
        assert!(*inside.asked.lock().unwrap() > asked, "the gateway was hardly asked");
    })
    .await;
    Arc::into_inner(lab).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_laws_hold_at_the_gateway() {
    let Some(lab) = empty_lab("gate-laws").await else { return };
    keeps_the_laws(lab, 100).await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_laws_hold_at_a_gateway_whose_answers_are_lost_late_short_and_refused() {
    let Some(lab) = empty_lab("bad-gate").await else { return };
    let words = ["drop-after=100", "rate-limit=20", "error-500=100", "late-list=1s", "short-list=200"];
    lab.set_faults(&words, 12).await;
    let lab = keeps_the_laws(lab, 100).await;
    assert!(lab.cloud.faults().await.unwrap().met > 20);
    lab.cloud.clear_faults().await.unwrap();
    lab.close().await;
}
