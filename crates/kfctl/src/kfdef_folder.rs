//! The folder that `build`, `apply` and `delete` work in: the KfDef's file, the manifests it refers to, and one
//! kustomize folder for each application. What the user edited there is kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use install::kfdef::{self, KfDef};
use serde_json::Value;

use crate::cli_cluster::Extra;
use crate::version;

/// A KfDef and where it lies.
pub struct KfDefFolder {
    /// The KfDef.
    pub kfdef: KfDef,
    /// Its file.
    pub file: PathBuf,
    /// Folder of the file.
    pub folder: PathBuf,
    /// What should be said about where it came from.
    pub note: Option<String>,
}

impl KfDefFolder {
    /// Finds what was given: a file, an address, or a name that we know. What an earlier `build` wrote comes first.
    pub async fn open(given: &str) -> Result<Self> {
        let is_address = given.contains("://");
        let file_name = given
            .split(['?', '#'])
            .next()
            .and_then(|path| path.rsplit('/').next())
            .filter(|name| !name.is_empty())
            .with_context(|| format!("{given} names no file"))?;
        let file = if is_address {
            std::env::current_dir()
                .context("find the current folder")?
                .join(file_name)
        } else {
            std::path::absolute(given).with_context(|| format!("find {given}"))?
        };
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("kubeflow")
            .to_owned();
        let at = |kfdef, note| Self {
            kfdef,
            file: file.clone(),
            folder: folder.clone(),
            note,
        };
        if file.is_file() {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("read {}", file.display()))?;
            let kfdef =
                KfDef::parse(&text, &name).with_context(|| format!("read {}", file.display()))?;
            let note = is_address.then(|| format!("using {}, made from it before", file.display()));
            return Ok(at(kfdef, note));
        }
        if let Some(kfdef) = KfDef::well_known(file_name) {
            let note = format!(
                "{file_name} is known here: using the built-in KfDef, nothing is downloaded"
            );
            return Ok(at(kfdef, Some(note)));
        }
        if !is_address {
            bail!("there is no file {}", file.display());
        }
        let text = fetch(given).await?;
        let kfdef = KfDef::parse(&text, &name).with_context(|| format!("read {given}"))?;
        Ok(at(kfdef, None))
    }

    /// Adds what the command line asks for besides the KfDef, and keeps it in its file: a later `apply` without the
    /// option must not take it away.
    pub fn add(&mut self, extra: Extra) -> Result<()> {
        if extra.local_storage && self.kfdef.add_local_storage() && self.file.is_file() {
            self.save()?;
        }
        Ok(())
    }

    /// Writes everything that is missing or of another version. Answers what was left out.
    pub fn generate(&self) -> Result<Vec<String>> {
        let generated = self.kfdef.generate(version::FERROFLOW)?;
        for (path, text) in &generated.files {
            let path = self.folder.join(path);
            let text = match std::fs::read_to_string(&path) {
                Ok(old) if is_edited_by_people(&path) => kfdef::carry_over(&old, text)
                    .with_context(|| format!("read {}", path.display()))?,
                _ => text.clone(),
            };
            write(&path, &text)?;
        }
        if !self.file.is_file() {
            self.save()?;
        }
        Ok(generated.warnings)
    }

    /// Writes the KfDef itself.
    pub fn save(&self) -> Result<()> {
        write(&self.file, &self.kfdef.text())
    }

    /// The objects of every application, in order.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let (applications, _) = self.kfdef.applications()?;
        let mut objects = Vec::new();
        for application in applications {
            objects.extend(
                kfdef::render(&self.folder, &application.name)
                    .with_context(|| format!("render the application {}", application.name))?,
            );
        }
        install::kustomize::sort(&mut objects);
        Ok(objects)
    }
}

/// The applications' own folders are for people to edit; the manifests that they refer to are not.
fn is_edited_by_people(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "kustomize")
        && !path.components().any(|part| part.as_os_str() == ".cache")
}

/// Written beside itself first: an interruption leaves the old file or the new one.
fn write(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("write {}", path.display()))
}

async fn fetch(address: &str) -> Result<String> {
    if let Some(path) = address.strip_prefix("file://") {
        return std::fs::read_to_string(path).with_context(|| format!("read {path}"));
    }
    let remedy = "give a file instead, or one of the names that need no network, such as kfdef_k8s_istio.v1.7.0.yaml";
    let response = reqwest::Client::builder()
        .user_agent("kfctl")
        .timeout(std::time::Duration::from_secs(30))
        .build()
        .context("prepare the download")?
        .get(address)
        .send()
        .await
        .map_err(|error| anyhow!("{address} cannot be fetched: {error}; {remedy}"))?;
    if !response.status().is_success() {
        bail!("{address} answered {}; {remedy}", response.status());
    }
    response
        .text()
        .await
        .with_context(|| format!("read {address}"))
}
