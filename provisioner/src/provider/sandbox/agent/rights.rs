//! What a cluster's own token opens at the gateway (pure): what its autoscaler needs, and no more.
//!
//! The operator's computer, over the socket, may do everything. A cluster sees itself alone; it makes and deletes only
//! workers of its autoscaler. So whoever takes the token from a front-end can neither reach another cluster nor remove
//! the machines that the command line made.

use super::super::wire::{ScaffoldRequest, rejected};
use super::Caller;
use super::record::{ClusterRecord, Record};
use crate::provider::{MachineRequest, Owner, ProviderError};
use crate::spec::Role;

/// What a token says that was revoked meanwhile.
const REVOKED: &str = "this cluster's token was revoked: its machines are the command line's alone now";

/// Whether the caller may ask for such a machine in its cluster.
pub(super) fn may_create(caller: &Caller, request: &MachineRequest) -> Result<(), ProviderError> {
    let name = &request.tags.machine;
    let why = match (caller, request.tags.owner, request.role) {
        (Caller::Admin, _, _) => return Ok(()),
        (_, Owner::Cli, _) => {
            format!("{name} would be the command line's: this token makes machines of the autoscaler only")
        }
        (_, _, Role::FrontEnd) => format!("{name} would be a front-end: only the command line makes those"),
        // A port of this computer's own loopback is the operator's to give away.
        _ if !request.expose.is_empty() => format!("{name} would have exposed ports: only front-ends have"),
        _ => return Ok(()),
    };
    Err(rejected(why))
}

/// Whether the caller may delete this machine of its cluster.
pub(super) fn may_delete(caller: &Caller, record: &Record) -> Result<(), ProviderError> {
    let name = &record.tags.machine;
    match (caller, record.tags.owner, record.role) {
        (Caller::Admin, _, _) | (_, Owner::Autoscaler, Role::Worker) => Ok(()),
        (_, _, Role::FrontEnd) => {
            Err(rejected(format!("{name} is a front-end: only the command line deletes those")))
        }
        (_, Owner::Cli, _) => {
            let why = "this token deletes machines of the autoscaler only";
            Err(rejected(format!("{name} is the command line's: {why}")))
        }
    }
}

/// Whether a call that came in with a token still counts, now that it has its effect.
pub(super) fn still_counts(caller: &Caller, cluster: &ClusterRecord) -> Result<(), ProviderError> {
    let revoked = *caller != Caller::Admin && cluster.token.is_empty();
    if revoked { Err(rejected(REVOKED)) } else { Ok(()) }
}

/// Whether a scaffold that a cluster asks for is the one that it has: a cluster must not open the outside to itself.
pub(super) fn may_scaffold(record: &ClusterRecord, request: &ScaffoldRequest) -> Result<(), ProviderError> {
    if record.internet == request.network.internet {
        return Ok(());
    }
    Err(rejected("a cluster's network is made and changed by the command line only"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use secrecy::SecretString;

    use super::*;
    use crate::names::ClusterId;
    use crate::provider::UserData;
    use crate::spec::{Network, Shape};

    fn request(owner: Owner, role: Role) -> MachineRequest {
        let tags = serde_json::json!({"cluster": "a-00000000", "pool": "w", "owner": owner, "ledger": "l",
            "machine": "a-w-1", "expires": null, "host_key": "SHA256:x"});
        MachineRequest {
            token: "t".into(),
            tags: serde_json::from_value(tags).unwrap(),
            role,
            shape: Shape::of("1".parse().unwrap(), "1Gi".parse().unwrap()),
            image: "debian-12".into(),
            zone: None,
            expose: Vec::new(),
            user_data: UserData {
                host_key: SecretString::from(String::new()),
                host_key_public: String::new(),
                authorized_keys: Vec::new(),
                script: String::new(),
            },
        }
    }

    fn cluster(token: &str) -> ClusterRecord {
        ClusterRecord {
            version: super::super::record::VERSION,
            id: ClusterId::new("a-00000000").unwrap(),
            index: 0,
            internet: false,
            token: token.to_owned(),
        }
    }

    #[test]
    fn a_clusters_token_makes_and_deletes_workers_of_its_autoscaler_only() {
        let inside = Caller::Cluster(ClusterId::new("a-00000000").unwrap());
        for (owner, role, create, delete) in [
            (Owner::Autoscaler, Role::Worker, "", ""),
            (
                Owner::Cli,
                Role::Worker,
                "a-w-1 would be the command line's: this token makes machines of the autoscaler only",
                "a-w-1 is the command line's: this token deletes machines of the autoscaler only",
            ),
            (
                Owner::Autoscaler,
                Role::FrontEnd,
                "a-w-1 would be a front-end: only the command line makes those",
                "a-w-1 is a front-end: only the command line deletes those",
            ),
            (
                Owner::Cli,
                Role::FrontEnd,
                "a-w-1 would be the command line's: this token makes machines of the autoscaler only",
                "a-w-1 is a front-end: only the command line deletes those",
            ),
        ] {
            let request = request(owner, role);
            let record = Record::new("m".into(), &request, Ipv4Addr::LOCALHOST, jiff::Timestamp::UNIX_EPOCH);
            let said =
                |result: Result<(), ProviderError>| result.err().map_or(String::new(), |e| e.to_string());
            assert_eq!(said(may_create(&inside, &request)), create);
            assert_eq!(said(may_delete(&inside, &record)), delete);
            assert_eq!(
                (may_create(&Caller::Admin, &request), may_delete(&Caller::Admin, &record)),
                (Ok(()), Ok(()))
            );
        }
        let mut exposed = request(Owner::Autoscaler, Role::Worker);
        exposed.expose = vec![22];
        let why = "a-w-1 would have exposed ports: only front-ends have";
        assert_eq!(may_create(&inside, &exposed), Err(rejected(why)));
    }

    #[test]
    fn a_revoked_token_has_no_effect_and_no_token_changes_a_network() {
        let inside = Caller::Cluster(ClusterId::new("a-00000000").unwrap());
        assert_eq!(still_counts(&inside, &cluster("secret")), Ok(()));
        assert_eq!(still_counts(&inside, &cluster("")), Err(rejected(REVOKED)));
        assert_eq!(still_counts(&Caller::Admin, &cluster("")), Ok(()));
        let asks = |internet| ScaffoldRequest { network: Network { internet, expose: Vec::new() } };
        assert_eq!(may_scaffold(&cluster("secret"), &asks(false)), Ok(()));
        assert!(may_scaffold(&cluster("secret"), &asks(true)).is_err());
    }
}
