//! `/openapi/v3`: one document per group and version, made when first asked for and named by a hash of what it is made
//! from, so that clients fetch it once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::GIT_VERSION;
use crate::api::Api;
use crate::error::ApiError;
use crate::http::query::Query;
use crate::http::reply;
use crate::registry::{Origin, Registry, Resource, schemas};

/// Finished documents by the hash of what they are made from.
#[derive(Debug, Default)]
pub struct Documents(Mutex<HashMap<String, Bytes>>);

/// Documents kept at one time; they are large, and clients keep them too.
const KEPT: usize = 4;

/// Hash of some bytes, as clients see it.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode_upper(Sha256::digest(bytes))
}

/// A short hash of where a resource is stored.
pub(super) fn storage_hash(resource: &Resource) -> String {
    use base64::Engine as _;
    let text = format!("{}/{}/{}", resource.group, resource.storage, resource.kind);
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(text.as_bytes())[..8])
}

/// Answers below `/openapi/v3`.
pub(super) async fn answer(
    api: &Arc<Api>,
    registry: &Registry,
    rest: &[&str],
    query: &Query,
    headers: &HeaderMap,
) -> Response {
    let (group, version) = match rest {
        [] => return index(registry, headers).await,
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return super::missing(),
    };
    let resources = registry.resources(group, version);
    if resources.is_empty() {
        return super::missing();
    }
    let hash = fingerprint(&resources, group, version);
    let tag = format!("\"{hash}\"");
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let bytes = match api.documents.find(&hash) {
        Some(bytes) => bytes,
        None => {
            let owned: Vec<Arc<Resource>> = resources.into_iter().cloned().collect();
            let (group, version) = (group.to_owned(), version.to_owned());
            let made = tokio::task::spawn_blocking(move || {
                Bytes::from(
                    serde_json::to_vec(&document(&owned, &group, &version))
                        .expect("JSON always serialises"),
                )
            })
            .await;
            match made {
                Ok(bytes) => {
                    api.documents.keep(hash.clone(), bytes.clone());
                    bytes
                }
                Err(err) => return reply::error(&ApiError::internal(err)),
            }
        }
    };
    let mut response = reply::sized(StatusCode::OK, "application/json", bytes, headers).await;
    let out = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(ETAG, tag);
    }
    if query.get("hash").is_some_and(|asked| asked == hash) {
        out.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        );
    }
    response
}

impl Documents {
    pub(super) fn find(&self, hash: &str) -> Option<Bytes> {
        self.0
            .lock()
            .expect("no holder of this lock panics")
            .get(hash)
            .cloned()
    }

    pub(super) fn keep(&self, hash: String, bytes: Bytes) {
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(hash, bytes);
    }
}

async fn index(registry: &Registry, headers: &HeaderMap) -> Response {
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            let hash = fingerprint(&registry.resources(group, version), group, version);
            paths.insert(
                path.clone(),
                json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}),
            );
        }
    }
    super::tagged(&json!({ "paths": paths }), "application/json", headers).await
}

/// Hash of everything that a document is made from: our version, and the generations of its CRDs.
pub(super) fn fingerprint<R: AsRef<Resource>>(
    resources: &[R],
    group: &str,
    version: &str,
) -> String {
    let mut text = format!(
        "{GIT_VERSION}/{}/{group}/{version}",
        env!("CARGO_PKG_VERSION")
    );
    for resource in resources {
        let resource = resource.as_ref();
        if let Origin::Custom(custom) = &resource.origin {
            text.push_str(&format!(
                "/{}:{}:{}",
                resource.plural, custom.state.0, custom.state.1
            ));
        }
    }
    hash(text.as_bytes())
}

pub(super) fn document(resources: &[Arc<Resource>], group: &str, version: &str) -> Value {
    let mut definitions = schemas::definitions(group, version);
    let mut paths = Map::new();
    for resource in resources {
        let definition = match &resource.origin {
            Origin::Builtin(builtin) => (builtin.definition)(),
            Origin::Custom(custom) => {
                let name = custom_definition_name(resource);
                definitions.insert(name.clone(), custom_definition(resource, &custom.openapi));
                definitions.insert(
                    format!("{name}List"),
                    schemas::list_definition(
                        &name,
                        &resource.group,
                        &resource.version,
                        &resource.kind,
                    ),
                );
                name
            }
        };
        add_paths(&mut paths, resource, &definition);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"BearerToken": {
                "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"}},
        },
    })
}

/// `com.example.stable.v1.CronTab` for `stable.example.com/v1`.
fn custom_definition_name(resource: &Resource) -> String {
    let reversed: Vec<&str> = resource.group.split('.').rev().collect();
    format!(
        "{}.{}.{}",
        reversed.join("."),
        resource.version,
        resource.kind
    )
}

fn custom_definition(resource: &Resource, openapi: &Value) -> Value {
    let mut schema = if openapi.is_object() {
        openapi.clone()
    } else {
        json!({"type": "object"})
    };
    for (field, value) in [
        (
            "apiVersion",
            json!({"type": "string", "description": schemas::API_VERSION_WORDS}),
        ),
        (
            "kind",
            json!({"type": "string", "description": schemas::KIND_WORDS}),
        ),
        (
            "metadata",
            json!({
                "description": "Standard object's metadata.",
                "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}],
            }),
        ),
    ] {
        schema["properties"][field] = value;
    }
    schema["x-kubernetes-group-version-kind"] =
        json!([{"group": resource.group, "version": resource.version, "kind": resource.kind}]);
    schema
}

/// The operations of a resource, as far as clients look: which exist, for which kind, with which parameters.
fn add_paths(paths: &mut Map<String, Value>, resource: &Resource, definition: &str) {
    let base = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let collection = if resource.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{base}/{}", resource.plural)
    };
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let body = |name: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
    let operation = |action: &str, parameters: &[&str], answers: &str| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| {
                let schema = if matches!(*name, "force" | "watch") { "boolean" } else { "string" };
                json!({"name": name, "in": "query", "schema": {"type": schema, "uniqueItems": true}})
            })
            .collect();
        json!({
            "operationId": format!("{action}{}", resource.kind),
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": body(answers)}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
        })
    };
    const WRITE: &[&str] = &["pretty", "dryRun", "fieldManager", "fieldValidation"];
    const PATCH: &[&str] = &[
        "pretty",
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "force",
    ];
    const LIST: &[&str] = &[
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "resourceVersion",
        "watch",
    ];
    let mut post = operation("post", WRITE, definition);
    post["requestBody"] = json!({"content": body(definition), "required": true});
    if resource.collection.is_none() {
        paths.insert(collection, json!({ "post": post }));
        return;
    }
    let list = format!("{definition}List");
    let mut put = operation("put", WRITE, definition);
    put["requestBody"] = json!({"content": body(definition), "required": true});
    let mut patch = operation("patch", PATCH, definition);
    let any = json!({"schema": {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}});
    let mut forms = Map::new();
    for form in [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    ] {
        forms.insert(form.into(), any.clone());
    }
    if matches!(resource.origin, Origin::Builtin(_)) {
        forms.insert("application/strategic-merge-patch+json".into(), any);
    }
    patch["requestBody"] = json!({"content": forms, "required": true});
    paths.insert(
        collection.clone(),
        json!({
            "get": operation("list", LIST, &list),
            "post": post,
            "delete": operation("deletecollection", LIST, "io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
        }),
    );
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation("get", &["pretty"], definition),
            "put": put,
            "patch": patch,
            "delete": operation("delete", &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
                "io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
        }),
    );
    if resource.namespaced {
        paths.insert(
            format!("{base}/{}", resource.plural),
            json!({"get": operation("list", LIST, &list)}),
        );
    }
}
