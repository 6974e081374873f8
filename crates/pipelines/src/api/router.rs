//! Every route of this component, grouped by who calls them.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use http::Uri;

use super::{
    Shared, absent, artifacts_api, auth, experiments, healthz, openapi, pipelines, runs, step, ui,
};

/// Largest uploaded package.
const UPLOAD_LIMIT_BYTES: usize = 33 * 1024 * 1024;

/// The whole surface. Paths with doubled slashes (the SDK makes them behind a proxy) and below `/pipeline` are tolerated.
pub fn router(api: Shared) -> Router {
    let v2 = Router::new()
        // The SDK and the kfp command.
        .route(
            "/experiments",
            post(experiments::create::handle).get(experiments::list::handle),
        )
        .route(
            "/experiments/{experiment}",
            get(experiments::get::handle)
                .delete(experiments::delete::handle)
                .post(experiments::archive::handle),
        )
        .route(
            "/pipelines",
            post(pipelines::create::handle).get(pipelines::list::handle),
        )
        .route(
            "/pipelines/create",
            post(pipelines::create_from_url::handle),
        )
        .route("/pipelines/upload", post(pipelines::upload::handle))
        .route(
            "/pipelines/upload_version",
            post(pipelines::upload_version::handle),
        )
        .route(
            "/pipelines/names/{name}",
            get(pipelines::get_by_name::handle),
        )
        .route(
            "/pipelines/{pipeline}",
            get(pipelines::get::handle)
                .patch(pipelines::update::handle)
                .delete(pipelines::delete::handle),
        )
        .route(
            "/pipelines/{pipeline}/versions",
            post(pipelines::versions::create).get(pipelines::versions::list),
        )
        .route(
            "/pipelines/{pipeline}/versions/{version}",
            get(pipelines::versions::get)
                .patch(pipelines::versions::update)
                .delete(pipelines::versions::delete),
        )
        .route("/runs", post(runs::create::handle).get(runs::list::handle))
        .route(
            "/runs/{run}",
            get(runs::get::handle)
                .delete(runs::delete::handle)
                .post(runs::act::handle),
        )
        // Tasks and artifacts as the native API shows them.
        .route("/runs/{run}/tasks", get(runs::tasks::list))
        .route("/runs/{run}/tasks/{task}", get(runs::tasks::get))
        .route("/tasks:findCached", post(runs::tasks::find_cached))
        .route("/artifacts", get(artifacts_api::list::handle))
        .route("/artifacts/{artifact}", get(artifacts_api::get::handle))
        .route("/artifact_tasks", get(artifacts_api::links::handle))
        // The console.
        .route("/runs:watch", get(runs::watch::all))
        .route("/runs/{run}/tasks/{task}/log", get(runs::log::handle))
        .route(
            "/runs/{run}/nodes/{node}/artifacts/{name}",
            get(artifacts_api::read::handle),
        )
        .route("/openapi.json", get(openapi::handle))
        // Probes and old UIs.
        .route("/healthz", get(healthz::handle))
        .route("/auth", get(auth::handle))
        .route("/filters", get(healthz::filters))
        .route("/recurringruns", axum::routing::any(absent::recurring_runs))
        .route(
            "/recurringruns/{*rest}",
            axum::routing::any(absent::recurring_runs),
        )
        .route(
            "/visualizations/{*rest}",
            axum::routing::any(absent::visualizations),
        );
    Router::new()
        .nest("/apis/v2beta1", v2)
        .route("/apis/v1beta1/healthz", get(healthz::handle_v1))
        .route("/apis/v1beta1/{*rest}", axum::routing::any(absent::v1beta1))
        .route(
            "/apis/v1alpha1/runs/{run}/nodes/{node}/log",
            get(runs::log::by_pod),
        )
        .route("/healthz", get(healthz::ready))
        .route("/artifacts/get", get(ui::artifact::handle))
        .route(
            "/artifacts/{source}/{bucket}/{*key}",
            get(ui::artifact::raw),
        )
        .route("/k8s/pod/logs", get(ui::pod_logs::handle))
        // Steps, where artifacts lie in an object store.
        .route("/step", get(step::describe::handle))
        .route("/step/inputs/{index}", get(step::inputs::list))
        .route("/step/inputs/{index}/content", get(step::inputs::content))
        .route("/step/outputs", put(step::outputs::handle))
        .route("/step/report", put(step::report::handle))
        .fallback(absent::unknown)
        .layer(DefaultBodyLimit::max(UPLOAD_LIMIT_BYTES))
        .layer(middleware::from_fn(log))
        .with_state(api)
}

/// Makes paths plain before anything is routed.
pub fn plain_path<B>(mut request: http::Request<B>) -> http::Request<B> {
    let path = request.uri().path();
    if !path.contains("//") && !path.starts_with("/pipeline/") {
        return request;
    }
    let mut plain = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !plain.ends_with('/') {
            plain.push(letter);
        }
    }
    let plain = plain
        .strip_prefix("/pipeline")
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(&plain);
    let target = request
        .uri()
        .query()
        .map_or_else(|| plain.to_owned(), |query| format!("{plain}?{query}"));
    if let Ok(uri) = target.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let since = std::time::Instant::now();
    let response = next.run(request).await;
    tracing::debug!(http.method = %method, http.path = %path, http.status = response.status().as_u16(), duration_ms = since.elapsed().as_secs_f64() * 1e3, "{method} {path}");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(uri: &str) -> String {
        plain_path(http::Request::builder().uri(uri).body(()).unwrap())
            .uri()
            .to_string()
    }

    #[test]
    fn doubled_slashes_and_the_pipeline_prefix_are_tolerated() {
        assert_eq!(
            plain("//apis/v2beta1//runs?filter=a//b"),
            "/apis/v2beta1/runs?filter=a//b"
        );
        assert_eq!(plain("/pipeline/apis/v2beta1/runs"), "/apis/v2beta1/runs");
        assert_eq!(plain("/apis/v2beta1/pipelines"), "/apis/v2beta1/pipelines");
    }
}
