//! The hub: one network namespace per instance, with a bridge per cluster. The host's own namespace gets nothing.
//!
//! It is pinned by a bind mount, so that it outlives the agent. Sockets in it are made by one thread that has entered it;
//! they work from any thread, a socket stays where it was made.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::sync::oneshot;

use super::super::machine::StepError;
use super::super::machine::keeper::ip_batch;
use super::record::{ClusterRecord, PREFIX};

type Job = Box<dyn FnOnce() + Send>;

/// Connecting inside one computer takes microseconds; longer means that nobody is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A way into the hub.
#[derive(Debug, Clone)]
pub struct Hub {
    jobs: mpsc::Sender<Job>,
    path: PathBuf,
}

impl Hub {
    /// Enters the pinned namespace, or makes and pins a new one.
    pub fn open(path: &Path) -> Result<Self, StepError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, entered) = mpsc::channel();
        let pin = path.to_owned();
        std::thread::Builder::new()
            .name("hub".into())
            .spawn(move || {
                let result = enter(&pin);
                let failed = result.is_err();
                if ready.send(result).is_err() || failed {
                    return;
                }
                for job in queue {
                    job();
                }
            })
            .map_err(StepError::at("start the hub's thread"))?;
        entered.recv().map_err(|_| StepError {
            step: "start the hub's thread".into(),
            source: io::Error::other("it ended at once"),
        })??;
        Ok(Self { jobs, path: path.to_owned() })
    }

    /// Runs something inside the hub.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            let _ = done.send(job());
        });
        self.jobs.send(job).map_err(|_| io::Error::other("the hub's thread has ended"))?;
        result.await.map_err(|_| io::Error::other("the hub's thread has ended"))
    }

    /// Connects to a machine.
    pub async fn connect(&self, address: SocketAddrV4) -> io::Result<tokio::net::TcpStream> {
        let made = self.run(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            socket(AddressFamily::Inet, SockType::Stream, flags, None)
        });
        let socket = tokio::net::TcpSocket::from_std_stream(TcpStream::from(made.await??));
        match tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(SocketAddr::V4(address))).await {
            Ok(stream) => {
                let stream = stream?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Listens on a gateway address.
    pub async fn listen(&self, address: SocketAddrV4) -> io::Result<tokio::net::TcpListener> {
        let listener = self.run(move || TcpListener::bind(address)).await??;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }

    /// A datagram socket on a gateway address.
    pub async fn udp(&self, address: SocketAddrV4) -> io::Result<tokio::net::UdpSocket> {
        let socket = self.run(move || UdpSocket::bind(address)).await??;
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket)
    }

    /// Makes a cluster's bridge if it is not there.
    pub async fn bridge(&self, cluster: &ClusterRecord) -> Result<(), StepError> {
        let (name, gateway) = (cluster.bridge(), cluster.gateway());
        let job = move || {
            let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
            if devices.lines().any(|line| line.trim_start().starts_with(&format!("{name}:"))) {
                return Ok(());
            }
            // No forwarding delay: a port of this bridge is up at once.
            ip_batch(&format!(
                "link add {name} type bridge forward_delay 0 stp_state 0\naddr add {gateway}/{PREFIX} dev {name}\nlink set {name} up\n"
            ))
        };
        self.run(job).await.map_err(StepError::at("enter the hub"))?
    }

    /// Removes a cluster's bridge.
    pub async fn remove_bridge(&self, cluster: &ClusterRecord) -> Result<(), StepError> {
        let name = cluster.bridge();
        self.run(move || ip_batch(&format!("link del {name}\n")))
            .await
            .map_err(StepError::at("enter the hub"))?
    }

    /// Lets go of the namespace: it ends with its last process.
    pub fn remove(&self) -> Result<(), StepError> {
        let at = || StepError::at(format!("unpin {}", self.path.display()));
        umount2(&self.path, MntFlags::MNT_DETACH).map_err(io::Error::from).map_err(at())?;
        fs::remove_file(&self.path).map_err(at())
    }
}

fn enter(path: &Path) -> Result<(), StepError> {
    if is_pinned(path) {
        let pin = File::open(path).map_err(StepError::at(format!("open {}", path.display())))?;
        return setns(&pin, CloneFlags::CLONE_NEWNET).map_err(StepError::at("enter the hub"));
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(StepError::at("make the hub's network namespace"))?;
    File::create(path).map_err(StepError::at(format!("make {}", path.display())))?;
    let own = Path::new("/proc/thread-self/ns/net");
    mount(Some(own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(StepError::at(format!("pin the hub at {}", path.display())))?;
    // Between machines of one cluster the hub is a switch, not a firewall; the file is not there without br_netfilter.
    let _ = fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
    ip_batch("link set lo up\n")
}

/// A file that is no namespace is a leftover of a reboot: bind mounts are gone then, files in a real /run are not always.
fn is_pinned(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let wanted = path.display().to_string();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(wanted.as_str()))
}
