//! CPU time and memory of this process, from `/proc`.

use std::io::Write as _;

/// Prints a line.
pub(crate) fn say(text: &str) {
    // A reader that went away is no reason to fail.
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Seconds of CPU that this process has used, to a hundredth: the kernel's own unit.
fn cpu() -> f64 {
    // Nanoseconds on a CPU: finer than the ticks of `stat`. There is one thread.
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// The most memory that this process had, in MB.
pub(crate) fn peak() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// What something gives, and the seconds of CPU that it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu();
    let result = work();
    (result, cpu() - before)
}
