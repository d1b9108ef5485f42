//! Amounts of cpu and memory, exact integers, in the notation of Kubernetes (`500m`, `4`, `8Gi`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no quantity; reads well after "`4GB` ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct QuantityError {
    /// What is wrong and what would be right, lower case, no full stop.
    pub reason: String,
}

/// Processor time in thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu {
    /// Thousandths of a core.
    pub millis: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
}

const MEMORY_UNITS: [(&str, u64); 10] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
];

impl Cpu {
    /// Whole cores.
    pub const fn cores(n: u64) -> Self {
        Self { millis: n * 1000 }
    }
    /// Cores, rounded up: what a machine of this size shows as processors.
    pub const fn whole(self) -> u64 {
        self.millis.div_ceil(1000)
    }
}

impl Memory {
    /// Gibibytes.
    pub const fn gib(n: u64) -> Self {
        Self { bytes: n << 30 }
    }
    /// Mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self { bytes: n << 20 }
    }
    /// For people, to three digits at most: `23.5Gi`, `900Mi`. `Display` is exact, and reads back.
    pub fn short(self) -> String {
        let unit = MEMORY_UNITS[..5].iter().rev().find(|(_, factor)| self.bytes >= *factor);
        let Some((suffix, factor)) = unit else { return format!("{} bytes", self.bytes) };
        let tenths = u128::from(self.bytes) * 10 / u128::from(*factor);
        match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole}{suffix}"),
            (whole, _) if whole >= 100 => format!("{whole}{suffix}"),
            (whole, tenth) => format!("{whole}.{tenth}{suffix}"),
        }
    }
}

/// `digits[.digits]` times `unit`, only if the result is a whole number of the base unit.
fn exact(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    let total = value.checked_mul(u128::from(unit))?;
    (total % scale == 0).then(|| u64::try_from(total / scale).ok())?
}

impl FromStr for Cpu {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let millis = match text.strip_suffix('m') {
            Some(number) => exact(number, 1),
            None => exact(text, 1000),
        };
        millis.map(|millis| Self { millis }).ok_or_else(|| QuantityError {
            reason: "is no amount of cpu: write cores (\"2\", \"0.5\") or thousandths (\"500m\")".into(),
        })
    }
}

impl FromStr for Memory {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let unit = MEMORY_UNITS.iter().find(|(suffix, _)| text.ends_with(suffix));
        let bytes = match unit {
            Some((suffix, factor)) => exact(text.strip_suffix(suffix).unwrap_or(text), *factor),
            None => exact(text, 1),
        };
        bytes.map(|bytes| Self { bytes }).ok_or_else(|| {
            let guess = text.strip_suffix("GB").or(text.strip_suffix("gb")).map(|n| format!("{n}Gi"));
            let hint = guess.map_or_else(String::new, |g| format!(" (did you mean \"{g}\"?)"));
            QuantityError {
                reason: format!("is no amount of memory: write \"8Gi\", \"512Mi\" or bytes{hint}"),
            }
        })
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis.is_multiple_of(1000) {
            write!(f, "{}", self.millis / 1000)
        } else {
            write!(f, "{}m", self.millis)
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, factor) in MEMORY_UNITS[..5].iter().rev() {
            if self.bytes >= *factor && self.bytes.is_multiple_of(*factor) {
                return write!(f, "{}{suffix}", self.bytes / factor);
            }
        }
        write!(f, "{}", self.bytes)
    }
}

macro_rules! text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = QuantityError;
            fn try_from(text: String) -> Result<Self, QuantityError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    };
}
text!(Cpu);
text!(Memory);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_and_read_back() {
        for (text, millis, shown) in [("2", 2000, "2"), ("0.5", 500, "500m"), ("250m", 250, "250m")] {
            let cpu: Cpu = text.parse().unwrap();
            assert_eq!((cpu.millis, cpu.to_string().as_str()), (millis, shown));
        }
        for (text, bytes, shown) in [
            ("8Gi", 8 << 30, "8Gi"),
            ("1.5Gi", 3 << 29, "1536Mi"),
            ("1000", 1000, "1000"),
            ("2G", 2_000_000_000, "1953125Ki"),
        ] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!((memory.bytes, memory.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn memory_for_people_has_three_digits_at_most() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (8 << 30, "8Gi"),
            (25_216_741_376, "23.4Gi"),
            (900 << 20, "900Mi"),
            (1_300_000_000_000, "1.1Ti"),
            (209_715_199, "199Mi"),
        ] {
            assert_eq!(Memory { bytes }.short(), shown);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_a_hint() {
        for text in ["", "-1", "x", "1.0005", "0.0001m", "99999999999999999999"] {
            assert!(text.parse::<Cpu>().is_err(), "{text}");
        }
        assert_eq!(
            "4GB".parse::<Memory>().unwrap_err().reason,
            "is no amount of memory: write \"8Gi\", \"512Mi\" or bytes (did you mean \"4Gi\"?)"
        );
    }
}
