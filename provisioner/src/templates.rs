//! The shell around templates: those embedded in the binary, and files on disk. Core modules get texts only.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde::Serialize;

use crate::cluster_file::{self, Loaded, Missing, Shelf, schema};
use crate::diagnostic::{Flaw, Problem, did_you_mean, one_of};
use crate::tosca::describe::Description;
use crate::tosca::{self, File, Template};
use crate::yaml::MAX_BYTES;

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
    match read_text(&target) {
        Ok(text) => Ok(File { name, text }),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(format!("there is no file {name}")),
        Err(error) => Err(format!("cannot read {name}: {}", error.kind())),
    }
}

/// A whole text, unless it is longer than any that is read: `/dev/zero` is a file too.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Without `.` in it: what people see.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// A template that ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What `template:` of a cluster file says.
    pub name: String,
    /// In one sentence.
    pub description: String,
}

impl Templates {
    /// Reads the cluster file at `path`.
    pub fn load(&self, path: &str) -> Result<Loaded, Vec<Problem>> {
        let file = read_file("", path)
            .map_err(|why| vec![Problem::of(why).kind(Flaw::Unreadable).help("name your cluster file")])?;
        cluster_file::read(&file.text, path, self.shelf())
    }

    /// Those that ship, in short.
    pub fn list(&self) -> Result<Vec<Summary>, Vec<Problem>> {
        let names = self.shipped.keys();
        names.map(|name| self.with(name, |template| summary(name, template))).collect()
    }

    /// What a template asks for and is made of. `name` as in a cluster file, a path as seen from here.
    pub fn show(&self, name: &str) -> Result<Description, Vec<Problem>> {
        self.with(name, |template| template.describe())
    }

    /// JSON Schema of cluster files that use this template.
    pub fn schema(&self, name: &str) -> Result<serde_json::Value, Vec<Problem>> {
        self.with(name, |template| schema::of(name, template))
    }

    /// The template's own text.
    pub fn source(&self, name: &str) -> Result<String, Vec<Problem>> {
        self.file(name).map(|file| file.text)
    }

    fn with<T>(&self, name: &str, read: impl FnOnce(&Template<'_>) -> T) -> Result<T, Vec<Problem>> {
        let file = self.file(name)?;
        tosca::read(&file, self.shelf().library()).map(|template| read(&template))
    }

    fn file(&self, name: &str) -> Result<File, Vec<Problem>> {
        let known = self.shipped.keys().map(String::as_str);
        self.shelf().template("", name).map_err(|missing| {
            let problem = match missing {
                Missing::Unreadable(why) => Problem::of(why).kind(Flaw::Unreadable),
                Missing::Unknown | Missing::NotBuilt => Problem::of(format!("there is no template {name:?}"))
                    .kind(Flaw::NotThere)
                    .expected(format!("{}, or a path (./mine.yaml)", one_of(known.clone())))
                    .maybe_help(did_you_mean(name, known)),
            };
            vec![problem]
        })
    }
}

fn summary(name: &str, template: &Template<'_>) -> Summary {
    Summary { name: name.to_owned(), description: template.description().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::render;

    #[test]
    fn everything_that_ships_is_right_in_itself() {
        let templates = Templates::embedded();
        let list = templates.list().unwrap_or_else(|problems| panic!("{}", render(&problems, false)));
        assert!(list.iter().any(|one| one.name == "elastic-kubernetes"), "{list:?}");
        for one in list {
            assert!(!one.description.is_empty(), "{} has no description", one.name);
            assert!(templates.show(&one.name).unwrap().inputs.iter().all(|i| !i.description.is_empty()));
        }
    }

    #[test]
    fn a_template_that_does_not_ship_is_named() {
        let problems = Templates::embedded().show("elastic-kuberntes").unwrap_err();
        insta::assert_snapshot!(render(&problems, false), @r#"
        there is no template "elastic-kuberntes"
          expected elastic-kubernetes, or a path (./mine.yaml)
          help: did you mean "elastic-kubernetes"?
        "#);
        let problems = Templates::embedded().show("./none.yaml").unwrap_err();
        insta::assert_snapshot!(render(&problems, false), @"there is no file none.yaml");
    }

    #[test]
    fn files_are_read_beside_the_file_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let types = "tosca_definitions_version: tosca_simple_yaml_1_3\n";
        fs::create_dir(folder.path().join("types")).unwrap();
        fs::write(folder.path().join("types/a.yaml"), types).unwrap();
        let cluster = folder.path().join("cluster.yaml").display().to_string();
        let file = read_file(&cluster, "./types/a.yaml").unwrap();
        assert_eq!(
            file,
            File { name: folder.path().join("types/a.yaml").display().to_string(), text: types.into() }
        );
        assert_eq!(
            read_file("continuum:templates/x.yaml", "nowhere.yaml").unwrap_err(),
            "nowhere.yaml: none such ships"
        );
        let shipped = read_file("continuum:templates/x.yaml", "types/tosca.yaml").unwrap();
        assert_eq!(shipped.name, "continuum:templates/types/tosca.yaml");
    }
}
