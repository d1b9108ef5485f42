//! How evenly pods must be spread over places: required constraints only.
//!
//! A place is a value of the constraint's label on nodes that have the labels of *all* constraints and are not ruled out by its
//! policies. A node on its way out keeps its place in the count until it is gone (`State::leave`), as for the real scheduler.

use std::collections::BTreeMap;

use super::node_affinity::NodeRule;
use super::reason::{Found, Reason};
use super::selector::Selector;
use super::state::{NodeState, Resident, State};
use super::taints::untolerated;
use crate::view::{Inclusion, Node, Pod, SpreadConstraint, Unsatisfiable};

/// The constraints of a pod, with the pods that they count.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    constraints: Vec<Counted>,
}

#[derive(Debug, Clone)]
struct Counted {
    key: String,
    max_skew: i64,
    min_domains: usize,
    selector: Selector,
    by_affinity: bool,
    by_taints: bool,
    /// Whether the pod itself would be counted.
    counts_itself: bool,
    /// Pods by place.
    places: BTreeMap<String, i64>,
    /// How many places have so many pods: a placement then costs no walk over all places.
    levels: BTreeMap<i64, usize>,
    /// Pods in the emptiest place; kept, since it is asked for each node.
    least: i64,
}

impl Spread {
    /// Counts the pods of a cluster for one that is to be placed; an error says what is wrong with a constraint of it.
    pub(super) fn of(pod: &Pod, rule: &NodeRule, state: &State) -> Result<Self, String> {
        let required = pod.spec.topology_spread_constraints.iter();
        let constraints = required
            .filter(|constraint| constraint.when_unsatisfiable == Unsatisfiable::DoNotSchedule)
            .map(|constraint| Counted::parse(constraint, pod))
            .collect::<Result<_, _>>()?;
        let mut spread = Self { constraints };
        if !spread.constraints.is_empty() {
            state.nodes().for_each(|node| spread.add_node(pod, rule, node));
        }
        spread.constraints.iter_mut().for_each(Counted::find_least);
        Ok(spread)
    }

    fn add_node(&mut self, pod: &Pod, rule: &NodeRule, node: &NodeState) {
        if !self.counts_on(node.node()) {
            return;
        }
        for constraint in &mut self.constraints {
            if let Some(place) = constraint.place(pod, rule, node.node()) {
                let here = node.residents().filter(|resident| constraint.counts(pod, resident)).count();
                constraint.change(place, i64::try_from(here).unwrap_or(i64::MAX));
            }
        }
    }

    /// Takes a node that was added into account, with what runs on it already.
    pub(super) fn node_added(&mut self, pod: &Pod, rule: &NodeRule, node: &NodeState) {
        self.add_node(pod, rule, node);
        self.constraints.iter_mut().for_each(Counted::find_least);
    }

    /// Takes a pod that was placed (1) or taken away (-1) into account.
    pub(super) fn count(&mut self, pod: &Pod, rule: &NodeRule, resident: &Resident, node: &Node, by: i64) {
        // Most pods do not count: that is asked first.
        if !self.constraints.iter().any(|constraint| constraint.counts(pod, resident))
            || !self.counts_on(node)
        {
            return;
        }
        for constraint in self.constraints.iter_mut().filter(|constraint| constraint.counts(pod, resident)) {
            if let Some(place) = constraint.place(pod, rule, node) {
                constraint.change(place, by);
                constraint.find_least();
            }
        }
    }

    /// Says where the pod would make the spread too uneven.
    pub(super) fn check(&self, node: &Node, found: &mut Found) {
        for constraint in &self.constraints {
            let Some(place) = node.metadata.labels.get(&constraint.key) else {
                found.add(|| Reason::SpreadLabel { key: constraint.key.clone() });
                continue;
            };
            let here =
                constraint.places.get(place).copied().unwrap_or(0) + i64::from(constraint.counts_itself);
            let least = constraint.least;
            if here - least > constraint.max_skew {
                found.add(|| Reason::Spread {
                    key: constraint.key.clone(),
                    place: place.clone(),
                    here,
                    least,
                    max_skew: constraint.max_skew,
                });
            }
        }
    }

    /// Whether there is no constraint.
    pub(super) fn is_empty(&self) -> bool {
        self.constraints.is_empty()
    }

    /// Whether a constraint is about this label.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.constraints.iter().any(|constraint| constraint.key == key)
    }

    fn counts_on(&self, node: &Node) -> bool {
        self.constraints.iter().all(|constraint| node.metadata.labels.contains_key(&constraint.key))
    }
}

impl Counted {
    fn parse(constraint: &SpreadConstraint, pod: &Pod) -> Result<Self, String> {
        let mut selector = Selector::parse(constraint.selector.as_ref())?;
        let labels = &pod.metadata.labels;
        for key in &constraint.match_label_keys {
            if let Some(value) = labels.get(key) {
                selector.and(key, value);
            }
        }
        Ok(Self {
            key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew,
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(0),
            by_affinity: constraint.node_affinity_policy.as_ref().is_none_or(|p| *p == Inclusion::Honor),
            by_taints: constraint.node_taints_policy.as_ref().is_some_and(|p| *p == Inclusion::Honor),
            counts_itself: selector.matches(labels),
            selector,
            places: BTreeMap::new(),
            levels: BTreeMap::new(),
            least: 0,
        })
    }

    /// The place that a node is in, if the node counts.
    fn place<'a>(&self, pod: &Pod, rule: &NodeRule, node: &'a Node) -> Option<&'a str> {
        if self.by_affinity && !rule.matches(node) {
            return None;
        }
        if self.by_taints && untolerated(&node.spec.taints, &pod.spec.tolerations).next().is_some() {
            return None;
        }
        node.metadata.labels.get(&self.key).map(String::as_str)
    }

    /// A selector that selects everything counts nothing: that is how the scheduler has it.
    fn counts(&self, pod: &Pod, resident: &Resident) -> bool {
        let other = &resident.pod.metadata;
        !self.selector.is_everything()
            && other.deletion_timestamp.is_none()
            && other.namespace == pod.metadata.namespace
            && self.selector.matches(&other.labels)
    }

    /// So many more pods in a place; it counts as a place from then on.
    fn change(&mut self, place: &str, by: i64) {
        let after = match self.places.get_mut(place) {
            Some(count) => {
                let before = *count;
                *count += by;
                let after = *count;
                if let Some(places) = self.levels.get_mut(&before) {
                    *places -= 1;
                    if *places == 0 {
                        self.levels.remove(&before);
                    }
                }
                after
            }
            None => {
                self.places.insert(place.to_owned(), by);
                by
            }
        };
        *self.levels.entry(after).or_default() += 1;
    }

    fn find_least(&mut self) {
        let least = self.levels.first_key_value().map_or(0, |(least, _)| *least);
        self.least = if self.places.len() < self.min_domains { 0 } else { least };
    }
}
