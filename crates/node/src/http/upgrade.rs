//! How a request leaves HTTP: by which protocol, in which of its versions, and the answer that says so.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use hyper_util::rt::TokioIo;

use super::Refused;

const SPDY: &str = "SPDY/3.1";
/// Offered by clients, most wanted first, and chosen in the answer.
const VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// What the server speaks, said when nothing matches.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// A request that wants to leave HTTP.
pub(super) enum Upgrade {
    /// To WebSocket.
    WebSocket(Box<WebSocketUpgrade>),
    /// To SPDY, with the chosen version of what is spoken on its streams.
    Spdy(Box<Spdy>),
}

/// A request that wants SPDY.
pub(super) struct Spdy {
    request: Request,
    /// The version of what is spoken on the streams; the oldest has no name.
    pub version: &'static str,
}

impl Upgrade {
    /// Reads what a request wants. `spdy` are the versions spoken over SPDY, `websocket` those over WebSocket.
    pub async fn read(
        request: Request,
        spdy: &[&'static str],
        websocket: &'static [&'static str],
    ) -> Result<Self, Response> {
        let headers = request.headers();
        if wants(headers, "websocket") {
            let is_named = headers.contains_key(SEC_WEBSOCKET_PROTOCOL);
            let (mut parts, _) = request.into_parts();
            let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
                .await
                .map_err(axum::response::IntoResponse::into_response)?;
            let upgrade = upgrade.protocols(websocket.iter().copied());
            if is_named && upgrade.selected_protocol().is_none() {
                return Err(no_version(
                    headers_of(&parts.headers, &SEC_WEBSOCKET_PROTOCOL),
                    websocket,
                ));
            }
            return Ok(Self::WebSocket(Box::new(upgrade)));
        }
        if wants(headers, SPDY) {
            let offered = headers_of(headers, &VERSION);
            let version = choose(&offered, spdy).ok_or_else(|| no_version(offered, spdy))?;
            return Ok(Self::Spdy(Box::new(Spdy { request, version })));
        }
        let text = "unable to upgrade: the request asks for neither WebSocket nor SPDY/3.1";
        let refused = Refused(StatusCode::BAD_REQUEST, text.into());
        Err(axum::response::IntoResponse::into_response(refused))
    }
}

impl Spdy {
    /// Answers the request; `serve` gets the connection once both sides speak SPDY.
    pub fn accept<F>(
        mut self,
        serve: impl FnOnce(spdy::Connection) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send,
    {
        let upgraded = hyper::upgrade::on(&mut self.request);
        tokio::spawn(async move {
            match upgraded.await {
                Ok(io) => {
                    serve(spdy::Connection::start(
                        TokioIo::new(io),
                        spdy::Role::Server,
                    ))
                    .await
                }
                Err(error) => tracing::debug!(error = %error, "upgrading to SPDY"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
        if !self.version.is_empty() {
            headers.insert(VERSION, HeaderValue::from_static(self.version));
        }
        response
    }
}

fn wants(headers: &HeaderMap, protocol: &str) -> bool {
    headers_of(headers, &UPGRADE)
        .iter()
        .any(|word| word.eq_ignore_ascii_case(protocol))
}

/// The words of a header that may be repeated, and may have several words.
fn headers_of(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|word| word.trim().to_owned())
        .collect()
}

/// The client's first wish that is spoken here. A client that names none speaks the oldest, where that is spoken.
fn choose(offered: &[String], spoken: &[&'static str]) -> Option<&'static str> {
    let find = |wish: &str| spoken.iter().find(|version| **version == wish).copied();
    if offered.is_empty() {
        return find("").or_else(|| spoken.last().copied().filter(|_| spoken.len() == 1));
    }
    offered.iter().find_map(|wish| find(wish))
}

fn no_version(offered: Vec<String>, spoken: &[&str]) -> Response {
    let text = format!(
        "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {spoken:?}"
    );
    let refused = Refused(StatusCode::FORBIDDEN, text);
    let mut response = axum::response::IntoResponse::into_response(refused);
    for version in spoken {
        if let Ok(version) = HeaderValue::from_str(version) {
            response.headers_mut().append(ACCEPTED, version);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: &[&str] = &["v5", "v4", ""];

    fn offered(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_clients_first_wish_that_is_spoken_here_is_granted() {
        assert_eq!(choose(&offered(&["v9", "v4", "v5"]), SPOKEN), Some("v4"));
        assert_eq!(choose(&offered(&["v9"]), SPOKEN), None);
    }

    #[test]
    fn who_names_no_version_gets_the_oldest_or_the_only_one() {
        assert_eq!(choose(&[], SPOKEN), Some(""));
        assert_eq!(choose(&[], &["only"]), Some("only"));
        assert_eq!(choose(&[], &["v5", "v4"]), None);
    }

    #[test]
    fn a_header_may_be_repeated_or_have_several_words() {
        let mut headers = HeaderMap::new();
        headers.append(VERSION, HeaderValue::from_static("v5, v4"));
        headers.append(VERSION, HeaderValue::from_static("v3"));
        assert_eq!(headers_of(&headers, &VERSION), ["v5", "v4", "v3"]);
    }
}
