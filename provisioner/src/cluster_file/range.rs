//! `count: 0..5`: how many machines a pool has at least and at most.

use std::ops::RangeInclusive;

use super::scalars::MAX_COUNT;

/// Why a text with two dots in it is no range; goes on after the text, with what to do.
pub(super) type Wrong = (String, Option<String>);

/// Reads a range. `None` if the text does not even look like one.
pub(super) fn read(text: &str) -> Option<Result<RangeInclusive<u32>, Wrong>> {
    let (low, high) = text.split_once("..")?;
    let (least, most) = (number(low.trim())?, number(high.trim())?);
    let wrong =
        |why: &str, meant: String| Some(Err((why.to_owned(), Some(format!("did you mean {meant}?")))));
    if least > most {
        return wrong("has its minimum above its maximum", format!("{most}..{least}"));
    }
    if least == most {
        return wrong("is one size: that is a plain number", most.to_string());
    }
    if low.len() != low.trim().len() || high.len() != high.trim().len() {
        return wrong("has spaces in it", format!("{least}..{most}"));
    }
    if i64::from(most) > MAX_COUNT {
        return Some(Err((format!("ends above {MAX_COUNT}"), None)));
    }
    Some(Ok(least..=most))
}

/// A number as YAML has them: `05` is none, readers disagree about it.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| digits && canonical)
}

/// A count as it was checked: a number is a range of that one size.
pub(super) fn size(text: &str) -> Option<RangeInclusive<u32>> {
    match read(text) {
        Some(range) => range.ok(),
        None => text.parse().ok().map(|count| count..=count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_what_is_none_says_why() {
        for (text, range) in
            [("0..5", 0..=5), ("2..10", 2..=10), ("0..1", 0..=1), ("1999..2000", 1999..=2000)]
        {
            assert_eq!(read(text), Some(Ok(range.clone())), "{text}");
            assert_eq!(size(text), Some(range), "{text}");
        }
        for (text, why, help) in [
            ("5..2", "has its minimum above its maximum", Some("did you mean 2..5?")),
            ("0..0", "is one size: that is a plain number", Some("did you mean 0?")),
            ("3..3", "is one size: that is a plain number", Some("did you mean 3?")),
            ("0 .. 5", "has spaces in it", Some("did you mean 0..5?")),
            ("0.. 5", "has spaces in it", Some("did you mean 0..5?")),
            ("0..2001", "ends above 2000", None),
        ] {
            assert_eq!(read(text), Some(Err((why.to_owned(), help.map(str::to_owned)))), "{text}");
            assert_eq!(size(text), None, "{text}");
        }
        for text in
            ["..", "..5", "2..", "0...5", "0..=5", "05..7", "+1..5", "-1..5", "a..b", "0-5", "1..99999999999"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!((size("0"), size("7"), size("x")), (Some(0..=0), Some(7..=7), None));
    }
}
