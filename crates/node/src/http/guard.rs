//! Who may ask the node on its port: nobody without a name. A certificate or a token says who calls, and the API server
//! decides with a SubjectAccessReview, as for any kubelet, whether that one may use this node.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Refused;

/// How long the API's word is believed. Rights that are taken away end within it.
const BELIEVED: Duration = Duration::from_secs(60);
/// Answers remembered; beyond it all are asked for again.
const REMEMBERED: usize = 1024;

/// Somebody with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    user: String,
    groups: Vec<String>,
    uid: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Subject {
    /// Whom a client certificate names that the TLS layer has verified: the common name is the user, organisations are
    /// groups.
    pub(super) fn of_certificate(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let mut groups: Vec<String> = subject
            .iter_organization()
            .filter_map(|organization| organization.as_str().ok())
            .map(ToOwned::to_owned)
            .collect();
        groups.push("system:authenticated".to_owned());
        (!user.is_empty()).then_some(Self {
            user,
            groups,
            uid: None,
            extra: BTreeMap::new(),
        })
    }
}

/// By what a caller makes itself known. A certificate comes first.
enum Caller {
    Certified(Subject),
    Bearer(String),
    Nobody,
}

impl Caller {
    fn of(request: &Request) -> Self {
        if let Some(subject) = request.extensions().get::<Subject>() {
            return Self::Certified(subject.clone());
        }
        let header = request.headers().get(AUTHORIZATION);
        match header.and_then(|value| objects::bearer_token(value.to_str().ok()?)) {
            Some(token) => Self::Bearer(token.to_owned()),
            None => Self::Nobody,
        }
    }
}

fn nobody() -> Refused {
    Refused(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned())
}

/// What a request does to the node, in the API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wish {
    verb: &'static str,
    subresource: &'static str,
}

impl Wish {
    /// As kubelets tell requests apart, but for one thing: running something in a pod is never a mere `get`, whatever
    /// method opens the stream.
    fn of(method: &Method, path: &str) -> Self {
        let first = path.trim_start_matches('/').split('/').next();
        let subresource = match first.unwrap_or_default() {
            "stats" => "stats",
            "metrics" => "metrics",
            _ => "proxy",
        };
        let verb = match first.unwrap_or_default() {
            "exec" | "attach" | "portForward" => "create",
            _ => match *method {
                Method::POST => "create",
                Method::PUT => "update",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                _ => "get",
            },
        };
        Self { verb, subresource }
    }
}

/// Lets through whom the API server lets through. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Asked>);

struct Asked {
    /// Asks as the node.
    client: Client,
    node: String,
    allowed: Mutex<HashMap<(Subject, Wish), Instant>>,
}

impl Guard {
    /// A guard of `node`, which asks as that node.
    pub fn new(client: Client, node: impl Into<String>) -> Self {
        Self(Arc::new(Asked {
            client,
            node: node.into(),
            allowed: Mutex::default(),
        }))
    }

    /// The routes behind this guard.
    pub(super) fn before(self, router: Router) -> Router {
        router.layer(axum::middleware::from_fn_with_state(self, guarded))
    }

    async fn decide(&self, caller: Caller, wish: Wish) -> Result<(), Refused> {
        let subject = match caller {
            Caller::Certified(subject) => subject,
            Caller::Bearer(token) => self.bearer(token).await?,
            Caller::Nobody => return Err(nobody()),
        };
        let asked = (subject, wish);
        if self.is_believed(&asked) {
            return Ok(());
        }
        if self.may(&asked.0, wish).await? {
            self.believe(asked);
            return Ok(());
        }
        let text = format!(
            "{} may not {} nodes/{} of {}",
            asked.0.user, wish.verb, wish.subresource, self.0.node
        );
        Err(Refused(StatusCode::FORBIDDEN, text))
    }

    async fn bearer(&self, token: String) -> Result<Subject, Refused> {
        let spec = TokenReviewSpec {
            token: Some(token),
            audiences: None,
        };
        let review: TokenReview = self
            .ask(TokenReview {
                spec,
                ..TokenReview::default()
            })
            .await?;
        let status = review.status.unwrap_or_default();
        let user = status
            .user
            .filter(|_| status.authenticated == Some(true))
            .ok_or_else(nobody)?;
        Ok(Subject {
            user: user.username.ok_or_else(nobody)?,
            groups: user.groups.unwrap_or_default(),
            uid: user.uid,
            extra: user.extra.unwrap_or_default(),
        })
    }

    async fn may(&self, subject: &Subject, wish: Wish) -> Result<bool, Refused> {
        let attributes = ResourceAttributes {
            verb: Some(wish.verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(wish.subresource.to_owned()),
            name: Some(self.0.node.clone()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(subject.user.clone()),
            groups: Some(subject.groups.clone()),
            uid: subject.uid.clone(),
            extra: (!subject.extra.is_empty()).then(|| subject.extra.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = self
            .ask(SubjectAccessReview {
                spec,
                ..SubjectAccessReview::default()
            })
            .await?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }

    async fn ask<K>(&self, review: K) -> Result<K, Refused>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let reviews: Api<K> = Api::all(self.0.client.clone());
        reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| {
                tracing::warn!(%error, "the API server did not say who may use this node");
                let text = "the API server did not say who may use this node".to_owned();
                Refused(StatusCode::INTERNAL_SERVER_ERROR, text)
            })
    }

    fn is_believed(&self, asked: &(Subject, Wish)) -> bool {
        let allowed = self
            .0
            .allowed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        allowed.get(asked).is_some_and(|at| at.elapsed() < BELIEVED)
    }

    /// Only leave is remembered: who is refused may have been given it since.
    fn believe(&self, asked: (Subject, Wish)) {
        let mut allowed = self
            .0
            .allowed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if allowed.len() >= REMEMBERED {
            allowed.clear();
        }
        allowed.insert(asked, Instant::now());
    }
}

async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let caller = Caller::of(&request);
    let wish = Wish::of(request.method(), request.uri().path());
    match guard.decide(caller, wish).await {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_as_kubelets_do() {
        for (method, path, verb, subresource) in [
            (Method::GET, "/containerLogs/ns/p/c", "get", "proxy"),
            (Method::GET, "/pods", "get", "proxy"),
            (Method::GET, "/stats/summary", "get", "stats"),
            (Method::GET, "/metrics/resource", "get", "metrics"),
            (Method::GET, "/statsx", "get", "proxy"),
        ] {
            assert_eq!(
                Wish::of(&method, path),
                Wish { verb, subresource },
                "{path}"
            );
        }
    }

    #[test]
    fn running_something_is_more_than_reading_whatever_method_asks() {
        for path in ["/exec/ns/p/c", "/attach/ns/p/c", "/portForward/ns/p"] {
            for method in [Method::GET, Method::POST] {
                let wish = Wish::of(&method, path);
                assert_eq!((wish.verb, wish.subresource), ("create", "proxy"), "{path}");
            }
        }
    }

    #[test]
    fn a_certificate_names_a_user_and_groups() {
        let mut params = rcgen::CertificateParams::default();
        let name = &mut params.distinguished_name;
        name.push(rcgen::DnType::CommonName, "kube-apiserver");
        name.push(rcgen::DnType::OrganizationName, "kubelet-users");
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        let subject = Subject::of_certificate(made.der()).expect("a subject");
        assert_eq!(subject.user, "kube-apiserver");
        assert_eq!(subject.groups, ["kubelet-users", "system:authenticated"]);
    }
}
