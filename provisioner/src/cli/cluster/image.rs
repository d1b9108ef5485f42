//! `cluster load-image`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{refused, site};
use crate::bundle::{Bundle, Kind, Store};
use crate::cache;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Output, out};
use crate::cluster::images;
use crate::cluster::input::{self, Given};
use crate::cluster::site as sites;
use crate::names::ClusterName;

/// Puts an image on every node.
pub(super) async fn load(name: &ClusterName, image: &str, output: Output) -> Result<Exit, Failure> {
    let (_, record) = sites::known(name).await.map_err(site)?;
    let archive = archive(image, record.bundle.as_deref())?;
    let given =
        Given { file: record.file.clone(), bundle: record.bundle.clone(), recipes: record.recipes.clone() };
    let input = input::read(&given).map_err(refused)?;
    let opened =
        sites::open(name, &record.provider, record.file, "cluster load-image").await.map_err(site)?;
    let (blob, loaded) = images::load(&opened, input, &archive).await?;
    let failed: Vec<String> = loaded
        .iter()
        .filter_map(|(machine, result)| match result {
            Ok(done) if done.status == 0 => None,
            Ok(done) => Some(format!("{machine}: exit status {}: {}", done.status, done.tail.join(" | "))),
            Err(error) => Some(format!("{machine}: {error}")),
        })
        .collect();
    let done = loaded.len() - failed.len();
    match output {
        Output::Json => out::json(&json!({"sha256": blob.sha256, "loaded": done, "failed": failed}))?,
        Output::Text => out::note(&format!("{image}: on {done} machines; later ones get it too")),
    }
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    let mut failure = Failure::say(Exit::Incomplete, format!("not on {} machines", failed.len()));
    for line in failed {
        failure = failure.hint(line);
    }
    Err(failure)
}

/// The archive that a path or a name in the bundle means.
fn archive(image: &str, bundle: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = Path::new(image);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let mut known = Vec::new();
    if let Some(bundle) = bundle {
        let store = Store::open(&cache::folder()?)?;
        let bundle = Bundle::open(bundle, &store)?;
        for entry in bundle.list().iter().filter(|entry| entry.kind == Kind::Image) {
            if entry.name == image {
                return Ok(bundle.blob(entry).path);
            }
            known.push(entry.name.clone());
        }
    }
    let failure = Failure::say(
        Exit::Refused,
        format!("there is no file {image}, and no image of this name in the bundle"),
    );
    Err(if known.is_empty() { failure } else { failure.hint(format!("the bundle has {}", known.join(", "))) })
}
