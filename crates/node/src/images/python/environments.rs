//! Environments: immutable folders, one per (Python, platform, packages, index), built once under a lock and renamed
//! into place when complete. Nothing here knows about pods; who uses an environment tells by `touch`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::layer::LAYER;
use super::{Install, Interpreter};
use crate::images::copy;

/// What an environment is made of; equal recipes are one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The Python.
    pub interpreter: Interpreter,
    /// What is installed, in this order.
    pub installs: Vec<Install>,
    /// Lines of a requirements file, for folder images.
    pub requirements: Vec<String>,
    /// Packages may run code of their own while they are installed: only where the owner of this machine gave the list.
    pub may_build: bool,
}

/// An environment that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Its folder on the host, to be mounted at [`super::SHARED`].
    pub folder: PathBuf,
    /// Its key.
    pub key: String,
    /// It was built just now, in this time; none if it was there.
    pub built_in: Option<Duration>,
}

/// Why an environment could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file could not be written.
    #[error("writing {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The installer said no.
    #[error("{command} failed: {output}")]
    Failed {
        /// What was run, in short.
        command: String,
        /// The end of what it printed.
        output: String,
    },
}

/// All environments of this node.
#[derive(Debug, Clone)]
pub struct Environments {
    folder: PathBuf,
    /// `uv`, if this machine has it.
    uv: Option<PathBuf>,
    /// Proxy, package index and certificate settings for installers.
    settings: Vec<(String, String)>,
}

/// In every complete environment: its recipe, and by its time when it was last used.
const MARKER: &str = "environment.json";
/// Part of every key: raised when environments are laid out differently.
const LAYOUT: &str = "1";
/// Builds that take longer are given up.
const LONGEST_BUILD: Duration = Duration::from_secs(1800);

impl Recipe {
    /// The environment's name: a digest over everything that decides what is in it.
    pub fn key(&self, settings: &[(String, String)]) -> String {
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        };
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        for part in [
            LAYOUT,
            &platform,
            &self.interpreter.version,
            &self.interpreter.executable.to_string_lossy(),
        ] {
            add(part);
        }
        for install in &self.installs {
            add(if install.without_dependencies {
                "no-deps"
            } else {
                "deps"
            });
            install
                .index
                .iter()
                .chain(&install.requirements)
                .for_each(|part| add(part));
        }
        let mut requirements: Vec<&str> = self.requirements.iter().map(String::as_str).collect();
        requirements.sort_unstable();
        add("requirements");
        requirements.into_iter().for_each(&mut add);
        for (name, value) in settings
            .iter()
            .filter(|(name, _)| name.starts_with("PIP_") || name.starts_with("UV_"))
        {
            add(name);
            add(value);
        }
        hex::encode(digest.finalize())[..32].to_owned()
    }

    /// The same without any packages.
    fn bare(&self) -> Self {
        Self {
            interpreter: self.interpreter.clone(),
            installs: Vec::new(),
            requirements: Vec::new(),
            may_build: false,
        }
    }

    /// The lists that pip need not be asked about again.
    fn satisfied(&self) -> String {
        let lists = self.installs.iter().map(|install| {
            let mode = if install.without_dependencies {
                "no-deps"
            } else {
                "deps"
            };
            format!(
                "{mode}\t{}\t{}\n",
                install.index.join(" "),
                install.requirements.join("\t")
            )
        });
        let plain: Vec<&str> = self
            .requirements
            .iter()
            .map(String::as_str)
            .filter(|line| super::is_plain_requirement(line))
            .collect();
        let own = (!plain.is_empty()).then(|| format!("deps\t\t{}\n", plain.join("\t")));
        lists.chain(own).collect()
    }
}

impl Environments {
    /// Environments below `folder`.
    pub fn new(folder: PathBuf, uv: Option<PathBuf>, settings: Vec<(String, String)>) -> Self {
        Self {
            folder,
            uv,
            settings,
        }
    }

    /// The environment of a recipe, if it was built before.
    pub fn existing(&self, recipe: &Recipe) -> Option<Environment> {
        let key = recipe.key(&self.settings);
        let folder = self.folder.join(&key);
        let marker = folder.join(MARKER);
        let file = File::options().append(true).open(marker).ok()?;
        // The time of last use orders what is removed first.
        let _ = file.set_modified(SystemTime::now());
        Some(Environment {
            folder,
            key,
            built_in: None,
        })
    }

    /// The environment of a recipe, built now if need be. `progress` hears what is going on, in words.
    pub async fn get(
        &self,
        recipe: &Recipe,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Environment, Error> {
        if let Some(found) = self.existing(recipe) {
            return Ok(found);
        }
        let key = recipe.key(&self.settings);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        fs::create_dir_all(&self.folder).map_err(io(&self.folder))?;
        let lock_path = self.folder.join(format!("{key}.lock"));
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(io(&lock_path))?;
        // Somebody else may have built it while we waited.
        if let Some(found) = self.existing(recipe) {
            return Ok(found);
        }
        let started = std::time::Instant::now();
        let building = self.folder.join(format!("{key}.building"));
        let _ = fs::remove_dir_all(&building);
        let built = self.build(recipe, &building, progress).await;
        if let Err(error) = built {
            let _ = fs::remove_dir_all(&building);
            return Err(error);
        }
        let folder = self.folder.join(&key);
        fs::rename(&building, &folder).map_err(io(&folder))?;
        drop(lock);
        let _ = fs::remove_file(&lock_path);
        Ok(Environment {
            folder,
            key,
            built_in: Some(started.elapsed()),
        })
    }

    async fn build(
        &self,
        recipe: &Recipe,
        folder: &Path,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), Error> {
        let io = |path: PathBuf| move |source| Error::Io { path, source };
        let bare = recipe.bare();
        if *recipe == bare {
            progress(format!(
                "Making an environment with Python {}",
                recipe.interpreter.version
            ));
            let python = &recipe.interpreter.executable;
            let arguments = ["-I", "-m", "venv"].map(std::ffi::OsStr::new);
            let mut make = vec![python.as_os_str()];
            make.extend(arguments);
            make.push(folder.as_os_str());
            self.run("python -m venv", &make).await?;
        } else {
            // Most of the time goes into pip itself, which is the same in all environments of a Python.
            let bare = Box::pin(self.get(&bare, progress)).await?;
            start_from(&bare.folder, folder, &recipe.interpreter).map_err(io(folder.to_owned()))?;
        }
        if !recipe.requirements.is_empty() {
            let list = folder.join("requirements.txt");
            fs::write(&list, recipe.requirements.join("\n") + "\n").map_err(io(list.clone()))?;
            progress(format!(
                "Installing {} packages of the image's requirements",
                recipe.requirements.len()
            ));
            self.install(folder, recipe.may_build, &["-r", &list.to_string_lossy()])
                .await?;
        }
        for install in &recipe.installs {
            progress(format!("Installing {}", install.requirements.join(" ")));
            let mut arguments: Vec<&str> = install.index.iter().map(String::as_str).collect();
            arguments.extend(install.without_dependencies.then_some("--no-deps"));
            arguments.push("--");
            arguments.extend(install.requirements.iter().map(String::as_str));
            self.install(folder, recipe.may_build, &arguments).await?;
        }
        let version = recipe.interpreter.minor();
        finish(folder, &version, &recipe.satisfied()).map_err(io(folder.to_owned()))?;
        let marker = folder.join(MARKER);
        let text = serde_json::to_vec_pretty(recipe).unwrap_or_default();
        fs::write(&marker, text).map_err(io(marker.clone()))
    }

    async fn install(
        &self,
        folder: &Path,
        may_build: bool,
        arguments: &[&str],
    ) -> Result<(), Error> {
        let python = folder.join("bin/python3");
        let mut command: Vec<&std::ffi::OsStr> = match &self.uv {
            Some(uv) => ["pip", "install", "--compile-bytecode", "--python"]
                .iter()
                .fold(vec![uv.as_os_str()], |mut all, word| {
                    all.push(word.as_ref());
                    all
                }),
            None => [
                "-I",
                "-m",
                "pip",
                "install",
                "--no-input",
                "--disable-pip-version-check",
            ]
            .iter()
            .fold(vec![python.as_os_str()], |mut all, word| {
                all.push(word.as_ref());
                all
            }),
        };
        if self.uv.is_some() {
            command.push(python.as_os_str());
        }
        if !may_build {
            command.push(
                if self.uv.is_some() {
                    "--no-build"
                } else {
                    "--only-binary=:all:"
                }
                .as_ref(),
            );
        }
        command.extend(arguments.iter().map(std::ffi::OsStr::new));
        self.run("pip install", &command).await
    }

    /// Runs an installer with nothing in its environment but the node's settings.
    async fn run(&self, what: &str, command: &[&std::ffi::OsStr]) -> Result<(), Error> {
        let failed = |output: String| Error::Failed {
            command: what.to_owned(),
            output,
        };
        let cache = self.folder.join("cache");
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &cache)
            .env("LANG", "C.UTF-8")
            .env("PIP_CACHE_DIR", cache.join("pip"))
            .env("UV_CACHE_DIR", cache.join("uv"))
            .env("UV_LINK_MODE", "copy")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("starting it: {error}")))?;
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let work = async {
            let _ = stderr.read_to_string(&mut said).await;
            child.wait().await
        };
        match tokio::time::timeout(LONGEST_BUILD, work).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(_)) => Err(failed(the_point_of(&said))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!(
                "it took longer than {} minutes",
                LONGEST_BUILD.as_secs() / 60
            ))),
        }
    }

    /// Removes the environments that were unused for longest until at most `keep_bytes` are left. Those named in
    /// `in_use` stay, whatever their size.
    pub fn prune(&self, keep_bytes: u64, in_use: &[String]) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if let Ok(metadata) = path.join(MARKER).metadata() {
                all.push((metadata.modified()?, size_of(&path), path));
            }
        }
        all.sort();
        let mut total: u64 = all.iter().map(|(_, size, _)| size).sum();
        let mut removed = Vec::new();
        for (_, size, path) in all {
            let key = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if total <= keep_bytes {
                break;
            }
            if in_use.contains(&key) {
                continue;
            }
            fs::remove_dir_all(&path)?;
            total -= size;
            removed.push(key);
        }
        Ok(removed)
    }
}

/// What an installer printed, cut down to the lines that say why it failed.
fn the_point_of(output: &str) -> String {
    let errors: Vec<&str> = output
        .lines()
        .filter(|line| line.trim_start().to_lowercase().starts_with("error"))
        .collect();
    let lines = if errors.is_empty() {
        output
            .lines()
            .rev()
            .take(3)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect()
    } else {
        errors
    };
    lines.join("; ").chars().take(600).collect()
}

/// Begins an environment as a copy of the one without packages, in which packages can be installed.
fn start_from(bare: &Path, folder: &Path, interpreter: &Interpreter) -> io::Result<()> {
    // Compiled modules are valid for a source of exactly this time.
    copy::tree(bare, folder, |source, target| {
        let modified = source.metadata()?.modified()?;
        File::options()
            .append(true)
            .open(target)?
            .set_modified(modified)
    })?;
    fs::remove_file(folder.join(MARKER))?;
    symlink(&interpreter.executable, folder.join("bin/python3"))
}

/// Makes a built environment independent of the path it was built at, and puts the quick answer before pip.
fn finish(folder: &Path, minor: &str, satisfied: &str) -> io::Result<()> {
    let built_at = folder.join("bin").to_string_lossy().into_owned();
    for entry in fs::read_dir(folder.join("bin"))? {
        let path = entry?.path();
        if path.symlink_metadata()?.file_type().is_symlink() {
            continue;
        }
        // Only texts have a first line that names the interpreter.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        if let Some(rest) = text.strip_prefix(&format!("#!{built_at}/python")) {
            let rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            fs::write(&path, format!("#!{LAYER}/bin/python3\n{rest}"))?;
        } else if text.starts_with("#!/bin/sh") && text.contains(&built_at) {
            fs::write(&path, text.replace(&built_at, &format!("{LAYER}/bin")))?;
        }
    }
    for name in fs::read_dir(folder.join("bin"))?.flatten() {
        let file = name.file_name();
        let file = file.to_string_lossy();
        // The layer has its own; these would run past the quick answer or point at the host's paths.
        if file.starts_with("python")
            || file.starts_with("pip")
            || file.to_lowercase().starts_with("activate")
        {
            fs::remove_file(name.path())?;
        }
    }
    let entry = folder
        .join("lib")
        .join(format!("python{minor}"))
        .join("site-packages/pip/__main__.py");
    let own = fs::read_to_string(&entry)?;
    let shortcut = include_str!("pip_shortcut.py");
    if !own.starts_with(shortcut) {
        fs::write(&entry, format!("{shortcut}{own}"))?;
    }
    fs::write(folder.join("satisfied.txt"), satisfied)?;
    Ok(())
}

fn size_of(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    if metadata.is_dir() {
        fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| size_of(&entry.path()))
            .sum()
    } else {
        metadata.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(requirements: &[&str]) -> Recipe {
        Recipe {
            interpreter: Interpreter {
                version: "3.11.7".into(),
                executable: "/p/bin/python3".into(),
                prefix: "/p".into(),
            },
            installs: vec![Install {
                requirements: vec!["six".into()],
                ..Install::default()
            }],
            requirements: requirements.iter().map(|line| (*line).to_owned()).collect(),
            may_build: false,
        }
    }

    #[test]
    fn the_same_packages_in_another_order_are_the_same_environment() {
        assert_eq!(recipe(&["a", "b"]).key(&[]), recipe(&["b", "a"]).key(&[]));
        assert_ne!(recipe(&["a", "b"]).key(&[]), recipe(&["a"]).key(&[]));
    }

    #[test]
    fn another_index_is_another_environment_but_another_proxy_is_not() {
        let with = |name: &str| recipe(&[]).key(&[(name.to_owned(), "x".to_owned())]);
        assert_ne!(with("PIP_INDEX_URL"), recipe(&[]).key(&[]));
        assert_eq!(with("HTTPS_PROXY"), recipe(&[]).key(&[]));
    }

    #[test]
    fn the_satisfied_lists_say_how_each_was_installed() {
        assert_eq!(
            recipe(&["numpy==1.26.4", "-e ./x"]).satisfied(),
            "deps\t\tsix\ndeps\t\tnumpy==1.26.4\n"
        );
    }

    #[test]
    fn what_was_unused_for_longest_goes_first_and_what_is_used_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let environments = Environments::new(folder.path().to_owned(), None, Vec::new());
        for (age_s, name) in [(30, "oldest"), (20, "used"), (10, "newest")] {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("a folder");
            fs::write(path.join("environment.json"), [0; 100]).expect("a marker");
            let time = SystemTime::now() - Duration::from_secs(age_s);
            File::options()
                .append(true)
                .open(path.join("environment.json"))
                .and_then(|f| f.set_modified(time))
                .expect("a time");
        }
        assert_eq!(
            environments.prune(250, &["used".into()]).expect("pruned"),
            ["oldest"]
        );
        assert_eq!(
            environments.prune(50, &["used".into()]).expect("pruned"),
            ["newest"]
        );
    }

    #[test]
    fn an_installers_failure_is_told_by_its_error_lines() {
        let output = "Collecting x\nERROR: Could not find a version that satisfies x\nhint: y\n";
        assert_eq!(
            the_point_of(output),
            "ERROR: Could not find a version that satisfies x"
        );
        assert_eq!(the_point_of("a\nb\nc\nd"), "b; c; d");
    }
}
