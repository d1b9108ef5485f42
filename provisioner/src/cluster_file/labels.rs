//! Names of node labels: what Kubernetes takes from a kubelet, found before anything is made.
//!
//! Labels reach a node by its kubelet, and there the admission plugin NodeRestriction and the kubelet itself refuse most
//! names of Kubernetes' own: a node must not be able to draw pods to itself that are meant for others.

use super::scalars::is_label;
use crate::diagnostic::Problem;
use crate::tree::Key;

/// Prefixes of Kubernetes' own that a kubelet may use, with everything below them.
const ALLOWED: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Names of Kubernetes' own that a kubelet may use.
const WELL_KNOWN: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
/// The longest prefix, as for names of hosts.
const LONGEST_PREFIX: usize = 253;

/// What is wrong with the name of a label, if anything is.
pub(super) fn problem(key: &Key) -> Option<Problem> {
    let name = &key.name;
    let (prefix, rest) = name.rsplit_once('/').unwrap_or(("", name));
    let at = |message: String| Problem::at(&key.place, message);
    if prefix == "continuum.dev" {
        let message = format!("label {name:?}: {prefix}/ is reserved");
        return Some(at(message).help("use a prefix of your own, or none"));
    }
    if is_kubernetes(prefix) && !may_be_set(name, prefix) {
        let message = format!(
            "label {name:?}: Kubernetes lets no node give itself labels of {prefix}/ (NodeRestriction)"
        );
        let help = "use a prefix of your own, or none; of Kubernetes' own node.kubernetes.io/ is free, and \
                    topology.kubernetes.io/zone and region";
        return Some(at(message).help(help));
    }
    if !is_label(rest) || prefix.len() > LONGEST_PREFIX {
        let problem = at(format!("{name:?} is no name of a label"));
        return Some(problem.expected("PREFIX/NAME or NAME, of letters, digits, -, _ and ."));
    }
    None
}

/// Whether `prefix` is this domain or lies below it.
fn is_in(prefix: &str, domain: &str) -> bool {
    prefix.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

fn is_kubernetes(prefix: &str) -> bool {
    ["kubernetes.io", "k8s.io"].iter().any(|domain| is_in(prefix, domain))
}

fn may_be_set(name: &str, prefix: &str) -> bool {
    WELL_KNOWN.contains(&name) || ALLOWED.iter().any(|domain| is_in(prefix, domain))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::{Place, Source};

    fn message(name: &str) -> Option<String> {
        let source = Arc::new(Source { name: "cluster.yaml".into(), text: name.into() });
        let key = Key { name: name.into(), place: Place::new(&source, 0, name.len()) };
        problem(&key).map(|problem| problem.message)
    }

    #[test]
    fn what_kubernetes_takes_from_a_kubelet_is_taken() {
        let own = ["team", "example.org/team", "mykubernetes.io/x", "k8s.io.example.org/x"];
        let free = ["node.kubernetes.io/speed", "deep.node.kubernetes.io/x", "kubelet.kubernetes.io/x"];
        for name in own.iter().chain(&free).chain(&WELL_KNOWN) {
            assert_eq!(message(name), None, "{name}");
        }
    }

    #[test]
    fn what_it_refuses_is_refused_with_the_prefix() {
        let cases = [
            ("kubernetes.io/role", "kubernetes.io"),
            ("k8s.io/x", "k8s.io"),
            ("cloud.k8s.io/x", "cloud.k8s.io"),
            ("node-role.kubernetes.io/gpu", "node-role.kubernetes.io"),
            ("node-restriction.kubernetes.io/x", "node-restriction.kubernetes.io"),
            ("xnode.kubernetes.io/x", "xnode.kubernetes.io"),
            ("topology.kubernetes.io/rack", "topology.kubernetes.io"),
        ];
        for (name, prefix) in cases {
            let right = format!(
                "label {name:?}: Kubernetes lets no node give itself labels of {prefix}/ (NodeRestriction)"
            );
            assert_eq!(message(name), Some(right));
        }
        let reserved = "label \"continuum.dev/pool\": continuum.dev/ is reserved";
        assert_eq!(message("continuum.dev/pool").as_deref(), Some(reserved));
        assert_eq!(
            message("node.kubernetes.io/a b").as_deref(),
            Some("\"node.kubernetes.io/a b\" is no name of a label")
        );
    }
}
