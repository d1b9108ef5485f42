//! The keys of a cluster file: those that are read, and those that are known and refused until they are built.

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Must be there.
    Required,
    /// May be there.
    Optional,
    /// Known, not built: refused, with what to do meanwhile.
    Later(&'static str),
}

/// A key of the top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDef {
    /// As it is written.
    pub name: &'static str,
    /// For people, and for the JSON Schema.
    pub description: &'static str,
    /// What is done with it.
    pub state: State,
}

const fn key(name: &'static str, description: &'static str, state: State) -> KeyDef {
    KeyDef { name, description, state }
}

/// All keys of the top level, in the order in which people write them.
pub const KEYS: [KeyDef; 10] = [
    key("name", "what the cluster is called: a-z, 0-9 and -, at most 32", State::Required),
    key("template", "one that ships (`continuum template list`), or ./path.yaml", State::Required),
    key("provider", "where the machines are made", State::Required),
    key("inputs", "what the template asks for (`continuum template show NAME`)", State::Optional),
    key(
        "ttl",
        "how long the cluster lives",
        State::Later(
            "clusters that end by themselves will come; remove it, and run `continuum cluster down` yourself",
        ),
    ),
    key(
        "expires",
        "when the cluster ends",
        State::Later(
            "clusters that end by themselves will come; remove it, and run `continuum cluster down` yourself",
        ),
    ),
    key(
        "schedule",
        "when the cluster is there",
        State::Later("schedules will come; remove it, and run `continuum cluster up` and `down` yourself"),
    ),
    key("autoscaler", "how pools with a range grow and shrink", State::Optional),
    key(
        "faas",
        "functions and workflows",
        State::Later("functions will come; remove it, and deploy into the cluster with kubectl"),
    ),
    key(
        "operators",
        "public keys of further people, who may log in to every machine and take the cluster over (`continuum cluster adopt`)",
        State::Optional,
    ),
];

/// Types of providers that are read.
pub const PROVIDERS: [&str; 1] = ["sandbox"];
/// Types of providers that are known and refused until they are built.
pub const PROVIDERS_LATER: [&str; 2] = ["openstack", "ec2"];
