//! From a file to a pipeline document: YAML and JSON are read, Python is compiled by the real SDK in a managed
//! environment, with `dsl.ContainerOp` in place.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use rust_embed::RustEmbed;
use serde_json::Value;

use crate::cli::Run;
use crate::config::Config;
use crate::instance::DataFolder;
use crate::node_config;

/// The SDK that compiles, as its users pin it.
const SDK: &str = "kfp==2.17.0";
/// Compiles for a platform document too.
const SDK_KUBERNETES: &str = "kfp-kubernetes==2.17.0";

/// Our module for pipelines written for the first SDK.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../sdk/python"]
#[include = "ferroflow_kfp/*.py"]
struct Module;

/// The document of the pipeline in `args.file`.
pub async fn document(config: &Config, data: &DataFolder, args: &Run) -> Result<Value> {
    let file = &args.file;
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("py") => {
            let compiled = tempfile::Builder::new()
                .suffix(".yaml")
                .tempfile()
                .context("make a temporary file")?;
            compile(config, data, args, compiled.path()).await?;
            read(compiled.path())
        }
        _ => read(file),
    }
}

/// Says what is wrong with a file that cannot be a pipeline, before anything is asked of the platform.
pub fn look_at(file: &Path) -> Result<()> {
    let name = file.display();
    let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => anyhow::anyhow!("{name} does not exist"),
        _ => anyhow::Error::new(error).context(format!("read {name}")),
    })?;
    let extension = file.extension().and_then(|extension| extension.to_str());
    if metadata.is_dir() {
        bail!("{name} is a folder; name the file of a pipeline in it");
    }
    if !matches!(extension, Some("py" | "yaml" | "yml" | "json")) {
        bail!("{name}: a pipeline is a .py, .yaml or .json file");
    }
    Ok(())
}

/// One document, or two of which the second is the platform's; read as the server will read it.
fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    pipelines::ir::Document::parse(&text)
        .map(|document| document.to_api())
        .with_context(|| format!("{} is not a compiled pipeline", file.display()))
}

async fn compile(config: &Config, data: &DataFolder, args: &Run, output: &Path) -> Result<()> {
    let module = write_module(data)?;
    let (python, packages) = environment(config, data).await?;
    let search = std::env::join_paths([module, packages]).context("name the folders of the SDK")?;
    let mut command = tokio::process::Command::new(python);
    command
        .args(["-W", "ignore", "-m", "ferroflow_kfp", "compile"])
        .arg(&args.file)
        .arg("--output")
        .arg(output)
        .env("PYTHONPATH", search)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    if let Some(function) = &args.function {
        command.arg("--function").arg(function);
    }
    let done = command.output().await.context("start Python")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!(
            "{} does not compile:\n{}",
            args.file.display(),
            said.trim_end()
        );
    }
    Ok(())
}

/// A Python with the SDK, built once and kept: its program and the folder of its packages.
async fn environment(config: &Config, data: &DataFolder) -> Result<(PathBuf, PathBuf)> {
    let images = node::images_of(&node_config::of(config, data)?);
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(80));
    let told = bar.clone();
    let requirements = [SDK.to_owned(), SDK_KUBERNETES.to_owned()];
    let python = images
        .python_with(&requirements, &move |line| told.set_message(line))
        .await;
    bar.finish_and_clear();
    python.with_context(|| format!("prepare a Python with {SDK}"))
}

fn write_module(data: &DataFolder) -> Result<PathBuf> {
    let folder = data.path().join("sdk");
    for name in Module::iter() {
        let path = folder.join(name.as_ref());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("create {}", parent.display()))?;
        }
        let file = Module::get(&name).expect("it was just listed");
        std::fs::write(&path, file.data).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(folder)
}
