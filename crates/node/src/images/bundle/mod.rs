//! An image of this machine as an OCI image for any other: its code, its Python environment and a base of this machine's
//! own C library, interpreter and tools, each one layer. Equal content gives equal bytes: entries are sorted, times and
//! owners fixed. Nothing here touches the network.

mod archive;
mod base;
mod layout;
mod libraries;
mod tree;

use std::io;
use std::path::{Path, PathBuf};

use super::python::{self, Interpreter};
use super::{APP, Prepared};
use crate::shim::Root;
pub use archive::write as write_archive;
pub use layout::{Blob, Layout};
use layout::{Builder, Config};
use libraries::Libraries;
use tree::Tree;

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("using {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not made of files that could be put into an image.
    #[error("image {0} is this machine's own shell and tools; there is nothing of it to push")]
    NothingOfItsOwn(String),
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub enum Content {
    /// A whole root file system.
    Root(PathBuf),
    /// A folder of programs, with the Python and the environment they run on.
    Folder {
        /// The programs.
        code: PathBuf,
        /// The interpreter and the folder of its packages; none for a folder without Python.
        python: Option<(Interpreter, PathBuf)>,
    },
    /// This program.
    Own(PathBuf),
}

/// Where our own program is in its own image.
const OWN: &str = "usr/local/bin/kfctl";
/// A user that owns nothing, by number, so that `runAsNonRoot` can be decided without the image.
const NOBODY_IN_PARTICULAR: &str = "65532:65532";
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the image in the empty folder `folder`. `prepared` says how it is run.
pub fn make(
    content: &Content,
    prepared: &Prepared,
    folder: &Path,
    note: &dyn Fn(String),
) -> Result<Layout, Error> {
    let io_at = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let mut builder = Builder::new(folder).map_err(io_at(folder))?;
    let mut layer = |what: &str, tree: &Tree| {
        note(format!("packing {what} ({} entries)", tree.len()));
        builder.layer(what, tree).map_err(io_at(folder))
    };
    let mut config = Config {
        entrypoint: prepared.entrypoint.clone(),
        arguments: prepared.arguments.clone(),
        env: prepared.env.clone(),
        working_dir: prepared.working_dir.clone(),
        user: prepared.user.clone(),
    };
    match content {
        Content::Root(root) => {
            let mut tree = Tree::default();
            tree.copy(root, Path::new(""), &tree::EVERYTHING)
                .map_err(io_at(root))?;
            layer("the root file system", &tree)?;
        }
        Content::Own(exe) => {
            let mut tree = base::bare().map_err(io_at(Path::new("/")))?;
            let mut libraries = Libraries::default();
            tree.file(OWN, exe, 0o755);
            libraries.need(exe);
            libraries.put_into(&mut tree).map_err(io_at(exe))?;
            layer("kfctl and the C library", &tree)?;
            config = Config {
                entrypoint: vec![format!("/{OWN}")],
                env: vec![
                    ("PATH".into(), USUAL_PATH.into()),
                    ("LANG".into(), "C.UTF-8".into()),
                ],
                user: Some(NOBODY_IN_PARTICULAR.into()),
                ..Config::default()
            };
        }
        Content::Folder { code, python } => {
            let interpreter = python.as_ref().map(|(interpreter, _)| interpreter);
            let (base, libraries) = base::with_tools(interpreter).map_err(io_at(Path::new("/")))?;
            layer("the base", &base)?;
            if let Some((interpreter, environment)) = python {
                let tree = packages(&base, libraries, interpreter, environment)
                    .map_err(io_at(environment))?;
                layer("the Python environment", &tree)?;
            } else {
                config.env.push(("PATH".into(), USUAL_PATH.into()));
            }
            let mut tree = Tree::default();
            tree.copy(code, Path::new(APP.trim_start_matches('/')), &tree::CODE)
                .map_err(io_at(code))?;
            layer("the folder", &tree)?;
        }
    }
    builder.finish(&config).map_err(io_at(folder))
}

/// The environment and the small layer over it that makes `pip install` work, at the paths they have in pods here.
fn packages(
    base: &Tree,
    mut libraries: Libraries,
    interpreter: &Interpreter,
    environment: &Path,
) -> io::Result<Tree> {
    let mut tree = Tree::default();
    let inside = |path: &str| PathBuf::from(path.trim_start_matches('/'));
    tree.copy(environment, &inside(python::SHARED), &tree::PACKAGES)?;
    let layer = tempfile_beside(environment)?;
    python::write_layer(layer.path(), interpreter)?;
    tree.take(layer.path(), &inside(python::LAYER), &tree::CODE)?;
    libraries.need_all(environment);
    let mut more = Tree::default();
    libraries.put_into(&mut more)?;
    more.remove_all_of(base);
    tree.merge(more);
    Ok(tree)
}

fn tempfile_beside(environment: &Path) -> io::Result<Scratch> {
    let parent = environment.parent().unwrap_or(Path::new("/tmp"));
    let path = parent.join(format!("layer-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&path)?;
    Ok(Scratch(path))
}

/// A folder that goes when it is no longer needed.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Takes over an existing folder.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the image of `prepared` is made of.
pub(super) fn content_of(
    image: &str,
    prepared: &Prepared,
    environments: &Path,
    own: Option<&Path>,
) -> Result<Content, Error> {
    if let Some(exe) = own {
        return Ok(Content::Own(exe.to_owned()));
    }
    let python = prepared
        .python
        .clone()
        .zip(prepared.environment.as_ref())
        .map(|(interpreter, key)| (interpreter, environments.join(key)));
    match (&prepared.root, &prepared.copy) {
        (Root::Folder { path }, _) => Ok(Content::Root(path.clone())),
        (Root::HostReadOnly { .. }, Some((code, _))) => Ok(Content::Folder {
            code: code.clone(),
            python,
        }),
        (Root::HostReadOnly { .. }, None) => Err(Error::NothingOfItsOwn(image.to_owned())),
    }
}

#[cfg(test)]
mod tests;
