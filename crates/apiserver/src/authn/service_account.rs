//! Service-account tokens: signed with our key (ES256), bound to the account and, where asked, to a
//! pod, secret or node, and good for as long as all of these exist. Claims mirror Kubernetes v1.33
//! (`pkg/serviceaccount/claims.go`, type `privateClaims`).

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::User;
use crate::lookup::Lookup;

/// The issuer, and the audience of the API itself, where nothing else is configured.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Why a token was not accepted. Said to logs and token reviews, never to the bearer.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of ours, or its time is over.
    #[error("invalid bearer token")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    /// It is not meant for the audience that was asked for.
    #[error("token audiences do not include the requested audience")]
    Audience,
    /// Something it is bound to is gone or has been replaced.
    #[error("{kind} {name} of the token does not exist or is another one by now")]
    Bound {
        /// What it was bound to.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The subject and the private claims contradict each other.
    #[error("the token's subject and claims differ")]
    Subject,
}

/// An object that a token is tied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The claims of ours below the key `kubernetes.io`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The namespace of the account and of the bound pod or secret.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Reference,
    /// The pod, if bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The node the bound pod runs on, or the node it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The secret, if bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    #[serde(rename = "aud")]
    audiences: Vec<String>,
    /// Seconds since 1970 at which it ends.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    #[serde(rename = "iat")]
    issued_at: i64,
    #[serde(rename = "iss")]
    issuer: String,
    #[serde(rename = "jti")]
    id: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub binding: Binding,
    #[serde(rename = "nbf")]
    not_before: i64,
    #[serde(rename = "sub")]
    subject: String,
}

impl Claims {
    /// Which of `wanted` the token is meant for.
    pub(super) fn audiences_among(&self, wanted: &[String]) -> Vec<String> {
        let is_meant = |audience: &&String| self.audiences.contains(audience);
        wanted.iter().filter(is_meant).cloned().collect()
    }

    /// The user that bears the token.
    pub fn user(&self) -> User {
        let binding = &self.binding;
        let mut user = User::service_account(&binding.namespace, &binding.serviceaccount.name);
        user.uid.clone_from(&binding.serviceaccount.uid);
        let mut extra = BTreeMap::new();
        let mut note = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(
                    format!("authentication.kubernetes.io/{key}"),
                    vec![value.to_owned()],
                );
            }
        };
        note("credential-id", &format!("JTI={}", self.id));
        if let Some(pod) = &binding.pod {
            note("pod-name", &pod.name);
            note("pod-uid", &pod.uid);
        }
        if let Some(node) = &binding.node {
            note("node-name", &node.name);
            note("node-uid", &node.uid);
        }
        user.extra = extra;
        user
    }

    /// Everything the token is bound to must still be there, and be the same.
    pub(super) fn check_bound(&self, lookup: &dyn Lookup) -> Result<(), TokenError> {
        let binding = &self.binding;
        let check = |kind: &'static str, resource: &str, namespace: &str, bound: &Reference| {
            let found = lookup.get("", resource, namespace, &bound.name);
            let is_same = found.is_some_and(|object| {
                bound.uid.is_empty() || object["metadata"]["uid"] == bound.uid.as_str()
            });
            is_same.then_some(()).ok_or_else(|| TokenError::Bound {
                kind,
                name: bound.name.clone(),
            })
        };
        let namespace = binding.namespace.as_str();
        check(
            "service account",
            "serviceaccounts",
            namespace,
            &binding.serviceaccount,
        )?;
        if let Some(pod) = &binding.pod {
            check("pod", "pods", namespace, pod)?;
        }
        if let Some(secret) = &binding.secret {
            check("secret", "secrets", namespace, secret)?;
        }
        match &binding.node {
            // A node beside a pod only says where the pod ran; alone it is what the token is bound to.
            Some(node) if binding.pod.is_none() => check("node", "nodes", "", node),
            _ => Ok(()),
        }
    }
}

/// Issues and verifies service-account tokens.
pub struct TokenSigner {
    issuer: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    jwk: Value,
    key_id: String,
}

impl TokenSigner {
    /// A signer that uses the P-256 private key in `key_pem`.
    pub fn new(key_pem: &str, issuer: &str) -> Result<Self, jsonwebtoken::errors::Error> {
        let encoding = EncodingKey::from_ec_pem(key_pem.as_bytes())?;
        let public = jsonwebtoken::jwk::Jwk::from_encoding_key(&encoding, Algorithm::ES256)?;
        let decoding = DecodingKey::from_jwk(&public)?;
        let mut jwk = serde_json::to_value(&public).expect("a key of ours is plain data");
        let point = format!("{}{}", jwk["x"], jwk["y"]);
        let key_id = hex::encode(&Sha256::digest(point.as_bytes())[..16]);
        jwk["kid"] = json!(key_id);
        jwk["use"] = json!("sig");
        Ok(Self {
            issuer: issuer.to_owned(),
            encoding,
            decoding,
            jwk,
            key_id,
        })
    }

    /// The issuer, which is also the audience of the API.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `audiences`, or the API's own when none are given.
    pub fn audiences_or_api(&self, audiences: &[String]) -> Vec<String> {
        if audiences.is_empty() {
            vec![self.issuer.clone()]
        } else {
            audiences.to_vec()
        }
    }

    /// A token for `binding`, good for `lifetime_seconds` from `now` (seconds since 1970).
    pub fn sign(
        &self,
        binding: Binding,
        audiences: &[String],
        lifetime_seconds: i64,
        now: i64,
    ) -> Result<String, TokenError> {
        let claims = Claims {
            audiences: self.audiences_or_api(audiences),
            expires_at: now + lifetime_seconds,
            issued_at: now,
            issuer: self.issuer.clone(),
            id: uuid::Uuid::new_v4().to_string(),
            subject: subject(&binding),
            not_before: now,
            binding,
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, &claims, &self.encoding).map_err(TokenError::Invalid)
    }

    /// The claims of a token of ours that is valid at `now`; nothing is said about what it is bound to.
    pub(super) fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        // Time is compared below, with our clock and no leeway; audiences differ by request.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(TokenError::Invalid)?
            .claims;
        if claims.expires_at <= now {
            return Err(invalid(jsonwebtoken::errors::ErrorKind::ExpiredSignature));
        }
        if claims.not_before > now {
            return Err(invalid(jsonwebtoken::errors::ErrorKind::ImmatureSignature));
        }
        if claims.subject != subject(&claims.binding) {
            return Err(TokenError::Subject);
        }
        Ok(claims)
    }

    /// The key set at `/openid/v1/jwks`, with which others verify our tokens.
    pub fn key_set(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }

    /// The document at `/.well-known/openid-configuration`.
    pub fn discovery(&self, api_server: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{api_server}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

fn subject(binding: &Binding) -> String {
    format!(
        "system:serviceaccount:{}:{}",
        binding.namespace, binding.serviceaccount.name
    )
}

fn invalid(kind: jsonwebtoken::errors::ErrorKind) -> TokenError {
    TokenError::Invalid(jsonwebtoken::errors::new_error(kind))
}
