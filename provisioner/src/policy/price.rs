//! Prices: exact, in millionths of whatever currency.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an hour costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price {
    /// Millionths.
    pub micros: u64,
}

/// Why a text is no price; reads well after "`1 EUR` ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no price: write a number with at most 6 decimals, such as \"0.0416\"")]
pub struct PriceError;

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let sound = !whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 6;
        let micros = || -> Option<u64> {
            let whole: u64 = whole.parse().ok()?;
            let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
            whole.checked_mul(1_000_000)?.checked_add(fraction)
        };
        sound.then(micros).flatten().map(|micros| Self { micros }).ok_or(PriceError)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.micros / 1_000_000, self.micros % 1_000_000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text)
    }
}

/// A price may stand there as a number or as a text.
struct Text;

impl serde::de::Visitor<'_> for Text {
    type Value = Price;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a price per hour, such as 0.0416")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Price, E> {
        text.parse().map_err(|error| E::custom(format!("{text:?} {error}")))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Price, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Price, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Price, E> {
        self.visit_str(&number.to_string())
    }
}
