//! The shell around templates: those embedded in the binary, and files on disk. Core modules get texts only.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::cluster_file::Shelf;
use crate::tosca::File;

/// Names of embedded files begin so; no path does.
const SHIPPED: &str = "continuum:templates/";

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../templates");

/// Templates and types at hand.
#[derive(Debug, Clone)]
pub struct Templates {
    shipped: BTreeMap<String, File>,
    profiles: Vec<File>,
}

impl Templates {
    /// Those in the binary.
    pub fn embedded() -> Self {
        let read = |dir: &Dir<'_>| {
            let files = dir.files().filter_map(|file| {
                let path = file.path();
                let yaml = path.extension().is_some_and(|extension| extension == "yaml");
                let stem = path.file_stem()?.to_str()?.to_owned();
                let text = file.contents_utf8().filter(|_| yaml)?.to_owned();
                Some((stem, File { name: format!("{SHIPPED}{}", path.display()), text }))
            });
            files.collect::<BTreeMap<String, File>>()
        };
        let profiles = EMBEDDED.get_dir("types").map(read).unwrap_or_default();
        Self { shipped: read(&EMBEDDED), profiles: profiles.into_values().collect() }
    }

    /// The templates that ship, by name.
    pub fn shipped(&self) -> &BTreeMap<String, File> {
        &self.shipped
    }

    /// For [`crate::cluster_file::load`]; paths are read from the disk.
    pub fn shelf(&self) -> Shelf<'_> {
        Shelf { shipped: &self.shipped, profiles: &self.profiles, read: &read_file }
    }
}

/// Reads `path` as seen from the file `from`. An import of an embedded template finds embedded files only.
fn read_file(from: &str, path: &str) -> Result<File, String> {
    if let Some(from) = from.strip_prefix(SHIPPED) {
        let target = plain(&Path::new(from).with_file_name(path));
        let text = EMBEDDED.get_file(&target).and_then(include_dir::File::contents_utf8);
        let text = text.ok_or_else(|| format!("{}: none such ships", target.display()))?;
        return Ok(File { name: format!("{SHIPPED}{}", target.display()), text: text.to_owned() });
    }
    let beside = Path::new(from).parent().unwrap_or_else(|| Path::new(""));
    let target = beside.join(path);
    let name = plain(&target).display().to_string();
    match fs::read_to_string(&target) {
        Ok(text) => Ok(File { name, text }),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(format!("there is no file {name}")),
        Err(error) => Err(format!("cannot read {name}: {}", error.kind())),
    }
}

/// Without `.` in it: what people see.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}
