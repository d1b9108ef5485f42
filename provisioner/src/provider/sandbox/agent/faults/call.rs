//! The kinds of calls that a fault can meet (pure).

use hyper::Method;

/// A call of the cloud's API. What is not here meets no fault: the agent's own state, `faults` itself, and `stop`, so
/// that nobody is locked out; and the way to a machine's port, which is no call of a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// All machines.
    List,
    /// One machine.
    Find,
    /// A new machine.
    Create,
    /// One machine less.
    Delete,
    /// A stopped machine runs.
    Start,
    /// Other tags.
    Retag,
    /// What a machine wrote.
    Console,
    /// A network, made.
    Scaffold,
    /// A network, looked for.
    FindScaffold,
    /// A network, removed.
    Sweep,
    /// How machines reach the agent.
    Access,
    /// What would fail.
    Check,
    /// An image, looked for.
    FindImage,
    /// An image, made.
    Capture,
}

impl Call {
    /// By its request line.
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
        Some(match (method.as_str(), &parts[..]) {
            ("GET", ["machines"]) => Self::List,
            ("POST", ["machines"]) => Self::Create,
            ("GET", ["machines", _]) => Self::Find,
            ("DELETE", ["machines", _]) => Self::Delete,
            ("POST", ["machines", _, "start"]) => Self::Start,
            ("PUT", ["machines", _, "tags"]) => Self::Retag,
            ("GET", ["machines", _, "console"]) => Self::Console,
            ("PUT", ["clusters", _]) => Self::Scaffold,
            ("GET", ["clusters", _]) => Self::FindScaffold,
            ("DELETE", ["clusters", _]) => Self::Sweep,
            ("GET", ["clusters", _, "access"]) => Self::Access,
            ("POST", ["check"]) => Self::Check,
            ("GET", ["images", _]) => Self::FindImage,
            ("POST", ["images"]) => Self::Capture,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_cloud_are_known_and_the_way_out_is_none_of_them() {
        let of = |line: &str| {
            let (method, path) = line.split_once(' ').unwrap();
            Call::of(&method.parse().unwrap(), path)
        };
        for (line, call) in [
            ("GET /v1/machines", Call::List),
            ("POST /v1/machines", Call::Create),
            ("GET /v1/machines/7", Call::Find),
            ("DELETE /v1/machines/7", Call::Delete),
            ("POST /v1/machines/7/start", Call::Start),
            ("PUT /v1/machines/7/tags", Call::Retag),
            ("GET /v1/machines/7/console", Call::Console),
            ("PUT /v1/clusters/a-1", Call::Scaffold),
            ("GET /v1/clusters/a-1", Call::FindScaffold),
            ("DELETE /v1/clusters/a-1", Call::Sweep),
            ("GET /v1/clusters/a-1/access", Call::Access),
            ("POST /v1/check", Call::Check),
            ("GET /v1/images/debian-12", Call::FindImage),
            ("POST /v1/images", Call::Capture),
        ] {
            assert_eq!(of(line), Some(call), "{line}");
        }
        for line in [
            "GET /v1/status",
            "GET /v1/faults",
            "PUT /v1/faults",
            "DELETE /v1/faults",
            "POST /v1/faults/cuts",
            "POST /v1/stop",
            "POST /v1/machines/7/stop",
            "GET /v1/machines/7/dial/22",
            "GET /machines",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
