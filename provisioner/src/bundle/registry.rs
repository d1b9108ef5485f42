//! Images from a registry (the distribution API, version 2), as far as an anonymous pull needs it.
//!
//! Invariants: every byte is checked against the digest that led to it; a tag is resolved once and its digest recorded.

use serde_json::Value;

use super::error::BundleError;
use super::fetch::{Document, FetchError, Fetcher, Request};
use super::manifest::{BLOB_MAX, is_sha256};
use super::oci::{self, Member, Source};
use super::reference::Reference;
use super::store::{Store, hash_bytes};
use crate::remote::Blob;

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";
/// More layers than any image that the overlay file system can mount.
const LAYERS_MAX: usize = 256;

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its OCI archive in the store.
    pub archive: Blob,
    /// Digest of the manifest for the architecture.
    pub digest: String,
    /// Digest that the tag had, where it named a list of architectures.
    pub index_digest: Option<String>,
}

/// Pulls an image for `linux/<arch>`. `pinned` is the digest that the reference must have: of the list or of the image.
pub fn pull(
    text: &str,
    pinned: Option<&str>,
    arch: &str,
    fetcher: &Fetcher<'_>,
    store: &Store,
) -> Result<Pulled, BundleError> {
    let nonsense = |why: String| FetchError::Nonsense { url: text.into(), why };
    let reference = Reference::parse(text).map_err(|error| nonsense(error.to_string()))?;
    let mut session = Session { reference: &reference, fetcher, token: None };
    let first = session.document("manifests", pinned.unwrap_or(&reference.version))?;
    let first_digest = digest_of(&first);
    for wanted in [pinned, reference.digest()].into_iter().flatten() {
        check_digest(text, wanted, &first_digest)?;
    }
    let (manifest, index_digest) = match choose(&first, arch).map_err(nonsense)? {
        None => (first, None),
        Some(wanted) => {
            let manifest = session.document("manifests", &wanted)?;
            check_digest(text, &wanted, &digest_of(&manifest))?;
            (manifest, Some(first_digest))
        }
    };
    let digest = digest_of(&manifest);
    let json = parse(&manifest).map_err(nonsense)?;
    let top = oci::descriptor(
        json["mediaType"].as_str().unwrap_or(&manifest.media_type),
        &oci::bytes(manifest.body.clone()),
    );
    let mut members = vec![oci::bytes(manifest.body)];
    for (sha256, size) in blobs(&json).map_err(nonsense)? {
        members.push(session.blob(sha256, size, store)?);
    }
    let mut writer = store.writer()?;
    oci::write_archive(text, top, members, &mut writer)
        .map_err(|error| nonsense(format!("cannot be written to the cache: {error}")))?;
    Ok(Pulled { archive: writer.finish()?, digest, index_digest })
}

struct Session<'a> {
    reference: &'a Reference,
    fetcher: &'a Fetcher<'a>,
    token: Option<String>,
}

impl Session<'_> {
    fn url(&self, kind: &str, name: &str) -> String {
        format!("{}/{}/{kind}/{name}", self.reference.api(), self.reference.repository)
    }

    /// A document; fetches an anonymous token when the registry asks for one.
    fn document(&mut self, kind: &str, name: &str) -> Result<Document, FetchError> {
        let url = self.url(kind, name);
        let asked =
            self.fetcher.document(Request { url: &url, accept: ACCEPT, bearer: self.token.as_deref() });
        match asked {
            Err(FetchError::Refused { status: 401, challenge: Some(challenge), .. })
                if self.token.is_none() =>
            {
                self.token = Some(self.log_in(&url, &challenge)?);
                self.fetcher.document(Request { url: &url, accept: ACCEPT, bearer: self.token.as_deref() })
            }
            answer => answer,
        }
    }

    fn log_in(&self, url: &str, challenge: &str) -> Result<String, FetchError> {
        let nonsense = |why: String| FetchError::Nonsense { url: url.into(), why };
        let realm = parameter(challenge, "realm")
            .filter(|_| challenge.starts_with("Bearer "))
            .ok_or_else(|| nonsense("the registry wants a login that continuum does not know".into()))?;
        if url.starts_with("https://") && !realm.starts_with("https://") {
            return Err(nonsense(format!("the registry wants a login at {realm}, which is not encrypted")));
        }
        let service = parameter(challenge, "service").unwrap_or_default();
        let scope = parameter(challenge, "scope")
            .map_or_else(|| format!("repository:{}:pull", self.reference.repository), str::to_owned);
        let mark = if realm.contains('?') { '&' } else { '?' };
        let url = format!("{realm}{mark}service={}&scope={}", encode(service), encode(&scope));
        let answer = self.fetcher.document(Request { url: &url, ..Request::default() })?;
        let answer = parse(&answer).map_err(nonsense)?;
        let token = answer["token"].as_str().or(answer["access_token"].as_str());
        token.map(str::to_owned).ok_or_else(|| nonsense("the registry gave no token".into()))
    }

    /// A layer or configuration; one that the store has is not fetched again.
    fn blob(&self, sha256: &str, size: u64, store: &Store) -> Result<Member, BundleError> {
        let blob = match store.get(sha256, Some(size)) {
            Some(blob) => blob,
            None => {
                let url = self.url("blobs", &format!("sha256:{sha256}"));
                let request = Request { url: &url, accept: "", bearer: self.token.as_deref() };
                self.fetcher.blob(request, sha256, size, store)?
            }
        };
        Ok(Member { sha256: blob.sha256, size: blob.size, source: Source::File(blob.path) })
    }
}

fn digest_of(document: &Document) -> String {
    format!("sha256:{}", hash_bytes(&document.body))
}

fn check_digest(url: &str, expected: &str, got: &str) -> Result<(), FetchError> {
    if expected == got {
        return Ok(());
    }
    let bare = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    Err(FetchError::Mismatch { url: url.into(), expected: bare(expected), got: bare(got) })
}

fn parse(document: &Document) -> Result<Value, String> {
    serde_json::from_slice(&document.body)
        .map_err(|error| format!("the registry's answer is no JSON: {error}"))
}

/// The digest for `linux/<arch>` out of a list of architectures; `None` if the document is an image itself.
fn choose(document: &Document, arch: &str) -> Result<Option<String>, String> {
    let json = parse(document)?;
    let Some(list) = json["manifests"].as_array() else {
        return Ok(None);
    };
    let fits = |one: &&Value| one["platform"]["os"] == "linux" && one["platform"]["architecture"] == arch;
    let digest = list.iter().find(fits).and_then(|one| one["digest"].as_str());
    let have = || {
        let names = list.iter().filter_map(|one| one["platform"]["architecture"].as_str());
        names.filter(|name| *name != "unknown").collect::<Vec<_>>().join(", ")
    };
    digest
        .map(|digest| Some(digest.to_owned()))
        .ok_or_else(|| format!("is not for {arch}, only for {}", have()))
}

/// The blobs that a manifest names: sha256 and size.
fn blobs(manifest: &Value) -> Result<Vec<(&str, u64)>, String> {
    let layers = manifest["layers"].as_array().ok_or("the manifest has no layers")?;
    if layers.len() > LAYERS_MAX {
        return Err(format!("has {} layers, at most {LAYERS_MAX} are taken", layers.len()));
    }
    let mut found = Vec::new();
    for one in std::iter::once(&manifest["config"]).chain(layers) {
        let sha256 = one["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        let size = one["size"].as_u64().filter(|size| *size <= BLOB_MAX);
        match (sha256.filter(|hash| is_sha256(hash)), size) {
            (Some(sha256), Some(size)) => found.push((sha256, size)),
            _ => return Err("the manifest names a blob without a sha256 or a sane size".into()),
        }
    }
    Ok(found)
}

/// A value of a `WWW-Authenticate` header.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
