//! Container images as OCI archives: a tar file that `ctr images import` takes.
//!
//! Equal input gives equal bytes: times, owners and order are fixed. Layers that we make are not compressed: on import
//! containerd then neither inflates them nor hashes them twice (digest and diff id are the same), and unpacking images
//! is the largest part of the time that a new machine needs. Where the wire is the slow part, the transfer can compress.
//! Contents are streamed twice, once for the hash and once into the archive, so that no image is ever held in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::store::{hash_bytes, hex};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// `registry.k8s.io/pause:3.10.2`.
    pub reference: String,
    /// `amd64`.
    pub arch: String,
    /// From the lowest up.
    pub layers: Vec<Layer>,
    /// What the container runs.
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    pub cmd: Vec<String>,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// A tar file of a root file system, taken as it is.
    Tar(PathBuf),
    /// Files by their absolute path in the image.
    Files(BTreeMap<String, Content>),
}

/// What is at a path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A copy of this file; executable if it is.
    File(PathBuf),
    /// A symbolic link.
    Link(String),
}

/// What an archive holds, under which digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// sha256 of the bytes.
    pub sha256: String,
    /// Their number.
    pub size: u64,
    /// Where they come from.
    pub source: Source,
}

/// Where a member's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In memory (manifests, configurations).
    Bytes(Vec<u8>),
    /// In a file.
    File(PathBuf),
    /// Made from a layer's description.
    Layer(Layer),
}

/// Writes the archive of an image and returns the digest of its manifest (`sha256:…`).
pub fn build(image: &ImageSpec, out: impl Write) -> io::Result<String> {
    let mut members = Vec::new();
    let mut layers = Vec::new();
    for layer in &image.layers {
        let mut count = Counter::default();
        write_layer(layer, &mut count)?;
        let member =
            Member { sha256: count.sha256(), size: count.size, source: Source::Layer(layer.clone()) };
        layers.push(descriptor(LAYER, &member));
        members.push(member);
    }
    let diffs: Vec<Value> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    let config = json!({
        "architecture": image.arch, "os": "linux",
        "config": {"Entrypoint": image.entrypoint, "Cmd": image.cmd, "Env": [PATH]},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    });
    let config = bytes(config.to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config), "layers": layers,
    });
    let manifest = bytes(manifest.to_string().into_bytes());
    let digest = format!("sha256:{}", manifest.sha256);
    let top = descriptor(MANIFEST, &manifest);
    members.extend([config, manifest]);
    write_archive(&image.reference, top, members, out)?;
    Ok(digest)
}

/// Bytes in memory as a member.
pub fn bytes(content: Vec<u8>) -> Member {
    Member { sha256: hash_bytes(&content), size: content.len() as u64, source: Source::Bytes(content) }
}

/// How other documents of an image refer to a member.
pub fn descriptor(media_type: &str, member: &Member) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", member.sha256), "size": member.size})
}

/// Writes an OCI archive with one image. `top` describes its manifest; `members` are all blobs, in any order.
/// A member that is not what its hash says is an error, so that a file that changes meanwhile is found.
pub fn write_archive(
    reference: &str,
    mut top: Value,
    mut members: Vec<Member>,
    out: impl Write,
) -> io::Result<()> {
    let tag = reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    top["annotations"] =
        json!({"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [top]});
    let mut tar = tar::Builder::new(out);
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", index.to_string().as_bytes())?;
    members.sort_by(|a, b| a.sha256.cmp(&b.sha256));
    members.dedup_by(|a, b| a.sha256 == b.sha256);
    for member in &members {
        append_member(&mut tar, member)?;
    }
    tar.into_inner()?.flush()
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(tar::EntryType::Regular, 0o644, content.len() as u64), path, content)
}

fn append_member(tar: &mut tar::Builder<impl Write>, member: &Member) -> io::Result<()> {
    // The tar writer of this crate pulls; a layer pushes. So the header goes first and the content straight after it.
    let mut head = header(tar::EntryType::Regular, 0o644, member.size);
    head.set_path(format!("blobs/sha256/{}", member.sha256))?;
    head.set_cksum();
    let out = tar.get_mut();
    out.write_all(head.as_bytes())?;
    let mut count = Counter::default();
    {
        let mut both = Tee { out, count: &mut count };
        match &member.source {
            Source::Bytes(content) => both.write_all(content)?,
            Source::File(path) => drop(io::copy(&mut open(path)?, &mut both)?),
            Source::Layer(layer) => write_layer(layer, &mut both)?,
        }
    }
    if count.size != member.size || count.sha256() != member.sha256 {
        return Err(io::Error::other(format!("sha256:{} changed while it was written", member.sha256)));
    }
    let padding = (512 - member.size % 512) % 512;
    io::copy(&mut io::repeat(0).take(padding), out).map(drop)
}

/// The header of an entry that was made by nobody at no time.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn write_layer(layer: &Layer, out: &mut impl Write) -> io::Result<()> {
    let files = match layer {
        Layer::Tar(path) => return io::copy(&mut open(path)?, out).map(drop),
        Layer::Files(files) => files,
    };
    let mut tar = tar::Builder::new(out);
    let mut made = BTreeSet::new();
    for (path, content) in files {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            if made.insert(&path[..end]) {
                tar.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), &path[..end], io::empty())?;
            }
        }
        match content {
            Content::Link(to) => {
                tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), path, to)?;
            }
            Content::File(source) => {
                let file = open(source)?;
                let meta = file.metadata()?;
                let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
                tar.append_data(&mut header(tar::EntryType::Regular, mode, meta.len()), path, file)?;
            }
        }
    }
    tar.into_inner().map(drop)
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Counts and hashes what is written to it, and keeps nothing.
#[derive(Default)]
struct Counter {
    hash: Sha256,
    size: u64,
}

impl Counter {
    fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Tee<'a, W> {
    out: &'a mut W,
    count: &'a mut Counter,
}

impl<W: Write> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.count.write(&bytes[..written])
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
#[path = "oci_tests.rs"]
mod tests;
