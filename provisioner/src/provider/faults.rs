//! The vocabulary of faults: what can go wrong in a cloud, in one set of words for every test bed.
//!
//! Pure data. The cloud in memory obeys all of it but what is of networks, and the sandbox's agent all of it; a word is
//! the same wherever faults are asked for, in a test, a scenario or on a command line: `rate-limit=50`, `late-list=6s`.
//! `docs/reference/faults.md` describes each.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One fault. Chances are in thousandths of all calls or machines that it can meet; times are the most that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// A call is refused with 429 and a time to wait, without effect.
    RateLimit(u16),
    /// A call is refused with 500, without effect.
    Error500(u16),
    /// A connection ends before the call has its effect.
    DropBefore(u16),
    /// A connection ends after the call had its effect: the answer is lost.
    DropAfter(u16),
    /// A call hangs until its time-out, without effect.
    Hang(u16),
    /// A list lacks about half of what it should have.
    ShortList(u16),
    /// A new machine comes into lists only up to this time later.
    LateList(Duration),
    /// A create gets no answer and has its effect up to this time later.
    LateCreate(Duration),
    /// A delete has its effect up to this time later.
    LateDelete(Duration),
    /// A create is refused for lack of room.
    NoCapacity(u16),
    /// No more machines than this.
    Quota(u16),
    /// A boot takes up to this time longer.
    SlowBoot(Duration),
    /// A machine never boots.
    BootFailure(u16),
    /// A machine disappears within its first two minutes.
    Dies(u16),
    /// A machine stops within its first two minutes.
    Stops(u16),
    /// The cloud knows no tokens: a repeated create makes a second machine.
    NoTokens,
    /// A machine receives no more than this, in kbit/s.
    SlowNetwork(u32),
    /// A packet to or from a machine is lost.
    DropPackets(u16),
}

/// A text that is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No such word.
    #[error("{0:?} is no fault; known: {known}", known = WORDS.join(", "))]
    Unknown(String),
    /// The value is missing, or wrong.
    #[error("{word}: {value:?} is not what it takes: {expected}")]
    Value {
        /// The fault.
        word: String,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// Every word, with the form of its value.
pub const WORDS: &[&str] = &[
    "rate-limit=N",
    "error-500=N",
    "drop-before=N",
    "drop-after=N",
    "hang=N",
    "short-list=N",
    "late-list=TIME",
    "late-create=TIME",
    "late-delete=TIME",
    "no-capacity=N",
    "quota=N",
    "slow-boot=TIME",
    "boot-failure=N",
    "dies=N",
    "stops=N",
    "no-tokens",
    "slow-network=RATE",
    "drop-packets=N",
];

/// Slower than this no login ends within its time-out.
const SLOWEST: u32 = 64;
/// Faster than this no network of one computer is.
const FASTEST: u32 = 100_000_000;

impl Fault {
    /// Its name without its value: `rate-limit`.
    pub fn word(&self) -> String {
        let text = self.to_string();
        text.split_once('=').map_or(text.clone(), |(word, _)| word.to_owned())
    }
    /// Whether it is of the wires between machines, and not of the cloud's answers.
    pub fn is_of_network(&self) -> bool {
        matches!(self, Self::SlowNetwork(_) | Self::DropPackets(_))
    }
}

/// `512kbit`, `20mbit`, `1gbit`: in kbit/s.
fn rate(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let kbit: u32 = match unit {
        "kbit" => 1,
        "mbit" => 1_000,
        "gbit" => 1_000_000,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(kbit).filter(|kbit| (SLOWEST..=FASTEST).contains(kbit))
}

fn time(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimit(n) => write!(f, "rate-limit={n}"),
            Self::Error500(n) => write!(f, "error-500={n}"),
            Self::DropBefore(n) => write!(f, "drop-before={n}"),
            Self::DropAfter(n) => write!(f, "drop-after={n}"),
            Self::Hang(n) => write!(f, "hang={n}"),
            Self::ShortList(n) => write!(f, "short-list={n}"),
            Self::LateList(most) => write!(f, "late-list={}", time(*most)),
            Self::LateCreate(most) => write!(f, "late-create={}", time(*most)),
            Self::LateDelete(most) => write!(f, "late-delete={}", time(*most)),
            Self::NoCapacity(n) => write!(f, "no-capacity={n}"),
            Self::Quota(n) => write!(f, "quota={n}"),
            Self::SlowBoot(most) => write!(f, "slow-boot={}", time(*most)),
            Self::BootFailure(n) => write!(f, "boot-failure={n}"),
            Self::Dies(n) => write!(f, "dies={n}"),
            Self::Stops(n) => write!(f, "stops={n}"),
            Self::NoTokens => f.write_str("no-tokens"),
            Self::SlowNetwork(kbit) => write!(f, "slow-network={kbit}kbit"),
            Self::DropPackets(n) => write!(f, "drop-packets={n}"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (word, value) = text.split_once('=').unwrap_or((text, ""));
        let wrong = |expected| FaultError::Value { word: word.to_owned(), value: value.to_owned(), expected };
        let chance = || {
            let number = value.parse().ok().filter(|number| *number <= 1000);
            number.ok_or_else(|| wrong("thousandths of all calls, 0 to 1000"))
        };
        let most = || crate::duration::parse(value).map_err(|_| wrong("a time such as 6s or 500ms"));
        Ok(match word {
            "rate-limit" => Self::RateLimit(chance()?),
            "error-500" => Self::Error500(chance()?),
            "drop-before" => Self::DropBefore(chance()?),
            "drop-after" => Self::DropAfter(chance()?),
            "hang" => Self::Hang(chance()?),
            "short-list" => Self::ShortList(chance()?),
            "late-list" => Self::LateList(most()?),
            "late-create" => Self::LateCreate(most()?),
            "late-delete" => Self::LateDelete(most()?),
            "no-capacity" => Self::NoCapacity(chance()?),
            "quota" => Self::Quota(value.parse().map_err(|_| wrong("a number of machines"))?),
            "slow-boot" => Self::SlowBoot(most()?),
            "boot-failure" => Self::BootFailure(chance()?),
            "dies" => Self::Dies(chance()?),
            "stops" => Self::Stops(chance()?),
            "no-tokens" if value.is_empty() => Self::NoTokens,
            "no-tokens" => return Err(wrong("no value")),
            "slow-network" => {
                Self::SlowNetwork(rate(value).ok_or_else(|| wrong("a rate such as 512kbit or 20mbit"))?)
            }
            "drop-packets" => Self::DropPackets(chance()?),
            _ => return Err(FaultError::Unknown(text.to_owned())),
        })
    }
}

impl TryFrom<String> for Fault {
    type Error = FaultError;
    fn try_from(text: String) -> Result<Self, FaultError> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for word in WORDS {
            let text = word.replace("=N", "=250").replace("=TIME", "=6s").replace("=RATE", "=20mbit");
            let fault: Fault = text.parse().unwrap();
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault, "{text}");
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault, "{text}");
            assert_eq!(fault.word(), word.split('=').next().unwrap());
        }
    }

    #[test]
    fn what_is_no_fault_says_what_would_be_right() {
        let error = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
        assert!(error("fire=3").starts_with("\"fire=3\" is no fault; known: rate-limit=N, "));
        let wrong = "rate-limit: \"2000\" is not what it takes: thousandths of all calls, 0 to 1000";
        assert_eq!(error("rate-limit=2000"), wrong);
        assert_eq!(error("late-list=6"), "late-list: \"6\" is not what it takes: a time such as 6s or 500ms");
        let wrong = "is not what it takes: a rate such as 512kbit or 20mbit";
        for rate in ["", "20", "mbit", "20 mbit", "1kbit", "5000gbit", "99999999999kbit", "-1mbit"] {
            assert_eq!(error(&format!("slow-network={rate}")), format!("slow-network: {rate:?} {wrong}"));
        }
        assert_eq!("slow-network=1gbit".parse(), Ok(Fault::SlowNetwork(1_000_000)));
        assert_eq!(error("no-tokens=1"), "no-tokens: \"1\" is not what it takes: no value");
    }

    #[test]
    fn the_book_describes_every_word() {
        let page = include_str!("../../../docs/reference/faults.md");
        for word in WORDS {
            assert!(page.contains(&format!("`{word}`")), "docs/reference/faults.md has no line for `{word}`");
        }
    }
}
