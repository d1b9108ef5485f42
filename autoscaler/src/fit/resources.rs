//! Room on a node: cpu, memory, ephemeral storage, extended resources, huge pages, and the number of pods.
//!
//! Whole numbers in the scheduler's own units, each pod rounded up for itself: thousandths of cpu, units of everything else.
//! Resources that the scheduler does not know (a name without a slash) count for nothing, as there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use provisioner::quantity::{Cpu, Memory};

use super::reason::{Found, Reason};
use super::selector::is_qualified_name;
use crate::view::ResourceList;

/// Amounts of what a node has or a pod needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Everything else that is counted: `nvidia.com/gpu`, `hugepages-2Mi`, …
    pub others: BTreeMap<Arc<str>, i64>,
}

impl Amounts {
    /// In the scheduler's units, rounded up.
    pub fn of(list: &ResourceList) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            match name.as_str() {
                "cpu" => amounts.cpu = quantity.milli(),
                "memory" => amounts.memory = quantity.value(),
                "ephemeral-storage" => amounts.ephemeral_storage = quantity.value(),
                _ if is_counted(name) => {
                    amounts.others.insert(name.as_str().into(), quantity.value());
                }
                _ => {}
            }
        }
        amounts
    }

    /// Adds what a pod needs.
    pub fn add(&mut self, other: &Self) {
        self.change(other, i64::saturating_add);
    }

    /// Takes away what a pod needed.
    pub fn take(&mut self, other: &Self) {
        self.change(other, i64::saturating_sub);
    }

    fn change(&mut self, other: &Self, how: fn(i64, i64) -> i64) {
        self.cpu = how(self.cpu, other.cpu);
        self.memory = how(self.memory, other.memory);
        self.ephemeral_storage = how(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.others {
            let slot = self.others.entry(name.clone()).or_default();
            *slot = how(*slot, *amount);
        }
    }

    pub(crate) fn other(&self, name: &str) -> i64 {
        self.others.get(name).copied().unwrap_or(0)
    }
}

/// Whether the scheduler counts a resource beside cpu, memory and ephemeral storage.
fn is_counted(name: &str) -> bool {
    let extended = name.contains('/')
        && !name.starts_with("requests.")
        && is_qualified_name(&format!("requests.{name}"));
    name.contains("kubernetes.io/")
        || name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
        || extended
}

/// Says what is missing of what a pod wants, given what a node has for pods and what its pods use.
pub(super) fn check(wants: &Amounts, has: &Amounts, used: &Amounts, found: &mut Found) {
    let mut one = |name: &str, wants: i64, of: i64, used: i64| {
        let free = of.saturating_sub(used);
        if wants > 0 && wants > free {
            found.add(|| Reason::Resource { name: name.to_owned(), wants, free, of });
        }
    };
    one("cpu", wants.cpu, has.cpu, used.cpu);
    one("memory", wants.memory, has.memory, used.memory);
    one("ephemeral-storage", wants.ephemeral_storage, has.ephemeral_storage, used.ephemeral_storage);
    for (name, amount) in &wants.others {
        one(name, *amount, has.other(name), used.other(name));
    }
}

/// An amount in the notation of people: `500m`, `8Gi`, `2`.
pub(crate) fn shown(name: &str, amount: i64) -> String {
    let size = amount.unsigned_abs();
    let mut text = String::from(if amount < 0 { "-" } else { "" });
    let written = match name {
        "cpu" => write!(text, "{}", Cpu { millis: size }),
        "memory" | "ephemeral-storage" => write!(text, "{}", Memory { bytes: size }),
        _ if name.starts_with("hugepages-") => write!(text, "{}", Memory { bytes: size }),
        _ => write!(text, "{size}"),
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    text
}
