//! Container logs, read from the kubelet and passed on as they come.

use axum::body::Body;
use axum::extract::Request;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use objects::{FieldError, Status};
use serde_json::Value;

use super::{container, kubelet, query, websocket};
use crate::error::ApiError;
use crate::verbs::{Call, Reply};

/// `GET pods/{name}/log`.
pub async fn run(call: &Call, asked: Request) -> Result<Reply, ApiError> {
    let pod = call.current()?;
    let container = container(&pod, call.query.get("container"))?;
    let mut parameters = Vec::new();
    for flag in ["follow", "previous", "timestamps"] {
        if call.query.flag(flag) {
            parameters.push((flag, "true".to_owned()));
        }
    }
    for number in ["tailLines", "limitBytes", "sinceSeconds"] {
        match call.query.number::<i64>(number) {
            None => {}
            Some(Ok(value)) if value >= i64::from(number != "tailLines") => {
                parameters.push((number, value.to_string()))
            }
            Some(wrong) => {
                let given = wrong.map_or_else(
                    |_| Value::from(call.query.get(number).unwrap_or_default()),
                    Value::from,
                );
                let least = if number == "tailLines" {
                    "or equal to 0"
                } else {
                    "0"
                };
                let error =
                    FieldError::invalid(number, given, format!("must be greater than {least}"));
                return Err(Status::invalid("", "PodLogOptions", &call.name, vec![error]).into());
            }
        }
    }
    for text in ["sinceTime", "stream"] {
        if let Some(value) = call.query.get(text) {
            parameters.push((text, value.to_owned()));
        }
    }
    if call.query.get("sinceTime").is_some() && call.query.get("sinceSeconds").is_some() {
        let error = FieldError::forbidden(
            "[]",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        );
        return Err(Status::invalid("", "PodLogOptions", &call.name, vec![error]).into());
    }
    let Some(node) = kubelet::node_of(&pod) else {
        // Nothing runs yet, so nothing was said.
        let mut response = axum::response::Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(Reply::Response(Box::new(response)));
    };
    let path = format!(
        "/containerLogs/{}/{}/{container}?{}",
        call.namespace,
        call.name,
        query(&parameters)
    );
    let request = http::Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(http::header::HOST, node)
        .body(Body::empty())
        .map_err(ApiError::internal)?;
    let mut response = kubelet::request(call, node, request).await?;
    if response.status() != StatusCode::OK {
        return Err(kubelet::failure(response).await);
    }
    if websocket::is_wanted(asked.headers()) {
        let response = websocket::log(asked, response).await?;
        return Ok(Reply::Response(Box::new(response)));
    }
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    Ok(Reply::Response(Box::new(response)))
}
