//! Blobs as they came from registries, under their digests. A download that broke off goes on where it ended, also after
//! a restart; a blob has its final name only when its digest was checked. Images that share layers fetch them once.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use oci_client::client::BlobResponse;
use sha2::{Digest, Sha256};

use super::failure::{self, Error, innermost};
use super::{Listener, Progress, Registry};
use crate::images::oci;

/// The blobs of this node.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
}

/// A download is tried this often before it fails.
const TRIES: u32 = 4;

impl Blobs {
    /// Blobs below `folder`, which is laid out as an OCI layout is.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The layout folder.
    pub fn layout(&self) -> &Path {
        &self.folder
    }

    fn files(&self) -> PathBuf {
        self.folder.join("blobs/sha256")
    }

    /// Fetches a blob unless it is here.
    pub(super) async fn fetch(
        &self,
        registry: &Registry,
        digest: &str,
        size: u64,
        heard: Listener<'_>,
    ) -> Result<PathBuf, Error> {
        let digits = oci::sha256_digits(digest).ok_or_else(|| Error::Malformed {
            image: registry.name.to_string(),
            message: format!("{digest:?} is no sha256 digest"),
        })?;
        let path = self.files().join(digits);
        if is_used(&path) {
            heard(Progress::Moved(size));
            return Ok(path);
        }
        fs::create_dir_all(self.files()).map_err(at(&path))?;
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(at(&lock_path))?;
        // Somebody else may have fetched it while we waited.
        if is_used(&path) {
            heard(Progress::Moved(size));
            return Ok(path);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.go_on(registry, digest, size, &path, heard).await {
                Ok(()) => break,
                Err(error) if error.is_passing() && tries < TRIES => {
                    tracing::debug!(%error, digest, tries, "a download broke off");
                    tokio::time::sleep(Duration::from_millis(200 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
        drop(lock);
        let _ = fs::remove_file(&lock_path);
        Ok(path)
    }

    /// One try: from where the last one ended up to the end.
    async fn go_on(
        &self,
        registry: &Registry,
        digest: &str,
        size: u64,
        path: &Path,
        heard: Listener<'_>,
    ) -> Result<(), Error> {
        let changed = || Error::Changed {
            registry: registry.name.registry().to_owned(),
            what: digest.to_owned(),
        };
        let part = path.with_extension("part");
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&part)
            .map_err(at(&part))?;
        let mut sum = Sha256::new();
        let mut have = read_into(&mut file, &mut sum).map_err(at(&part))?;
        if have > size {
            file.set_len(0).map_err(at(&part))?;
            (sum, have) = (Sha256::new(), 0);
        }
        heard(Progress::Moved(have));
        if have < size {
            let unreachable = |error: io::Error| Error::Unreachable {
                registry: registry.name.registry().to_owned(),
                cause: innermost(&error),
            };
            let answer = registry
                .client
                .pull_blob_stream_partial(&registry.reference, digest, have, None)
                .await
                .map_err(|error| failure::of(&registry.name, error))?;
            let mut stream = match answer {
                BlobResponse::Partial(stream) => stream,
                BlobResponse::Full(stream) => {
                    file.set_len(0).map_err(at(&part))?;
                    (sum, have) = (Sha256::new(), 0);
                    stream
                }
            };
            while let Some(bytes) = stream.next().await {
                // The library checks whole answers itself; that one must not be asked for again from its end.
                let bytes = match bytes {
                    Ok(bytes) => bytes,
                    Err(_) if have == size => break,
                    Err(error) => return Err(unreachable(error)),
                };
                have += bytes.len() as u64;
                if have > size {
                    let _ = fs::remove_file(&part);
                    return Err(changed());
                }
                sum.update(&bytes);
                file.write_all(&bytes).map_err(at(&part))?;
                heard(Progress::Moved(bytes.len() as u64));
            }
            if have < size {
                return Err(unreachable(io::Error::other(
                    "the connection ended before all was there",
                )));
            }
        }
        if format!("sha256:{}", hex::encode(sum.finalize())) != digest.to_ascii_lowercase() {
            let _ = fs::remove_file(&part);
            return Err(changed());
        }
        fs::rename(&part, path).map_err(at(path))
    }

    /// Removes what was not used for this long.
    pub fn prune(&self, unused: Duration) -> io::Result<()> {
        let entries = match fs::read_dir(self.files()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?);
            if age.is_ok_and(|age| age > unused) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Whether the blob is here; its time says when it was used last.
fn is_used(path: &Path) -> bool {
    File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .is_ok()
}

fn read_into(file: &mut File, sum: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            count => {
                sum.update(&buffer[..count]);
                total += count as u64;
            }
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}
