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
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn refused(err: &TokenError) -> Status {
    tracing::debug!(reason = %err, "token refused");
    unauthorized()
}

/// The answer to everyone we do not know; it says no more, so that it helps nobody guess.
pub fn unauthorized() -> Status {
    Status::unauthorized()
}
