//! Images out of machines: the upper layer of a stopped one, without what made it this one.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::super::agent::{Agent, failed};
use super::super::machine::init::REAL_DISK;
use super::super::machine::{StepError, disk};
use super::super::wire::CaptureRequest;
use super::{layers, valid_layer};
use crate::provider::ProviderError;
use crate::provider::sandbox::wire::rejected;

impl Agent {
    /// Copies a stopped machine's upper layer (and its real-disk folders) to the layers of the cache.
    pub(in crate::provider::sandbox) async fn capture_layer(
        self: &Arc<Self>,
        request: &CaptureRequest,
    ) -> Result<(), ProviderError> {
        if !valid_layer(&request.name) {
            return Err(rejected(format!(
                "{:?} is no name of an image: 1 to 64 of a-z, 0-9, - and .",
                request.name
            )));
        }
        if self.paths().layers().join(&request.name).exists() {
            return Err(rejected(format!(
                "the image {} is there already: choose another name",
                request.name
            )));
        }
        let _guard = self.lock_stopped(&request.machine).await?;
        let (agent, request) = (Arc::clone(self), request.clone());
        let copied = tokio::task::spawn_blocking(move || agent.copy_layer(&request)).await;
        copied.map_err(|error| rejected(error.to_string()))?.map_err(failed)
    }

    fn copy_layer(&self, request: &CaptureRequest) -> Result<(), StepError> {
        let folder = self.paths().layers();
        let at = |what: &str| StepError::at(format!("{what} in {}", folder.display()));
        fs::create_dir_all(&folder).map_err(at("make a layer"))?;
        let (dir, temp) = (folder.join(&request.name), folder.join(format!(".{}.new", request.name)));
        let _ = fs::remove_dir_all(&temp);
        let machine = self.paths().machine(&request.machine);
        // cp keeps owners, modes, links, whiteouts (device nodes) and the overlay's extended attributes.
        copy(&machine.join("upper"), &temp, "-a")?;
        for name in REAL_DISK {
            let (from, to) = (machine.join("disk").join(name), temp.join("var/lib").join(name));
            let empty = fs::read_dir(&from).map(|mut entries| entries.next().is_none()).unwrap_or(true);
            if !empty {
                fs::create_dir_all(temp.join("var/lib")).map_err(at("make a layer"))?;
                copy(&from, &to, "-a")?;
            }
        }
        for path in disk::IDENTITY {
            let path = temp.join(path);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at("clean a layer")(error));
                }
                _ => {}
            }
        }
        fs::rename(&temp, &dir).map_err(at("put a layer"))?;
        if request.name.starts_with(layers::PREPARED) {
            layers::prune(self.paths());
        }
        Ok(())
    }
}

/// Gives a new machine the real-disk folders that its image has. An overlay cannot hold them, so their files are linked:
/// images' contents and unpacked layers never change in place. Databases do, and are copied.
pub(in crate::provider::sandbox) fn populate(layer: &Path, disk: &Path) -> Result<(), StepError> {
    for name in REAL_DISK {
        let (from, to) = (layer.join("var/lib").join(name), disk.join(name));
        let fresh = fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_none());
        if !fresh || !from.is_dir() {
            continue;
        }
        // Complete or not at all: a boot that was cut off here begins anew.
        let temp = disk.join(format!("{name}.new"));
        let _ = fs::remove_dir_all(&temp);
        if copy(&from, &temp, "-al").is_err() {
            // Links end at the border of a file system.
            let _ = fs::remove_dir_all(&temp);
            copy(&from, &temp, "-a")?;
        } else {
            unshare_databases(&temp)?;
        }
        fs::rename(&temp, &to).map_err(StepError::at(format!("put {} in place", to.display())))?;
    }
    Ok(())
}

fn unshare_databases(dir: &Path) -> Result<(), StepError> {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        // Below an unpacked layer nothing is a database of the runtime's.
        if dir.ends_with("snapshots") || dir.ends_with("blobs") {
            continue;
        }
        let entries = fs::read_dir(&dir).map_err(StepError::at(format!("read {}", dir.display())))?;
        for entry in entries.flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                dirs.push(path);
            } else if kind.is_ok_and(|kind| kind.is_file()) {
                let own = path.with_extension("own");
                copy(&path, &own, "-a")?;
                fs::rename(&own, &path).map_err(StepError::at(format!("put {} in place", path.display())))?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, how: &str) -> Result<(), StepError> {
    let output = Command::new("cp")
        .args([how, "--reflink=auto", "-T"])
        .args([from, to])
        .stdin(Stdio::null())
        .output()
        .map_err(StepError::at("run cp"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(StepError { step: format!("copy {}", from.display()), source: io::Error::other(words) })
}
