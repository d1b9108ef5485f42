//! `continuum bundle create | verify | list`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use super::Output;
use crate::bundle::create::{How, create};
use crate::bundle::oci::{self, Content, ImageSpec, Layer};
use crate::bundle::{Bundle, Entry, Store};
use crate::cache;
use crate::recipe::model::RecipeFile;

/// Files and images for machines without internet.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Make a bundle of everything that recipes need
    Create(CreateArgs),
    /// Compute every hash of a bundle anew
    Verify(BundleArgs),
    /// Show what a bundle holds
    List(BundleArgs),
    /// Make a container image out of files (an OCI archive)
    #[command(hide = true)]
    BuildImage(BuildImageArgs),
}

/// Arguments of `bundle create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Where to write it: a folder, or one file if it ends in .tar.zst
    pub out: PathBuf,
    /// Folder of an offline build (tests/lab/kubernetes/build.sh) to take files from
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Recipes of your own, beside or instead of those that ship: what they need is put in too
    #[arg(long, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
    /// Download nothing; name what is missing
    #[arg(long)]
    pub offline: bool,
    /// One more image for the bundle, beyond those that recipes name
    #[arg(long = "image", value_name = "REFERENCE")]
    pub images: Vec<String>,
    /// Processor architecture of the machines
    #[arg(long, default_value = host_arch(), value_parser = ["amd64", "arm64"])]
    pub arch: String,
}

/// Arguments that name a bundle.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// The bundle: a folder or a .tar.zst
    pub bundle: PathBuf,
}

/// Arguments of the hidden `bundle build-image`.
#[derive(Debug, Args)]
pub struct BuildImageArgs {
    /// The archive to write
    #[arg(long)]
    pub out: PathBuf,
    /// The image's name and tag
    #[arg(long)]
    pub name: String,
    /// Its architecture
    #[arg(long, default_value = host_arch())]
    pub arch: String,
    /// A root file system as a tar file: a layer below the files
    #[arg(long)]
    pub base: Vec<PathBuf>,
    /// What the container runs
    #[arg(long, allow_hyphen_values = true)]
    pub entrypoint: Vec<String>,
    /// Default arguments
    #[arg(long, allow_hyphen_values = true)]
    pub cmd: Vec<String>,
    /// A symbolic link: PATH_IN_IMAGE=TARGET
    #[arg(long, value_name = "PATH=TARGET")]
    pub link: Vec<String>,
    /// Files: FILE=PATH_IN_IMAGE
    #[arg(value_name = "FILE=PATH")]
    pub files: Vec<String>,
}

const fn host_arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

impl BundleCommand {
    /// The folder of recipes that was given beside those that ship.
    pub fn recipes(&self) -> Option<&std::path::Path> {
        match self {
            Self::Create(args) => args.recipes.as_deref(),
            Self::Verify(_) | Self::List(_) | Self::BuildImage(_) => None,
        }
    }
}

/// Runs a command; data goes to `out`, everything else to stderr. `recipes` are those whose artifacts a bundle must hold.
pub fn run(
    command: &BundleCommand,
    output: Output,
    recipes: &dyn Fn() -> anyhow::Result<Vec<RecipeFile>>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let store = || -> anyhow::Result<Store> { Ok(Store::open(&cache::folder()?)?) };
    match command {
        BundleCommand::Create(args) => create_bundle(args, output, &store()?, &recipes()?, out),
        BundleCommand::List(args) => show(&Bundle::open(&args.bundle, &store()?)?, output, out),
        BundleCommand::Verify(args) => verify(&Bundle::open(&args.bundle, &store()?)?, output, out),
        BundleCommand::BuildImage(args) => build_image(args, out),
    }
}

fn create_bundle(
    args: &CreateArgs,
    output: Output,
    store: &Store,
    recipes: &[RecipeFile],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let progress = progress();
    let how = How {
        from: args.from.as_deref(),
        images: &args.images,
        download: !args.offline,
        progress: &progress,
    };
    let bundle = create(store, recipes, &args.arch, &args.out, &how)?;
    if output == Output::Json {
        return show(&bundle, output, out);
    }
    let total: u64 = bundle.list().iter().map(|entry| entry.size).sum();
    let at = args.out.display();
    writeln!(out, "{at}: {} artifacts, {}", bundle.list().len(), megabytes(total))?;
    writeln!(out, "next: continuum bundle verify {at}")?;
    Ok(())
}

/// Says on stderr what is fetched: a line that is written over on a terminal, one line each in a pipe.
fn progress() -> impl Fn(&str, u64) {
    let terminal = std::io::stderr().is_terminal();
    let shown = Cell::new(0);
    move |what, bytes| {
        let mut err = std::io::stderr().lock();
        let due = bytes == 0 || bytes >= shown.get() + (1 << 20);
        if due {
            shown.set(bytes);
            // A closed stderr must not end a download.
            let _ = match (terminal, bytes) {
                (true, _) => write!(err, "\r\x1b[Kfetching {what}  {}", megabytes(bytes)),
                (false, 0) => writeln!(err, "fetching {what}"),
                (false, _) => Ok(()),
            };
        }
    }
}

fn show(bundle: &Bundle, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    if output == Output::Json {
        write!(out, "{}", bundle.manifest.to_json())?;
        return Ok(());
    }
    let head = ["NAME", "VERSION", "ARCH", "KIND", "ORIGIN", "SIZE", "SHA256"];
    let rows: Vec<_> = bundle.list().iter().map(|entry| row(entry).to_vec()).collect();
    writeln!(out, "{}", super::out::table(&head, &rows))?;
    Ok(())
}

fn row(entry: &Entry) -> [String; 7] {
    [
        entry.name.clone(),
        entry.version.clone(),
        entry.arch.clone(),
        entry.kind.to_string(),
        entry.origin.to_string(),
        megabytes(entry.size),
        entry.sha256[..12].to_owned(),
    ]
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn verify(bundle: &Bundle, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    let faults = bundle.verify();
    if output == Output::Json {
        let list: Vec<_> =
            faults.iter().map(|fault| serde_json::json!({"what": fault.what, "why": fault.why})).collect();
        writeln!(out, "{}", serde_json::json!({"entries": bundle.list().len(), "faults": list}))?;
    }
    if !faults.is_empty() {
        return Err(crate::bundle::BundleError::Damaged { path: bundle.path.clone(), faults }.into());
    }
    if output == Output::Text {
        writeln!(out, "{}: {} artifacts, every hash is right", bundle.path.display(), bundle.list().len())?;
    }
    Ok(())
}

fn build_image(args: &BuildImageArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut files = BTreeMap::new();
    for text in &args.files {
        let (file, path) = text.split_once('=').ok_or_else(|| anyhow!("{text:?} is not FILE=PATH"))?;
        files.insert(path.to_owned(), Content::File(file.into()));
    }
    for text in &args.link {
        let (path, target) = text.split_once('=').ok_or_else(|| anyhow!("{text:?} is not PATH=TARGET"))?;
        files.insert(path.to_owned(), Content::Link(target.to_owned()));
    }
    let mut layers: Vec<Layer> = args.base.iter().cloned().map(Layer::Tar).collect();
    layers.extend((!files.is_empty()).then_some(Layer::Files(files)));
    if layers.is_empty() {
        bail!("an image needs a --base or a FILE=PATH");
    }
    let image = ImageSpec {
        reference: args.name.clone(),
        arch: args.arch.clone(),
        layers,
        entrypoint: args.entrypoint.clone(),
        cmd: args.cmd.clone(),
    };
    let place = args.out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let temp = tempfile::NamedTempFile::new_in(place.unwrap_or(std::path::Path::new(".")))?;
    let digest = oci::build(&image, std::io::BufWriter::new(temp.as_file()))
        .with_context(|| format!("cannot make the image {}", args.name))?;
    // A temporary file is its owner's alone; an image holds nothing secret.
    temp.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    temp.persist(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    writeln!(out, "{digest}")?;
    Ok(())
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
