//! What the shell is to do: each names the exact machine and leaves nothing to decide.

use std::fmt;

use crate::names::{MachineId, MachineName, PoolName, StepId};
use crate::spec::{Shape, Step};

/// One thing to do. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the cloud for the machine of this row ([`Ledger::request`](crate::ledger::Ledger::request)).
    Create {
        /// The row.
        name: MachineName,
        /// Its pool and size, for people.
        pool: PoolName,
        /// The size.
        shape: Shape,
    },
    /// Start a stopped machine from its disk.
    Start {
        /// The row.
        name: MachineName,
        /// The machine.
        id: MachineId,
    },
    /// Delete a machine: a row's own, or another of the same name.
    Delete {
        /// The name that it carries.
        name: MachineName,
        /// The machine.
        id: MachineId,
    },
    /// Ask the cloud directly whether a machine is there.
    Exists {
        /// The row.
        name: MachineName,
        /// The machine.
        id: MachineId,
    },
    /// Put the second host key in place.
    RotateHostKey {
        /// The row.
        name: MachineName,
    },
    /// Run a step.
    RunStep {
        /// The row.
        name: MachineName,
        /// The step.
        step: Step,
        /// The front-end that is asked for the step's facts, if it has any.
        from: Option<MachineName>,
    },
    /// Move the pods away from a node, by the hook on a front-end.
    Drain {
        /// The row.
        name: MachineName,
        /// The front-end.
        on: MachineName,
    },
    /// Let a node take work again whose drain was called off, by the hook on a front-end.
    Uncordon {
        /// The row.
        name: MachineName,
        /// The front-end.
        on: MachineName,
    },
    /// Ask a machine which boot of it runs: the proof that what its node reports is from after a restart.
    AskBoot {
        /// The row.
        name: MachineName,
    },
    /// Let the cluster forget a node whose machine is gone, by the hook on a front-end.
    ForgetNode {
        /// The row.
        name: MachineName,
        /// The front-end.
        on: MachineName,
    },
}

impl Action {
    /// The machine that it is about.
    pub fn name(&self) -> &MachineName {
        match self {
            Self::Create { name, .. }
            | Self::Start { name, .. }
            | Self::Delete { name, .. }
            | Self::Exists { name, .. }
            | Self::RotateHostKey { name }
            | Self::RunStep { name, .. }
            | Self::Drain { name, .. }
            | Self::Uncordon { name, .. }
            | Self::AskBoot { name }
            | Self::ForgetNode { name, .. } => name,
        }
    }
    /// What it does, without the machine: `create`, `kubernetes/init`.
    pub fn what(&self) -> String {
        match self {
            Self::Create { .. } => "create".into(),
            Self::Start { .. } => "start".into(),
            Self::Delete { .. } => "delete".into(),
            Self::Exists { .. } => "ask whether it exists".into(),
            Self::RotateHostKey { .. } => "replace host key".into(),
            Self::RunStep { step, .. } => step.id.to_string(),
            Self::Drain { .. } => "drain".into(),
            Self::Uncordon { .. } => "uncordon".into(),
            Self::AskBoot { .. } => "ask for its boot".into(),
            Self::ForgetNode { .. } => "forget node".into(),
        }
    }
    /// The step that it runs, if it runs one.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::RunStep { step, .. } => Some(&step.id),
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name, shape, .. } => write!(f, "create {name} ({})", shape.name),
            Self::Start { name, id } => write!(f, "start {name} ({id})"),
            Self::Delete { name, id } => write!(f, "delete {name} ({id})"),
            Self::Exists { name, id } => write!(f, "ask whether {name} ({id}) exists"),
            Self::RotateHostKey { name } => write!(f, "replace the host key of {name}"),
            Self::RunStep { name, step, from: None } => write!(f, "run {} on {name}", step.id),
            Self::RunStep { name, step, from: Some(from) } => {
                write!(f, "run {} on {name} with facts from {from}", step.id)
            }
            Self::Drain { name, on } => write!(f, "drain {name} from {on}"),
            Self::Uncordon { name, on } => write!(f, "uncordon {name} from {on}"),
            Self::AskBoot { name } => write!(f, "ask which boot of {name} runs"),
            Self::ForgetNode { name, on } => write!(f, "forget node {name} on {on}"),
        }
    }
}
