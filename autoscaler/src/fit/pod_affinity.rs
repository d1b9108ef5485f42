//! Which pods a pod must be near, must not be near, and which do not want it near.
//!
//! Pods are counted once for a pod that is to be placed, by label and value of the places they are in; each node then costs a
//! look-up. Placing a pod changes the counts ([`Neighbours::count`]), so that a plan of many pods stays consistent.

use std::collections::{BTreeMap, BTreeSet};

use super::reason::{Found, Reason};
use super::selector::Selector;
use super::state::{Resident, State};
use crate::view::{Labels, Node, Pod, PodAffinityTerm};

/// Which pods, and how near is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    namespaces: BTreeSet<String>,
    namespace_selector: Selector,
    selector: Selector,
    key: String,
}

impl Term {
    fn parse(term: &PodAffinityTerm, pod: &Pod) -> Result<Self, String> {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(pod.metadata.namespace.clone());
        }
        Ok(Self {
            namespaces,
            namespace_selector: Selector::parse(term.namespace_selector.as_ref())?,
            selector: Selector::parse(term.selector.as_ref())?,
            key: term.topology_key.clone(),
        })
    }

    /// All terms, or what is wrong with one.
    pub(super) fn parse_all(terms: &[PodAffinityTerm], pod: &Pod) -> Result<Vec<Self>, String> {
        terms.iter().map(|term| Self::parse(term, pod)).collect()
    }

    /// Names the namespaces that the selector matches. It stays in force, and is later tried on no labels at all, as in the
    /// scheduler (which forgets to clear it): one with `NotIn` or `DoesNotExist` therefore matches every namespace.
    fn name_namespaces(&mut self, state: &State) {
        if self.namespace_selector.is_everything() {
            return;
        }
        let matching = state.namespaces().filter(|(_, labels)| self.namespace_selector.matches(labels));
        self.namespaces.extend(matching.map(|(name, _)| name.to_owned()));
    }

    fn matches(&self, pod: &Pod, namespace_labels: &Labels) -> bool {
        (self.namespaces.contains(&pod.metadata.namespace)
            || self.namespace_selector.matches(namespace_labels))
            && self.selector.matches(&pod.metadata.labels)
    }
}

/// How many pods there are, by label and value of the place.
type Counts = BTreeMap<String, BTreeMap<String, i64>>;

fn change(counts: &mut Counts, node: &Node, key: &str, by: i64) {
    let Some(value) = node.metadata.labels.get(key) else { return };
    if !counts.contains_key(key) {
        counts.insert(key.to_owned(), BTreeMap::new());
    }
    let Some(places) = counts.get_mut(key) else { return };
    let count = places.entry(value.clone()).or_default();
    *count += by;
    if *count == 0 {
        places.remove(value);
    }
}

fn at(counts: &Counts, key: &str, place: &str) -> i64 {
    counts.get(key).and_then(|places| places.get(place)).copied().unwrap_or(0)
}

/// The pods that matter to one pod, counted.
#[derive(Debug, Clone)]
pub(super) struct Neighbours {
    near: Vec<Term>,
    apart: Vec<Term>,
    /// Labels of the pod's own namespace, which others may select by.
    namespace_labels: Labels,
    /// The pod would be the first of those that it must be near.
    matches_itself: bool,
    nears: Counts,
    aparts: Counts,
    repelled: Counts,
}

impl Neighbours {
    /// Counts the pods of a cluster for one that is to be placed; an error says what is wrong with a term of it.
    pub(super) fn of(pod: &Pod, state: &State) -> Result<Self, String> {
        let mut near = Term::parse_all(&pod.spec.affinity.pod.required, pod)?;
        let mut apart = Term::parse_all(&pod.spec.affinity.anti.required, pod)?;
        near.iter_mut().chain(&mut apart).for_each(|term| term.name_namespaces(state));
        let mut neighbours = Self {
            matches_itself: all_match(&near, pod),
            near,
            apart,
            namespace_labels: state.namespace_labels(&pod.metadata.namespace).clone(),
            nears: Counts::new(),
            aparts: Counts::new(),
            repelled: Counts::new(),
        };
        let looks_at_all = !neighbours.near.is_empty() || !neighbours.apart.is_empty();
        for node in state.nodes().filter(|node| looks_at_all || node.repels()) {
            for resident in node.residents().filter(|resident| looks_at_all || !resident.apart.is_empty()) {
                neighbours.count(pod, resident, node.node(), 1);
            }
        }
        Ok(neighbours)
    }

    /// Whether nobody around matters.
    pub(super) fn is_empty(&self) -> bool {
        self.near.is_empty() && self.apart.is_empty() && self.repelled.is_empty()
    }

    /// Whether something is about this label.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.near.iter().chain(&self.apart).any(|term| term.key == key) || self.repelled.contains_key(key)
    }

    /// Whether the pod does not want its like in the same place.
    pub(super) fn is_apart_from_itself(&self, pod: &Pod, key: &str) -> bool {
        self.apart.iter().any(|term| term.key == key && term.matches(pod, &Labels::new()))
    }

    /// Whether the pod does not want the other one near.
    pub(super) fn repels(&self, other: &Pod) -> bool {
        self.apart.iter().any(|term| term.matches(other, &Labels::new()))
    }

    /// Whether the pod must be near pods like the other one.
    pub(super) fn seeks(&self, other: &Pod) -> bool {
        all_match(&self.near, other)
    }

    /// Takes a pod that was placed (1) or taken away (-1) into account.
    pub(super) fn count(&mut self, pod: &Pod, resident: &Resident, node: &Node, by: i64) {
        for term in resident.apart.iter().filter(|term| term.matches(pod, &self.namespace_labels)) {
            change(&mut self.repelled, node, &term.key, by);
        }
        // The namespaces of these terms are named, so no labels are looked at but those of nobody.
        let nobody = Labels::new();
        if !self.near.is_empty() && all_match(&self.near, &resident.pod) {
            for term in &self.near {
                change(&mut self.nears, node, &term.key, by);
            }
        }
        for term in self.apart.iter().filter(|term| term.matches(&resident.pod, &nobody)) {
            change(&mut self.aparts, node, &term.key, by);
        }
    }

    /// Says who is missing near a node, and who is in the way.
    pub(super) fn check(&self, node: &Node, found: &mut Found) {
        let labels = &node.metadata.labels;
        self.check_near(labels, found);
        let mut said = BTreeSet::new();
        for key in self.apart.iter().map(|term| &term.key).filter(|key| said.insert(*key)) {
            let Some(place) = labels.get(key) else { continue };
            let pods = at(&self.aparts, key, place);
            if pods > 0 {
                found.add(|| Reason::AntiAffinity { key: key.clone(), place: place.clone(), pods });
            }
        }
        for (key, places) in &self.repelled {
            let Some(place) = labels.get(key) else { continue };
            let pods = places.get(place).copied().unwrap_or(0);
            if pods > 0 {
                found.add(|| Reason::Repelled { key: key.clone(), place: place.clone(), pods });
            }
        }
    }

    fn check_near(&self, labels: &Labels, found: &mut Found) {
        let is_there = |term: &&Term| labels.contains_key(&term.key);
        if let Some(term) = self.near.iter().find(|term| !is_there(term)) {
            found.add(|| Reason::Affinity { key: term.key.clone(), place: None });
            return;
        }
        let alone =
            |term: &&Term| labels.get(&term.key).is_some_and(|place| at(&self.nears, &term.key, place) <= 0);
        let Some(term) = self.near.iter().find(alone) else { return };
        // The first of pods that want to be near each other has nobody to be near: it may go anywhere.
        if self.nears.values().all(BTreeMap::is_empty) && self.matches_itself {
            return;
        }
        let place = labels.get(&term.key).cloned();
        found.add(|| Reason::Affinity { key: term.key.clone(), place });
    }
}

fn all_match(terms: &[Term], pod: &Pod) -> bool {
    let nobody = Labels::new();
    !terms.is_empty() && terms.iter().all(|term| term.matches(pod, &nobody))
}
