//! Parts of Kubeflow that people will look for and that this version does not have: they are named, never a bare 404.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use schemars::JsonSchema;
use serde::Serialize;

use crate::identity::problem;
use crate::pages;

/// A part that is not there yet.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Part {
    /// Its path.
    pub prefix: &'static str,
    /// What people call it.
    pub title: &'static str,
}

/// Every such part, with the path under which the real Kubeflow serves it.
pub const PARTS: [Part; 14] = [
    Part {
        prefix: "/katib",
        title: "Katib (tuning)",
    },
    Part {
        prefix: "/jupyter",
        title: "Notebooks",
    },
    Part {
        prefix: "/notebook",
        title: "Notebooks",
    },
    Part {
        prefix: "/workspaces",
        title: "Workspaces",
    },
    Part {
        prefix: "/workspace",
        title: "Workspaces",
    },
    Part {
        prefix: "/tensorboards",
        title: "TensorBoards",
    },
    Part {
        prefix: "/tensorboard",
        title: "TensorBoards",
    },
    Part {
        prefix: "/volumes",
        title: "Volumes",
    },
    Part {
        prefix: "/kserve-endpoints",
        title: "KServe (serving)",
    },
    Part {
        prefix: "/serving",
        title: "KServe (serving)",
    },
    Part {
        prefix: "/model-registry",
        title: "the Model Registry",
    },
    Part {
        prefix: "/api/model_registry",
        title: "the Model Registry",
    },
    Part {
        prefix: "/recurringruns",
        title: "Recurring runs",
    },
    Part {
        prefix: "/kfam",
        title: "Profiles and access management",
    },
];

/// Says in words that the part is absent: a page to a browser, JSON to a program.
pub fn answer(part: Part, request: &Request) -> Response {
    let message = format!(
        "{} is not in this version of Ferroflow; Pipelines is. The change log says what comes when.",
        part.title
    );
    if pages::wants_page(request.headers()) {
        let page = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Not in this version</title><body style=\"font:15px system-ui;max-width:34rem;margin:15vh auto;padding:0 1rem\"><h1 style=\"font-size:1.2rem\">{} is not in this version</h1><p>{message}</p><p><a href=\"/\">Back to the console</a></p></body></html>",
            part.title
        );
        return (StatusCode::NOT_IMPLEMENTED, Html(page)).into_response();
    }
    problem(StatusCode::NOT_IMPLEMENTED, &message)
}
