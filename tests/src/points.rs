//! The points at which a run can be killed (`provisioner::crash`), as tests choose among them.

/// What only looks: how often it comes depends on how fast the computer is.
const LOOKS: &[&str] = &[
    "provider.check",
    "provider.cloud",
    "provider.clusters",
    "provider.console",
    "provider.exists",
    "provider.find-scaffold",
    "provider.list",
    "provider.shapes",
    "remote.ask",
];

/// Whether what is done there changes something, or only looks.
pub fn is_effect(point: &str) -> bool {
    !LOOKS.iter().any(|look| point.split(':').next() == Some(look))
}

/// The points around what changes something: saves, calls that make or remove, scripts.
pub fn effects(points: &[String]) -> Vec<String> {
    points.iter().filter(|point| is_effect(point)).cloned().collect()
}

/// All of them, those of effects first: what is broken shows early.
pub fn effects_first(points: &[String]) -> Vec<String> {
    let (effects, looks): (Vec<_>, Vec<_>) = points.iter().cloned().partition(|point| is_effect(point));
    [effects, looks].concat()
}

/// So many of them, from the first to the last.
pub fn spread(points: &[String], many: usize) -> Vec<String> {
    assert!(1 < many && many <= points.len(), "{many} of {} points", points.len());
    (0..many).map(|n| points[n * (points.len() - 1) / (many - 1)].clone()).collect()
}

/// How many points of a kind there are, by their name before the first colon.
pub fn of_kind(points: &[String], kind: &str) -> usize {
    points.iter().filter(|point| point.split(':').next() == Some(kind)).count()
}
