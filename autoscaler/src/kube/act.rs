//! Orders: cordon, uncordon, evict, forget, and the last question before a deletion.
//!
//! Invariants: each may be repeated; a patch of a node says of which state of it; a node that a person cordoned is never
//! claimed; an eviction names the pod by its uid.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::Status;
use provisioner::names::MachineName;
use serde_json::{Value, json};

use super::rest::{Fault, Rest, namespaced, text_at};
use super::{Acted, KubeError};
use crate::decide::{CORDONED_BY, Verdict, verdict};
use crate::view::{KubeView, Pod};

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/pods";
/// A kubelet writes to its node now and then: what is changed in between is read again so often.
const TRIES: u32 = 4;
/// More pods than a node may have.
const PAGE: u32 = 500;

/// What is written to a node, judged by what was read of it; nothing if it is well as it is.
type Change = fn(&Value) -> Option<Value>;

/// The fields that cordon a node as ours.
fn cordoned(node: &Value) -> Option<Value> {
    let unschedulable = node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false);
    // A person's, or ours already: either way nothing new comes, and whose it is stays as it is.
    (!unschedulable).then(|| {
        json!({"metadata": {"annotations": {CORDONED_BY: "continuum-autoscaler"}},
            "spec": {"unschedulable": true}})
    })
}

/// The fields that let pods come again, if it was we who kept them away.
fn uncordoned(node: &Value) -> Option<Value> {
    let ours = node.pointer("/metadata/annotations").and_then(|all| all.get(CORDONED_BY)).is_some();
    ours.then(|| json!({"metadata": {"annotations": {CORDONED_BY: null}}, "spec": {"unschedulable": null}}))
}

async fn change(rest: &Rest, node: &MachineName, how: Change, wait: Duration) -> Result<Acted, KubeError> {
    for _ in 0..TRIES {
        let seen = match rest.get(NODES, node.as_str(), wait).await {
            Ok(seen) => seen,
            Err(fault) if fault.code() == Some(404) => return Ok(Acted::Needless),
            Err(fault) => return Err(fault.into()),
        };
        let Some(mut fields) = how(&seen) else { return Ok(Acted::Needless) };
        fields["metadata"]["resourceVersion"] = json!(text_at(&seen, "/metadata/resourceVersion"));
        match rest.merge(NODES, node.as_str(), &fields, wait).await {
            Ok(_) => return Ok(Acted::Done),
            Err(fault) if fault.code() == Some(409) => {}
            Err(fault) if fault.code() == Some(404) => return Ok(Acted::Needless),
            Err(fault) => return Err(fault.into()),
        }
    }
    Err(KubeError::Conflict(format!("the node {node} changes all the time")))
}

/// Nothing new goes to a node.
pub(super) async fn cordon(rest: &Rest, node: &MachineName, wait: Duration) -> Result<Acted, KubeError> {
    change(rest, node, cordoned, wait).await
}

/// Pods may go to a node again.
pub(super) async fn uncordon(rest: &Rest, node: &MachineName, wait: Duration) -> Result<Acted, KubeError> {
    change(rest, node, uncordoned, wait).await
}

/// A pod is to go elsewhere.
pub(super) async fn evict(
    rest: &Rest,
    (namespace, name, uid): (&str, &str, &str),
    wait: Duration,
) -> Result<Acted, KubeError> {
    let path = namespaced("/api/v1", namespace, "pods");
    // Written here and not by the crate, whose eviction calls its options `delete_options`: a field that the API server
    // does not know and passes over, and with it the uid.
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": uid}}});
    let fault = match rest.post_to(&path, name, "eviction", &eviction, wait).await {
        Ok(_) => return Ok(Acted::Done),
        Err(fault) => fault,
    };
    match fault.code() {
        Some(404) => Ok(Acted::Needless),
        // Another pod of that name, or a change in between: the pod itself tells.
        Some(409) => match rest.get(&path, name, wait).await {
            Ok(pod) if text_at(&pod, "/metadata/uid") == uid => Err(KubeError::Conflict(fault.to_string())),
            Ok(_) => Ok(Acted::Needless),
            Err(gone) if gone.code() == Some(404) => Ok(Acted::Needless),
            Err(other) => Err(other.into()),
        },
        _ => Err(refusal(fault)),
    }
}

/// What a refused eviction means.
fn refusal(fault: Fault) -> KubeError {
    match &fault {
        Fault::Api(status) if status.code == 429 => match budget_words(status) {
            Some(words) => KubeError::Budget(words),
            // The server itself is asked too often.
            None => fault.into(),
        },
        // No eviction gets past two budgets; the answer is 500 all the same.
        Fault::Api(status) if status.code == 500 && status.message.contains("PodDisruptionBudget") => {
            KubeError::Budget(status.message.clone())
        }
        _ => fault.into(),
    }
}

fn budget_words(status: &Status) -> Option<String> {
    let causes = &status.details.as_ref()?.causes;
    let cause = causes.iter().find(|cause| cause.reason == "DisruptionBudget")?;
    Some(format!("{} {}", status.message, cause.message).trim().to_owned())
}

/// Whether a node has nothing that would be lost with it.
pub(super) async fn is_empty(
    rest: &Rest,
    node: &MachineName,
    now: Timestamp,
    wait: Duration,
) -> Result<bool, KubeError> {
    // No resourceVersion: the answer is as of now, not as of some cache.
    let mut params = ListParams::default().fields(&format!("spec.nodeName={node}")).limit(PAGE);
    loop {
        let text = rest.list(PODS, &params, wait).await?;
        let (all_over, next) = page(&text, now).map_err(KubeError::Unavailable)?;
        match next {
            _ if !all_over => return Ok(false),
            Some(token) => params = params.continue_token(&token),
            None => return Ok(true),
        }
    }
}

/// Whether no pod of this page counts, and where the next one begins.
fn page(text: &str, now: Timestamp) -> Result<(bool, Option<String>), String> {
    let list: Value = serde_json::from_str(text).map_err(|_| "a list of pods that is no JSON".to_owned())?;
    if text_at(&list, "/kind") != "PodList" {
        return Err("something that is no list of pods".to_owned());
    }
    let items = match list.get("items") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(Value::Null) => &[],
        _ => return Err("a list of pods without a list".to_owned()),
    };
    let mut view = KubeView::default();
    items.iter().for_each(|item| view.add(item, "Pod"));
    // One that cannot be read at all counts: it may be anything.
    // Who has ended and is only being removed does not: neither does it in the view that the decision was made on.
    let counts = |pod: &Pod| !pod.is_over() && verdict(pod, now) != Verdict::Ignored;
    let none = view.pods.len() == items.len() && !view.pods.iter().any(|pod| counts(pod));
    let next = text_at(&list, "/metadata/continue");
    Ok((none, (!next.is_empty()).then(|| next.to_owned())))
}

/// Deletes a Node object.
pub(super) async fn forget(rest: &Rest, node: &MachineName, wait: Duration) -> Result<Acted, KubeError> {
    match rest.delete(NODES, node.as_str(), wait).await {
        Ok(_) => Ok(Acted::Done),
        Err(fault) if fault.code() == Some(404) => Ok(Acted::Needless),
        Err(fault) => Err(fault.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: Value) -> Fault {
        Fault::Api(Box::new(serde_json::from_value(text).unwrap()))
    }

    #[test]
    fn a_persons_cordon_is_never_claimed_and_never_taken_away() {
        let free = json!({"metadata": {"name": "n"}, "spec": {}});
        let persons = json!({"metadata": {"name": "n"}, "spec": {"unschedulable": true}});
        let ours = json!({"metadata": {"name": "n", "annotations": {CORDONED_BY: "x"}}, "spec": {"unschedulable": true}});
        assert!(cordoned(&free).is_some());
        assert_eq!((cordoned(&persons), cordoned(&ours)), (None, None));
        assert_eq!((uncordoned(&free), uncordoned(&persons)), (None, None));
        assert_eq!(uncordoned(&ours).unwrap()["metadata"]["annotations"][CORDONED_BY], Value::Null);
    }

    #[test]
    fn a_refused_eviction_is_a_budget_only_if_it_says_so() {
        let of = |text: Value| refusal(status(text));
        let budget = of(json!({"code": 429, "message": "Cannot evict pod.", "reason": "TooManyRequests",
            "details": {"causes": [{"reason": "DisruptionBudget", "message": "The budget b needs 2 healthy pods"}]}}));
        assert_eq!(budget, KubeError::Budget("Cannot evict pod. The budget b needs 2 healthy pods".into()));
        let busy = of(json!({"code": 429, "message": "too many requests", "reason": "TooManyRequests"}));
        assert!(matches!(busy, KubeError::Unavailable(_)));
        let two = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        assert_eq!(of(json!({"code": 500, "message": two})), KubeError::Budget(two.into()));
        assert!(matches!(of(json!({"code": 500, "message": "etcd"})), KubeError::Unavailable(_)));
        assert!(matches!(of(json!({"code": 403, "message": "no"})), KubeError::Refused(_)));
    }

    #[test]
    fn a_node_is_empty_only_where_a_whole_list_says_so() {
        let now = Timestamp::UNIX_EPOCH;
        let list = |items: Value| page(&json!({"kind": "PodList", "items": items}).to_string(), now);
        let owned = |kind: &str| json!({"metadata": {"name": "p", "ownerReferences": [{"kind": kind, "controller": true}]}});
        assert_eq!(list(json!([])), Ok((true, None)));
        assert_eq!(list(json!([owned("DaemonSet")])), Ok((true, None)));
        assert_eq!(list(json!([owned("DaemonSet"), owned("Job")])), Ok((false, None)));
        assert_eq!(
            list(json!([{"metadata": {"name": "p"}, "status": {"phase": "Failed"}}])),
            Ok((true, None))
        );
        let ended = json!({"metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:10Z"}, "status": {"phase": "Failed"}});
        assert_eq!(list(json!([ended])), Ok((true, None)), "it has ended, and is being removed");
        let ends = json!({"metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:10Z"}, "status": {"phase": "Running"}});
        assert_eq!(list(json!([ends])), Ok((false, None)), "it still runs");
        assert_eq!(list(json!([7])), Ok((false, None)), "what cannot be read may be anything");
        assert_eq!(list(json!([{"kind": "Secret"}])), Ok((false, None)));
        let more = json!({"kind": "PodList", "metadata": {"continue": "t"}, "items": []}).to_string();
        assert_eq!(page(&more, now), Ok((true, Some("t".into()))));
        for text in ["", "{}", r#"{"kind": "PodList"}"#, r#"{"kind": "Status", "items": []}"#] {
            assert!(page(text, now).is_err(), "{text}");
        }
    }
}
