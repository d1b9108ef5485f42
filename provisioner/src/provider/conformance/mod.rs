//! The laws of a provider: what the trait promises of each method, as functions that any provider is run against.
//!
//! A [`Bed`] is a cloud that may be used for it. Each law makes what it needs in clusters of its own, and everything is
//! removed afterwards. A law holds under faults that pass, too: it repeats what was not answered, as the engine does, and
//! so also tests that every call may be repeated.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::LocalBoxFuture;

use super::{Machine, MachineRequest, MachineState, Provider, ProviderError, Scope};
use crate::names::{ClusterId, MachineId};
use crate::spec::Network;

mod laws;

pub use laws::LAWS;

/// A cloud that the laws may use.
#[async_trait]
pub trait Bed: Send + Sync {
    /// The cloud.
    fn provider(&self) -> &dyn Provider;
    /// Machine number `ordinal` of a cluster: a request that this cloud can meet, with every tag set.
    fn request(&self, cluster: &ClusterId, ordinal: u64) -> MachineRequest;
    /// Lets time pass.
    async fn wait(&self, time: Duration);
    /// How long a machine may take to boot here, and anything else to show.
    fn patience(&self) -> Duration;
}

/// A law, by its sentence.
pub struct Law {
    /// What it says.
    pub sentence: &'static str,
    check: for<'a> fn(&'a Trial<'a>) -> LocalBoxFuture<'a, Verdict>,
}

/// A law that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its sentence.
    pub law: &'static str,
    /// What was seen instead.
    pub why: String,
}

/// Whether a law holds, or what was seen instead.
type Verdict = Result<(), String>;

/// Checks every law; what does not hold.
pub async fn check(bed: &dyn Bed) -> Vec<Broken> {
    let all: Vec<&str> = LAWS.iter().map(|law| law.sentence).collect();
    check_only(bed, &all).await
}

/// Checks the laws with these sentences, where not all of them can hold: behind a door that opens less than a cloud.
pub async fn check_only(bed: &dyn Bed, sentences: &[&'static str]) -> Vec<Broken> {
    let unknown = sentences.iter().filter(|asked| !LAWS.iter().any(|law| law.sentence == **asked));
    let mut broken: Vec<Broken> =
        unknown.map(|law| Broken { law, why: "there is no such law".into() }).collect();
    // The number is the law's own: its clusters are named by it.
    for (number, law) in LAWS.iter().enumerate().filter(|(_, law)| sentences.contains(&law.sentence)) {
        let trial = Trial { bed, number };
        let mut verdict = (law.check)(&trial).await;
        let tidied = trial.tidy().await;
        verdict = verdict.and(tidied);
        broken.extend(verdict.err().map(|why| Broken { law: law.sentence, why }));
    }
    broken
}

/// How often a call is repeated that was not answered: more than any passing fault lasts.
const TRIES: u32 = 100;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// One law being checked.
struct Trial<'a> {
    bed: &'a dyn Bed,
    number: usize,
}

fn wrong<T>(why: impl Into<String>) -> Result<T, String> {
    Err(why.into())
}

fn holds(is_so: bool, why: impl FnOnce() -> String) -> Verdict {
    if is_so { Ok(()) } else { Err(why()) }
}

impl Trial<'_> {
    fn cloud(&self) -> &dyn Provider {
        self.bed.provider()
    }

    /// A cluster of this law's own; the same name may be asked for under several ids.
    fn cluster(&self, name: &str, suffix: &str) -> Result<ClusterId, String> {
        ClusterId::new(format!("law{}{name}-{suffix:0>8}", self.number)).map_err(|error| error.to_string())
    }

    fn first(&self) -> Result<ClusterId, String> {
        self.cluster("a", "1")
    }

    fn request(&self, cluster: &ClusterId, ordinal: u64) -> MachineRequest {
        self.bed.request(cluster, ordinal)
    }

    /// Repeats a call until it is answered.
    async fn call<T>(
        &self,
        what: &str,
        call: impl AsyncFn() -> Result<T, ProviderError>,
    ) -> Result<T, String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            match call().await {
                Ok(value) => return Ok(value),
                Err(ProviderError::Unavailable { message, retry_after }) => {
                    last = message;
                    self.bed.wait(retry_after.unwrap_or(PAUSE)).await;
                }
                Err(ProviderError::NoCapacity { message }) => {
                    last = message;
                    self.bed.wait(PAUSE).await;
                }
                Err(error) => return wrong(format!("{what}: {error}")),
            }
        }
        wrong(format!("{what} was never answered: {last}"))
    }

    /// Looks again and again until it is so.
    async fn until(&self, what: &str, look: impl AsyncFn() -> Result<bool, String>) -> Verdict {
        let looks = self.bed.patience().as_millis() / PAUSE.as_millis() + 1;
        for _ in 0..looks {
            if look().await? {
                return Ok(());
            }
            self.bed.wait(PAUSE).await;
        }
        wrong(format!("{what}: not within {:?}", self.bed.patience()))
    }

    async fn scaffold(&self, cluster: &ClusterId) -> Result<super::Scaffold, String> {
        let network = Network { internet: false, expose: Vec::new() };
        self.call("scaffold", async || self.cloud().scaffold(cluster, &network).await).await
    }

    async fn has_scaffold(&self, cluster: &ClusterId) -> Result<bool, String> {
        let found = self.call("find scaffold", async || self.cloud().find_scaffold(cluster).await).await?;
        Ok(found.is_some())
    }

    async fn create(&self, request: &MachineRequest) -> Verdict {
        if self.cloud().create(request).await.is_ok() {
            return Ok(());
        }
        self.call("create", async || self.cloud().create(request).await).await?;
        // What was asked for and not answered may still be on its way: it has arrived within the settle time.
        self.bed.wait(self.cloud().settle()).await;
        Ok(())
    }

    async fn exists(&self, id: &MachineId) -> Result<bool, String> {
        self.call("exists", async || self.cloud().exists(id).await).await
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, String> {
        self.call("list", async || self.cloud().list(scope).await).await
    }

    /// The machines of one cluster id, in the order of their names.
    async fn of(&self, cluster: &ClusterId) -> Result<Vec<Machine>, String> {
        let Some(name) = cluster.name() else { return wrong("the cluster's id has no name in it") };
        let mut machines = self.list(&Scope::Cluster { name, id: Some(cluster.clone()) }).await?;
        machines.retain(|machine| machine.tags.cluster == *cluster);
        machines.sort_by(|a, b| a.tags.machine.cmp(&b.tags.machine));
        Ok(machines)
    }

    /// Makes the machine, and waits until it is listed.
    async fn make(&self, request: &MachineRequest) -> Result<Machine, String> {
        self.create(request).await?;
        let named = |machine: &Machine| machine.tags.machine == request.tags.machine;
        let cluster = &request.tags.cluster;
        self.until("a made machine is listed", async || Ok(self.of(cluster).await?.iter().any(named)))
            .await?;
        let listed = self.until_listed(request).await?;
        Ok(listed)
    }

    async fn until_listed(&self, request: &MachineRequest) -> Result<Machine, String> {
        for _ in 0..TRIES {
            let listed = self.of(&request.tags.cluster).await?;
            if let Some(machine) = listed.into_iter().find(|m| m.tags.machine == request.tags.machine) {
                return Ok(machine);
            }
            self.bed.wait(PAUSE).await;
        }
        wrong("a machine that was listed is listed no more")
    }

    /// Deletes the machine, and waits until it is gone.
    async fn remove(&self, id: &MachineId) -> Verdict {
        self.call("delete", async || self.cloud().delete(id).await).await?;
        self.until("a deleted machine is gone", async || Ok(!self.exists(id).await?)).await
    }

    async fn runs(&self, request: &MachineRequest) -> Result<Machine, String> {
        let machine = self.make(request).await?;
        self.until("a machine runs", async || {
            let machines = self.of(&request.tags.cluster).await?;
            let same = machines.iter().find(|other| other.id == machine.id);
            Ok(same.is_some_and(|machine| machine.state == MachineState::Running))
        })
        .await?;
        self.until_listed(request).await
    }

    /// Removes whatever the law made. A list may be short: looks again until the ground can be swept.
    async fn tidy(&self) -> Verdict {
        let prefix = format!("law{}", self.number);
        for _ in 0..TRIES {
            let mut all = self.list(&Scope::All).await?;
            all.retain(|m| m.tags.cluster.name().is_some_and(|name| name.as_str().starts_with(&prefix)));
            for machine in &all {
                self.remove(&machine.id).await?;
            }
            let mut left = Vec::new();
            for (name, suffix) in [("a", "1"), ("a", "2"), ("b", "1")] {
                let cluster = self.cluster(name, suffix)?;
                left.extend(self.call("sweep", async || self.cloud().sweep(&cluster).await).await?);
            }
            if left.is_empty() {
                return Ok(());
            }
            self.bed.wait(PAUSE).await;
        }
        wrong("what the law made could not be removed")
    }
}
