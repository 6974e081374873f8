//! Signed sessions and one-time sign-in codes. Both are `payload.signature` under one key, which lies in a
//! Secret of the platform, so that `kfctl login` can make a code wherever it can read that Secret.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// The Secret with the key.
pub const SECRET: &str = "dashboard-session";
const FIELD: &str = "key";
const KEY_BYTES: usize = 32;

/// How long a browser stays signed in.
pub const SESSION_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// How long a one-time code can be used.
pub const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// The signing key.
#[derive(Clone)]
pub struct Key(Arc<[u8]>);

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The user's name.
    pub user: String,
    /// `session` or `code`: one never passes for the other.
    pub purpose: Purpose,
    /// Unix seconds.
    pub expires: i64,
    /// Makes every claim different.
    pub nonce: String,
}

/// What a claim is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A cookie.
    Session,
    /// One sign-in.
    Code,
}

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The platform's key, made at first use.
    ///
    /// # Errors
    /// When the Secret can be neither read nor made, or holds something else.
    pub async fn load(client: &Client, namespace: &str) -> Result<Self, Error> {
        let api = Api::<Secret>::namespaced(client.clone(), namespace);
        let failed = |source: kube::Error| Error::SessionKey {
            name: SECRET,
            source: Box::new(source),
        };
        for _ in 0..2 {
            if let Some(secret) = api.get_opt(SECRET).await.map_err(failed)? {
                let bytes = secret
                    .data
                    .unwrap_or_default()
                    .remove(FIELD)
                    .map(|bytes| bytes.0)
                    .unwrap_or_default();
                if bytes.len() < KEY_BYTES {
                    return Err(Error::UnusableKey { name: SECRET });
                }
                return Ok(Self::new(&bytes));
            }
            let fresh: [u8; KEY_BYTES] = rand::random();
            let secret = Secret {
                metadata: kube::core::ObjectMeta {
                    name: Some(SECRET.to_owned()),
                    ..Default::default()
                },
                data: Some([(FIELD.to_owned(), ByteString(fresh.to_vec()))].into()),
                ..Default::default()
            };
            match api.create(&PostParams::default(), &secret).await {
                Ok(_) => return Ok(Self::new(&fresh)),
                // Somebody else was faster: theirs is the key.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Error::UnusableKey { name: SECRET })
    }

    /// Signs a claim for `user`.
    pub fn sign(&self, user: &str, purpose: Purpose, now: Timestamp) -> String {
        let life = match purpose {
            Purpose::Session => SESSION_LIFE,
            Purpose::Code => CODE_LIFE,
        };
        let nonce: [u8; 16] = rand::random();
        let claim = Claim {
            user: user.to_owned(),
            purpose,
            expires: now.as_second() + life.as_secs(),
            nonce: hex::encode(nonce),
        };
        let payload =
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claim).expect("a claim is plain data"));
        let signature = URL_SAFE_NO_PAD.encode(self.mac(payload.as_bytes()));
        format!("{payload}.{signature}")
    }

    /// The claim, if it was signed with this key for this purpose and is not over.
    pub fn verify(&self, text: &str, purpose: Purpose, now: Timestamp) -> Option<Claim> {
        let (payload, signature) = text.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !equal(&signature, &self.mac(payload.as_bytes())) {
            return None;
        }
        let claim: Claim = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (claim.purpose == purpose && claim.expires > now.as_second()).then_some(claim)
    }

    /// HMAC-SHA256 (RFC 2104).
    fn mac(&self, message: &[u8]) -> [u8; 32] {
        const BLOCK: usize = 64;
        let mut key = [0u8; BLOCK];
        if self.0.len() > BLOCK {
            key[..32].copy_from_slice(&Sha256::digest(&self.0));
        } else {
            key[..self.0.len()].copy_from_slice(&self.0);
        }
        let inner = Sha256::new()
            .chain_update(key.map(|byte| byte ^ 0x36))
            .chain_update(message)
            .finalize();
        Sha256::new()
            .chain_update(key.map(|byte| byte ^ 0x5c))
            .chain_update(inner)
            .finalize()
            .into()
    }
}

/// Codes that were used, until they would be over anyway.
#[derive(Clone, Default)]
pub struct UsedCodes(Arc<Mutex<HashMap<String, i64>>>);

impl UsedCodes {
    /// Marks `code` as used; false when it was before.
    pub fn take(&self, code: &Claim, now: Timestamp) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, expires| *expires > now.as_second());
        used.insert(code.nonce.clone(), code.expires).is_none()
    }
}

/// Equality in a time that does not tell where the first difference is.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a moment of our century")
    }

    #[test]
    fn the_mac_is_the_one_of_rfc_4231_case_2() {
        let mac = Key::new(b"Jefe").mac(b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(mac),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_session_is_good_until_it_is_over() {
        let key = Key::new(&[1; 32]);
        let session = key.sign("ana", Purpose::Session, moment(1_000));
        assert_eq!(
            key.verify(&session, Purpose::Session, moment(2_000))
                .expect("it is fresh")
                .user,
            "ana"
        );
        assert!(
            key.verify(
                &session,
                Purpose::Session,
                moment(1_000 + SESSION_LIFE.as_secs())
            )
            .is_none()
        );
    }

    #[test]
    fn a_code_is_no_session_and_a_changed_claim_is_nothing() {
        let key = Key::new(&[1; 32]);
        let code = key.sign("ana", Purpose::Code, moment(0));
        assert!(key.verify(&code, Purpose::Session, moment(1)).is_none());
        let other = Key::new(&[2; 32]).sign("ana", Purpose::Code, moment(0));
        assert!(key.verify(&other, Purpose::Code, moment(1)).is_none());
        let (payload, _) = code.split_once('.').expect("two parts");
        assert!(
            key.verify(&format!("{payload}."), Purpose::Code, moment(1))
                .is_none()
        );
        assert!(key.verify("", Purpose::Code, moment(1)).is_none());
    }

    #[test]
    fn a_code_works_once() {
        let key = Key::new(&[1; 32]);
        let code = key.sign("ana", Purpose::Code, moment(0));
        let claim = key
            .verify(&code, Purpose::Code, moment(1))
            .expect("it is fresh");
        let used = UsedCodes::default();
        assert!(used.take(&claim, moment(1)));
        assert!(!used.take(&claim, moment(2)));
    }
}
