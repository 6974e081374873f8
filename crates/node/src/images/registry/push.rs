//! Pushing: blobs that the registry lacks, side by side, then the manifest, which makes them an image.

use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use oci_client::errors::OciDistributionError;
use tokio_util::io::ReaderStream;

use super::{AT_ONCE, Error, Listener, Progress, Registry};
use crate::images::bundle::{Blob, Layout};

/// What is read of a file at once.
const PIECE: usize = 256 << 10;

impl Registry {
    /// Uploads an image; its digest there is the layout's.
    pub async fn push(&self, image: &Layout, heard: Listener<'_>) -> Result<(), Error> {
        let blobs: Vec<&Blob> = image.blobs().collect();
        heard(Progress::Total {
            bytes: blobs.iter().map(|blob| blob.size).sum(),
            parts: blobs.len(),
        });
        let mut pushing = Vec::new();
        for blob in blobs {
            pushing.push(self.push_blob(blob, image.file(blob), heard));
        }
        futures::stream::iter(pushing)
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let kind = http::HeaderValue::from_static(Layout::MANIFEST);
        self.client
            .push_manifest_raw(&self.reference, image.manifest.clone(), kind)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    async fn push_blob(
        &self,
        blob: &Blob,
        file: std::path::PathBuf,
        heard: Listener<'_>,
    ) -> Result<(), Error> {
        // Whoever cannot be asked is sent it; the upload then says what is wrong.
        let is_there = self
            .client
            .blob_exists(&self.reference, &blob.digest)
            .await
            .unwrap_or(false);
        if is_there {
            heard(Progress::Moved(blob.size));
            return Ok(());
        }
        // The stream must outlive this borrow, so it tells by a channel what it moved.
        let (moved, mut hear) = tokio::sync::mpsc::unbounded_channel();
        let reader = open(&file).await?;
        let stream = ReaderStream::with_capacity(reader, PIECE)
            .inspect_ok(move |piece: &Bytes| {
                let _ = moved.send(piece.len() as u64);
            })
            .map_err(OciDistributionError::from);
        let upload =
            self.client
                .push_blob_stream(&self.reference, stream, &blob.digest, Some(blob.size));
        let listen = async {
            while let Some(bytes) = hear.recv().await {
                heard(Progress::Moved(bytes));
            }
        };
        let (uploaded, ()) = tokio::join!(upload, listen);
        uploaded.map_err(|error| self.failed(error))?;
        Ok(())
    }
}

async fn open(file: &Path) -> Result<tokio::fs::File, Error> {
    tokio::fs::File::open(file)
        .await
        .map_err(|source| Error::Io {
            path: file.to_owned(),
            source,
        })
}
