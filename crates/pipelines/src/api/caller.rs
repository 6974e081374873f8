//! Who is calling, and whether they may. A caller shows a bearer token (checked by TokenReview), or comes over a connection
//! that only our own proxy and console can make, which name the user in headers. Every call is then put to the cluster as a
//! SubjectAccessReview in the group `pipelines.kubeflow.org`. There is no anonymous access.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::request::Parts;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use sha2::{Digest as _, Sha256};

use super::error::{ApiError, Code};

/// Names the user on a trusted connection, as the API server's proxy sets it.
pub const USER_HEADER: &str = "x-remote-user";
/// Names the user's groups on a trusted connection, one header each.
pub const GROUP_HEADER: &str = "x-remote-group";
/// The audience of tokens made for callers of this API.
pub const AUDIENCE: &str = "pipelines.kubeflow.org";

/// How long a checked token stays good without asking again.
const TOKEN_MEMORY: Duration = Duration::from_secs(60);
/// How long a decision stays good without asking again.
const DECISION_MEMORY: Duration = Duration::from_secs(10);

/// A token, for callers behind a proxy that takes `Authorization` away, as the API server of a cluster does.
pub const TOKEN_HEADER: &str = "x-pipelines-token";

/// Names the user for whom a front door of ours calls with its own token; it must have the right to impersonate users.
pub const ON_BEHALF_HEADER: &str = "kubeflow-userid";

/// Marks a connection that only our own proxy or console can have made. Inserted by the acceptor, never read off the wire.
#[derive(Clone, Copy, Debug)]
pub struct TrustedConnection;

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Uid, when the token has one.
    pub uid: String,
    /// The pod whose token was shown, when it was a pod's.
    pub pod: Option<BoundPod>,
}

/// The pod that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoundPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl BoundPod {
    /// What the cluster says about a token beside whose it is.
    fn of(extra: Option<&BTreeMap<String, Vec<String>>>) -> Option<Self> {
        let said = |key: &str| {
            let values = extra?.get(&format!("authentication.kubernetes.io/{key}"))?;
            values.first().filter(|value| !value.is_empty()).cloned()
        };
        Some(Self {
            name: said("pod-name")?,
            uid: said("pod-uid")?,
        })
    }
}

/// How callers are known and judged.
#[derive(Clone)]
pub enum AccessPolicy {
    /// By the cluster's own reviews.
    Cluster(Arc<ClusterAccess>),
    /// Every caller is this one and may do everything: for tests.
    Fixed(Caller),
}

/// Reviews by the cluster, remembered for a short while.
pub struct ClusterAccess {
    client: kube::Client,
    /// Users that are believed about whom they call for; others need the right to impersonate.
    front_doors: Vec<String>,
    tokens: Mutex<HashMap<[u8; 32], (Instant, Caller)>>,
    /// Caller and question to the refusal, if it was one.
    decisions: Mutex<HashMap<(Caller, String), Decision>>,
}

type Decision = (Instant, Option<String>);

impl AccessPolicy {
    /// Judges by the cluster that a client reaches. `front_doors` are users (the console's service account) that are
    /// believed about whom they call for.
    pub fn cluster(client: kube::Client, front_doors: Vec<String>) -> Self {
        Self::Cluster(Arc::new(ClusterAccess {
            client,
            front_doors,
            tokens: Mutex::default(),
            decisions: Mutex::default(),
        }))
    }

    /// Who sent a request.
    pub async fn caller(&self, parts: &Parts) -> Result<Caller, ApiError> {
        match self {
            Self::Fixed(caller) => Ok(caller.clone()),
            Self::Cluster(access) => {
                if parts.extensions.get::<TrustedConnection>().is_some()
                    && let Some(caller) = named_caller(&parts.headers)
                {
                    return Ok(caller);
                }
                let token = bearer(&parts.headers)
                    .or_else(|| parts.headers.get(TOKEN_HEADER)?.to_str().ok())
                    .ok_or_else(|| ApiError::new(Code::Unauthenticated, "the request carries no token: send 'Authorization: Bearer …' with a token for the audience pipelines.kubeflow.org or the API server's own"))?;
                let caller = access.review_token(token).await?;
                match parts
                    .headers
                    .get(ON_BEHALF_HEADER)
                    .and_then(|user| user.to_str().ok())
                {
                    Some(user) if !user.is_empty() && user != caller.user => {
                        access.on_behalf(&caller, user).await
                    }
                    _ => Ok(caller),
                }
            }
        }
    }

    /// Refuses who may not make pods in a namespace.
    pub async fn authorise_pods(&self, caller: &Caller, namespace: &str) -> Result<(), ApiError> {
        match self {
            Self::Fixed(_) => Ok(()),
            Self::Cluster(access) => {
                let question = ResourceAttributes {
                    resource: Some("pods".to_owned()),
                    verb: Some("create".to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..ResourceAttributes::default()
                };
                access.review_access(caller, question).await
            }
        }
    }

    /// Refuses what the caller may not do.
    pub async fn authorise(
        &self,
        caller: &Caller,
        verb: &str,
        resource: &str,
        namespace: &str,
    ) -> Result<(), ApiError> {
        match self {
            Self::Fixed(_) => Ok(()),
            Self::Cluster(access) => {
                let question = ResourceAttributes {
                    group: Some("pipelines.kubeflow.org".to_owned()),
                    version: Some("v1beta1".to_owned()),
                    resource: Some(resource.to_owned()),
                    verb: Some(verb.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..ResourceAttributes::default()
                };
                access.review_access(caller, question).await
            }
        }
    }
}

fn named_caller(headers: &HeaderMap) -> Option<Caller> {
    let user = headers.get(USER_HEADER)?.to_str().ok()?.to_owned();
    let groups = headers
        .get_all(GROUP_HEADER)
        .iter()
        .filter_map(|group| group.to_str().ok())
        .filter(|group| !group.is_empty());
    let groups = groups.map(str::to_owned).collect();
    (!user.is_empty()).then_some(Caller {
        user,
        groups,
        uid: String::new(),
        pod: None,
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    objects::bearer_token(headers.get(http::header::AUTHORIZATION)?.to_str().ok()?)
}

impl ClusterAccess {
    async fn review_token(&self, token: &str) -> Result<Caller, ApiError> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&digest)
            .filter(|(since, _)| since.elapsed() < TOKEN_MEMORY)
            .map(|(_, caller)| caller.clone());
        if let Some(caller) = known {
            return Ok(caller);
        }
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let mut refusal = String::new();
        // First for our own audience, then for the API server's.
        for audiences in [Some(vec![AUDIENCE.to_owned()]), None] {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    token: Some(token.to_owned()),
                    audiences,
                },
                ..TokenReview::default()
            };
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .map_err(|problem| unreachable("check a token", &problem))?;
            let status = answer.status.unwrap_or_default();
            if status.authenticated == Some(true) {
                let user = status.user.unwrap_or_default();
                let caller = Caller {
                    user: user.username.unwrap_or_default(),
                    groups: user.groups.unwrap_or_default(),
                    uid: user.uid.unwrap_or_default(),
                    pod: BoundPod::of(user.extra.as_ref()),
                };
                let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.retain(|_, (since, _)| since.elapsed() < TOKEN_MEMORY);
                tokens.insert(digest, (Instant::now(), caller.clone()));
                return Ok(caller);
            }
            refusal = status.error.unwrap_or_default();
        }
        let detail = if refusal.is_empty() {
            String::new()
        } else {
            format!(": {refusal}")
        };
        Err(ApiError::new(
            Code::Unauthenticated,
            format!("the token is not valid{detail}"),
        ))
    }

    /// The user whom a caller may stand for. Groups are never taken over: only what every user has.
    async fn on_behalf(&self, caller: &Caller, user: &str) -> Result<Caller, ApiError> {
        let taken = Caller {
            user: user.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            uid: String::new(),
            pod: None,
        };
        if self.front_doors.contains(&caller.user) {
            return Ok(taken);
        }
        let question = ResourceAttributes {
            verb: Some("impersonate".to_owned()),
            resource: Some("users".to_owned()),
            name: Some(user.to_owned()),
            ..ResourceAttributes::default()
        };
        self.review_access(caller, question).await?;
        Ok(taken)
    }

    async fn review_access(
        &self,
        caller: &Caller,
        question: ResourceAttributes,
    ) -> Result<(), ApiError> {
        let key = (caller.clone(), format!("{question:?}"));
        let known = {
            let decisions = self
                .decisions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            decisions
                .get(&key)
                .filter(|(since, _)| since.elapsed() < DECISION_MEMORY)
                .map(|(_, refusal)| refusal.clone())
        };
        let refusal = match known {
            Some(refusal) => refusal,
            None => {
                let refusal = self.ask(caller, question).await?;
                let mut decisions = self
                    .decisions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                decisions.retain(|_, (since, _)| since.elapsed() < DECISION_MEMORY);
                decisions.insert(key, (Instant::now(), refusal.clone()));
                refusal
            }
        };
        refusal.map_or(Ok(()), |refusal| {
            Err(ApiError::new(Code::PermissionDenied, refusal))
        })
    }

    async fn ask(
        &self,
        caller: &Caller,
        question: ResourceAttributes,
    ) -> Result<Option<String>, ApiError> {
        let words = |text: &Option<String>| text.clone().unwrap_or_default();
        let place = question
            .namespace
            .as_ref()
            .map(|namespace| format!(" in namespace {namespace}"))
            .unwrap_or_default();
        let refusal = format!(
            "user {} may not {} {}{}{place}",
            caller.user,
            words(&question.verb),
            words(&question.resource),
            question
                .group
                .as_ref()
                .map(|group| format!(" of {group}"))
                .unwrap_or_default()
        );
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(caller.user.clone()),
                groups: Some(caller.groups.clone()),
                uid: Some(caller.uid.clone()).filter(|uid| !uid.is_empty()),
                resource_attributes: Some(question),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(|problem| unreachable("ask about access", &problem))?;
        Ok((!answer.status.unwrap_or_default().allowed).then_some(refusal))
    }
}

fn unreachable(action: &str, problem: &kube::Error) -> ApiError {
    tracing::warn!(
        error = problem as &dyn std::error::Error,
        "could not {action}"
    );
    ApiError::new(
        Code::Unavailable,
        format!("could not {action}: the Kubernetes API did not answer"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_pod_that_it_was_made_for() {
        let extra = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<String>> {
            let pairs = pairs.iter();
            let named = pairs.map(|(key, value)| {
                let key = format!("authentication.kubernetes.io/{key}");
                (key, vec![(*value).to_owned()])
            });
            named.collect()
        };
        let both = extra(&[("pod-name", "train"), ("pod-uid", "1")]);
        assert_eq!(BoundPod::of(Some(&both)).unwrap().name, "train");
        assert_eq!(BoundPod::of(Some(&extra(&[("pod-name", "train")]))), None);
        assert_eq!(BoundPod::of(None), None);
    }

    #[test]
    fn the_named_user_needs_a_name() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_HEADER, "".parse().unwrap());
        assert_eq!(named_caller(&headers), None);
        headers.insert(USER_HEADER, "ada".parse().unwrap());
        headers.append(GROUP_HEADER, "a".parse().unwrap());
        headers.append(GROUP_HEADER, "b".parse().unwrap());
        assert_eq!(named_caller(&headers).unwrap().groups, ["a", "b"]);
    }
}
