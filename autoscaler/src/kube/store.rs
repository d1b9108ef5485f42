//! The ledger in a ConfigMap: `continuum-ledger-<id>`, key `ledger`, the ledger's JSON packed by zstd.
//!
//! Invariants: written only over the version that was read and only where the generation is the expected one; a missing object
//! is an error and never an empty ledger, since an empty one would disown every machine;
//! nothing is written without the lease, where there is one.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use provisioner::ledger::Ledger;
use provisioner::names::LedgerId;
use provisioner::store::{Store, StoreError};
use serde_json::{Value, json};

use super::KubeError;
use super::client::connect;
use super::lease::Lease;
use super::parcel::{KEY, Parcel};
use super::rest::{Fault, Rest, namespaced, text_at};

const WAIT: Duration = Duration::from_secs(10);

/// A ledger in the cluster itself.
pub struct ConfigMapStore {
    rest: Rest,
    lease: Option<Arc<Lease>>,
    path: String,
    parcel: Parcel,
    /// What was read or written last: its version and its generation.
    last: Mutex<Option<(String, u64)>>,
}

impl ConfigMapStore {
    pub(super) fn new(rest: Rest, lease: Option<Arc<Lease>>, namespace: &str, id: &LedgerId) -> Self {
        Self {
            rest,
            lease,
            path: namespaced("/api/v1", namespace, "configmaps"),
            parcel: Parcel::of(id),
            last: Mutex::default(),
        }
    }

    /// For who is no daemon: without a lease, by compare-and-swap alone.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub async fn connect(kubeconfig: &Path, namespace: &str, id: &LedgerId) -> Result<Self, KubeError> {
        Ok(Self::new(connect(kubeconfig).await?, None, namespace, id))
    }

    /// Makes the object, once in the life of a cluster.
    ///
    /// # Errors
    /// There is one already ([`StoreError::Conflict`]), or the API server does not take it.
    pub async fn create(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.parcel.name},
            "binaryData": {KEY: self.parcel.pack(ledger)?}});
        match self.rest.create(&self.path, &object, WAIT).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.code() == Some(409) => {
                let found = self.read().await?.2.generation;
                Err(StoreError::Conflict { expected: 0, found })
            }
            Err(fault) => Err(unavailable(&fault)),
        }
    }

    /// The object, its version and its ledger.
    async fn read(&self) -> Result<(Value, String, Ledger), StoreError> {
        let object = match self.rest.get(&self.path, &self.parcel.name, WAIT).await {
            Ok(object) => object,
            Err(fault) if fault.code() == Some(404) => return Err(self.parcel.missing()),
            Err(fault) => return Err(unavailable(&fault)),
        };
        let ledger = self.parcel.unpack(&object)?;
        let version = text_at(&object, "/metadata/resourceVersion").to_owned();
        self.note(Some((version.clone(), ledger.generation)));
        Ok((object, version, ledger))
    }

    fn note(&self, last: Option<(String, u64)>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    fn noted(&self) -> Option<(String, u64)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How long a write may take, if it is ours at all.
    fn fence(&self) -> Result<Duration, StoreError> {
        let Some(lease) = &self.lease else { return Ok(WAIT) };
        let left = lease.check().map_err(|_| StoreError::Locked { holder: lease.words() })?;
        Ok(WAIT.min(left))
    }
}

fn unavailable(fault: &Fault) -> StoreError {
    StoreError::Unavailable(fault.to_string())
}

#[async_trait]
impl Store for ConfigMapStore {
    async fn load(&self) -> Result<Option<Ledger>, StoreError> {
        Ok(Some(self.read().await?.2))
    }

    async fn save(&self, ledger: &Ledger, expected: u64) -> Result<(), StoreError> {
        let data = self.parcel.pack(ledger)?;
        // The second time it is what was just read; only whoever writes other fields of the object comes in between.
        for _ in 0..3 {
            let wait = self.fence()?;
            // What is remembered is forgotten with its use: after an error the object is read again.
            let (version, found) = match self.noted() {
                Some(last) if last.1 == expected => last,
                _ => {
                    let (_, version, stored) = self.read().await?;
                    (version, stored.generation)
                }
            };
            if found != expected {
                return Err(StoreError::Conflict { expected, found });
            }
            let fields = json!({"metadata": {"resourceVersion": version}, "binaryData": {KEY: data}});
            self.note(None);
            match self.rest.merge(&self.path, &self.parcel.name, &fields, wait).await {
                Ok(object) => {
                    let version = text_at(&object, "/metadata/resourceVersion").to_owned();
                    self.note(Some((version, ledger.generation)));
                    return Ok(());
                }
                Err(fault) if fault.code() == Some(409) => {}
                Err(fault) if fault.code() == Some(404) => return Err(self.parcel.missing()),
                Err(fault) => return Err(unavailable(&fault)),
            }
        }
        Err(StoreError::Unavailable(format!("{} changes all the time", self.parcel.place())))
    }
}
