//! The laws of a provider over the cloud in memory, alone and under every fault that passes.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::*;
use crate::names::{MachineName, PoolName};
use crate::provider::conformance::{Bed, Broken, LAWS, check};
use crate::provider::faults::Fault;
use crate::provider::{MachineRequest, Provider, ProviderError};
use crate::reconcile::HostKeys;
use crate::world::WorldScripts;

#[async_trait]
impl Bed for World {
    fn provider(&self) -> &dyn Provider {
        self
    }
    fn request(&self, cluster: &ClusterId, ordinal: u64) -> MachineRequest {
        // Each cluster has a ledger of its own, and its id is in the token.
        let owner = LedgerId(format!("laws-{cluster}"));
        let mut ledger = Ledger::new(owner, Owner::Cli, cluster.clone(), World::cloud_id());
        ledger.next_ordinal = ordinal;
        let new = fixtures::new_row(&PoolName::new("workers").unwrap());
        let name: MachineName = ledger.add(new, World::new(0, Faults::none()).true_time()).unwrap();
        let birth = ledger.key_birth(&name).unwrap();
        let print = WorldScripts.fingerprint(&name, birth);
        ledger.request(&name, print, WorldScripts.user_data(&name, birth)).unwrap()
    }
    async fn wait(&self, time: Duration) {
        self.sleep(time).await;
    }
    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }
}

async fn broken(world: &World) -> Vec<Broken> {
    world.drive(check(world), HOUR * 100).await.expect("the laws are checked in time")
}

#[tokio::test]
async fn the_cloud_in_memory_keeps_every_law() {
    assert!(LAWS.len() >= 15);
    let sentences: BTreeSet<_> = LAWS.iter().map(|law| law.sentence).collect();
    assert_eq!(sentences.len(), LAWS.len(), "each law has a sentence of its own");
    assert_eq!(broken(&World::new(1, Faults::none())).await, []);
}

#[tokio::test]
async fn the_laws_hold_under_every_fault_of_calls_and_under_all_of_them() {
    let secs = Duration::from_secs;
    let faults = [
        Fault::RateLimit(300),
        Fault::Error500(300),
        Fault::DropBefore(300),
        Fault::DropAfter(300),
        Fault::Hang(100),
        Fault::ShortList(300),
        Fault::LateList(secs(6)),
        Fault::LateCreate(secs(3)),
        Fault::LateDelete(secs(8)),
        Fault::NoCapacity(300),
        Fault::SlowBoot(secs(60)),
    ];
    for (seed, fault) in (1..).zip(&faults) {
        let world = World::new(seed, Faults::of(&[*fault]));
        assert_eq!(broken(&world).await, [], "under {fault}");
    }
    for seed in 100..103 {
        let world = World::new(seed, Faults::of(&faults));
        assert_eq!(broken(&world).await, [], "under all of them, seed {seed}");
        assert!(world.faults() > 100, "{} faults", world.faults());
    }
}

#[tokio::test]
async fn a_cloud_that_breaks_a_promise_breaks_its_law_and_no_other() {
    let world = World::new(1, Faults::of(&[Fault::NoTokens]));
    let laws: Vec<_> = broken(&world).await.into_iter().map(|broken| broken.law).collect();
    let about_tokens =
        ["the same token makes one machine", "a token with another request is refused for good"];
    assert_eq!(laws, about_tokens);
}

#[tokio::test]
async fn a_quota_is_refused_in_its_kind() {
    let world = World::new(1, Faults::of(&[Fault::Quota(1)]));
    let cluster = ClusterId::new("lab1-7k2m9qxa").unwrap();
    let create = |ordinal| {
        let request = world.request(&cluster, ordinal);
        let world = world.clone();
        async move { world.create(&request).await }
    };
    let (first, second) = (world.drive(create(1), HOUR).await, world.drive(create(2), HOUR).await);
    assert_eq!(first, Some(Ok(())));
    assert!(matches!(second, Some(Err(ProviderError::Quota { .. }))), "{second:?}");
}
