//! Names and ids, checked when they are made: a value of these types is always fit for a host name, a tag and a path.
//!
//! A *name* is chosen by people (`lab1`), an *id* is drawn once and never used again (`lab1-7k2m9qxa`).
//! Matching, duplicates and sweeps go by ids; names are labels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no valid name; reads well after "`lab_1` ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NameError {
    /// What is wrong and what would be right, lower case, no full stop.
    pub reason: String,
}

/// The longest cluster name: with a pool name and an ordinal it must fit a DNS label of 63 characters.
pub const CLUSTER_NAME_MAX: usize = 32;
/// The longest pool name.
pub const POOL_NAME_MAX: usize = 20;

fn label(text: &str, what: &str, max: usize) -> Result<(), NameError> {
    let reason = if text.is_empty() {
        format!("is empty: a {what} has 1 to {max} of a-z, 0-9 and -")
    } else if text.len() > max {
        format!("has {} characters: a {what} has at most {max}", text.len())
    } else if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        format!("has {bad:?}: a {what} has only a-z, 0-9 and -")
    } else if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        format!("begins with {:?}: a {what} begins with a letter", &text[..1])
    } else if text.ends_with('-') {
        format!("ends with \"-\": a {what} ends with a letter or a digit")
    } else {
        return Ok(());
    };
    Err(NameError { reason })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the text and takes it.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                label(&text, $what, $max)?;
                Ok(Self(text))
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// What people call a cluster: `[a-z0-9-]`, at most 32, begins with a letter.
    ClusterName, "cluster name", CLUSTER_NAME_MAX
);
name!(
    /// What people call a pool of like machines: `workers`, `front-end`, `gpu`.
    PoolName, "pool name", POOL_NAME_MAX
);
name!(
    /// The folder name of a recipe: `containerd`.
    RecipeName, "recipe name", 40
);
name!(
    /// `<cluster>-<pool>-<ordinal>`: machine name = host name = node name = server name; never used twice.
    MachineName, "machine name", 63
);
name!(
    /// A cluster's name, a dash and 8 random characters, drawn at the first `up` and put on everything it makes.
    ClusterId, "cluster id", CLUSTER_NAME_MAX + 1 + ID_SUFFIX
);

/// The random characters at the end of a [`ClusterId`].
pub const ID_SUFFIX: usize = 8;

impl ClusterId {
    /// The id of `name` with the given random suffix (8 of `a-z0-9`).
    pub fn of(name: &ClusterName, suffix: &str) -> Result<Self, NameError> {
        Self::new(format!("{name}-{suffix}"))
    }
    /// The name that this id was drawn for. `None` if the text is no id that we draw.
    pub fn name(&self) -> Option<ClusterName> {
        let (name, suffix) = self.0.rsplit_once('-')?;
        (suffix.len() == ID_SUFFIX).then(|| ClusterName::new(name).ok())?
    }
}

impl MachineName {
    /// The name of machine number `ordinal` of a pool.
    pub fn of(cluster: &ClusterName, pool: &PoolName, ordinal: u64) -> Result<Self, NameError> {
        Self::new(format!("{cluster}-{pool}-{ordinal}"))
    }
    /// The ordinal at the end.
    pub fn ordinal(&self) -> Option<u64> {
        self.0.rsplit_once('-')?.1.parse().ok()
    }
}

macro_rules! opaque {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub String);

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

opaque!(
    /// What the cloud calls a machine: opaque to us.
    MachineId
);
opaque!(
    /// Drawn once for each ledger: tells our machines from those of another ledger of the same owner.
    LedgerId
);
opaque!(
    /// The cloud that a ledger is pinned to: auth URL and project, account and region, or the sandbox agent's random id.
    CloudId
);
opaque!(
    /// A size that a cloud offers, or `4x8Gi` where a cloud makes any size.
    ShapeName
);
opaque!(
    /// An image to boot from; `debian-12` in the sandbox.
    ImageName
);
opaque!(
    /// An availability zone; empty where the cloud has none.
    Zone
);

/// One step of one recipe: `containerd/install`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId {
    /// The recipe.
    pub recipe: RecipeName,
    /// The step's name within it.
    pub step: String,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.recipe, self.step)
    }
}
impl FromStr for StepId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (recipe, step) =
            text.split_once('/').ok_or_else(|| NameError { reason: "is no step: RECIPE/STEP".into() })?;
        label(step, "step name", 40)?;
        Ok(Self { recipe: RecipeName::new(recipe)?, step: step.to_owned() })
    }
}
impl TryFrom<String> for StepId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}
impl From<StepId> for String {
    fn from(id: StepId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_wrong_with_them() {
        let cases = [
            ("", "is empty: a cluster name has 1 to 32 of a-z, 0-9 and -"),
            ("Lab", "has 'L': a cluster name has only a-z, 0-9 and -"),
            ("1lab", "begins with \"1\": a cluster name begins with a letter"),
            ("lab-", "ends with \"-\": a cluster name ends with a letter or a digit"),
            ("abcdefghijklmnopqrstuvwxyz1234567", "has 33 characters: a cluster name has at most 32"),
        ];
        for (text, reason) in cases {
            assert_eq!(ClusterName::new(text), Err(NameError { reason: reason.into() }), "{text}");
        }
    }

    #[test]
    fn the_longest_machine_name_is_a_dns_label() {
        let cluster = ClusterName::new("a".repeat(CLUSTER_NAME_MAX)).unwrap();
        let pool = PoolName::new("b".repeat(POOL_NAME_MAX)).unwrap();
        assert!(MachineName::of(&cluster, &pool, 99_999_999).is_ok());
    }

    #[test]
    fn an_id_knows_its_name() {
        let name = ClusterName::new("lab-1").unwrap();
        let id = ClusterId::of(&name, "7k2m9qxa").unwrap();
        assert_eq!((id.as_str(), id.name()), ("lab-1-7k2m9qxa", Some(name)));
        assert_eq!(ClusterId::new("lab1").unwrap().name(), None);
    }
}
