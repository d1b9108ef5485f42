//! Disruption budgets, counted down over a whole plan.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::rules::{Hold, Verdict, verdict};
use crate::fit::Selector;
use crate::view::{KubeView, Pod};

/// A budget, with what is left of it in this plan.
#[derive(Debug, Clone)]
struct Guard {
    name: String,
    selector: Selector,
    left: i64,
}

/// All budgets, by namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guards {
    by_namespace: BTreeMap<String, Vec<Guard>>,
}

impl Guards {
    /// The budgets of a cluster, with what the disruption controller allows now. What cannot be read guards its whole namespace.
    pub(crate) fn of(view: &KubeView) -> Self {
        let mut guards = Self::default();
        for budget in &view.disruption_budgets {
            let selector = Selector::parse(budget.spec.selector.as_ref());
            let left = if selector.is_ok() { budget.status.disruptions_allowed } else { 0 };
            let selector = selector.unwrap_or(Selector::All(Vec::new()));
            let guard = Guard { name: budget.metadata.path(), selector, left };
            guards.by_namespace.entry(budget.metadata.namespace.clone()).or_default().push(guard);
        }
        for list in guards.by_namespace.values_mut() {
            list.sort_by(|a, b| a.name.cmp(&b.name));
        }
        guards
    }

    fn of_pod<'a>(&'a mut self, pod: &'a Pod) -> impl Iterator<Item = &'a mut Guard> {
        let all = self.by_namespace.get_mut(&pod.metadata.namespace).into_iter().flatten();
        all.filter(|guard| guard.selector.matches(&pod.metadata.labels))
    }

    /// Takes one eviction of this pod off the budgets.
    ///
    /// # Errors
    /// The budget in the way; then nothing was taken.
    pub(crate) fn take(&mut self, pod: &Pod) -> Result<(), Hold> {
        let mut all: Vec<&mut Guard> = self.of_pod(pod).collect();
        match all.as_mut_slice() {
            [] => Ok(()),
            [one] if one.left > 0 => {
                one.left -= 1;
                Ok(())
            }
            [one] => Err(Hold::Budget { budget: one.name.clone() }),
            many => Err(Hold::Budgets { budgets: many.iter().map(|guard| guard.name.clone()).collect() }),
        }
    }

    /// The eviction of this pod is not to be after all.
    pub(crate) fn give_back(&mut self, pod: &Pod) {
        self.of_pod(pod).for_each(|guard| guard.left += 1);
    }

    /// Whether a pod may be moved, but for what is left of its budgets: one that has any is no longer kept for being young.
    pub(crate) fn verdict(&mut self, pod: &Pod, now: Timestamp) -> Verdict {
        match verdict(pod, now) {
            Verdict::Stays(Hold::System) if self.of_pod(pod).next().is_some() => Verdict::Moves,
            verdict => verdict,
        }
    }
}
