//! One daemon acts: a Lease object, held by renewing it.
//!
//! ```text
//!   nobody, given back, or unchanged for as long as it lasts ─► taken (epoch + 1) ─► renewed every 5 s ─► given back at a good end
//! ```
//!
//! Invariants: whoever writes does so on the version that it read; times of other computers are never compared with ours: a lease has run
//! out when *we* have seen it unchanged for as long as it lasts; [`Lease::holds`] says no some seconds before anybody else could have
//! taken it, counted from before our last renewal was sent. The epoch only grows as long as the object lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use provisioner::clock;
use serde_json::{Value, json};

use super::KubeError;
use super::rest::{Fault, Rest, text_at};

/// The object.
pub(super) const NAME: &str = "continuum-autoscaler";
pub(super) const API: &str = "/apis/coordination.k8s.io/v1";
/// What others wait for before they take it.
const LASTS: Duration = Duration::from_secs(15);
/// What we count on: the rest is for what was begun just before, and for clocks that do not run alike.
const COUNTED: Duration = Duration::from_secs(12);
const RENEW: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_secs(3);

/// How often the lease has changed hands: what was decided under another epoch is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The lease, as this process knows it.
#[derive(Debug)]
pub struct Lease {
    me: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// The version that was seen last while another had it, and when we saw it first.
    watched: Option<(String, Instant)>,
    /// Who has it, if not we.
    other: String,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: Epoch,
    /// Just before the last renewal was sent.
    renewed: Instant,
}

/// What is to be done with the object.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is somebody else's.
    Wait,
    /// It is ours now, or still, under this epoch.
    Write(Epoch),
}

impl Lease {
    /// Of the process `me`, which must be a name that no other process has or had.
    pub(super) fn new(me: String) -> Self {
        Self { me, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether we have it, surely, at this moment.
    pub fn holds(&self) -> Option<Epoch> {
        self.holds_at(clock::monotonic()).map(|(epoch, _)| epoch)
    }

    fn holds_at(&self, now: Instant) -> Option<(Epoch, Duration)> {
        let held = self.state().held?;
        let age = now.saturating_duration_since(held.renewed);
        (age < COUNTED).then(|| (held.epoch, LASTS.saturating_sub(age)))
    }

    /// Before whatever changes something: how long that may take.
    pub(super) fn check(&self) -> Result<Duration, KubeError> {
        match self.holds_at(clock::monotonic()) {
            Some((_, left)) => Ok(left),
            None => Err(KubeError::Conflict(self.words())),
        }
    }

    /// Who has it instead.
    pub(super) fn words(&self) -> String {
        let other = &self.state().other;
        if other.is_empty() {
            format!("this process ({}) does not hold the lease {NAME}", self.me)
        } else {
            format!("{other} holds the lease {NAME}")
        }
    }

    /// What is to be done with the object as it was just read; `None` if there is none.
    fn step(&self, seen: Option<&Value>, now: Instant) -> Step {
        let mut state = self.state();
        let Some(seen) = seen else {
            *state = State::default();
            return Step::Write(Epoch(0));
        };
        let holder = text_at(seen, "/spec/holderIdentity");
        let epoch = seen.pointer("/spec/leaseTransitions").and_then(Value::as_u64).unwrap_or(0);
        if holder == self.me {
            state.watched = None;
            return Step::Write(Epoch(epoch));
        }
        state.held = None;
        if holder.is_empty() {
            return Step::Write(Epoch(epoch + 1));
        }
        holder.clone_into(&mut state.other);
        let version = text_at(seen, "/metadata/resourceVersion");
        match &state.watched {
            Some((same, since)) if same == version => {
                let said = seen.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(0);
                let lasts = LASTS.max(Duration::from_secs(said));
                if now.saturating_duration_since(*since) > lasts {
                    Step::Write(Epoch(epoch + 1))
                } else {
                    Step::Wait
                }
            }
            _ => {
                state.watched = Some((version.to_owned(), now));
                Step::Wait
            }
        }
    }

    /// The object as we write it.
    fn object(&self, seen: Option<&Value>, epoch: Epoch, namespace: &str, now: Timestamp) -> Value {
        let now = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let mut object = seen.cloned().unwrap_or_else(|| {
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": NAME, "namespace": namespace}})
        });
        let renews = text_at(&object, "/spec/holderIdentity") == self.me;
        let since = if renews { text_at(&object, "/spec/acquireTime").to_owned() } else { now.clone() };
        object["spec"] = json!({"holderIdentity": self.me, "leaseDurationSeconds": LASTS.as_secs(),
            "acquireTime": since, "renewTime": now, "leaseTransitions": epoch.0});
        object
    }

    fn took(&self, epoch: Epoch, renewed: Instant) {
        *self.state() = State { held: Some(Held { epoch, renewed }), ..State::default() };
    }

    /// Looks at the object, and takes or renews it if that is ours to do.
    async fn round(&self, rest: &Rest, namespace: &str) -> Result<(), Fault> {
        let path = path(namespace);
        let seen = match rest.get(&path, NAME, WAIT).await {
            Ok(seen) => Some(seen),
            Err(fault) if fault.code() == Some(404) => None,
            Err(fault) => return Err(fault),
        };
        let Step::Write(epoch) = self.step(seen.as_ref(), clock::monotonic()) else { return Ok(()) };
        let object = self.object(seen.as_ref(), epoch, namespace, clock::now());
        // Others can see the renewal at the earliest now, so their waiting ends at the earliest so long from now.
        let sent = clock::monotonic();
        let written = match seen {
            Some(_) => rest.replace(&path, NAME, &object, WAIT).await,
            None => rest.create(&path, &object, WAIT).await,
        };
        match written {
            Ok(_) => {
                self.took(epoch, sent);
                Ok(())
            }
            // Somebody was faster: the next round sees who.
            Err(fault) if fault.code() == Some(409) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

/// Where leases are.
pub(super) fn path(namespace: &str) -> String {
    super::rest::namespaced(API, namespace, "leases")
}

/// Tries to take the lease and to keep it, for ever.
pub(super) async fn keep(lease: Arc<Lease>, rest: Rest, namespace: String) {
    loop {
        let round = lease.round(&rest, &namespace).await;
        if let Err(fault) = &round {
            tracing::debug!(error = %fault, "the lease cannot be read or written");
        }
        let held = round.is_ok() && lease.holds().is_some();
        tokio::time::sleep(if held { RENEW } else { RETRY }).await;
    }
}

/// Gives the lease back, so that the next one need not wait; only after [`keep`] has ended.
pub(super) async fn release(lease: &Lease, rest: &Rest, namespace: &str) -> Result<(), Fault> {
    let held = lease.state().held.take();
    if held.is_none() {
        return Ok(());
    }
    let path = path(namespace);
    let mut object = rest.get(&path, NAME, WAIT).await?;
    if text_at(&object, "/spec/holderIdentity") != lease.me {
        return Ok(());
    }
    object["spec"]["holderIdentity"] = Value::Null;
    rest.replace(&path, NAME, &object, WAIT).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease::new("me".into())
    }

    fn held_by(holder: &str, epoch: u64, version: &str) -> Value {
        json!({"metadata": {"resourceVersion": version},
            "spec": {"holderIdentity": holder, "leaseTransitions": epoch, "leaseDurationSeconds": 15}})
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_lease_is_taken_only_when_it_was_seen_unchanged_for_as_long_as_it_lasts() {
        let (lease, now) = (lease(), clock::monotonic());
        let step = |version: &str, after| lease.step(Some(&held_by("you", 3, version)), now + secs(after));
        assert_eq!(step("1", 0), Step::Wait);
        assert_eq!(step("1", 15), Step::Wait);
        assert_eq!(step("2", 16), Step::Wait, "renewed at the last moment");
        assert_eq!(step("2", 31), Step::Wait);
        assert_eq!(step("2", 32), Step::Write(Epoch(4)));
        assert_eq!(lease.words(), "you holds the lease continuum-autoscaler");
    }

    #[test]
    fn one_that_nobody_has_is_taken_at_once_and_ours_keeps_its_epoch() {
        let (lease, now) = (lease(), clock::monotonic());
        assert_eq!(lease.step(None, now), Step::Write(Epoch(0)));
        let mut free = held_by("", 3, "1");
        assert_eq!(lease.step(Some(&free), now), Step::Write(Epoch(4)));
        free["spec"]["holderIdentity"] = Value::Null;
        assert_eq!(lease.step(Some(&free), now), Step::Write(Epoch(4)));
        assert_eq!(lease.step(Some(&held_by("me", 4, "2")), now), Step::Write(Epoch(4)));
    }

    #[test]
    fn who_was_frozen_does_not_hold_it_any_more_before_another_can() {
        let (lease, now) = (lease(), clock::monotonic());
        assert_eq!(lease.holds_at(now), None);
        lease.took(Epoch(7), now);
        assert_eq!(lease.holds_at(now + secs(5)), Some((Epoch(7), secs(10))));
        assert_eq!(lease.holds_at(now + secs(12)), None);
        assert_eq!(lease.holds_at(now + secs(3600)), None);
        // Another one's name on it ends it at once.
        assert_eq!(lease.step(Some(&held_by("you", 8, "9")), now + secs(1)), Step::Wait);
        assert_eq!(lease.holds_at(now + secs(1)), None);
        assert!(matches!(lease.check(), Err(KubeError::Conflict(_))));
    }

    #[test]
    fn a_renewal_keeps_what_it_does_not_own() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut seen = held_by("me", 4, "2");
        seen["metadata"]["labels"] = json!({"a": "b"});
        seen["spec"]["acquireTime"] = json!("2026-01-01T00:00:00.000000Z");
        let object = lease().object(Some(&seen), Epoch(4), "kube-system", now);
        assert_eq!(object["metadata"], seen["metadata"]);
        assert_eq!(
            object["spec"],
            json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 4,
                "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2027-01-15T08:00:00.000000Z"})
        );
    }
}
