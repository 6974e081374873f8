//! One bucket behind either a local folder or an object store, and the table from bucket URIs to stores.
//! Callers stream; nothing here holds a whole artifact in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use tokio::io::AsyncReadExt as _;

use crate::{Error, Key, LocalStore, Uri};

/// How much of a file one chunk of a stream carries.
const CHUNK_BYTES: usize = 64 * 1024;

/// One bucket.
#[derive(Clone)]
pub enum Store {
    /// A folder of this machine, shared with the steps: no copies are made.
    Local(LocalStore),
    /// S3, GCS, Azure or memory.
    Object(Arc<dyn ObjectStore>),
}

impl Store {
    /// Streams a stored file.
    pub async fn read(&self, key: &Key) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        match self {
            Self::Local(store) => {
                let file = tokio::fs::File::from_std(store.read(key)?);
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
                Ok(chunks.boxed())
            }
            Self::Object(store) => {
                let found = store
                    .get(&Path::from(key.as_str()))
                    .await
                    .map_err(|source| object_error("read", key, source))?;
                let name = key.to_string();
                Ok(found
                    .into_stream()
                    .map_err(move |source| Error::Object {
                        action: "read",
                        key: name.clone(),
                        source,
                    })
                    .boxed())
            }
        }
    }

    /// True when a file, or a folder with something in it, is stored under the key.
    pub async fn exists(&self, key: &Key) -> Result<bool, Error> {
        match self {
            Self::Local(store) => Ok(store.exists(key)),
            Self::Object(store) => {
                let path = Path::from(key.as_str());
                match store.head(&path).await {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::NotFound { .. }) => {
                        let first = store.list(Some(&path)).next().await.transpose();
                        Ok(first
                            .map_err(|source| object_error("list", key, source))?
                            .is_some())
                    }
                    Err(source) => Err(object_error("look at", key, source)),
                }
            }
        }
    }

    /// Stores content under a key, whole or not at all.
    pub async fn write(&self, key: &Key, content: Bytes) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.write(key, &content),
            Self::Object(store) => {
                store
                    .put(&Path::from(key.as_str()), content.into())
                    .await
                    .map_err(|source| object_error("write", key, source))?;
                Ok(())
            }
        }
    }
}

fn object_error(action: &'static str, key: &Key, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => Error::NotFound(key.to_string()),
        source => Error::Object {
            action,
            key: key.to_string(),
            source,
        },
    }
}

/// Which store holds which bucket.
#[derive(Clone, Default)]
pub struct Stores(Vec<(String, Store)>);

impl Stores {
    /// A table whose own bucket (`minio://mlpipeline`) is a local folder.
    pub fn local(store: LocalStore) -> Self {
        Self(vec![(
            crate::uri::DEFAULT_BUCKET.to_owned(),
            Store::Local(store),
        )])
    }

    /// The same table with one more bucket, named by `scheme://bucket`.
    #[must_use]
    pub fn with(mut self, bucket_uri: &str, store: Store) -> Self {
        self.0.push((bucket_uri.to_owned(), store));
        self
    }

    /// The store and key of a URI.
    pub fn resolve(&self, uri: &str) -> Result<(&Store, Key), Error> {
        let parsed = Uri::parse(uri)?;
        let bucket = parsed.bucket_uri();
        let (_, store) = self
            .0
            .iter()
            .find(|(name, _)| *name == bucket)
            .ok_or(Error::NoStore(bucket))?;
        Ok((store, parsed.key()?))
    }

    /// True when the bucket of a URI is one of ours.
    pub fn holds(&self, uri: &str) -> bool {
        Uri::parse(uri)
            .is_ok_and(|parsed| self.0.iter().any(|(name, _)| *name == parsed.bucket_uri()))
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
        }
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
            matches!(stores.resolve("gs://other/x"), Err(Error::NoStore(bucket)) if bucket == "gs://other")
        );
        assert!(stores.resolve("minio://mlpipeline/../x").is_err());
    }
}
