//! What stands beside a registry that sends for tokens: it takes a password and answers with a signed token.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};

/// A running token server.
pub struct TokenServer {
    address: String,
    certificate: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Issuer {
    key: EncodingKey,
    certificate: String,
    /// What the one user sends as `Authorization`.
    expected: String,
}

#[derive(Deserialize)]
struct Wish {
    service: String,
    scope: Option<String>,
}

impl TokenServer {
    /// Knows one user.
    pub async fn start(user: &str, password: &str) -> Result<Self> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = rcgen::CertificateParams::new(Vec::new())?.self_signed(&pair)?;
        let issuer = Issuer {
            key: EncodingKey::from_ec_der(&pair.serialize_der()),
            certificate: BASE64_STANDARD.encode(certificate.der()),
            expected: format!(
                "Basic {}",
                BASE64_STANDARD.encode(format!("{user}:{password}"))
            ),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}/token", listener.local_addr()?);
        let router = Router::new().route("/token", get(issue)).with_state(issuer);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            certificate: certificate.pem(),
            task,
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn certificate(&self) -> &str {
        &self.certificate
    }
}

/// As registries have it, somebody without a password gets a token that allows nothing.
async fn issue(
    State(issuer): State<Issuer>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let access: Vec<Value> = match given {
        None => Vec::new(),
        Some(given) if given == issuer.expected => wish
            .scope
            .iter()
            .filter_map(|scope| {
                let mut parts = scope.splitn(3, ':');
                let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
                let actions: Vec<_> = actions.split(',').collect();
                Some(json!({"type": kind, "name": name, "actions": actions}))
            })
            .collect(),
        Some(_) => return Err(StatusCode::UNAUTHORIZED),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .as_secs();
    let claims = json!({
        "iss": "test", "sub": "me", "aud": wish.service, "jti": "1",
        "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
    });
    let header = Header {
        x5c: Some(vec![issuer.certificate.clone()]),
        ..Header::new(Algorithm::ES256)
    };
    let token = jsonwebtoken::encode(&header, &claims, &issuer.key)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({"token": token, "expires_in": 300})))
}
