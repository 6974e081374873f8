//! A server on a temporary folder, and requests to it in few words.

use apiserver::{ApiServer, Config};
use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A running server; its folder goes with it.
pub struct Server {
    pub api: ApiServer,
    pub folder: tempfile::TempDir,
    pub token: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub body: Value,
    pub warnings: Vec<String>,
}

impl Answer {
    /// The body of an answer that must have this code.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code.as_u16(), code, "{:#}", self.body);
        self.body
    }

    /// The message of a refusal with this code.
    #[track_caller]
    pub fn refused(self, code: u16) -> String {
        self.expect(code)["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let api = ApiServer::open(Config::at(folder.path())).await.unwrap();
        let token = api.admin_token().to_owned();
        Self { api, folder, token }
    }

    /// The same folder opened again.
    pub async fn restart(self) -> Self {
        self.api.close().await;
        let api = ApiServer::open(Config::at(self.folder.path()))
            .await
            .unwrap();
        Self { api, ..self }
    }

    pub async fn send(&self, request: Request<Body>) -> http::Response<Body> {
        self.api.service().oneshot(request).await.unwrap()
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(body).unwrap()).await;
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        let code = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer {
            code,
            body,
            warnings,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[], Body::empty()).await
    }

    /// Makes the account that pods of the namespace `default` run as, which a controller would make.
    pub async fn default_account(&self) {
        let path = "/api/v1/namespaces/default/serviceaccounts";
        let made = self.post(path, &service_account("default")).await;
        made.expect(201);
    }

    pub async fn post(&self, path: &str, object: &Value) -> Answer {
        self.request(
            Method::POST,
            path,
            &[("user-agent", "test/1")],
            Body::from(object.to_string()),
        )
        .await
    }

    pub async fn put(&self, path: &str, object: &Value) -> Answer {
        self.request(
            Method::PUT,
            path,
            &[("user-agent", "test/1")],
            Body::from(object.to_string()),
        )
        .await
    }

    pub async fn delete(&self, path: &str, options: Option<Value>) -> Answer {
        let body = options.map_or_else(Body::empty, |options| Body::from(options.to_string()));
        self.request(Method::DELETE, path, &[], body).await
    }

    /// A patch; `form` is `json`, `merge`, `strategic-merge` or `apply`.
    pub async fn patch(&self, path: &str, form: &str, patch: &Value) -> Answer {
        let suffix = if form == "apply" { "yaml" } else { "json" };
        let media = format!("application/{form}-patch+{suffix}");
        let headers = [("content-type", media.as_str()), ("user-agent", "test/1")];
        self.request(Method::PATCH, path, &headers, Body::from(patch.to_string()))
            .await
    }

    pub async fn create_config_map(&self, name: &str, data: Value) -> Value {
        self.post(CONFIG_MAPS, &config_map(name, data))
            .await
            .expect(201)
    }
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "python:3.11"}]},
            },
        },
    })
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "python:3.11", "ports": [{"containerPort": 8080}]}],
        },
    })
}

pub fn service_account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}

pub fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1},
                                    "colour": {"type": "string", "default": "red"},
                                    "replicas": {"type": "integer"},
                                },
                                "x-kubernetes-validations": [{
                                    "rule": "self.size < 100", "message": "too large to ship"}],
                            },
                            "status": {
                                "type": "object",
                                "properties": {"replicas": {"type": "integer"}, "phase": {"type": "string"}},
                            },
                        },
                    }},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                    },
                    "selectableFields": [{"jsonPath": ".spec.colour"}],
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "priority": 1},
                    ],
                },
                {
                    "name": "v1beta1",
                    "served": true,
                    "storage": false,
                    "deprecated": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                },
            ],
        },
    })
}
