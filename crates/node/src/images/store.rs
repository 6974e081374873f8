//! Images made from plain folders: `kfctl image add train:latest ./train`. The folder is copied once under its content's
//! digest; names point at digests, so an image never changes under a running pod. `kfctl` and the node both use this,
//! at the same time if need be: the index is replaced in one step, under a lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::copy::Copy;
use super::name::{ImageName, InvalidName};
use super::oci;

/// The folder images of this node.
#[derive(Debug, Clone)]
pub struct FolderImages {
    folder: PathBuf,
}

/// An image made from a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FolderImage {
    /// `sha256:…` over names, modes and contents.
    pub digest: String,
    /// Where it was copied from, for people.
    pub source: PathBuf,
    /// Lines of its requirements file.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// The Python version it asked for.
    #[serde(default)]
    pub python: Option<String>,
    /// What runs when a container names no command.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// All files together.
    pub size_bytes: u64,
    /// When it was added.
    pub created_at: Timestamp,
    /// It is a whole root file system, not a folder of programs.
    #[serde(default)]
    pub is_root: bool,
    /// Arguments of the entrypoint when a container names none.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Variables the image sets.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Where its programs start.
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// Who they run as.
    #[serde(default)]
    pub user: Option<String>,
    /// Digest of its manifest, where it was pulled from a registry.
    #[serde(default)]
    pub manifest: Option<String>,
}

/// What `add` needs to know.
#[derive(Debug, Clone, Default)]
pub struct NewImage {
    /// The image's name, as people write it. An archive that knows its own needs none.
    pub name: String,
    /// The folder to copy.
    pub folder: PathBuf,
    /// A requirements file; `requirements.txt` in the folder when not given.
    pub requirements: Option<PathBuf>,
    /// `3.x`.
    pub python: Option<String>,
    /// What runs when a container names no command.
    pub entrypoint: Vec<String>,
}

/// Why an image could not be added, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// There is no such folder.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// It is an archive, but not of an image that can be read.
    #[error("reading the image")]
    Oci(#[from] oci::Error),
    /// Reading or writing failed.
    #[error("using {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The index cannot be read.
    #[error("the image index {} cannot be read: {message}; move it away and add the images again", path.display())]
    Index {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// An archive without a name in it.
    #[error("{} does not say what its image is called; give it a name", .0.display())]
    Nameless(PathBuf),
    /// Something in the folder is neither a file, a folder nor a link.
    #[error("{} is neither a file, a folder nor a link; leave it out of the image", .0.display())]
    Special(PathBuf),
    /// The version is not of the form `3.x`.
    #[error("python version {0:?} is not of the form 3.x")]
    Python(String),
}

type Index = BTreeMap<String, FolderImage>;

impl FolderImages {
    /// The images below `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Copies a folder into the store under a name, which from now on means this copy.
    pub fn add(&self, new: &NewImage) -> Result<(ImageName, FolderImage), Error> {
        if new.folder.is_file() || new.folder.join("oci-layout").is_file() {
            return self.add_archive(new);
        }
        let name = ImageName::parse(&new.name)?;
        if !new.folder.is_dir() {
            return Err(Error::NotAFolder(new.folder.clone()));
        }
        if let Some(version) = &new.python
            && version
                .strip_prefix("3.")
                .is_none_or(|minor| minor.parse::<u32>().is_err())
        {
            return Err(Error::Python(version.clone()));
        }
        let source = new.folder.canonicalize().map_err(at(&new.folder))?;
        let list = new.requirements.clone().or_else(|| {
            let usual = source.join("requirements.txt");
            usual.is_file().then_some(usual)
        });
        let requirements = match list {
            Some(path) => requirement_lines(&fs::read_to_string(&path).map_err(at(&path))?),
            None => Vec::new(),
        };
        fs::create_dir_all(self.folder.join("content")).map_err(at(&self.folder))?;
        let adding = self
            .folder
            .join("content")
            .join(format!("adding-{}", uuid::Uuid::new_v4()));
        let mut copy = Copy {
            digest: Sha256::new(),
            size_bytes: 0,
        };
        let copied = copy.folder(&source, &adding, Path::new(""));
        if let Err(error) = copied {
            let _ = fs::remove_dir_all(&adding);
            return Err(error);
        }
        let digest = hex::encode(copy.digest.finalize());
        let content = self.content(&digest);
        if content.exists() {
            fs::remove_dir_all(&adding).map_err(at(&adding))?;
        } else {
            fs::rename(&adding, &content).map_err(at(&content))?;
        }
        let image = FolderImage {
            digest: format!("sha256:{digest}"),
            source,
            requirements,
            python: new.python.clone(),
            entrypoint: new.entrypoint.clone(),
            size_bytes: copy.size_bytes,
            created_at: Timestamp::now(),
            is_root: false,
            arguments: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            user: None,
            manifest: None,
        };
        self.change(|index| {
            index.insert(name.to_string(), image.clone());
        })?;
        Ok((name, image))
    }

    /// Unpacks an OCI archive or layout into the store, under its own name where none is given.
    fn add_archive(&self, new: &NewImage) -> Result<(ImageName, FolderImage), Error> {
        let source = new.folder.canonicalize().map_err(at(&new.folder))?;
        let given = match new.name.as_str() {
            "" => None,
            name => Some(ImageName::parse(name)?),
        };
        let content = self.folder.join("content");
        let scratch = content.join(format!("reading-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&scratch).map_err(at(&scratch))?;
        let unpacked = self.unpack(|root| oci::unpack(&source, root, &scratch));
        let _ = fs::remove_dir_all(&scratch);
        let unpacked = unpacked?;
        let name = match (given, &unpacked.name) {
            (Some(name), _) => name,
            (None, Some(own)) => ImageName::parse(own)?,
            (None, None) => return Err(Error::Nameless(source)),
        };
        let mut image = image_of(unpacked, source);
        if !new.entrypoint.is_empty() {
            image.entrypoint.clone_from(&new.entrypoint);
            image.arguments.clear();
        }
        self.change(|index| {
            index.insert(name.to_string(), image.clone());
        })?;
        Ok((name, image))
    }

    /// Unpacks a pulled image, whose blobs lie in `layout`, into the store under its name.
    pub fn add_pulled(
        &self,
        name: &ImageName,
        layout: &Path,
        manifest: &serde_json::Value,
        digest: &str,
    ) -> Result<FolderImage, Error> {
        fs::create_dir_all(&self.folder).map_err(at(&self.folder))?;
        let known = manifest["config"]["digest"]
            .as_str()
            .and_then(oci::sha256_digits)
            .is_some_and(|digits| self.content(digits).is_dir());
        let same = self
            .index()?
            .into_values()
            .find(|image| known && manifest["config"]["digest"] == image.digest.as_str());
        let image = match same {
            // Another name for what is here.
            Some(image) => image,
            None => image_of(
                self.unpack(|root| oci::unpack_manifest(layout, manifest, root))?,
                name.to_string().into(),
            ),
        };
        let image = FolderImage {
            manifest: Some(digest.to_owned()),
            created_at: Timestamp::now(),
            source: name.to_string().into(),
            ..image
        };
        self.change(|index| {
            index.insert(name.to_string(), image.clone());
        })?;
        Ok(image)
    }

    /// Unpacks into a folder beside the others and gives it its name.
    fn unpack(
        &self,
        work: impl FnOnce(&Path) -> Result<oci::Unpacked, oci::Error>,
    ) -> Result<oci::Unpacked, Error> {
        let adding = self
            .folder
            .join("content")
            .join(format!("adding-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&adding).map_err(at(&adding))?;
        let unpacked = match work(&adding) {
            Ok(unpacked) => unpacked,
            Err(error) => {
                let _ = fs::remove_dir_all(&adding);
                return Err(error.into());
            }
        };
        let target = self.content(unpacked.digest.trim_start_matches("sha256:"));
        match fs::rename(&adding, &target) {
            Ok(()) => {}
            // It was there before, or came meanwhile.
            Err(_) if target.is_dir() => {
                fs::remove_dir_all(&adding).map_err(at(&adding))?;
            }
            Err(source) => {
                return Err(Error::Io {
                    path: target,
                    source,
                });
            }
        }
        Ok(unpacked)
    }

    /// The image of a name, and the folder with its content.
    pub fn find(&self, name: &ImageName) -> Result<Option<(FolderImage, PathBuf)>, Error> {
        let index = self.index()?;
        let image = index.get(&name.to_string()).or_else(|| {
            let digest = name.digest.as_ref()?;
            let tagged = format!("{}:", name.repository);
            index
                .iter()
                .find(|(key, image)| {
                    key.starts_with(&tagged)
                        && (image.digest == *digest || image.manifest.as_ref() == Some(digest))
                })
                .map(|(_, image)| image)
        });
        Ok(image.map(|image| {
            (
                image.clone(),
                self.content(image.digest.trim_start_matches("sha256:")),
            )
        }))
    }

    /// All images by name.
    pub fn list(&self) -> Result<Vec<(String, FolderImage)>, Error> {
        Ok(self.index()?.into_iter().collect())
    }

    /// Forgets a name; true if there was one. Content that no name points at goes with it.
    pub fn remove(&self, name: &ImageName) -> Result<bool, Error> {
        let mut removed = None;
        self.change(|index| removed = index.remove(&name.to_string()))?;
        let Some(image) = removed else {
            return Ok(false);
        };
        if !self
            .index()?
            .values()
            .any(|other| other.digest == image.digest)
        {
            let content = self.content(image.digest.trim_start_matches("sha256:"));
            fs::remove_dir_all(&content).map_err(at(&content))?;
        }
        Ok(true)
    }

    fn content(&self, digest: &str) -> PathBuf {
        self.folder.join("content").join(digest)
    }

    fn index(&self) -> Result<Index, Error> {
        let path = self.folder.join("index.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::new()),
            Err(source) => return Err(Error::Io { path, source }),
        };
        serde_json::from_slice(&text).map_err(|error| Error::Index {
            path,
            message: error.to_string(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut Index)) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(at(&self.folder))?;
        let path = self.folder.join("index.json");
        let lock_path = self.folder.join("index.lock");
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        lock.lock().map_err(at(&lock_path))?;
        let mut index = self.index()?;
        change(&mut index);
        let next = self.folder.join("index.json.next");
        let text = serde_json::to_vec_pretty(&index).unwrap_or_default();
        fs::write(&next, text).map_err(at(&next))?;
        fs::rename(&next, &path).map_err(at(&path))
    }
}

fn image_of(unpacked: oci::Unpacked, source: PathBuf) -> FolderImage {
    let oci::Settings {
        entrypoint,
        arguments,
        env,
        working_dir,
        user,
    } = unpacked.settings;
    FolderImage {
        digest: unpacked.digest,
        source,
        requirements: Vec::new(),
        python: None,
        entrypoint,
        size_bytes: unpacked.size_bytes,
        created_at: Timestamp::now(),
        is_root: true,
        arguments,
        env,
        working_dir,
        user,
        manifest: None,
    }
}

/// The lines of a requirements file that ask for something.
pub fn requirement_lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split(" #").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        _folder: tempfile::TempDir,
        source: PathBuf,
        images: FolderImages,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("train");
        fs::create_dir_all(source.join("__pycache__")).expect("folders");
        fs::create_dir_all(source.join("data")).expect("folders");
        fs::write(source.join("train.py"), "print(1)").expect("a file");
        fs::write(source.join("__pycache__/x.pyc"), "x").expect("a file");
        fs::write(source.join("data/a.txt"), "a").expect("a file");
        fs::write(
            source.join("requirements.txt"),
            "# what\nnumpy==1.26.4  # pinned\n\nsix\n",
        )
        .expect("a file");
        let images = FolderImages::new(folder.path().join("images"));
        Fixture {
            _folder: folder,
            source,
            images,
        }
    }

    fn new(fixture: &Fixture, name: &str) -> NewImage {
        NewImage {
            name: name.into(),
            folder: fixture.source.clone(),
            ..NewImage::default()
        }
    }

    #[test]
    fn an_added_folder_is_found_under_every_way_of_writing_its_name() {
        let fixture = fixture();
        let (_, added) = fixture
            .images
            .add(&new(&fixture, "train:latest"))
            .expect("added");
        assert_eq!(added.requirements, ["numpy==1.26.4", "six"]);
        for name in ["train", "docker.io/library/train:latest"] {
            let name = ImageName::parse(name).expect("a name");
            let (image, content) = fixture.images.find(&name).expect("found").expect("there");
            assert_eq!(image, added);
            assert!(content.join("train.py").is_file() && content.join("data/a.txt").is_file());
            assert!(!content.join("__pycache__").exists());
        }
        assert_eq!(
            fixture
                .images
                .find(&ImageName::parse("other").expect("a name"))
                .expect("looked"),
            None
        );
    }

    #[test]
    fn equal_folders_are_stored_once_and_a_changed_one_is_another_image() {
        let fixture = fixture();
        let (_, first) = fixture.images.add(&new(&fixture, "a")).expect("added");
        let (_, second) = fixture.images.add(&new(&fixture, "b")).expect("added");
        assert_eq!(first.digest, second.digest);
        fs::write(fixture.source.join("train.py"), "print(2)").expect("a file");
        let (_, third) = fixture.images.add(&new(&fixture, "b")).expect("added");
        assert_ne!(first.digest, third.digest);
    }

    #[test]
    fn content_goes_with_the_last_name_that_points_at_it() {
        let fixture = fixture();
        fixture.images.add(&new(&fixture, "a")).expect("added");
        fixture.images.add(&new(&fixture, "b")).expect("added");
        let name = |text: &str| ImageName::parse(text).expect("a name");
        let (_, content) = fixture
            .images
            .find(&name("a"))
            .expect("found")
            .expect("there");
        assert!(fixture.images.remove(&name("a")).expect("removed"));
        assert!(content.exists());
        assert!(fixture.images.remove(&name("b")).expect("removed"));
        assert!(!content.exists());
        assert!(!fixture.images.remove(&name("b")).expect("looked"));
    }

    #[test]
    fn what_cannot_be_an_image_is_refused_in_words() {
        let fixture = fixture();
        let refused = |new: NewImage| fixture.images.add(&new).expect_err("refused").to_string();
        assert!(refused(new(&fixture, "Train")).contains("is no image name"));
        assert!(
            refused(NewImage {
                folder: "/none".into(),
                ..new(&fixture, "a")
            })
            .contains("is not a folder")
        );
        assert!(
            refused(NewImage {
                python: Some("2.7".into()),
                ..new(&fixture, "a")
            })
            .contains("not of the form 3.x")
        );
        assert_eq!(fixture.images.list().expect("a list"), []);
    }
}
