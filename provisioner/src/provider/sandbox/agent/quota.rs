//! How much of this computer machines may ask for (pure).
//!
//! Shapes are promises that a machine seldom uses: an idle one has 17 MB, a node of Kubernetes 200. So cpu and memory
//! are overcommitted, and what bounds a runaway is the number of machines, the disk and each machine's own limits.

use serde::{Deserialize, Serialize};

use crate::provider::{Problem, ProviderError};
use crate::quantity::{Cpu, Memory};
use crate::spec::Shape;

/// Machines, cpu and memory: as a limit, or as what is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Machines.
    pub machines: u64,
    /// Sum of their cpu.
    pub cpu: Cpu,
    /// Sum of their memory.
    pub memory: Memory,
}

/// Memory that one machine needs at least, with systemd and a shell in it.
const LEAST_MEMORY: u64 = 64 << 20;
/// More machines than this on one kernel were never tried.
const MOST_MACHINES: u64 = 500;
/// Ten 8 GiB workers must fit a 16 GiB laptop: nodes that are mostly idle use a twentieth of their shape.
const MEMORY_FACTOR: u64 = 8;
/// Cpu can be shared without loss but time; 20 nodes of 2 cpu ran on 2 cores.
const CPU_FACTOR: u64 = 64;
/// Below this much free space no machine is made: the images of one node need as much.
pub const DISK_FREE_MIN: u64 = 1 << 30;

impl Quota {
    /// The limit for a host with this much memory and so many cores.
    pub fn of_host(memory: u64, cores: u64) -> Self {
        Self {
            machines: (memory / LEAST_MEMORY).clamp(2, MOST_MACHINES),
            cpu: Cpu::cores(cores * CPU_FACTOR),
            memory: Memory { bytes: whole(memory.saturating_mul(MEMORY_FACTOR)) },
        }
    }
    /// What these shapes use together.
    pub fn used<'a>(shapes: impl Iterator<Item = &'a Shape>) -> Self {
        let none = Self { machines: 0, cpu: Cpu { millis: 0 }, memory: Memory { bytes: 0 } };
        shapes.fold(none, |sum, shape| sum.plus(1, shape))
    }
    /// This and `count` machines more.
    pub fn plus(self, count: u64, shape: &Shape) -> Self {
        Self {
            machines: self.machines + count,
            cpu: Cpu { millis: self.cpu.millis.saturating_add(shape.cpu.millis.saturating_mul(count)) },
            memory: Memory {
                bytes: self.memory.bytes.saturating_add(shape.memory.bytes.saturating_mul(count)),
            },
        }
    }
    /// What of `wanted` is above this limit, in words.
    pub fn exceeded(&self, wanted: &Self) -> Vec<Problem> {
        let rows = [
            (
                "machines",
                wanted.machines,
                self.machines,
                wanted.machines.to_string(),
                self.machines.to_string(),
            ),
            ("cpu", wanted.cpu.millis, self.cpu.millis, wanted.cpu.to_string(), self.cpu.to_string()),
            (
                "memory",
                wanted.memory.bytes,
                self.memory.bytes,
                wanted.memory.to_string(),
                self.memory.to_string(),
            ),
        ];
        let above = rows.into_iter().filter(|(_, wanted, limit, ..)| wanted > limit);
        above
            .map(|(what, _, _, wanted, limit)| Problem {
                what: format!("quota: {what}"),
                why: format!("{wanted} in all, the sandbox on this computer has {limit}"),
                hint: "ask for fewer or smaller machines, or remove a cluster (continuum cluster list)"
                    .into(),
            })
            .collect()
    }
    /// As an error for one create call.
    pub fn admit(&self, wanted: &Self) -> Result<(), ProviderError> {
        match self.exceeded(wanted).into_iter().next() {
            None => Ok(()),
            Some(problem) => {
                let what = problem.what.trim_start_matches("quota: ");
                Err(ProviderError::Quota { message: format!("{what}: {}", problem.why) })
            }
        }
    }
}

/// Whole GiB: what people read is `188Gi`, not a number of nine digits.
fn whole(bytes: u64) -> u64 {
    const GIB: u64 = 1 << 30;
    if bytes < GIB { bytes } else { bytes - bytes % GIB }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_follows_the_host() {
        let quota = Quota::of_host(16 << 30, 2);
        assert_eq!(quota, Quota { machines: 256, cpu: Cpu::cores(128), memory: Memory::gib(128) });
        assert_eq!(Quota::of_host(0, 1).machines, 2);
    }

    #[test]
    fn what_is_too_much_is_said_with_numbers() {
        assert_eq!((whole(1 << 20), whole((5 << 30) + 7)), (1 << 20, 5 << 30));
        let quota = Quota { machines: 2, cpu: Cpu::cores(8), memory: Memory::gib(4) };
        let shape = Shape::of(Cpu::cores(1), Memory::gib(2));
        let two = Quota::used([&shape, &shape].into_iter());
        assert_eq!(quota.admit(&two), Ok(()));
        let message = "machines: 3 in all, the sandbox on this computer has 2".to_owned();
        assert_eq!(quota.admit(&two.plus(1, &shape)), Err(ProviderError::Quota { message }));
        let all: Vec<String> = quota.exceeded(&two.plus(7, &shape)).into_iter().map(|p| p.what).collect();
        assert_eq!(all, ["quota: machines", "quota: cpu", "quota: memory"]);
    }
}
