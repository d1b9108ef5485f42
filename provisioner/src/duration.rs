//! Durations as people write them (`90s`, `2h 30m`): the only file that names humantime.

use std::time::Duration;

/// Reads `10m`, `2h 30m`; the error says what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|e| format!("is no duration ({e}): write \"90s\", \"10m\" or \"2h 30m\""))
}

/// The whole duration in a form that [`parse`] reads back to the same.
pub fn exact(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// `1h 2m`, at most two units, whole seconds: for people.
pub fn short(duration: Duration) -> String {
    let seconds = Duration::from_secs(duration.as_secs());
    let text = humantime::format_duration(seconds).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `4.2s`, `1m 12s`: how long something took.
pub fn took(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        format!("{:.1}s", duration.as_secs_f64())
    } else {
        short(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_show_as_people_write_them() {
        assert_eq!(parse("2h 30m"), Ok(Duration::from_secs(9000)));
        assert!(parse("soon").unwrap_err().starts_with("is no duration"));
        assert_eq!(short(Duration::from_secs(3 * 3600 + 120 + 5)), "3h 2m");
        assert_eq!(short(Duration::from_millis(300)), "0s");
        assert_eq!(took(Duration::from_millis(4210)), "4.2s");
        assert_eq!(took(Duration::from_secs(72)), "1m 12s");
    }
}
