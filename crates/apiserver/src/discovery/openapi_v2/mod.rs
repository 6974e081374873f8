//! `/openapi/v2`: all groups and versions in one document, as JSON and as the protobuf that kubectl before 1.29 insists
//! on. It is made out of the documents of `/openapi/v3` when somebody first asks, so the two cannot differ.

mod convert;
mod protobuf;

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::openapi::{self, document, fingerprint};
use crate::api::Api;
use crate::error::ApiError;
use crate::http::accept::clauses;
use crate::http::reply;
use crate::registry::{Registry, Resource};

/// How the protobuf form is called in answers; requests may also write it with an `@`, which no media type may have.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_AS_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    /// The first form in `Accept` that there is.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let clauses = clauses(headers);
        if clauses.is_empty() {
            return Some(Self::Json);
        }
        clauses.iter().find_map(|clause| match clause.media {
            PROTOBUF | PROTOBUF_AS_ASKED => Some(Self::Protobuf),
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            _ => None,
        })
    }

    fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => PROTOBUF,
        }
    }
}

/// Resources of one group and version.
type Group = (String, String, Vec<Arc<Resource>>);

/// Answers `/openapi/v2`.
pub(super) async fn answer(api: &Arc<Api>, registry: &Registry, headers: &HeaderMap) -> Response {
    let Some(form) = Form::of(headers) else {
        return reply::not_acceptable();
    };
    let groups = groups(registry);
    let tag = format!("\"{}\"", name(&groups, form));
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        match bytes(api, groups, form, &tag).await {
            Ok(bytes) => reply::sized(StatusCode::OK, form.media(), bytes, headers).await,
            Err(err) => return reply::error(&err),
        }
    };
    let out = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(ETAG, tag);
    }
    out.insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn groups(registry: &Registry) -> Vec<Group> {
    let versions = registry
        .groups()
        .flat_map(|(group, versions)| versions.iter().map(move |version| (group, version)));
    versions
        .map(|(group, version)| {
            let resources = registry
                .resources(group, version)
                .into_iter()
                .cloned()
                .collect();
            (group.to_owned(), version.clone(), resources)
        })
        .collect()
}

/// Names a document by what it is made from.
fn name(groups: &[Group], form: Form) -> String {
    let mut text = format!("{form:?}");
    for (group, version, resources) in groups {
        text.push_str(&fingerprint(resources, group, version));
    }
    openapi::hash(text.as_bytes())
}

async fn bytes(
    api: &Arc<Api>,
    groups: Vec<Group>,
    form: Form,
    name: &str,
) -> Result<Bytes, ApiError> {
    if let Some(bytes) = api.documents.find(name) {
        return Ok(bytes);
    }
    let make = move || {
        let documents = groups
            .iter()
            .map(|(group, version, resources)| document(resources, group, version));
        let document = convert::merge(documents);
        match form {
            Form::Json => serde_json::to_vec(&document).expect("JSON always serialises"),
            Form::Protobuf => protobuf::encode(&document),
        }
    };
    let bytes = Bytes::from(
        tokio::task::spawn_blocking(make)
            .await
            .map_err(ApiError::internal)?,
    );
    api.documents.keep(name.to_owned(), bytes.clone());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn the_first_form_that_there_is_counts() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).expect("a value"));
            Form::of(&headers)
        };
        assert_eq!(of(PROTOBUF_AS_ASKED), Some(Form::Protobuf));
        assert_eq!(
            of(&format!("text/html, {PROTOBUF}, */*")),
            Some(Form::Protobuf)
        );
        assert_eq!(of("application/json"), Some(Form::Json));
        assert_eq!(of("text/html"), None);
        assert_eq!(Form::of(&HeaderMap::new()), Some(Form::Json));
    }
}
