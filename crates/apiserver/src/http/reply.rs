//! Answers in the form the client asked for: JSON or YAML, whole objects, tables or metadata, gzipped when large.

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};
use objects::Status;
use serde_json::Value;

use super::accept::{Accept, Shape, takes_gzip};
use crate::error::ApiError;
use crate::registry::Origin;
use crate::table;
use crate::verbs::{Call, ListReply, Reply};

/// Bodies from this size on are worth compressing.
const GZIP_FROM: usize = 128 << 10;

/// Puts a verb's answer into the form of the call.
pub async fn finish(call: &Call, result: Result<Reply, ApiError>) -> Response {
    let mut response = match result {
        Ok(Reply::Response(response)) => *response,
        Ok(Reply::Object {
            code,
            resource,
            bytes,
        }) => match call.accept.shape {
            Shape::Object => body(code, bytes, &call.accept, &call.headers).await,
            Shape::Table => {
                let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let revision = objects::meta::resource_version(&value).to_owned();
                let table =
                    table::render(&resource, &[value], options(call)).with_revision(&revision);
                json(code, &table.into_value(), &call.accept, &call.headers).await
            }
            Shape::Partial => {
                let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                json(
                    code,
                    &table::partial(&value, call.accept.version),
                    &call.accept,
                    &call.headers,
                )
                .await
            }
            Shape::PartialList => not_acceptable(),
        },
        Ok(Reply::List(page)) => list(call, page).await,
        Ok(Reply::Value(code, value)) => json(code, &value, &call.accept, &call.headers).await,
        Err(err) => error(&err),
    };
    let warnings =
        std::mem::take(&mut *call.warnings.lock().expect("no holder of this lock panics"));
    let mut seen = Vec::new();
    for warning in warnings {
        if seen.contains(&warning) {
            continue;
        }
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - {}", quoted(&warning)).as_bytes())
        {
            response.headers_mut().append(WARNING, value);
        }
        seen.push(warning);
    }
    response
}

fn quoted(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

async fn list(call: &Call, page: ListReply) -> Response {
    let resource = &page.resource;
    match call.accept.shape {
        Shape::Object => body(StatusCode::OK, whole(&page), &call.accept, &call.headers).await,
        Shape::Table => {
            let values: Vec<Value> = page
                .entries
                .iter()
                .map(|entry| resource.value(entry))
                .collect();
            let mut table = table::render(resource, &values, options(call))
                .with_revision(&page.revision.to_string())
                .into_value();
            add_page(&mut table["metadata"], &page);
            json(StatusCode::OK, &table, &call.accept, &call.headers).await
        }
        Shape::PartialList | Shape::Partial => {
            let items: Vec<Value> = page
                .entries
                .iter()
                .map(|entry| table::partial(&resource.value(entry), call.accept.version))
                .collect();
            let mut list = serde_json::json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{}", call.accept.version),
                "metadata": {"resourceVersion": page.revision.to_string()},
                "items": items,
            });
            add_page(&mut list["metadata"], &page);
            json(StatusCode::OK, &list, &call.accept, &call.headers).await
        }
    }
}

fn add_page(metadata: &mut Value, page: &ListReply) {
    if let Some(next) = &page.next {
        metadata["continue"] = next.clone().into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
}

/// A list spliced from stored bytes: nothing is decoded.
fn whole(page: &ListReply) -> Bytes {
    let resource = &page.resource;
    let mut metadata = serde_json::json!({"resourceVersion": page.revision.to_string()});
    if matches!(resource.origin, Origin::Custom(_)) {
        // These lists always have the field.
        metadata["continue"] = "".into();
    }
    add_page(&mut metadata, page);
    let items: Vec<Bytes> = page
        .entries
        .iter()
        .map(|entry| resource.render(entry))
        .collect();
    let size: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut list = BytesMut::with_capacity(size + 256);
    list.put_slice(
        format!(
            "{{\"kind\":{:?},\"apiVersion\":{:?},\"metadata\":{metadata},\"items\":[",
            resource.list_kind,
            resource.api_version()
        )
        .as_bytes(),
    );
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            list.put_u8(b',');
        }
        list.put_slice(item);
    }
    list.put_slice(b"]}\n");
    list.freeze()
}

fn options(call: &Call) -> table::Options {
    let included = match call.query.get("includeObject") {
        Some("None") => table::Included::Nothing,
        Some("Object") => table::Included::Object,
        _ => table::Included::Metadata,
    };
    table::Options {
        version: call.accept.version,
        included,
    }
}

/// A JSON answer of a value.
pub async fn json(
    code: StatusCode,
    value: &Value,
    accept: &Accept,
    headers: &HeaderMap,
) -> Response {
    let bytes = serde_json::to_vec(value).expect("a JSON value always serialises");
    body(code, bytes.into(), accept, headers).await
}

/// An answer of serialised JSON, made pretty, YAML or small as asked.
pub async fn body(
    code: StatusCode,
    bytes: Bytes,
    accept: &Accept,
    headers: &HeaderMap,
) -> Response {
    let mut media = "application/json";
    let bytes = if accept.yaml {
        media = "application/yaml";
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        serde_saphyr::to_string(&value).map_or(bytes, Bytes::from)
    } else if accept.pretty {
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        serde_json::to_vec_pretty(&value).map_or(bytes, Bytes::from)
    } else {
        bytes
    };
    sized(code, media, bytes, headers).await
}

/// An answer of finished bytes, gzipped when that is wanted and worth it.
pub async fn sized(code: StatusCode, media: &str, bytes: Bytes, headers: &HeaderMap) -> Response {
    let builder = http::Response::builder()
        .status(code)
        .header(CONTENT_TYPE, media)
        .header(CACHE_CONTROL, "no-cache, private");
    let response = if bytes.len() >= GZIP_FROM && takes_gzip(headers) {
        let packed = tokio::task::spawn_blocking(move || gzip(&bytes))
            .await
            .unwrap_or_default();
        builder
            .header(CONTENT_ENCODING, "gzip")
            .header(VARY, "Accept-Encoding")
            .body(Body::from(packed))
    } else {
        builder.body(Body::from(bytes))
    };
    response.unwrap_or_else(|err| error(&ApiError::internal(err)))
}

fn gzip(bytes: &[u8]) -> Bytes {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(bytes.len() / 4),
        flate2::Compression::fast(),
    );
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    packed.expect("writing to memory does not fail").into()
}

/// A failure as its `Status`.
pub fn error(err: &ApiError) -> Response {
    let code = StatusCode::from_u16(err.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(err.to_value().to_string()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    let seconds = err
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The 406 that says what can be had.
pub fn not_acceptable() -> Response {
    error(&Status::not_acceptable(&super::body::ACCEPTED).into())
}

/// 404 for a path below which nothing is served: not in the words of the API, which such a path does not belong to.
pub fn no_such_page() -> Response {
    let mut response = Response::new(Body::from("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
