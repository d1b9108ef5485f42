//! Images out of machines: the upper layer of a stopped one, without what made it this one.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::super::agent::{Agent, failed};
use super::super::machine::{StepError, disk};
use super::super::wire::CaptureRequest;
use super::valid_layer;
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
        let _guard = self.lock_stopped(&request.machine).await?;
        let (agent, request) = (Arc::clone(self), request.clone());
        let copied = tokio::task::spawn_blocking(move || agent.copy_layer(&request)).await;
        copied.map_err(|error| rejected(error.to_string()))?.map_err(failed)
    }

    fn copy_layer(&self, request: &CaptureRequest) -> Result<(), StepError> {
        let layers = self.paths().layers();
        let at = |what: &str| StepError::at(format!("{what} in {}", layers.display()));
        fs::create_dir_all(&layers).map_err(at("make a layer"))?;
        let (dir, temp) = (layers.join(&request.name), layers.join(format!(".{}.new", request.name)));
        if dir.exists() {
            let words = format!("the image {} is there already", request.name);
            return Err(StepError { step: "capture".into(), source: io::Error::other(words) });
        }
        let _ = fs::remove_dir_all(&temp);
        let machine = self.paths().machine(&request.machine);
        // cp keeps owners, modes, links, whiteouts (device nodes) and the overlay's extended attributes.
        copy(&machine.join("upper"), &temp)?;
        for name in super::super::machine::init::REAL_DISK {
            let (from, to) = (machine.join("disk").join(name), temp.join("var/lib").join(name));
            let empty = fs::read_dir(&from).map(|mut entries| entries.next().is_none()).unwrap_or(true);
            if !empty {
                fs::create_dir_all(temp.join("var/lib")).map_err(at("make a layer"))?;
                copy(&from, &to)?;
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
        fs::rename(&temp, &dir).map_err(at("put a layer"))
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<(), StepError> {
    let output = Command::new("cp")
        .args(["-a", "--reflink=auto", "-T"])
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
