//! Pipelines and their versions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::json::{self, Object};
use super::{ApiError, check_length};
use crate::catalog::{PipelineRecord, VersionRecord};

pub mod create;
pub mod create_from_url;
pub mod delete;
pub mod fetch;
pub mod get;
pub mod get_by_name;
pub mod list;
pub mod package;
pub mod update;
pub mod upload;
pub mod upload_version;
pub mod versions;

fn view(pipeline: &PipelineRecord) -> Value {
    Object::default()
        .text("pipeline_id", &pipeline.id)
        .text("name", &pipeline.name)
        .text("display_name", &pipeline.display_name)
        .text("description", &pipeline.description)
        .time("created_at", Some(pipeline.created_at))
        .text("namespace", &pipeline.namespace)
        .value("tags", tags_value(&pipeline.tags))
        .build()
}

/// A version without its document, which is spliced in.
fn version_view(version: &VersionRecord) -> Value {
    let package = Object::default()
        .text("pipeline_url", &version.package_url)
        .build();
    Object::default()
        .text("pipeline_id", &version.pipeline_id)
        .text("pipeline_version_id", &version.id)
        .text("name", &version.name)
        .text("display_name", &version.display_name)
        .text("description", &version.description)
        .time("created_at", Some(version.created_at))
        .value("package_url", package)
        .text("code_source_url", &version.code_source_url)
        .value("tags", tags_value(&version.tags))
        .build()
}

fn tags_value(tags: &BTreeMap<String, String>) -> Value {
    tags.iter()
        .map(|(key, value)| (key.clone(), Value::from(value.clone())))
        .collect::<Map<_, _>>()
        .into()
}

/// Reads `tags`: absent keeps, `{}` clears.
fn read_tags(fields: &Map<String, Value>) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    let Some(tags) = fields.get("tags") else {
        return Ok(None);
    };
    let tags: BTreeMap<String, String> = serde_json::from_value(tags.clone())
        .map_err(|_| ApiError::invalid("tags must be a mapping of text to text"))?;
    check_tags(&tags)?;
    Ok(Some(tags))
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > 20 {
        return Err(ApiError::invalid(format!(
            "tags: at most 20 are allowed, there are {}",
            tags.len()
        )));
    }
    for (key, value) in tags {
        if key.contains('.') {
            return Err(ApiError::invalid(format!(
                "tags: key {key:?} may not contain '.'"
            )));
        }
        check_length("a tag's key", key, 63)?;
        if value.chars().count() > 63 {
            return Err(ApiError::invalid(format!(
                "tags: the value of {key:?} is longer than 63 characters"
            )));
        }
    }
    Ok(())
}

/// Name and display name: each stands in for the other.
fn read_names(
    fields: &Map<String, Value>,
    what: &str,
    limit: usize,
) -> Result<(String, String), ApiError> {
    let (name, display_name) = (
        json::text(fields, "name")?,
        json::text(fields, "display_name")?,
    );
    let name = if name.is_empty() {
        display_name.clone()
    } else {
        name
    };
    let display_name = if display_name.is_empty() {
        name.clone()
    } else {
        display_name
    };
    check_length(&format!("the name of the {what}"), &name, limit)?;
    Ok((name, display_name))
}
