//! `/pipelines/{id}/versions`: five small endpoints over one record.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{fetch, package, read_names, read_tags, version_view};
use crate::api::{
    ApiError, Caller, ListQuery, Shared, empty, json, list_answer, new_id, ready_json,
};
use crate::catalog::VersionRecord;
use crate::ir::{Document, Pipeline};
use crate::store;

/// Fields of a version.
pub const FIELDS: [&str; 11] = [
    "pipeline_id",
    "pipeline_version_id",
    "name",
    "display_name",
    "description",
    "created_at",
    "package_url",
    "code_source_url",
    "pipeline_spec",
    "error",
    "tags",
];

/// `POST`
pub async fn create(
    State(api): State<Shared>,
    caller: Caller,
    Path(pipeline_id): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "create", "pipelines").await?;
    let fields = json::fields(&body, &FIELDS)?;
    let (document, package_url) = read_package(&api, &fields).await?;
    let (name, display_name) = read_names(&fields, "version", 127)?;
    let version = VersionRecord {
        id: new_id(),
        pipeline_id,
        name,
        display_name,
        description: json::text(&fields, "description")?,
        tags: read_tags(&fields)?.unwrap_or_default(),
        code_source_url: json::text(&fields, "code_source_url")?,
        package_url,
        spec_hash: String::new(),
        created_at: Timestamp::now(),
    };
    insert(&api, version, document).await
}

/// Stores a version and answers with it.
pub async fn insert(
    api: &Shared,
    mut version: VersionRecord,
    document: Document,
) -> Result<Response, ApiError> {
    let made = api
        .store
        .write(move |tx| {
            version.spec_hash = store::spec::put(tx, &document)?;
            store::version::insert(tx, &version)?;
            answer(tx, &version)
        })
        .await?;
    Ok(ready_json(made))
}

/// `GET` one. Any pipeline's id will do in the path.
pub async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "get", "pipelines").await?;
    Ok(ready_json(
        api.store
            .read(move |db| answer(db, &store::version::get(db, &id)?))
            .await?,
    ))
}

/// `GET` a page.
pub async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(pipeline_id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "list", "pipelines").await?;
    let request = query.request()?;
    let text = api
        .store
        .read(move |db| {
            let page = store::version::list(db, &pipeline_id, &request)?;
            let items = page
                .items
                .iter()
                .map(|version| answer(db, version))
                .collect::<store::Result<Vec<_>>>()?;
            let rest = list_answer("none", vec![], page.total, &page.next_page_token);
            Ok(if items.is_empty() {
                rest.to_string()
            } else {
                json::splice(
                    &rest,
                    "pipeline_versions",
                    &format!("[{}]", items.join(",")),
                )
            })
        })
        .await?;
    Ok(ready_json(text))
}

/// `PATCH`
pub async fn update(
    State(api): State<Shared>,
    caller: Caller,
    Path((_, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "update", "pipelines").await?;
    let fields = json::fields(&body, &FIELDS)?;
    if fields.contains_key("pipeline_spec") {
        return Err(ApiError::invalid(
            "Pipeline spec is immutable: upload a new version",
        ));
    }
    let display_name = Some(json::text(&fields, "display_name")?).filter(|name| !name.is_empty());
    let tags = read_tags(&fields)?;
    let text = api
        .store
        .write(move |tx| {
            store::version::update(tx, &id, display_name.as_deref(), tags.as_ref())?;
            answer(tx, &store::version::get(tx, &id)?)
        })
        .await?;
    Ok(ready_json(text))
}

/// `DELETE`
pub async fn delete(
    State(api): State<Shared>,
    caller: Caller,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "delete", "pipelines").await?;
    api.store
        .write(move |tx| store::version::delete(tx, &id))
        .await?;
    Ok(empty())
}

/// The document a body brings: inline, or behind `package_url`. It is validated whole before anything is stored.
pub async fn read_package(
    api: &Shared,
    fields: &Map<String, Value>,
) -> Result<(Document, String), ApiError> {
    if let Some(spec) = fields.get("pipeline_spec") {
        return Ok((
            Pipeline::from_document(Document::from_api(spec.clone())?)?.document,
            String::new(),
        ));
    }
    let package = json::known_fields(
        fields
            .get("package_url")
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new())),
        &["pipeline_url"],
        "package_url",
    )?;
    let url = json::text(&package, "pipeline_url")?;
    if url.is_empty() {
        return Err(ApiError::invalid(
            "a version needs package_url.pipeline_url or pipeline_spec",
        ));
    }
    let bytes = fetch::fetch(&url, api.allows_private_urls).await?;
    let text = package::unpack(url.split('?').next().unwrap_or(&url), &bytes)?;
    Ok((Pipeline::parse(&text)?.document, url))
}

fn answer(db: &store::Db<'_>, version: &VersionRecord) -> store::Result<String> {
    let raw = store::spec::raw(db, &version.spec_hash)?;
    Ok(json::splice(
        &version_view(version),
        "pipeline_spec",
        raw.get(),
    ))
}
