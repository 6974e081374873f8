//! Every request's way: authenticate → impersonate → authorise → limit → dispatch → answer.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use objects::Status;
use tracing::Instrument as _;

use super::accept::{Accept, Shape};
use super::path::{ResourcePath, Target, parse};
use super::query::Query;
use super::{body, reply};
use crate::api::{Api, QUEUE_WAIT, REQUEST_TIMEOUT};
use crate::authn::{ClientCertificate, User, impersonation};
use crate::authz::Attributes;
use crate::error::ApiError;
use crate::registry::{Resource, Subresource};
use crate::verbs::{Call, Reply};
use crate::{discovery, subresources, verbs};

/// Answers one request. The connection leaves the client's certificate among the extensions.
pub async fn handle(api: Arc<Api>, request: Request) -> Response {
    let begun = Instant::now();
    let span = tracing::debug_span!("request", http.method = %request.method(), http.path = request.uri().path());
    let method = request.method().clone();
    let verb_for_metrics = method.clone();
    let response = async {
        let response = answer(&api, request)
            .await
            .unwrap_or_else(|err| reply::error(&err));
        tracing::debug!(
            http.status = response.status().as_u16(),
            duration_ms = begun.elapsed().as_millis() as u64
        );
        response
    }
    .instrument(span)
    .await;
    api.metrics.count(
        verb_for_metrics.as_str(),
        response.status().as_u16(),
        begun.elapsed(),
    );
    response
}

async fn answer(api: &Arc<Api>, request: Request) -> Result<Response, ApiError> {
    let peer = request.extensions().get::<ClientCertificate>().cloned();
    let user = api
        .authenticator
        .authenticate(request.headers(), peer.as_ref())?;
    let user = impersonation::resolve(user, request.headers(), &api.authorizer)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match parse(request.uri().path()) {
        Target::Other(path) => {
            let verb = request.method().as_str().to_lowercase();
            let attributes = Attributes {
                verb: &verb,
                path: &path,
                ..Attributes::default()
            };
            api.authorizer.require(&user, &attributes)?;
            // Bodies cannot be shared between threads; only the head goes along.
            let (head, _) = request.into_parts();
            Ok(discovery::answer(api, &head, &path, &query).await)
        }
        Target::Resource(path) => {
            let verb = verb_of(request.method(), &path, &query)?;
            authorize(api, &user, verb, &path, &query)?;
            resource(api, user, verb, path, query, request).await
        }
    }
}

fn verb_of(method: &Method, path: &ResourcePath, query: &Query) -> Result<&'static str, ApiError> {
    let is_watch = path.is_old_watch || query.flag("watch");
    Ok(match *method {
        Method::GET | Method::HEAD if path.subresource.is_empty() && is_watch => "watch",
        Method::GET | Method::HEAD if path.name.is_empty() => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if path.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => {
            return Err(Status::method_not_allowed().into());
        }
    })
}

fn authorize(
    api: &Api,
    user: &User,
    verb: &str,
    path: &ResourcePath,
    query: &Query,
) -> Result<(), ApiError> {
    let attributes = Attributes {
        verb,
        group: &path.group,
        version: &path.version,
        resource: &path.resource,
        subresource: &path.subresource,
        namespace: &path.namespace,
        name: &path.name,
        path: "",
        field_selector: query.get("fieldSelector").unwrap_or_default(),
    };
    Ok(api.authorizer.require(user, &attributes)?)
}

async fn resource(
    api: &Arc<Api>,
    user: User,
    verb: &'static str,
    path: ResourcePath,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let registry = api.registry.load_full();
    let Some(resource) = registry
        .find(&path.group, &path.version, &path.resource)
        .cloned()
    else {
        let is_served = registry
            .all()
            .any(|known| known.group == path.group && known.version == path.version);
        if is_served {
            return Err(ApiError::no_such_resource());
        }
        return Ok(reply::no_such_page());
    };
    check_names(&path)?;
    check_scope(&resource, verb, &path)?;
    let (parts, request_body) = request.into_parts();
    let streams = subresources::is_stream(&resource, &path.subresource);
    let accept = Accept::of(&parts.headers, query.flag("pretty"));
    let accept = match (accept, streams) {
        (Some(accept), _) => accept,
        (None, true) => Accept::default(),
        (None, false) => return Ok(reply::not_acceptable()),
    };
    if resource.collection.is_none() && accept.shape != Shape::Object {
        // A review is a question and an answer; it has neither rows nor metadata.
        return Ok(reply::not_acceptable());
    }
    let mut call = Call {
        api: api.clone(),
        user,
        registry,
        verb,
        namespace: if resource.namespaced {
            path.namespace
        } else {
            String::new()
        },
        resource,
        name: path.name,
        subresource: path.subresource,
        query,
        headers: parts.headers.clone(),
        accept,
        body: Default::default(),
        warnings: Default::default(),
    };
    if let Some(words) = &call.resource.deprecation {
        call.warn(words.clone());
    }
    if streams {
        let request = http::Request::from_parts(parts, request_body);
        let result = subresources::stream(&call, &path.rest, request).await;
        return Ok(reply::finish(&call, result).await);
    }
    // Before a place in the queue is taken, so that a slow sender holds up nobody.
    if !matches!(verb, "get" | "list" | "watch") {
        let read = tokio::time::timeout(REQUEST_TIMEOUT, body::read(request_body)).await;
        call.body = read.map_err(|_| timed_out())??;
    }
    let limit = match verb {
        "watch" => None,
        "get" | "list" => Some(&api.reads),
        _ => Some(&api.writes),
    };
    let _permit = match limit {
        None => None,
        Some(limit) => {
            match tokio::time::timeout(QUEUE_WAIT, limit.clone().acquire_owned()).await {
                Ok(permit) => permit.ok(),
                Err(_) => {
                    let words = "too many requests, please try again later";
                    return Err(Status::too_many_requests(words, 1).into());
                }
            }
        }
    };
    let result = match tokio::time::timeout(REQUEST_TIMEOUT, run(&call)).await {
        Ok(result) => result,
        Err(_) => {
            Err(Status::timeout("request did not complete within the allotted timeout", 0).into())
        }
    };
    let mut response = reply::finish(&call, result).await;
    if parts.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}

fn timed_out() -> ApiError {
    Status::timeout("request did not complete within the allotted timeout", 0).into()
}

async fn run(call: &Call) -> Result<Reply, ApiError> {
    match call.subresource.as_str() {
        "" if call.resource.collection.is_none() => subresources::review(call).await,
        "" => verbs::run(call).await,
        _ => subresources::run(call).await,
    }
}

/// A name is one segment of a path, however it was written: `%2F` must not reach into another namespace.
fn check_names(path: &ResourcePath) -> Result<(), ApiError> {
    let is_odd = |name: &str| name.contains('/') || matches!(name, "." | "..");
    match [&path.namespace, &path.name]
        .into_iter()
        .find(|name| is_odd(name))
    {
        Some(name) => Err(ApiError::bad_request(format!(
            "invalid name {name:?}: it must be one segment of a path"
        ))),
        None => Ok(()),
    }
}

/// Whether the path fits the resource's scope and offers.
fn check_scope(resource: &Resource, verb: &str, path: &ResourcePath) -> Result<(), ApiError> {
    if !resource.namespaced && !path.namespace.is_empty() && resource.plural != "namespaces" {
        return Err(ApiError::no_such_resource());
    }
    if path.subresource.is_empty() {
        let needs_namespace = !path.name.is_empty() || verb == "create";
        if resource.namespaced && path.namespace.is_empty() && needs_namespace && !path.is_old_watch
        {
            // The path is one of a list over all namespaces, or no path at all.
            return Err(if path.name.is_empty() {
                Status::method_not_allowed().into()
            } else {
                ApiError::no_such_resource()
            });
        }
        // Nothing deletes over all namespaces, or several namespaces at once.
        let is_too_wide = verb == "deletecollection"
            && (resource.plural == "namespaces"
                || resource.namespaced && path.namespace.is_empty());
        let has_no_name = matches!(verb, "update" | "patch") && path.name.is_empty();
        if is_too_wide || has_no_name || !resource.verbs.contains(&verb) {
            return Err(Status::method_not_allowed().into());
        }
        return Ok(());
    }
    if resource.namespaced && path.namespace.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    match resource.subresource(&path.subresource) {
        None => Err(ApiError::no_such_resource()),
        Some(Subresource::Status | Subresource::Scale(_))
            if !matches!(verb, "get" | "update" | "patch") =>
        {
            Err(Status::method_not_allowed().into())
        }
        Some(Subresource::Named { verbs, .. }) if !verbs.contains(&verb) => {
            Err(Status::method_not_allowed().into())
        }
        Some(_) => Ok(()),
    }
}
