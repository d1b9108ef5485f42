//! Image references: `registry.k8s.io/coredns/coredns:v1.14.2`, `busybox`, `host:5000/a@sha256:…`.

use std::fmt;

use super::manifest::is_sha256;

/// A reference, taken apart. `busybox` is `docker.io/library/busybox:latest`, as everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `registry.k8s.io`, `docker.io`, `127.0.0.1:5000`.
    pub registry: String,
    /// `library/busybox`.
    pub repository: String,
    /// A tag, or `sha256:…`.
    pub version: String,
}

/// Why a text is no image reference; reads well after "`a b` ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no image reference: {0}")]
pub struct ReferenceError(&'static str);

impl Reference {
    /// Takes a reference apart.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !digest.strip_prefix("sha256:").is_some_and(is_sha256)) {
            return Err(ReferenceError("the digest after @ is sha256: and 64 characters of 0-9 and a-f"));
        }
        // A colon after the last slash begins a tag; before it, a port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
            _ => (name, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let word = |text: &str, more: &[char]| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
        };
        if !repository.split('/').all(|part| word(part, &['.', '_', '-']) && !part.starts_with('.')) {
            return Err(ReferenceError("a repository is words of a-z, 0-9, ., _ and - between slashes"));
        }
        if !word(registry, &['.', ':', '-', '[', ']']) {
            return Err(ReferenceError("a registry is a host name, perhaps with a port"));
        }
        let version = digest.or(tag).unwrap_or("latest");
        if digest.is_none() && (!word(version, &['.', '_', '-']) || version.len() > 128) {
            return Err(ReferenceError("a tag is at most 128 of a-z, A-Z, 0-9, ., _ and -"));
        }
        Ok(Self { registry: registry.into(), repository, version: version.into() })
    }

    /// The digest, if the reference names one.
    pub fn digest(&self) -> Option<&str> {
        self.version.starts_with("sha256:").then_some(&*self.version)
    }

    /// Where the registry's API is, without a slash at the end. Plain HTTP on this computer only.
    pub fn api(&self) -> String {
        let host = self.registry.rsplit_once(':').map_or(&*self.registry, |(host, _)| host);
        match &*self.registry {
            "docker.io" => "https://registry-1.docker.io/v2".into(),
            other if matches!(host, "localhost" | "127.0.0.1" | "[::1]") => format!("http://{other}/v2"),
            other => format!("https://{other}/v2"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.digest().is_some() { '@' } else { ':' };
        write!(f, "{}/{}{mark}{}", self.registry, self.repository, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_understood_as_everywhere() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = format!("127.0.0.1:5000/a/b@{digest}");
        let cases = [
            ("busybox", "docker.io", "library/busybox", "latest", "https://registry-1.docker.io/v2"),
            (
                "flannel/flannel:v0.27.4",
                "docker.io",
                "flannel/flannel",
                "v0.27.4",
                "https://registry-1.docker.io/v2",
            ),
            (
                "registry.k8s.io/pause:3.10.2",
                "registry.k8s.io",
                "pause",
                "3.10.2",
                "https://registry.k8s.io/v2",
            ),
            ("localhost/x", "localhost", "x", "latest", "http://localhost/v2"),
            (&pinned, "127.0.0.1:5000", "a/b", &digest, "http://127.0.0.1:5000/v2"),
        ];
        for (text, registry, repository, version, api) in cases {
            let got = Reference::parse(text).unwrap();
            let right = Reference {
                registry: registry.into(),
                repository: repository.into(),
                version: version.into(),
            };
            assert_eq!((got.api().as_str(), &got), (api, &right), "{text}");
            assert_eq!(Reference::parse(&got.to_string()), Ok(got), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", "a b", "a/../b", "x@sha256:1", "x:", "a//b", "reg.io/", "x:ta g", "h.io/a?b"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
