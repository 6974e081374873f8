//! Documents by content: a thousand runs of one pipeline keep it once.

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::db::{Db, Tx, given};
use super::{Error, Result, from_json, to_json};
use crate::ir::Document;

/// Keeps a document and returns its content key.
pub fn put(tx: &Tx<'_>, document: &Document) -> Result<String> {
    let text = to_json("document", &document.to_api())?;
    let hash = hex::encode(Sha256::digest(&text));
    tx.execute(
        "INSERT INTO spec (hash, document) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING",
        given![&hash, text],
    )?;
    Ok(hash)
}

/// The document, ready to be spliced into an answer.
pub fn raw(db: &Db<'_>, hash: &str) -> Result<Box<RawValue>> {
    let text = db.one(
        "document",
        hash,
        "SELECT document FROM spec WHERE hash = ?1",
        given![hash],
        |row| row.text(0),
    )?;
    RawValue::from_string(text).map_err(|source| Error::Corrupt {
        what: "document",
        source,
    })
}

/// The document, to be run.
pub fn get(db: &Db<'_>, hash: &str) -> Result<Document> {
    let value: serde_json::Value = from_json("document", raw(db, hash)?.get())?;
    Ok(match value.get("pipeline_spec") {
        Some(pipeline) => Document {
            pipeline: pipeline.clone(),
            platform: value.get("platform_spec").cloned(),
        },
        None => Document {
            pipeline: value,
            platform: None,
        },
    })
}
