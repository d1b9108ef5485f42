//! Exact Kubernetes quantities: whatever a cluster may hold (`1930m`, `1.5Gi`, `129e6`, `0.1`, `-1Ki`).
//!
//! Billionths in 128 bits, so that every value that Kubernetes can hold is exact, and sums saturate instead of wrapping.
//! What is read, and how it is rounded, follows `k8s.io/apimachinery/pkg/api/resource`: below a billionth away from zero, and
//! [`Quantity::milli`] and [`Quantity::value`] up. The provisioner's `Cpu` and `Memory` are for cluster files and refuse what
//! this reads.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Billionths in one.
const ONE: i128 = 1_000_000_000;
/// More digits than this add nothing: 2^127 has 39, and what is cut off here is far below a billionth or far above the cap.
const DIGITS_MAX: usize = 400;

/// An amount of something, in billionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    nanos: i128,
}

/// Why a text is no quantity; reads well after "`4GB` ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// There is nothing.
    #[error("is empty: a quantity is a number and perhaps a suffix (\"500m\", \"8Gi\")")]
    Empty,
    /// Something else than digits and a point before the suffix, or a broken suffix.
    #[error(
        "is no quantity: a number, then one of n u m k M G T P E Ki Mi Gi Ti Pi Ei or an exponent (\"e3\")"
    )]
    Format,
    /// More digits than any amount needs.
    #[error("has more than {DIGITS_MAX} characters, no amount needs as many")]
    TooLong,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0 };

    /// Whole units.
    pub const fn units(units: i64) -> Self {
        Self { nanos: units as i128 * ONE }
    }

    /// Thousandths.
    pub const fn millis(millis: i64) -> Self {
        Self { nanos: millis as i128 * (ONE / 1000) }
    }

    /// Billionths.
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// Thousandths, rounded up, as the scheduler counts cpu; capped to what 64 bits hold.
    pub fn milli(self) -> i64 {
        rounded_up(self.nanos, ONE / 1000)
    }

    /// Whole units, rounded up, as the scheduler counts everything but cpu; capped to what 64 bits hold.
    pub fn value(self) -> i64 {
        rounded_up(self.nanos, ONE)
    }

    /// The sum, capped instead of wrapped.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos) }
    }
}

fn rounded_up(nanos: i128, unit: i128) -> i64 {
    let whole = nanos / unit + i128::from(nanos % unit > 0) - i128::from(nanos % unit < 0);
    i64::try_from(whole).unwrap_or(if whole > 0 { i64::MAX } else { i64::MIN })
}

/// What a suffix multiplies with.
enum Factor {
    Ten(i64),
    Two(u32),
}

fn factor(suffix: &str) -> Option<Factor> {
    Some(match suffix {
        "n" => Factor::Ten(-9),
        "u" => Factor::Ten(-6),
        "m" => Factor::Ten(-3),
        "" => Factor::Ten(0),
        "k" => Factor::Ten(3),
        "M" => Factor::Ten(6),
        "G" => Factor::Ten(9),
        "T" => Factor::Ten(12),
        "P" => Factor::Ten(15),
        "E" => Factor::Ten(18),
        "Ki" => Factor::Two(10),
        "Mi" => Factor::Two(20),
        "Gi" => Factor::Two(30),
        "Ti" => Factor::Two(40),
        "Pi" => Factor::Two(50),
        "Ei" => Factor::Two(60),
        _ => return suffix.strip_prefix(['e', 'E'])?.parse().ok().map(Factor::Ten),
    })
}

/// `digits` times ten to the power of `exponent`, in whole numbers: what is below one rounds away from zero.
fn scaled(digits: &str, exponent: i64) -> i128 {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    if exponent >= 0 {
        let value: Option<i128> = digits.parse().ok();
        let power = u32::try_from(exponent).ok().and_then(|e| 10_i128.checked_pow(e));
        return value.zip(power).and_then(|(v, p)| v.checked_mul(p)).unwrap_or(i128::MAX);
    }
    let cut = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    let (whole, rest) = digits.split_at(digits.len().saturating_sub(cut));
    let value: i128 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(i128::MAX) };
    value.saturating_add(i128::from(rest.bytes().any(|b| b != b'0')))
}

/// `digits`, of which `decimals` stand behind the point, times two to the power of `exponent`, in billionths, rounded away from zero.
fn shifted(digits: &str, decimals: usize, exponent: u32) -> i128 {
    // Kubernetes caps amounts with a binary suffix to this, and only these.
    let cap = i128::from(i64::MAX) * ONE;
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let whole = scaled(whole, 0).saturating_mul(1 << exponent).saturating_mul(ONE);
    // 60 digits of a fraction times 2^60 would not fit: long division, one digit at a time, keeps it exact.
    let unit = (1_i128 << exponent) * ONE;
    let mut sum = 0;
    let mut remainder = 0;
    for digit in fraction.bytes().rev() {
        // From the last digit on, (digit + rest) / 10: `remainder` says only whether anything was cut off.
        let carried = i128::from(digit - b'0') * unit + sum;
        remainder |= carried % 10;
        sum = carried / 10;
    }
    whole.saturating_add(sum).saturating_add(i128::from(remainder != 0)).min(cap)
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Empty);
        }
        if text.len() > DIGITS_MAX {
            return Err(QuantityError::TooLong);
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // Kubernetes reads some of those without a digit as 0; none is ever stored so.
        if fraction.contains('.') || whole.len() + fraction.len() == 0 {
            return Err(QuantityError::Format);
        }
        let digits = format!("{whole}{fraction}");
        let size = match factor(suffix).ok_or(QuantityError::Format)? {
            Factor::Ten(exponent) => {
                let decimals = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
                scaled(&digits, exponent.saturating_sub(decimals).saturating_add(9))
            }
            Factor::Two(exponent) => shifted(&digits, fraction.len(), exponent),
        };
        Ok(Self { nanos: if text.starts_with('-') { -size } else { size } })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, suffix) in [(ONE, ""), (ONE / 1000, "m"), (1000, "u")] {
            if self.nanos % unit == 0 {
                return write!(f, "{}{suffix}", self.nanos / unit);
            }
        }
        write!(f, "{}n", self.nanos)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn row_54_quantities_are_exact_whatever_their_notation() {
        for (text, milli, value) in [
            ("1930m", 1930, 2),
            ("128974848", 128_974_848_000, 128_974_848),
            ("129e6", 129_000_000_000, 129_000_000),
            ("129M", 129_000_000_000, 129_000_000),
            ("123Mi", 128_974_848_000, 128_974_848),
            ("1.5Gi", 1_610_612_736_000, 1_610_612_736),
            ("0.1", 100, 1),
            ("-0.5", -500, -1),
            ("-1Ki", -1_024_000, -1024),
            ("+1", 1000, 1),
            ("1e3", 1_000_000, 1000),
            ("1E", 1_000_000_000_000_000_000_i64.saturating_mul(1000), 1_000_000_000_000_000_000),
            ("1E2", 100_000, 100),
            ("1e-3", 1, 1),
            ("100n", 1, 1),
            ("0.1n", 1, 1),
            ("2.5u", 1, 1),
            ("0", 0, 0),
            ("007", 7000, 7),
            ("1.", 1000, 1),
            (".5", 500, 1),
            ("0.3Ki", 307_200, 308),
            ("16Ei", i64::MAX, i64::MAX),
        ] {
            let read: Quantity = text.parse().unwrap();
            assert_eq!((read.milli(), read.value()), (milli, value), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_and_nothing_panics() {
        for text in [
            "",
            " 1",
            "1 ",
            "x",
            "1.2.3",
            "4GB",
            "1e",
            "--1",
            "1i",
            "0x10",
            "1e99999999999999999999",
            "NaN",
            "１",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
        assert_eq!("9".repeat(500).parse::<Quantity>(), Err(QuantityError::TooLong));
        assert_eq!("1e400".parse::<Quantity>().unwrap().value(), i64::MAX);
        assert_eq!("1e-400".parse::<Quantity>().unwrap().nanos(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn what_looks_like_a_quantity_is_read_or_refused(text in "[-+]?[0-9.]{0,30}([numkMGTPEi]|e-?[0-9]{1,3}){0,2}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn what_is_shown_reads_back(nanos in -(1_i128 << 100)..(1_i128 << 100)) {
            let quantity = Quantity { nanos };
            prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity));
        }

        #[test]
        fn a_suffix_is_a_multiplication(number in 0_i64..1 << 20, decimals in 0_i64..1000) {
            for (suffix, factor) in [("Ki", 1_i128 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1000), ("M", 1_000_000)] {
                let read: Quantity = format!("{number}.{decimals:03}{suffix}").parse().unwrap();
                prop_assert_eq!(read.nanos(), (i128::from(number) * 1000 + i128::from(decimals)) * factor * (ONE / 1000));
            }
        }

        #[test]
        fn rounding_goes_up_by_less_than_one(nanos in 0_i128..1 << 90) {
            let quantity = Quantity { nanos };
            let up = i128::from(quantity.value()) * ONE - nanos;
            prop_assert!((0..ONE).contains(&up) || quantity.value() == i64::MAX);
        }
    }
}
