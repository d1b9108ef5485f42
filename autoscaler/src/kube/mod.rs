//! The cluster, as the daemon talks to it: the one trait that stands between the ticks and Kubernetes.
//!
//! `client.rs` and the files beside it are the only ones that name the crate `kube`. Invariants: [`Kube::view`] makes no call; a
//! view that may be old or in parts says so; every order may be repeated; nothing is done without the lease.

mod act;
mod cache;
mod client;
mod events;
mod health;
mod lease;
mod parcel;
mod reflect;
mod rest;
mod store;
mod trim;

use async_trait::async_trait;
use provisioner::names::MachineName;

pub use self::client::{Client, Names};
pub use self::lease::{Epoch, Lease};
pub use self::store::ConfigMapStore;
use crate::decide::KubeAction;
use crate::view::KubeView;

/// What is seen of the cluster at one instant.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Its objects.
    pub view: KubeView,
    /// Why the view may be old or in parts, if it may be.
    pub stale: Option<String>,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acted {
    /// It is so now.
    Done,
    /// It was so already, or what it was about is gone or is another one by now.
    Needless,
}

/// Why an order was not carried out, in the kinds that a tick acts on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeError {
    /// A budget says "not now" (429 to an eviction): asked again in a later tick.
    #[error("a disruption budget does not allow it now: {0}")]
    Budget(String),
    /// Somebody else changed the object in between, or holds the lease: look again.
    #[error("changed by somebody else: {0}")]
    Conflict(String),
    /// Wrong, or not allowed, and will stay so.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer: nothing is known of the effect.
    #[error("the API server does not answer: {0}")]
    Unavailable(String),
}

/// How an event looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tone {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A pod: namespace, name, uid.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Exactly this one.
        uid: String,
    },
    /// A node.
    Node(MachineName),
}

/// The cluster.
#[async_trait]
pub trait Kube: Send + Sync {
    /// What is seen now; makes no call. Stale until everything was seen once, and whenever the API server has not
    /// answered for too long.
    fn view(&self) -> Snapshot;
    /// Whether this process holds the lease now: cheap, and "no" as soon as another could have taken it.
    fn leads(&self) -> bool;
    /// Returns once something has changed since the last view. Carries no data; may be dropped at any moment.
    async fn changed(&self);
    /// Carries out one order. Repeatable.
    async fn act(&self, action: &KubeAction) -> Result<Acted, KubeError>;
    /// Whether a node has no pods but those that no drain looks at (finished ones, mirrors, those of DaemonSets, and those that
    /// are long past their end), asked of the API server itself and not of a
    /// cache: what a deletion needs to know in its last moment. A node that is not there has none.
    async fn is_empty(&self, node: &MachineName) -> Result<bool, KubeError>;
    /// Deletes a Node object; one that is gone is fine.
    async fn forget(&self, node: &MachineName) -> Result<Acted, KubeError>;
    /// Says something about a pod or a node to whoever describes it. Lost if the API server does not answer; the same words
    /// about the same thing are counted, not repeated.
    async fn event(&self, about: &About, tone: Tone, reason: &str, message: &str);
    /// Writes the status ConfigMap (`continuum-autoscaler-status`), key `status`.
    async fn publish(&self, status: &str) -> Result<(), KubeError>;
}
