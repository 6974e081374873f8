//! From an image name to everything a container needs of it: root, mounts, environment, what it runs by default.
//! Which environment was chosen and why is told in words, for the pod's events.

pub mod bundle;
pub mod catalog;
pub(crate) mod copy;
pub mod name;
pub mod oci;
pub mod python;
pub mod registry;
mod remote;
pub mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::shim::{Mount, Root};
use catalog::{Resolution, Source};
use name::ImageName;
use python::{Environments, Install, Interpreter, Recipe};
pub use remote::PullPolicy;
use store::FolderImages;

/// Where images come from on this node.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The folder for images and environments.
    pub folder: PathBuf,
    /// This program, which stands for our own image.
    pub exe: PathBuf,
    /// The owner's table: pattern → `host`, `python:3.x`, `root:/path` or another image.
    pub table: Vec<(String, String)>,
    /// Folders to search for Pythons and `uv`, as in the owner's PATH.
    pub search: Vec<PathBuf>,
    /// The owner's home folder, where version managers keep Pythons.
    pub home: Option<PathBuf>,
    /// Proxy, package index and certificate settings, for installers and pods.
    pub settings: Vec<(String, String)>,
    /// Registries, as `host:port`, that are spoken to without TLS. Those on this machine always are.
    pub insecure_registries: Vec<String>,
}

/// The images of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    folders: FolderImages,
    environments: Environments,
    interpreters: OnceCell<Vec<Interpreter>>,
    blobs: registry::Blobs,
    pulls: remote::Pulls,
}

/// What a container needs of its image.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// As in `status.containerStatuses[].imageID`.
    pub image_id: String,
    /// The root file system.
    pub root: Root,
    /// What is mounted into it.
    pub mounts: Vec<Mount>,
    /// Variables the image sets.
    pub env: Vec<(String, String)>,
    /// What runs when the container names no command.
    pub entrypoint: Vec<String>,
    /// Its arguments when the container names none.
    pub arguments: Vec<String>,
    /// Where it starts when the container does not say.
    pub working_dir: Option<PathBuf>,
    /// Who it runs as when nobody says.
    pub user: Option<String>,
    /// The container gets a writable layer over a shared environment of this Python.
    pub python: Option<Interpreter>,
    /// A folder to be copied for the container, and where the copy is mounted.
    pub copy: Option<(PathBuf, PathBuf)>,
    /// The environment in use, so that it is not removed meanwhile.
    pub environment: Option<String>,
    /// Sentences for the pod's events.
    pub notes: Vec<String>,
}

/// Why a container cannot have its image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] name::InvalidName),
    /// Nothing stands for it.
    #[error(transparent)]
    Unresolved(#[from] catalog::Unresolved),
    /// The store cannot be read.
    #[error("looking for image {image}")]
    Store {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: store::Error,
    },
    /// Its registry did not give it.
    #[error("{how}")]
    Pull {
        /// What was tried, and what else could be done.
        how: String,
        /// The cause.
        #[source]
        source: registry::Error,
    },
    /// The pod forbids to pull it.
    #[error(
        "image {0} is not present on this machine and its imagePullPolicy is Never; \
         pull it with: kfctl image pull {0}"
    )]
    NeverPull(String),
    /// It could not be put into layers.
    #[error("making an image of {image} that runs elsewhere")]
    Bundle {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: bundle::Error,
    },
    /// There is no Python.
    #[error(
        "image {0} needs Python, and no Python 3.8 or newer that a pod can use was found on this machine; install one \
         (Debian, Ubuntu: apt install python3 python3-venv)"
    )]
    NoPython(String),
    /// The environment could not be built.
    #[error("making the Python environment of image {image}")]
    Environment {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: python::Error,
    },
}

/// Where the files of a folder image are in its containers.
const APP: &str = "/app";
/// Where our own program is in a container.
const OWN_FOLDER: &str = "/opt/ferroflow/bin";

impl Images {
    /// The images below `config.folder`.
    pub fn new(config: Config) -> Self {
        let uv = config
            .search
            .iter()
            .map(|folder| folder.join("uv"))
            .find(|program| program.is_file());
        let folders = FolderImages::new(config.folder.join("images"));
        let blobs = registry::Blobs::new(config.folder.join("images/layout"));
        let environments = Environments::new(
            config.folder.join("environments"),
            uv,
            config.settings.clone(),
        );
        Self {
            inner: Arc::new(Inner {
                config,
                folders,
                environments,
                interpreters: OnceCell::new(),
                blobs,
                pulls: remote::Pulls::default(),
            }),
        }
    }

    /// The folder images, as `kfctl image` shows and changes them.
    pub fn folders(&self) -> &FolderImages {
        &self.inner.folders
    }

    /// The Pythons of this machine, looked for once.
    pub async fn interpreters(&self) -> &[Interpreter] {
        let config = &self.inner.config;
        self.inner
            .interpreters
            .get_or_init(|| python::find(&config.search, config.home.as_deref()))
            .await
    }

    /// Removes the environments that nobody used for longest, until the rest takes at most `keep_bytes`.
    pub fn prune(&self, keep_bytes: u64, in_use: &[String]) -> std::io::Result<Vec<String>> {
        self.inner.environments.prune(keep_bytes, in_use)
    }

    /// The node's settings for pods.
    pub fn settings(&self) -> &[(String, String)] {
        &self.inner.config.settings
    }

    /// What stands for `image`, decided but not yet made.
    pub fn resolve(&self, image: &str) -> Result<Resolution, Error> {
        let name = ImageName::parse(image)?;
        let mut broken = None;
        let added = |name: &ImageName| {
            self.inner
                .folders
                .find(name)
                .map_err(|error| error.to_string())
        };
        let found = catalog::resolve(&name, &self.inner.config.table, &|name| {
            added(name).unwrap_or_default()
        });
        if !matches!(&found, Ok(resolution) if resolution.source != Source::Registry) {
            broken = self.inner.folders.find(&name).err();
        }
        match broken {
            Some(source) => Err(Error::Store {
                image: image.to_owned(),
                source,
            }),
            None => Ok(found?),
        }
    }

    /// Makes ready what was decided. `command` is the container's whole command, read for packages that it installs as
    /// its first act; `progress` hears of slow work while it goes on.
    pub async fn prepare(
        &self,
        image: &str,
        resolution: &Resolution,
        command: &[String],
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Prepared, Error> {
        let mut prepared = Prepared {
            image_id: String::new(),
            root: Root::HostReadOnly { allow: Vec::new() },
            mounts: Vec::new(),
            env: vec![("LANG".into(), "C.UTF-8".into())],
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            working_dir: None,
            user: None,
            python: None,
            copy: None,
            environment: None,
            notes: vec![resolution.why.clone()],
        };
        match &resolution.source {
            Source::Registry => return Err(Error::NeverPull(image.to_owned())),
            Source::Host => {
                prepared.image_id = "ferroflow://host".into();
                prepared.arguments = vec!["sh".into()];
            }
            Source::Root(path) => {
                prepared.image_id = format!("ferroflow://root{}", path.display());
                prepared.root = Root::Folder { path: path.clone() };
            }
            Source::Own => {
                prepared.image_id = format!("ferroflow://kfctl@{}", env!("CARGO_PKG_VERSION"));
                let program = format!("{OWN_FOLDER}/kfctl");
                prepared
                    .mounts
                    .push(Mount::read_only(&self.inner.config.exe, &program));
                prepared.env.push((
                    "PATH".into(),
                    format!(
                        "{OWN_FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                    ),
                ));
                prepared.entrypoint = vec![program];
            }
            Source::Python { wanted } => {
                prepared.arguments = vec!["python3".into()];
                self.add_python(&mut prepared, image, wanted, &[], command, progress)
                    .await?;
                prepared.image_id = format!(
                    "ferroflow://python@{}",
                    prepared.environment.clone().unwrap_or_default()
                );
            }
            Source::Folder {
                image: folder,
                content,
            } if folder.is_root => {
                prepared.image_id = match &folder.manifest {
                    Some(digest) => format!("{}@{digest}", ImageName::parse(image)?.repository),
                    None => folder.digest.clone(),
                };
                prepared.root = Root::Folder {
                    path: content.clone(),
                };
                prepared.entrypoint = folder.entrypoint.clone();
                prepared.arguments = folder.arguments.clone();
                prepared.env = folder.env.clone();
                prepared.working_dir = folder.working_dir.clone();
                prepared.user = folder.user.clone();
            }
            Source::Folder {
                image: folder,
                content,
            } => {
                prepared.image_id = folder.digest.clone();
                prepared.entrypoint = folder.entrypoint.clone();
                prepared.copy = Some((content.clone(), APP.into()));
                prepared.working_dir = Some(APP.into());
                let wanted = folder.python.as_deref().unwrap_or("3");
                if needs_python(folder, content, command) {
                    self.add_python(
                        &mut prepared,
                        image,
                        wanted,
                        &folder.requirements,
                        command,
                        progress,
                    )
                    .await?;
                }
            }
        }
        Ok(prepared)
    }

    /// A Python for the owner's own use on this machine, with these packages: its program and the folder that
    /// PYTHONPATH must name.
    pub async fn python_with(
        &self,
        requirements: &[String],
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(PathBuf, PathBuf), Error> {
        const FOR: &str = "of the pipeline compiler";
        let choice = python::choose(self.interpreters().await, "3")
            .ok_or_else(|| Error::NoPython(FOR.to_owned()))?;
        let interpreter = choice.interpreter;
        let recipe = Recipe {
            interpreter: interpreter.clone(),
            installs: Vec::new(),
            requirements: requirements.to_vec(),
            may_build: true,
        };
        let failed = |source| Error::Environment {
            image: FOR.to_owned(),
            source,
        };
        let environment = self
            .inner
            .environments
            .get(&recipe, progress)
            .await
            .map_err(failed)?;
        let packages = format!("lib/python{}/site-packages", interpreter.minor());
        Ok((interpreter.executable, environment.folder.join(packages)))
    }

    async fn add_python(
        &self,
        prepared: &mut Prepared,
        image: &str,
        wanted: &str,
        requirements: &[String],
        command: &[String],
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), Error> {
        let choice = python::choose(self.interpreters().await, wanted)
            .ok_or_else(|| Error::NoPython(image.to_owned()))?;
        let interpreter = choice.interpreter;
        if let Some(wanted) = choice.instead_of {
            prepared.notes.push(format!(
                "Python {wanted} was asked for, but this machine has none; Python {} is used instead",
                interpreter.version
            ));
        }
        let base = Recipe {
            interpreter: interpreter.clone(),
            installs: Vec::new(),
            requirements: requirements.to_vec(),
            may_build: !requirements.is_empty(),
        };
        let installs: Vec<Install> = python::installs(command);
        let wished = Recipe {
            installs,
            ..base.clone()
        };
        let environment = match self.inner.environments.get(&wished, progress).await {
            Ok(environment) => environment,
            Err(error) if wished != base => {
                // The step's own list decides about the step's own failure: its pip says what is wrong.
                prepared.notes.push(format!(
                    "The packages that the command installs could not be prepared ({error}); pip installs them in the pod"
                ));
                let of_image = |source| Error::Environment {
                    image: image.to_owned(),
                    source,
                };
                self.inner
                    .environments
                    .get(&base, progress)
                    .await
                    .map_err(of_image)?
            }
            Err(source) => {
                return Err(Error::Environment {
                    image: image.to_owned(),
                    source,
                });
            }
        };
        if let Some(time) = environment.built_in {
            prepared.notes.push(format!(
                "Made environment {} in {:.1} s",
                environment.key,
                time.as_secs_f64()
            ));
        }
        if !interpreter.is_of_system() {
            let prefix = &interpreter.prefix;
            prepared.mounts.push(Mount {
                owned_by_pod: false,
                ..Mount::read_only(prefix, prefix)
            });
        }
        prepared
            .mounts
            .push(Mount::read_only(&environment.folder, python::SHARED));
        prepared.env.push(("PATH".into(), python::search_path()));
        prepared
            .env
            .push(("PYTHON_VERSION".into(), interpreter.version.clone()));
        prepared.python = Some(interpreter);
        prepared.environment = Some(environment.key);
        Ok(())
    }
}

/// A folder is Python's when it says so, holds Python files, or is started with Python.
fn needs_python(image: &store::FolderImage, content: &Path, command: &[String]) -> bool {
    let has_python_files = || {
        std::fs::read_dir(content)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "py")
            })
    };
    let first = command.first().or(image.entrypoint.first());
    image.python.is_some()
        || !image.requirements.is_empty()
        || first.is_some_and(|program| {
            program
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with("python"))
        })
        || has_python_files()
}
