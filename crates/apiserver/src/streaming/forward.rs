//! One request over one connection, and the bytes of an upgraded one in both directions.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use objects::Status;

use crate::authn::User;
use crate::backend::Stream;
use crate::error::ApiError;

/// Who sent a proxied request; only the proxy can set it.
pub const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
/// The groups of who sent a proxied request; only the proxy can set it.
pub const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");

/// Whether a request wants to leave HTTP.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .split(',')
                    .any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
            })
}

/// Passes `request` on to `target` over `connection`; an upgrade that the other side accepts is joined to the client's.
pub(super) async fn send(
    connection: Box<dyn Stream>,
    mut request: Request,
    target: &str,
    host: &str,
    user: &User,
) -> Result<Response, ApiError> {
    let upgrades = is_upgrade(request.headers());
    let client = upgrades.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut onward = http::Request::new(if upgrades { Body::empty() } else { body });
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = target
        .parse()
        .map_err(|err| ApiError::bad_request(format!("proxied path: {err}")))?;
    *onward.headers_mut() = onward_headers(parts.headers, host, user, upgrades)?;
    let mut response = exchange(connection, onward).await?;
    if let (Some(client), StatusCode::SWITCHING_PROTOCOLS) = (client, response.status()) {
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (client, server) = match tokio::try_join!(client, server) {
                Ok(both) => both,
                Err(err) => return tracing::debug!(error = %err, "upgrading a proxied connection"),
            };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            if let Err(err) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
                tracing::debug!(error = %err, "proxied connection ended");
            }
        });
        *response.body_mut() = Body::empty();
    } else {
        remove_hop_headers(response.headers_mut(), false);
    }
    Ok(response)
}

/// Speaks HTTP/1.1 on a fresh connection for one request.
pub(super) async fn exchange(
    connection: Box<dyn Stream>,
    request: http::Request<Body>,
) -> Result<Response, ApiError> {
    let failed = |err: hyper::Error| {
        let words = format!(
            "error trying to reach the backend: {}",
            objects::chain(&err)
        );
        ApiError::from(Status::failure(502, "ServiceUnavailable", words))
    };
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection))
        .await
        .map_err(failed)?;
    tokio::spawn(async move {
        if let Err(err) = driver.with_upgrades().await {
            tracing::debug!(error = %err, "backend connection ended");
        }
    });
    let response = sender.send_request(request).await.map_err(failed)?;
    Ok(response.map(Body::new))
}

fn onward_headers(
    mut headers: HeaderMap,
    host: &str,
    user: &User,
    upgrades: bool,
) -> Result<HeaderMap, ApiError> {
    // Credentials for us are nobody else's business, and identity headers come from us alone.
    headers.remove(AUTHORIZATION);
    let foreign: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            name.as_str().starts_with("x-remote-") || name.as_str().starts_with("impersonate-")
        })
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    remove_hop_headers(&mut headers, upgrades);
    headers.insert(
        HOST,
        HeaderValue::from_str(host).map_err(ApiError::internal)?,
    );
    if let Ok(name) = HeaderValue::from_str(&user.name) {
        headers.insert(REMOTE_USER, name);
    }
    for group in &user.groups {
        if let Ok(group) = HeaderValue::from_str(group) {
            headers.append(REMOTE_GROUP, group);
        }
    }
    Ok(headers)
}

fn remove_hop_headers(headers: &mut HeaderMap, upgrades: bool) {
    if !upgrades {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
    for name in [
        TE,
        TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
}
