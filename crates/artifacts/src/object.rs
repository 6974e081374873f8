//! What a bucket does for a store, over any object store: keys as they are, uploads in parts that appear whole or not
//! at all.

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
};

use crate::store::{Chunks, Entry, Stat};
use crate::{Error, Key};

/// The smallest part of an upload in parts, and the largest object that is written in one piece.
const PART_BYTES: u64 = 8 << 20;
/// An upload has at most 10,000 parts; a few are kept in reserve.
const MOST_PARTS: u64 = 9_900;

/// A key as the bucket's own: nothing is escaped, so other clients find it under the same name.
pub fn location(key: &Key) -> Result<Path, Error> {
    Path::parse(key.as_str()).map_err(|_| Error::Key {
        key: key.as_str().chars().take(200).collect(),
        reason: "it holds a control character",
    })
}

/// What is stored under a key.
pub async fn stat(store: &dyn ObjectStore, key: &Key) -> Result<Option<Stat>, Error> {
    let path = location(key)?;
    match store.head(&path).await {
        Ok(found) => Ok(Some(Stat::File(found.size))),
        Err(object_store::Error::NotFound { .. }) => {
            let first = store.list(Some(&path)).next().await.transpose();
            let first = first.map_err(|source| error("list", key, source))?;
            Ok(first.map(|_| Stat::Folder))
        }
        Err(source) => Err(error("look at", key, source)),
    }
}

/// Every object below a key.
pub async fn files(store: &dyn ObjectStore, key: &Key) -> Result<Vec<Entry>, Error> {
    let above = format!("{key}/");
    let mut found = store.list(Some(&location(key)?));
    let mut files = Vec::new();
    while let Some(object) = found
        .try_next()
        .await
        .map_err(|source| error("list", key, source))?
    {
        // What ends with a slash marks a folder that some client made.
        if let Some(path) = object.location.as_ref().strip_prefix(&above) {
            files.push(Entry {
                path: path.to_owned(),
                size_bytes: object.size,
            });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// Streams an object, or its first bytes.
pub async fn read(
    store: &dyn ObjectStore,
    key: &Key,
    limit: Option<u64>,
) -> Result<(u64, Chunks), Error> {
    let path = location(key)?;
    let options = GetOptions {
        range: limit.map(|limit| GetRange::Bounded(0..limit.max(1))),
        ..GetOptions::default()
    };
    let found = match store.get_opts(&path, options).await {
        // An empty object has no first bytes to ask for.
        Err(object_store::Error::Generic { .. }) if limit.is_some() => store.get(&path).await,
        other => other,
    };
    let found = found.map_err(|source| error("read", key, source))?;
    let (size, name) = (found.range.end - found.range.start, key.to_string());
    let chunks = found.into_stream().map_err(move |source| Error::Object {
        action: "read",
        key: name.clone(),
        source,
    });
    Ok((size, chunks.boxed()))
}

/// Writes a stream of a known size: in one piece, or in parts that become an object at the end.
pub async fn write(
    store: &dyn ObjectStore,
    key: &Key,
    size_bytes: u64,
    mut content: BoxStream<'_, Result<Bytes, Error>>,
) -> Result<(), Error> {
    let path = location(key)?;
    let failed = |source| error("write", key, source);
    if size_bytes <= PART_BYTES {
        let mut whole = BytesMut::new();
        while let Some(chunk) = content.try_next().await? {
            whole.extend_from_slice(&chunk);
            check(key, whole.len() as u64, size_bytes)?;
        }
        check_whole(key, whole.len() as u64, size_bytes)?;
        let put = store.put(&path, whole.freeze().into()).await;
        return put.map(drop).map_err(failed);
    }
    let mut upload = store.put_multipart(&path).await.map_err(failed)?;
    let parts = in_parts(upload.as_mut(), key, size_bytes, content).await;
    let written = match parts {
        Ok(()) => upload.complete().await.map(drop).map_err(failed),
        Err(problem) => Err(problem),
    };
    if written.is_err()
        && let Err(problem) = upload.abort().await
    {
        tracing::warn!(key = %key, error = &problem as &dyn std::error::Error, "an unfinished upload was left behind");
    }
    written
}

async fn in_parts(
    upload: &mut dyn MultipartUpload,
    key: &Key,
    size_bytes: u64,
    mut content: BoxStream<'_, Result<Bytes, Error>>,
) -> Result<(), Error> {
    let part_bytes = PART_BYTES.max(size_bytes.div_ceil(MOST_PARTS));
    let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
    let failed = |source| error("write", key, source);
    let (mut seen, mut part) = (0, BytesMut::with_capacity(part_bytes));
    while let Some(mut chunk) = content.try_next().await? {
        seen += chunk.len() as u64;
        check(key, seen, size_bytes)?;
        while !chunk.is_empty() {
            let fits = chunk.split_to(chunk.len().min(part_bytes - part.len()));
            part.extend_from_slice(&fits);
            if part.len() == part_bytes {
                let full = std::mem::replace(&mut part, BytesMut::with_capacity(part_bytes));
                let payload = PutPayload::from(full.freeze());
                upload.put_part(payload).await.map_err(failed)?;
            }
        }
    }
    check_whole(key, seen, size_bytes)?;
    if !part.is_empty() {
        let payload = PutPayload::from(part.freeze());
        upload.put_part(payload).await.map_err(failed)?;
    }
    Ok(())
}

fn check(key: &Key, seen: u64, size_bytes: u64) -> Result<(), Error> {
    if seen > size_bytes {
        return Err(Error::Size(key.to_string()));
    }
    Ok(())
}

fn check_whole(key: &Key, seen: u64, size_bytes: u64) -> Result<(), Error> {
    if seen == size_bytes {
        Ok(())
    } else {
        Err(Error::Size(key.to_string()))
    }
}

/// Removes an object, or all below a key; nothing there is fine.
pub async fn remove(store: &dyn ObjectStore, key: &Key) -> Result<(), Error> {
    let mut gone = vec![location(key)?];
    for file in files(store, key).await? {
        gone.push(location(&key.join(&file.path)?)?);
    }
    for path in gone {
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(error("remove", key, source)),
        }
    }
    Ok(())
}

pub fn error(action: &'static str, key: &Key, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => Error::NotFound(key.to_string()),
        source => Error::Object {
            action,
            key: key.to_string(),
            source,
        },
    }
}
