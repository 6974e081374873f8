//! Lists: consistent pages from immutable snapshots.

use std::sync::Arc;
use std::time::Duration;

use objects::{FieldError, Status};

use super::pages::Token;
use super::selection::Selection;
use super::{Call, ListReply, Reply};
use crate::error::ApiError;
use crate::store::snapshot::range;
use crate::store::{Error, Map};

/// How long a read waits for a revision that has not been reached.
const WAIT: Duration = Duration::from_secs(3);

/// `GET` of a collection.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    let selection = Selection::of(call)?;
    let page = page(call, &selection).await?;
    Ok(Reply::List(page))
}

/// One page of a list.
pub async fn page(call: &Call, selection: &Selection) -> Result<ListReply, ApiError> {
    let limit = match call.query.number::<i64>("limit") {
        None => usize::MAX,
        Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) if limit > 0 => limit as usize,
        // Less than nothing asks for no limit.
        Some(Ok(_)) => usize::MAX,
        Some(Err(why)) => return Err(ApiError::bad_request(why)),
    };
    let (map, revision, start) = view(call).await?;
    let prefix = if call.namespace.is_empty() || !call.resource.namespaced {
        String::new()
    } else {
        format!("{}/", call.namespace)
    };
    if let (Some(name), false) = (
        selection.only_name(),
        call.resource.namespaced && prefix.is_empty(),
    ) {
        // One object can match, and its key is known.
        let key = format!("{prefix}{name}");
        let found = map
            .get(key.as_str())
            .filter(|entry| selection.matches(&call.resource, &key, entry));
        let entries = found.cloned().into_iter().collect();
        return Ok(ListReply {
            resource: call.resource.clone(),
            entries,
            revision,
            next: None,
            remaining: None,
        });
    }
    let mut entries = Vec::new();
    let mut next = None;
    let mut remaining = None;
    let mut rest = range(&map, &prefix, &start)
        .filter(|(key, entry)| selection.matches(&call.resource, key, entry));
    let mut last: Option<&Arc<str>> = None;
    for (key, entry) in rest.by_ref() {
        if entries.len() == limit {
            let after = last.map_or_else(String::new, |key| format!("{key}\0"));
            next = Some(Token::new(revision as i64, after).encode());
            if selection.is_everything() {
                remaining = Some(1 + rest.count() as u64);
            }
            break;
        }
        last = Some(key);
        entries.push(entry.clone());
    }
    if next.is_some() {
        let snapshot = call.api.store.snapshot();
        if snapshot.revision == revision {
            call.api.store.keep(&snapshot);
        }
    }
    Ok(ListReply {
        resource: call.resource.clone(),
        entries,
        revision,
        next,
        remaining,
    })
}

/// The collection at the revision that was asked for, that revision, and the key to begin with.
async fn view(call: &Call) -> Result<(Map, u64, String), ApiError> {
    let collection = call.resource.stored();
    let wanted = call.query.get("resourceVersion");
    let matching = call.query.get("resourceVersionMatch");
    if let Some(text) = call.query.get("continue") {
        if matching.is_some() {
            return Err(ApiError::bad_request(
                "resourceVersionMatch is forbidden with continue",
            ));
        }
        if wanted.is_some_and(|wanted| wanted != "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::decode(text).ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: it was not made by this server")
        })?;
        return match u64::try_from(token.rv) {
            Err(_) => {
                let snapshot = call.api.store.snapshot();
                Ok((
                    snapshot.map(collection.id).clone(),
                    snapshot.revision,
                    token.start,
                ))
            }
            Ok(_) if token.is_old() => Err(expired_page(token.start)),
            Ok(revision) => match call.api.store.at(collection, revision).await {
                Ok(map) => Ok((map, revision, token.start)),
                Err(_) => Err(expired_page(token.start)),
            },
        };
    }
    let revision = wanted
        .map(parse_revision)
        .transpose()
        .map_err(|err| ApiError::bad_request(format!("invalid resource version: {err}")))?;
    match (matching, revision) {
        (None | Some("NotOlderThan"), Some(revision)) => await_revision(call, revision).await?,
        (None, None) => {}
        (Some("Exact"), Some(revision)) if revision > 0 => {
            await_revision(call, revision).await?;
            let map = call.api.store.at(collection, revision).await.map_err(|err| match err {
                Error::Expired { .. } => Status::expired(format!(
                    "The provided resource version {revision} is too old: it is no longer kept; list again without one"
                ))
                .into(),
                other => ApiError::from(other),
            })?;
            return Ok((map, revision, String::new()));
        }
        (Some("Exact"), _) => {
            return Err(forbidden_match(match revision {
                None => "resourceVersionMatch is forbidden unless resourceVersion is provided",
                Some(_) => "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            }));
        }
        (Some("NotOlderThan"), None) => {
            return Err(forbidden_match(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        (Some(other), _) => {
            let error = FieldError::not_supported(
                "resourceVersionMatch",
                other,
                &["Exact", "NotOlderThan", ""],
            );
            return Err(invalid_options(error));
        }
    }
    let snapshot = call.api.store.snapshot();
    Ok((
        snapshot.map(collection.id).clone(),
        snapshot.revision,
        String::new(),
    ))
}

/// 422 about the options of a list.
fn invalid_options(error: FieldError) -> ApiError {
    Status::invalid("meta.k8s.io", "ListOptions", "", vec![error]).into()
}

fn forbidden_match(why: &str) -> ApiError {
    invalid_options(FieldError::forbidden("resourceVersionMatch", why))
}

/// The 410 of a later page, with a token to go on inconsistently.
fn expired_page(start: String) -> ApiError {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.metadata = serde_json::json!({"continue": Token::new(-1, start).encode()});
    status.into()
}

/// A resource version as the number it is here.
pub fn parse_revision(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// Waits a moment for a revision that has not been handed out yet, then refuses.
pub async fn await_revision(call: &Call, revision: u64) -> Result<(), ApiError> {
    if call.api.store.snapshot().revision >= revision
        || call.api.store.reached(revision, WAIT).await
    {
        return Ok(());
    }
    let current = call.api.store.snapshot().revision;
    Err(Status::resource_version_too_large(revision, current).into())
}
