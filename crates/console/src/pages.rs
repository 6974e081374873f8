//! The embedded pages. Files with a hash in their name are cached for good; the page itself never is.
//! A build without `web/dist` has one page that says how to get the rest.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::identity::problem;

/// What `npm run build` made, if it ran.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../web/dist"]
#[allow_missing = true]
struct Dist;

const STUB: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Ferroflow</title><body style=\"font:15px system-ui;max-width:34rem;margin:15vh auto;padding:0 1rem\"><h1 style=\"font-size:1.2rem\">The pages were not built into this binary</h1><p>The platform runs; its API is here. To get the console: <code>cargo xtask web</code>, then build again.</p></body></html>";

/// The file at the request's path, or the page, which routes by itself.
pub async fn serve(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "pages can only be read");
    }
    let path = request.uri().path().trim_start_matches('/');
    // The pipelines UI also lives below /pipeline for clients that were given that address.
    let path = path.strip_prefix("pipeline/").unwrap_or(path);
    if let Some(file) = Dist::get(path).filter(|_| path != "index.html") {
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        let lasting = if path.starts_with("assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        return (
            [
                (header::CONTENT_TYPE, kind.as_ref().to_owned()),
                (header::CACHE_CONTROL, lasting.to_owned()),
            ],
            file.data.into_owned(),
        )
            .into_response();
    }
    let looks_like_a_file = path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.') && path.starts_with("assets/"));
    if looks_like_a_file || path.starts_with("api/") || path.starts_with("apis/") {
        return problem(
            StatusCode::NOT_FOUND,
            &format!("there is nothing at /{path}"),
        );
    }
    page(StatusCode::OK)
}

/// The page itself, which routes by the address; `status` tells programs what it is about.
pub fn page(status: StatusCode) -> Response {
    let page = match Dist::get("index.html") {
        Some(page) => Html(page.data.into_owned()).into_response(),
        None => Html(STUB).into_response(),
    };
    let caching = [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    (status, caching, page).into_response()
}

/// Whether a browser asks for something to show, not a program for something to read.
pub fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}
