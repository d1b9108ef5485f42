//! What crosses the agent's socket: JSON over HTTP/1.1, all paths below `/v1`.
//!
//! | request | answer | at the gateway |
//! | --- | --- | --- |
//! | `GET status` | [`Status`] | |
//! | `GET cloud` | [`Cloud`] | yes |
//! | `POST check` | [`CheckRequest`] → problems | yes |
//! | `GET clusters` | ids | its own |
//! | `GET clusters/ID` | scaffold | its own |
//! | `PUT clusters/ID` | [`ScaffoldRequest`] → scaffold | its own, as it is: makes and changes nothing |
//! | `DELETE clusters/ID` | leftovers | |
//! | `GET clusters/ID/access` | [`Access`] | |
//! | `PUT`, `DELETE clusters/ID/token` | [`Access`] with a new token; nothing, and the token is of no use any more | |
//! | `GET machines` | machines | its own |
//! | `POST machines` | [`CreateRequest`] → machine | its own, workers of the autoscaler |
//! | `GET machines/ID`, `…/console` | machine; text | its own |
//! | `DELETE machines/ID` | nothing | its own, workers of the autoscaler |
//! | `POST machines/ID/start` | nothing | its own |
//! | `POST machines/ID/stop` | nothing | |
//! | `PUT machines/ID/tags` | tags; nothing | |
//! | `GET machines/ID/dial/PORT` with `Upgrade: stream` | 101, then the bytes of that port | |
//! | `GET images/NAME` | nothing | yes |
//! | `POST images` | [`CaptureRequest`] → nothing | |
//! | `POST stop` | [`StopRequest`]; nothing | |
//! | `GET`, `PUT`, `DELETE faults` | [`FaultsStatus`]; [`FaultsRequest`] → [`FaultsStatus`]; nothing | |
//! | `PUT`, `DELETE faults/cuts` | [`Pair`]; [`Pair`] or null for all; nothing | |
//!
//! With `?faults=off` the operator asks past all faults; `status`, `cloud`, `clusters`, `token`, `stop` and `faults`
//! themselves meet none. Every request carries `Authorization: Bearer TOKEN`. A failure's body is a [`ProviderError`].

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::agent::quota::Quota;
use crate::names::{CloudId, ClusterId, ClusterName, ImageName, MachineId, Zone};
use crate::provider::faults::Fault;
use crate::provider::{Demand, MachineRequest, ProviderError, Tags, UserData};
use crate::spec::{Network, Role, Shape};

/// The API's version: an agent of another one is told to make way.
pub const VERSION: u32 = 2;

/// What the agent is and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The API's version.
    pub version: u32,
    /// The agent's random id.
    pub cloud: CloudId,
    /// The instance.
    pub instance: String,
    /// The agent's pid.
    pub pid: u32,
    /// When this process started.
    pub started: Timestamp,
    /// The clusters that have a scaffold.
    pub clusters: Vec<ClusterId>,
    /// How many machines there are.
    pub machines: usize,
    /// What may be used.
    pub quota: Quota,
    /// What is used.
    pub used: Quota,
    /// Whether the Debian tree is there.
    pub tree_ready: bool,
    /// What is there of machines and in no record: in words.
    #[serde(default)]
    pub strays: Vec<String>,
    /// What goes wrong on purpose.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// Which cloud answers: all that is said of the agent to machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cloud {
    /// The API's version.
    pub version: u32,
    /// The agent's random id.
    pub cloud: CloudId,
}

/// What shall go wrong from now on: these words and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultsRequest {
    /// The words.
    pub faults: Vec<Fault>,
    /// Where chance begins.
    pub seed: u64,
    /// They end by themselves after this.
    pub lasts: Option<Duration>,
}

/// What goes wrong on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultsStatus {
    /// The words.
    pub faults: Vec<Fault>,
    /// Where chance began.
    pub seed: u64,
    /// When the words end by themselves.
    pub ends: Option<Timestamp>,
    /// Machines that do not hear each other, by name.
    pub cuts: Vec<Pair>,
    /// Calls since the words were set.
    pub calls: u64,
    /// How many of them met a fault of calls.
    pub met: u64,
}

/// Two machines, each by name or id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
}

/// How a machine of a cluster reaches the agent. Holds a secret: it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The gateway's address and port; TLS.
    pub address: SocketAddr,
    /// sha256 of the certificate (DER), hex: pinned, there is no authority to ask.
    pub fingerprint: String,
    /// The cluster's token: a secret; sees this cluster only.
    pub token: String,
}

/// See [`Demand`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckRequest {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its network.
    pub network: Network,
    /// How many more machines of each shape and image.
    pub machines: Vec<(u32, Shape, ImageName)>,
}

impl From<&Demand> for CheckRequest {
    fn from(demand: &Demand) -> Self {
        let Demand { cluster, network, machines } = demand.clone();
        Self { cluster, network, machines }
    }
}

/// What a cluster stands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScaffoldRequest {
    /// Its network.
    pub network: Network,
}

/// See [`MachineRequest`]. Holds a host key: it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct CreateRequest {
    /// Makes the call repeatable.
    pub token: String,
    /// Identity.
    pub tags: Tags,
    /// What it is for.
    pub role: Role,
    /// Size.
    pub shape: Shape,
    /// What it boots.
    pub image: ImageName,
    /// Where; the sandbox has no zones and keeps it as a label.
    pub zone: Option<Zone>,
    /// Ports to forward from the host's loopback.
    pub expose: Vec<u16>,
    /// Private host key.
    pub host_key: String,
    /// Public host key.
    pub host_key_public: String,
    /// Who may log in.
    pub authorized_keys: Vec<String>,
    /// First-boot script.
    pub script: String,
}

impl From<&MachineRequest> for CreateRequest {
    fn from(request: &MachineRequest) -> Self {
        let MachineRequest { token, tags, role, shape, image, zone, expose, user_data } = request.clone();
        Self {
            token,
            tags,
            role,
            shape,
            image,
            zone,
            expose,
            host_key: user_data.host_key.expose_secret().to_owned(),
            host_key_public: user_data.host_key_public,
            authorized_keys: user_data.authorized_keys,
            script: user_data.script,
        }
    }
}

impl From<CreateRequest> for MachineRequest {
    fn from(request: CreateRequest) -> Self {
        let user_data = UserData {
            host_key: SecretString::from(request.host_key),
            host_key_public: request.host_key_public,
            authorized_keys: request.authorized_keys,
            script: request.script,
        };
        Self {
            token: request.token,
            tags: request.tags,
            role: request.role,
            shape: request.shape,
            image: request.image,
            zone: request.zone,
            expose: request.expose,
            user_data,
        }
    }
}

/// An image to make out of a stopped machine's disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// The image's name, without the base: boots as `debian-12+NAME`.
    pub name: String,
    /// The stopped machine.
    pub machine: MachineId,
}

/// How to stop the whole instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StopRequest {
    /// Machines, clusters and disks are deleted too.
    pub delete: bool,
}

/// The HTTP status of a failure.
pub fn status_of(error: &ProviderError) -> u16 {
    match error {
        ProviderError::Quota { .. } => 403,
        ProviderError::NoCapacity { .. } => 409,
        ProviderError::Rejected { .. } => 422,
        ProviderError::Unavailable { .. } => 503,
    }
}

/// Not now, or nobody knows: try again.
pub fn unavailable(message: impl Into<String>) -> ProviderError {
    ProviderError::Unavailable { message: message.into(), retry_after: None }
}

/// Wrong, and it will stay so.
pub fn rejected(message: impl Into<String>) -> ProviderError {
    ProviderError::Rejected { message: message.into() }
}
