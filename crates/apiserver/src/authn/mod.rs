//! Who is asking.
//!
//! Every request is somebody's: a bearer token or a client certificate of our own authority, and
//! nothing else, so a request without either is refused. Names that only this program itself may
//! bear ([`INSTALLER`]) come from tokens that exist in memory alone. What the user may do is `authz`'s to say.

mod cache;
mod certificate;
pub mod impersonation;
pub mod service_account;
mod user;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use objects::Status;
use sha2::{Digest, Sha256};

use crate::lookup::Lookup;
use cache::TokenCache;

pub use certificate::ClientCertificate;
pub use service_account::{Binding, Claims, TokenError, TokenSigner};
pub use user::{ALL_AUTHENTICATED, INSTALLER, MASTERS, User, is_reserved};

/// The hash by which a token is known after it has been read: tokens themselves are never kept.
pub(crate) type TokenHash = [u8; 32];

/// Turns credentials into users.
pub struct Authenticator {
    /// Tokens of fixed identities: the owner, and this program's own components.
    fixed: RwLock<HashMap<TokenHash, User>>,
    signer: Arc<TokenSigner>,
    lookup: Arc<dyn Lookup>,
    cache: TokenCache,
}

/// A token that was accepted: whose it is and for which of the asked audiences.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Whose token it is.
    pub user: User,
    /// The audiences asked for that the token is meant for.
    pub audiences: Vec<String>,
}

impl Authenticator {
    /// An authenticator that knows the owner's `admin_token` and tokens of `signer`;
    /// `lookup` tells whether the account and pod of a token still exist.
    pub fn new(admin_token: &str, signer: Arc<TokenSigner>, lookup: Arc<dyn Lookup>) -> Self {
        let authenticator = Self {
            fixed: RwLock::default(),
            signer,
            lookup,
            cache: TokenCache::default(),
        };
        authenticator.accept(admin_token, User::admin());
        authenticator
    }

    /// The issuer of service-account tokens.
    pub fn signer(&self) -> &TokenSigner {
        &self.signer
    }

    /// A new token for one of this program's own identities; it is kept nowhere but here and ends with the process.
    pub fn issue(&self, user: User) -> String {
        let token = crate::tls::random_token();
        self.accept(&token, user);
        token
    }

    fn accept(&self, token: &str, user: User) {
        self.fixed
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(hash(token), user);
    }

    /// The user of a request; a bearer token goes before a client certificate, as clients expect.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&ClientCertificate>,
    ) -> Result<User, Status> {
        match bearer_token(headers) {
            Some(token) => self
                .authenticate_token(token, &[])
                .map(|accepted| accepted.user)
                .map_err(|err| refused(&err)),
            None => peer
                .and_then(ClientCertificate::to_user)
                .ok_or_else(unauthorized),
        }
    }

    /// Whose token this is, for any of `audiences` (empty: the API itself).
    pub fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Accepted, TokenError> {
        let hash = hash(token);
        let for_api = |user: User| {
            let audiences = self.signer.audiences_or_api(audiences);
            if audiences
                .iter()
                .any(|audience| audience == self.signer.issuer())
            {
                Ok(Accepted {
                    user,
                    audiences: vec![self.signer.issuer().to_owned()],
                })
            } else {
                Err(TokenError::Audience)
            }
        };
        let fixed = self
            .fixed
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&hash)
            .cloned();
        if let Some(user) = fixed {
            return for_api(user);
        }
        let now = jiff::Timestamp::now().as_second();
        let claims = match self.cache.get(&hash, now) {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.signer.verify(token, now)?);
                self.cache.put(hash, claims.clone(), now);
                claims
            }
        };
        let audiences = claims.audiences_among(&self.signer.audiences_or_api(audiences));
        if audiences.is_empty() {
            return Err(TokenError::Audience);
        }
        // The signature is remembered; whether its account and pod still live is asked each time.
        claims.check_bound(self.lookup.as_ref())?;
        Ok(Accepted {
            user: claims.user(),
            audiences,
        })
    }
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// The token of an `Authorization: Bearer` header.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    objects::bearer_token(headers.get(AUTHORIZATION)?.to_str().ok()?)
}

fn refused(err: &TokenError) -> Status {
    tracing::debug!(reason = %err, "token refused");
    unauthorized()
}

/// The answer to everyone we do not know; it says no more, so that it helps nobody guess.
pub fn unauthorized() -> Status {
    Status::unauthorized()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::Fixed;
    use serde_json::json;

    const ADMIN: &str = "the-owner's-token";

    fn signer() -> Arc<TokenSigner> {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        Arc::new(TokenSigner::new(&key, service_account::DEFAULT_ISSUER).unwrap())
    }

    fn objects() -> Fixed {
        Fixed::default()
            .with(
                "",
                "serviceaccounts",
                json!({"metadata": {"name": "builder", "namespace": "dev", "uid": "sa-1"}}),
            )
            .with(
                "",
                "pods",
                json!({"metadata": {"name": "p", "namespace": "dev", "uid": "pod-1"}}),
            )
    }

    fn authenticator(signer: &Arc<TokenSigner>, objects: Fixed) -> Authenticator {
        Authenticator::new(ADMIN, signer.clone(), Arc::new(objects))
    }

    fn reference(name: &str, uid: &str) -> service_account::Reference {
        service_account::Reference {
            name: name.into(),
            uid: uid.into(),
        }
    }

    fn binding() -> Binding {
        Binding {
            namespace: "dev".into(),
            serviceaccount: reference("builder", "sa-1"),
            pod: Some(reference("p", "pod-1")),
            node: None,
            secret: None,
        }
    }

    fn now() -> i64 {
        jiff::Timestamp::now().as_second()
    }

    fn bearer(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    }

    #[test]
    fn the_owners_token_is_the_owner() {
        let authenticator = authenticator(&signer(), objects());
        let user = authenticator.authenticate(&bearer(ADMIN), None).unwrap();
        assert_eq!(user.name, "kubernetes-admin");
        assert!(user.is_in("system:masters") && user.is_in("system:authenticated"));
    }

    #[test]
    fn nobody_gets_in_without_credentials_or_with_wrong_ones() {
        let authenticator = authenticator(&signer(), objects());
        let mut odd = vec![HeaderMap::new()];
        for value in ["Bearer", "Bearer ", "Basic YTpi", "Bearer wrong", ADMIN] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            odd.push(headers);
        }
        for headers in odd {
            let status = authenticator.authenticate(&headers, None).unwrap_err();
            assert_eq!(
                (status.code, status.message.as_str()),
                (401, "Unauthorized"),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_wrong_token_is_not_saved_by_a_good_certificate() {
        let authenticator = authenticator(&signer(), objects());
        let peer = ClientCertificate {
            user: "ann".into(),
            groups: vec![],
        };
        assert!(
            authenticator
                .authenticate(&bearer("wrong"), Some(&peer))
                .is_err()
        );
        let user = authenticator
            .authenticate(&HeaderMap::new(), Some(&peer))
            .unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups.as_slice()),
            ("ann", &["system:authenticated".to_owned()][..])
        );
    }

    #[test]
    fn no_certificate_makes_anybody_the_installer() {
        let authenticator = authenticator(&signer(), objects());
        for (user, groups) in [
            (INSTALLER, vec![]),
            ("ann", vec!["system:ferroflow:x".to_owned()]),
        ] {
            let peer = ClientCertificate {
                user: user.into(),
                groups,
            };
            assert!(
                authenticator
                    .authenticate(&HeaderMap::new(), Some(&peer))
                    .is_err()
            );
        }
    }

    #[test]
    fn a_service_accounts_token_says_who_bears_it_and_in_which_pod() {
        let signer = signer();
        let token = signer.sign(binding(), &[], 600, now()).unwrap();
        let user = authenticator(&signer, objects())
            .authenticate(&bearer(&token), None)
            .unwrap();
        assert_eq!(user.name, "system:serviceaccount:dev:builder");
        assert_eq!(user.uid, "sa-1");
        assert_eq!(
            user.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:dev",
                "system:authenticated"
            ]
        );
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert_eq!(
            user.extra["authentication.kubernetes.io/pod-uid"],
            ["pod-1"]
        );
    }

    #[test]
    fn a_token_ends_with_its_time_its_pod_and_its_account() {
        let signer = signer();
        let fresh = signer.sign(binding(), &[], 600, now()).unwrap();
        let late = signer.sign(binding(), &[], 600, now() - 600).unwrap();
        let early = signer.sign(binding(), &[], 600, now() + 60).unwrap();
        let all_there = authenticator(&signer, objects());
        assert!(all_there.authenticate_token(&fresh, &[]).is_ok());
        assert!(all_there.authenticate_token(&late, &[]).is_err());
        assert!(all_there.authenticate_token(&early, &[]).is_err());

        let account = json!({"metadata": {"name": "builder", "namespace": "dev", "uid": "sa-1"}});
        let pod_gone = Fixed::default().with("", "serviceaccounts", account.clone());
        assert!(
            authenticator(&signer, pod_gone)
                .authenticate_token(&fresh, &[])
                .is_err()
        );
        let other_pod = Fixed::default().with("", "serviceaccounts", account).with(
            "",
            "pods",
            json!({"metadata": {"name": "p", "namespace": "dev", "uid": "pod-2"}}),
        );
        assert!(
            authenticator(&signer, other_pod)
                .authenticate_token(&fresh, &[])
                .is_err()
        );
        assert!(
            authenticator(&signer, Fixed::default())
                .authenticate_token(&fresh, &[])
                .is_err()
        );
    }

    /// Objects that go away while the authenticator remembers the token.
    struct Vanishing(std::sync::Mutex<Fixed>);

    impl Lookup for Vanishing {
        fn get(
            &self,
            group: &str,
            resource: &str,
            namespace: &str,
            name: &str,
        ) -> Option<Arc<serde_json::Value>> {
            self.0.lock().unwrap().get(group, resource, namespace, name)
        }

        fn list(
            &self,
            group: &str,
            resource: &str,
            namespace: &str,
        ) -> Vec<Arc<serde_json::Value>> {
            self.0.lock().unwrap().list(group, resource, namespace)
        }
    }

    #[test]
    fn a_remembered_token_is_refused_the_moment_its_pod_is_gone() {
        let signer = signer();
        let objects = Arc::new(Vanishing(std::sync::Mutex::new(objects())));
        let authenticator = Authenticator::new(ADMIN, signer.clone(), objects.clone());
        let token = signer.sign(binding(), &[], 600, now()).unwrap();
        assert!(authenticator.authenticate_token(&token, &[]).is_ok());
        *objects.0.lock().unwrap() = Fixed::default();
        assert!(authenticator.authenticate_token(&token, &[]).is_err());
    }

    #[test]
    fn a_token_for_another_audience_does_not_open_the_api() {
        let signer = signer();
        let audience = vec!["pipelines.kubeflow.org".to_owned()];
        let token = signer.sign(binding(), &audience, 600, now()).unwrap();
        let authenticator = authenticator(&signer, objects());
        assert!(authenticator.authenticate(&bearer(&token), None).is_err());
        let accepted = authenticator.authenticate_token(&token, &audience).unwrap();
        assert_eq!(accepted.audiences, audience);
    }

    #[test]
    fn a_token_signed_by_another_key_or_by_none_is_refused() {
        let (ours, theirs) = (signer(), signer());
        let forged = theirs.sign(binding(), &[], 600, now()).unwrap();
        let authenticator = authenticator(&ours, objects());
        assert!(authenticator.authenticate_token(&forged, &[]).is_err());
        let good = ours.sign(binding(), &[], 600, now()).unwrap();
        let parts: Vec<&str> = good.split('.').collect();
        // {"alg":"none","typ":"JWT"}
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
        assert!(authenticator.authenticate_token(&unsigned, &[]).is_err());
        let mixed = format!(
            "{}.{}.{}",
            parts[0],
            forged.split('.').nth(1).unwrap(),
            parts[2]
        );
        assert!(authenticator.authenticate_token(&mixed, &[]).is_err());
    }

    #[test]
    fn components_get_tokens_that_only_this_process_knows() {
        let first = authenticator(&signer(), objects());
        let token = first.issue(User::node("n1"));
        let user = first.authenticate(&bearer(&token), None).unwrap();
        assert_eq!(user.as_node(), Some("n1"));
        let second = authenticator(&signer(), objects());
        assert!(second.authenticate(&bearer(&token), None).is_err());
    }

    #[test]
    fn others_can_verify_our_tokens_with_the_published_key() {
        let signer = signer();
        let token = signer.sign(binding(), &[], 600, now()).unwrap();
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(signer.key_set()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&[service_account::DEFAULT_ISSUER]);
        let decoding = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
        let claims = jsonwebtoken::decode::<serde_json::Value>(&token, &decoding, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], "system:serviceaccount:dev:builder");
        assert_eq!(
            claims["kubernetes.io"]["pod"],
            json!({"name": "p", "uid": "pod-1"})
        );
        assert!(claims["kubernetes.io"].get("node").is_none());
    }
}
