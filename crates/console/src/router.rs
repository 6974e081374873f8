//! Every route of the front door, grouped by who calls it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use schemars::JsonSchema;
use serde::Serialize;

use crate::accounts::Accounts;
use crate::identity::Person;
use crate::session::{Key, UsedCodes};
use crate::upstream::PIPELINES;
use crate::{
    Config, Error, absent, events, guard, identity, kubernetes, machine, pages, schema, sign_in,
    upstream,
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
    /// Accounts with passwords, where there are any.
    pub accounts: Option<Arc<Accounts>>,
    /// How busy this machine is.
    pub meter: machine::Meter,
}

/// The front door, ready to serve. Whoever accepts connections puts a [`crate::peer::Connection`] into each request.
///
/// # Errors
/// When the session key can be neither read nor made.
pub async fn router(config: Config) -> Result<axum::Router, Error> {
    let key = Key::load(&config.client, &config.namespace).await?;
    let accounts = match config.owner {
        Some(_) => None,
        None => Some(Arc::new(
            Accounts::open(&config.client, &config.namespace).await?,
        )),
    };
    let door = Door {
        config: Arc::new(config),
        key,
        used: UsedCodes::default(),
        accounts,
        meter: machine::Meter::start(),
    };
    let mut router = axum::Router::new()
        // The kubelet.
        .route("/healthz", get(async || "ok"))
        // Browsers.
        .route("/login", get(sign_in::show).post(sign_in::submit))
        .route(
            "/password",
            get(sign_in::show_password).post(sign_in::submit_password),
        )
        .route("/api/logout", post(sign_in::leave))
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
        .layer(middleware::from_fn(guard::name))
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
    if person.is_err() && door.accounts.is_some() && pages::wants_page(request.headers()) {
        return Redirect::to("/login").into_response();
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
    /// Whether there is a password to change, under `/password`.
    has_password: bool,
}

async fn session(State(door): State<Door>, person: Person) -> Json<Session> {
    Json(Session {
        has_password: door.accounts.is_some() && person.by == identity::Proof::Session,
        person,
        version: door.config.version.clone(),
        namespace: door.config.namespace.clone(),
        parts: vec!["pipelines"],
        absent: absent::PARTS.to_vec(),
    })
}
