//! Every route of the front door, grouped by who calls it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::{COOKIE, Person, problem};
use crate::session::{Key, Purpose, SESSION_LIFE, UsedCodes};
use crate::upstream::PIPELINES;
use crate::{
    Config, Error, absent, events, guard, identity, kubernetes, machine, pages, schema, upstream,
};

/// What every handler may use.
#[derive(Clone)]
pub struct Door {
    /// Where the console runs.
    pub config: Arc<Config>,
    /// Signs sessions.
    pub key: Key,
    /// Codes that were used.
    pub used: UsedCodes,
    /// How busy this machine is.
    pub meter: machine::Meter,
}

/// The front door, ready to serve. Whoever accepts connections puts a [`crate::peer::Connection`] into each request.
///
/// # Errors
/// When the session key can be neither read nor made.
pub async fn router(config: Config) -> Result<axum::Router, Error> {
    let key = Key::load(&config.client, &config.namespace).await?;
    let door = Door {
        config: Arc::new(config),
        key,
        used: UsedCodes::default(),
        meter: machine::Meter::start(),
    };
    let mut router = axum::Router::new()
        // The kubelet.
        .route("/healthz", get(async || "ok"))
        // Browsers.
        .route("/login", get(login))
        .route("/api/logout", post(logout))
        .route("/api/session", get(session))
        .route("/api/events", get(events::stream))
        .route("/api/machine", get(machine::read))
        .route("/api/openapi.json", get(schema::show))
        .route("/api/k8s/{*path}", any(kubernetes::pass))
        // Clients of the pipelines API, directly and below the console's own path.
        .route("/apis/{*path}", any(pipelines))
        .route("/pipeline/apis/{*path}", any(pipelines))
        .route("/pipeline/{*path}", any(pipelines_ui))
        .route("/artifacts/{*path}", get(pipelines))
        .route("/k8s/{*path}", get(pipelines));
    for part in absent::PARTS {
        let handler = any(move |request: Request| async move { absent::answer(part, &request) });
        router = router
            .route(part.prefix, handler.clone())
            .route(&format!("{}/", part.prefix), handler.clone())
            .route(&format!("{}/{{*path}}", part.prefix), handler);
    }
    Ok(router
        .fallback(fallback)
        .layer(middleware::from_fn_with_state(
            door.clone(),
            identity::layer,
        ))
        .layer(middleware::from_fn(guard::headers))
        .with_state(door))
}

/// Paths with doubled slashes come from the SDK's own joining; they mean the same.
async fn fallback(
    State(door): State<Door>,
    person: Result<Person, Response>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    if path.starts_with("//") {
        let single = format!("/{}", path.trim_start_matches('/'));
        if single.starts_with("/apis/") {
            return match person {
                Ok(person) => forward(door, person, request, &single).await,
                Err(refusal) => refusal,
            };
        }
    }
    pages::serve(request).await
}

async fn pipelines(State(door): State<Door>, person: Person, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let path = path.strip_prefix("/pipeline").unwrap_or(&path).to_owned();
    forward(door, person, request, &path).await
}

/// `/pipeline//apis/…` is the API; the rest of `/pipeline/…` is pages.
async fn pipelines_ui(
    State(door): State<Door>,
    person: Result<Person, Response>,
    request: Request,
) -> Response {
    let path = request
        .uri()
        .path()
        .trim_start_matches("/pipeline")
        .trim_start_matches('/')
        .to_owned();
    if !path.starts_with("apis/") {
        return pages::serve(request).await;
    }
    match person {
        Ok(person) => forward(door, person, request, &format!("/{path}")).await,
        Err(refusal) => refusal,
    }
}

async fn forward(door: Door, person: Person, request: Request, path: &str) -> Response {
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    upstream::pass(door.config, PIPELINES, &person, request, &target).await
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    code: String,
}

/// Turns a one-time code into a session.
async fn login(State(door): State<Door>, Query(login): Query<Login>, request: Request) -> Response {
    let now = Timestamp::now();
    let claim = door
        .key
        .verify(&login.code, Purpose::Code, now)
        .filter(|claim| door.used.take(claim, now));
    let Some(claim) = claim else {
        if pages::wants_page(request.headers()) {
            // At this path the page says the same, and what to do.
            return pages::page(StatusCode::UNAUTHORIZED);
        }
        return problem(
            StatusCode::UNAUTHORIZED,
            "this address was used already, or is over; run `kfctl login` for a new one",
        );
    };
    let session = door.key.sign(&claim.user, Purpose::Session, now);
    let is_secure = request
        .headers()
        .get("x-forwarded-proto")
        .is_some_and(|scheme| scheme == "https");
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        SESSION_LIFE.as_secs()
    );
    let mut response = Redirect::to("/").into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn logout(_: Person) -> Response {
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Json(serde_json::json!({}))).into_response()
}

/// What the page shows around everything else.
#[derive(Serialize, JsonSchema)]
pub struct Session {
    /// Who asks.
    person: Person,
    /// Ferroflow's version.
    version: String,
    /// Where the platform is installed, and where steps of pipelines run.
    namespace: String,
    /// Parts that are installed; the page lists no others.
    parts: Vec<&'static str>,
    /// Parts that people look for and this version does not have; the page names them.
    absent: Vec<absent::Part>,
}

async fn session(State(door): State<Door>, person: Person) -> Json<Session> {
    Json(Session {
        person,
        version: door.config.version.clone(),
        namespace: door.config.namespace.clone(),
        parts: vec!["pipelines"],
        absent: absent::PARTS.to_vec(),
    })
}
