//! One bucket behind either a local folder or an object store, and the table from bucket URIs to stores.
//! Callers stream; nothing here holds a whole artifact in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Error, Key, LocalStore, Uri, object};

/// How much of a file one chunk of a stream carries.
const CHUNK_BYTES: usize = 64 * 1024;

/// Content as it comes.
pub type Chunks = BoxStream<'static, Result<Bytes, Error>>;

/// One file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the artifact's key.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
}

/// What is stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// A file of so many bytes.
    File(u64),
    /// A folder; in a bucket one with something in it.
    Folder,
}

/// One bucket.
#[derive(Clone)]
pub enum Store {
    /// A folder of this machine, shared with the steps: no copies are made.
    Local(LocalStore),
    /// S3 or memory.
    Object(Arc<dyn ObjectStore>),
}

impl Store {
    /// Streams a stored file.
    pub async fn read(&self, key: &Key) -> Result<Chunks, Error> {
        self.read_first(key, None).await.map(|(_, chunks)| chunks)
    }

    /// Streams a stored file, or its first bytes; how many they are stands before them.
    pub async fn read_first(&self, key: &Key, limit: Option<u64>) -> Result<(u64, Chunks), Error> {
        match self {
            Self::Local(store) => {
                let file = store.read(key)?;
                let size = file.metadata().map_err(io_error("look at", key))?.len();
                let size = limit.map_or(size, |limit| limit.min(size));
                // What grows while it is read is told no longer than its size was.
                let file = tokio::fs::File::from_std(file).take(size);
                let name = key.to_string();
                let chunks = futures::stream::try_unfold(file, move |mut file| {
                    let name = name.clone();
                    async move {
                        let mut chunk = vec![0; CHUNK_BYTES];
                        let read = file.read(&mut chunk).await.map_err(|source| Error::Io {
                            action: "read",
                            key: name,
                            source,
                        })?;
                        chunk.truncate(read);
                        Ok((read > 0).then(|| (Bytes::from(chunk), file)))
                    }
                });
                Ok((size, chunks.boxed()))
            }
            Self::Object(store) => object::read(store.as_ref(), key, limit).await,
        }
    }

    /// True when a file, or a folder with something in it, is stored under the key.
    pub async fn exists(&self, key: &Key) -> Result<bool, Error> {
        match self {
            Self::Local(store) => Ok(store.exists(key)),
            Self::Object(store) => Ok(object::stat(store.as_ref(), key).await?.is_some()),
        }
    }

    /// What is stored under the key.
    pub async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        match self {
            Self::Local(store) => store.stat(key),
            Self::Object(store) => object::stat(store.as_ref(), key).await,
        }
    }

    /// All files below a stored folder, sorted.
    pub async fn files(&self, key: &Key) -> Result<Vec<Entry>, Error> {
        match self {
            Self::Local(store) => store.files(key),
            Self::Object(store) => object::files(store.as_ref(), key).await,
        }
    }

    /// Stores content under a key, whole or not at all.
    pub async fn write(&self, key: &Key, content: Bytes) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.write(key, &content),
            Self::Object(store) => {
                store
                    .put(&object::location(key)?, content.into())
                    .await
                    .map_err(|source| object::error("write", key, source))?;
                Ok(())
            }
        }
    }

    /// Stores a stream of so many bytes under a key, whole or not at all.
    pub async fn write_stream(
        &self,
        key: &Key,
        size_bytes: u64,
        content: BoxStream<'_, Result<Bytes, Error>>,
    ) -> Result<(), Error> {
        match self {
            Self::Local(store) => write_file(store, key, size_bytes, content).await,
            Self::Object(store) => object::write(store.as_ref(), key, size_bytes, content).await,
        }
    }

    /// Removes whatever is stored under a key; nothing there is fine.
    pub async fn remove(&self, key: &Key) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.remove(key),
            Self::Object(store) => object::remove(store.as_ref(), key).await,
        }
    }
}

async fn write_file(
    store: &LocalStore,
    key: &Key,
    size_bytes: u64,
    mut content: BoxStream<'_, Result<Bytes, Error>>,
) -> Result<(), Error> {
    let unfinished = store.begin(key)?;
    let mut file = tokio::fs::File::from_std(unfinished.file().map_err(io_error("write", key))?);
    let mut seen = 0;
    while let Some(chunk) = content.try_next().await? {
        seen += chunk.len() as u64;
        if seen > size_bytes {
            break;
        }
        file.write_all(&chunk)
            .await
            .map_err(io_error("write", key))?;
    }
    if seen != size_bytes {
        return Err(Error::Size(key.to_string()));
    }
    file.flush().await.map_err(io_error("write", key))?;
    unfinished.finish().map_err(io_error("write", key))
}

fn io_error(action: &'static str, key: &Key) -> impl Fn(std::io::Error) -> Error {
    let key = key.to_string();
    move |source| Error::Io {
        action,
        key: key.clone(),
        source,
    }
}

/// Which store holds which bucket.
#[derive(Clone, Default)]
pub struct Stores(Vec<Held>);

/// A bucket, or a folder of one, that a store holds.
#[derive(Clone)]
struct Held {
    /// `scheme://bucket`.
    bucket: String,
    /// Keys outside of it are none of ours.
    prefix: Option<Key>,
    store: Store,
}

impl Held {
    fn uri(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("{}/{prefix}", self.bucket),
            None => self.bucket.clone(),
        }
    }

    fn holds(&self, uri: &Uri) -> bool {
        self.bucket == uri.bucket_uri()
            && self.prefix.as_ref().is_none_or(|prefix| {
                uri.path
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

impl Stores {
    /// A table whose own bucket (`minio://mlpipeline`) is a local folder.
    pub fn local(store: LocalStore) -> Self {
        Self(vec![Held {
            bucket: crate::uri::DEFAULT_BUCKET.to_owned(),
            prefix: None,
            store: Store::Local(store),
        }])
    }

    /// The same table with one more bucket, `scheme://bucket`, or a folder of one, `scheme://bucket/prefix`. It becomes
    /// the one that new artifacts go to.
    pub fn with(mut self, uri: &str, store: Store) -> Result<Self, Error> {
        let parsed = Uri::parse(uri)?;
        let held = Held {
            bucket: parsed.bucket_uri(),
            prefix: (!parsed.path.is_empty())
                .then(|| parsed.key())
                .transpose()?,
            store,
        };
        self.0.insert(0, held);
        Ok(self)
    }

    /// Where new artifacts go: `scheme://bucket/prefix`.
    pub fn first(&self) -> String {
        self.0.first().map(Held::uri).unwrap_or_default()
    }

    /// The store and key of a URI.
    pub fn resolve(&self, uri: &str) -> Result<(&Store, Key), Error> {
        let parsed = Uri::parse(uri)?;
        let held = self
            .0
            .iter()
            .find(|held| held.holds(&parsed))
            .ok_or_else(|| Error::NoStore {
                bucket: parsed.bucket_uri(),
                kept: self.first(),
            })?;
        Ok((&held.store, parsed.key()?))
    }

    /// True when the bucket of a URI is one of ours.
    pub fn holds(&self, uri: &str) -> bool {
        Uri::parse(uri).is_ok_and(|parsed| self.0.iter().any(|held| held.holds(&parsed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn content(store: &Store, key: &Key) -> Vec<u8> {
        store
            .read(key)
            .await
            .unwrap()
            .try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend(chunk);
                Ok(all)
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn both_stores_keep_the_same_promises() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::parse("a/b").unwrap();
        for store in [
            Store::Local(LocalStore::open(folder.path()).unwrap()),
            Store::Object(Arc::new(object_store::memory::InMemory::new())),
        ] {
            assert!(!store.exists(&key).await.unwrap());
            assert!(matches!(
                store.read(&key).await.err(),
                Some(Error::NotFound(_))
            ));
            store
                .write(&key, Bytes::from(vec![7; 200_000]))
                .await
                .unwrap();
            assert!(store.exists(&key).await.unwrap());
            assert!(
                store.exists(&Key::parse("a").unwrap()).await.unwrap(),
                "a folder with content exists"
            );
            assert_eq!(content(&store, &key).await, vec![7; 200_000]);
            let folder = Key::parse("a").unwrap();
            assert_eq!(store.stat(&key).await.unwrap(), Some(Stat::File(200_000)));
            assert_eq!(store.stat(&folder).await.unwrap(), Some(Stat::Folder));
            let (size, _) = store.read_first(&key, Some(3)).await.unwrap();
            assert_eq!(size, 3);
            let odd = Key::parse("a/deep/50% #1 ü?").unwrap();
            store.write(&odd, Bytes::from_static(b"odd")).await.unwrap();
            let files = store.files(&folder).await.unwrap();
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths, ["b", "deep/50% #1 ü?"]);
            store.remove(&folder).await.unwrap();
            assert_eq!(store.stat(&folder).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_stream_is_stored_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::parse("a/b").unwrap();
        // More than one part, and no whole number of them.
        const SIZE: usize = 20_000_000;
        let stream = |size: usize| {
            let chunks = (0..size).step_by(70_000).map(move |at| {
                Ok(Bytes::from(vec![
                    u8::try_from(at % 251).unwrap();
                    70_000.min(size - at)
                ]))
            });
            futures::stream::iter(chunks).boxed()
        };
        for store in [
            Store::Local(LocalStore::open(folder.path()).unwrap()),
            Store::Object(Arc::new(object_store::memory::InMemory::new())),
        ] {
            for (told, sent) in [(SIZE, SIZE - 1), (SIZE, SIZE + 1), (5, 6), (5, 4)] {
                let written = store.write_stream(&key, told as u64, stream(sent)).await;
                assert!(matches!(written, Err(Error::Size(_))), "{told} {sent}");
                assert!(!store.exists(&key).await.unwrap(), "{told} {sent}");
            }
            let written = store.write_stream(&key, SIZE as u64, stream(SIZE)).await;
            written.unwrap();
            let expected: Vec<u8> = stream(SIZE)
                .map(|chunk| chunk.unwrap().to_vec())
                .concat()
                .await;
            assert!(content(&store, &key).await == expected);
            let empty = Key::parse("a/empty").unwrap();
            store.write_stream(&empty, 0, stream(0)).await.unwrap();
            assert_eq!(store.read_first(&empty, Some(5)).await.unwrap().0, 0);
        }
        let left: Vec<_> = std::fs::read_dir(folder.path().join("a"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_uri_of_a_foreign_bucket_names_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::local(LocalStore::open(folder.path()).unwrap());
        assert_eq!(
            stores
                .resolve("minio://mlpipeline/v2/x")
                .unwrap()
                .1
                .as_str(),
            "v2/x"
        );
        assert!(
            matches!(stores.resolve("gs://other/x"), Err(Error::NoStore { bucket, .. }) if bucket == "gs://other")
        );
        assert!(stores.resolve("minio://mlpipeline/../x").is_err());
    }

    #[test]
    fn a_folder_of_a_bucket_holds_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Store::Object(Arc::new(object_store::memory::InMemory::new()));
        let stores = Stores::local(LocalStore::open(folder.path()).unwrap())
            .with("s3://bucket/team/a", memory)
            .unwrap();
        assert_eq!(stores.first(), "s3://bucket/team/a");
        let (_, key) = stores.resolve("s3://bucket/team/a/v2/x").unwrap();
        assert_eq!(key.as_str(), "team/a/v2/x");
        for beside in [
            "s3://bucket/team/ab/x",
            "s3://bucket/team",
            "s3://bucket/x",
            "s3://other/team/a/x",
        ] {
            assert!(!stores.holds(beside), "{beside}");
        }
        assert!(stores.resolve("s3://bucket/team/a/../b").is_err());
        assert!(stores.holds("minio://mlpipeline/x"));
    }
}
