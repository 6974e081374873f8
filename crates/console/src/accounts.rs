//! Accounts of the console's own, for clusters where nobody is recognised otherwise: a name, and an argon2id digest of
//! the password, in one Secret. The first account gets a random password, which lies in a Secret until it is changed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::Error;

/// The Secret with the digests, by user.
pub const SECRET: &str = "dashboard-accounts";
/// The Secret with the first password; gone once that is changed.
pub const INITIAL: &str = "kubeflow-initial-admin";
/// The first account, as RBAC knows it.
pub const ADMIN: &str = "kubeflow-admin";

const SHORTEST_PASSWORD: usize = 10;
const LONGEST_PASSWORD: usize = 256;
/// Wrong passwords in a row before the next has to wait.
const FREE_FAILURES: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why somebody is not let in, or a password not changed. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name or the password is wrong; which, is not said.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many wrong ones.
    #[error("too many wrong passwords; try again in {0} s")]
    Later(u64),
    /// The new password cannot be used.
    #[error("{0}")]
    Unusable(&'static str),
    /// The Secret cannot be read or written.
    #[error("the accounts cannot be read or written now; try again")]
    Unavailable,
}

/// The accounts of one platform.
pub struct Accounts {
    secrets: Api<Secret>,
    failures: Mutex<HashMap<String, Failures>>,
    /// A digest takes 19 MiB and a third of a second on purpose; a flood of them must not take the process down.
    slots: Semaphore,
    /// Compared with where there is no such account, so that the answer takes as long.
    nobody: String,
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Accounts {
    /// Opens the accounts, and makes the first one where there is none. A Secret with the first password that somebody
    /// put there before is used.
    ///
    /// # Errors
    /// When the Secrets can be neither read nor made.
    pub async fn open(client: &Client, namespace: &str) -> Result<Self, Error> {
        let accounts = Self {
            secrets: Api::namespaced(client.clone(), namespace),
            failures: Mutex::default(),
            slots: Semaphore::new(2),
            nobody: digest(&random_password()),
        };
        accounts.ensure_first().await?;
        Ok(accounts)
    }

    async fn ensure_first(&self) -> Result<(), Error> {
        let failed = |name| {
            move |source: kube::Error| Error::Accounts {
                name,
                source: Box::new(source),
            }
        };
        if self
            .secrets
            .get_opt(SECRET)
            .await
            .map_err(failed(SECRET))?
            .is_some()
        {
            return Ok(());
        }
        // The password first: whoever is interrupted here takes it up again.
        let fresh = secret(
            INITIAL,
            [("username", ADMIN), ("password", &random_password())],
        );
        match self.secrets.create(&PostParams::default(), &fresh).await {
            Ok(_) => tracing::info!(secret = INITIAL, "made the first account {ADMIN}"),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(failed(INITIAL)(error)),
        }
        let initial = self.secrets.get(INITIAL).await.map_err(failed(INITIAL))?;
        let password = text(&initial, "password").ok_or(Error::UnusableKey { name: INITIAL })?;
        let stored = secret(SECRET, [(ADMIN, &digest(&password))]);
        match self.secrets.create(&PostParams::default(), &stored).await {
            Ok(_) => Ok(()),
            // Another replica was faster, from the same password.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(failed(SECRET)(error)),
        }
    }

    /// Lets `user` in, or says why not.
    ///
    /// # Errors
    /// The refusal, in words for people.
    pub async fn sign_in(&self, user: &str, password: &str) -> Result<(), Refusal> {
        self.may_try(user)?;
        let stored = self.secrets.get_opt(SECRET).await.map_err(unavailable)?;
        let known = stored
            .as_ref()
            .and_then(|stored| text(stored, user))
            .filter(|_| !user.is_empty());
        let exists = known.is_some();
        let digest = known.unwrap_or_else(|| self.nobody.clone());
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| Refusal::Unavailable)?;
        let password = password.to_owned();
        let matches = tokio::task::spawn_blocking(move || is_password(&digest, &password))
            .await
            .unwrap_or(false);
        let is_in = exists && matches;
        self.note(user, is_in);
        if is_in { Ok(()) } else { Err(Refusal::Wrong) }
    }

    /// Gives `user` a new password, and removes the first one from where it lay.
    ///
    /// # Errors
    /// The refusal, in words for people.
    pub async fn change(&self, user: &str, old: &str, new: &str) -> Result<(), Refusal> {
        usable(old, new)?;
        self.sign_in(user, old).await?;
        let new = new.to_owned();
        let digest = tokio::task::spawn_blocking(move || digest(&new))
            .await
            .map_err(|_| Refusal::Unavailable)?;
        let change = json!({ "data": { user: ByteString(digest.into_bytes()) } });
        self.secrets
            .patch(SECRET, &PatchParams::default(), &Patch::Merge(&change))
            .await
            .map_err(unavailable)?;
        if user == ADMIN {
            match self.secrets.delete(INITIAL, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        tracing::info!(user, "changed a password");
        Ok(())
    }

    fn may_try(&self, user: &str) -> Result<(), Refusal> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failed) = failures.get(user) else {
            return Ok(());
        };
        let left = pause(failed.count).saturating_sub(failed.last.elapsed());
        if left.is_zero() {
            Ok(())
        } else {
            Err(Refusal::Later(left.as_secs() + 1))
        }
    }

    fn note(&self, user: &str, is_in: bool) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, failed| failed.last.elapsed() < LONGEST_WAIT * 10);
        if is_in {
            failures.remove(user);
            return;
        }
        let failed = failures.entry(user.to_owned()).or_insert(Failures {
            count: 0,
            last: Instant::now(),
        });
        failed.count += 1;
        failed.last = Instant::now();
    }
}

/// How long the next try has to wait after so many wrong ones.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1 << more.min(6)).min(LONGEST_WAIT),
    }
}

fn usable(old: &str, new: &str) -> Result<(), Refusal> {
    let length = new.chars().count();
    if length < SHORTEST_PASSWORD {
        return Err(Refusal::Unusable(
            "the new password needs 10 characters or more",
        ));
    }
    if length > LONGEST_PASSWORD {
        return Err(Refusal::Unusable(
            "the new password may have 256 characters at most",
        ));
    }
    if old == new {
        return Err(Refusal::Unusable("the new password is the old one"));
    }
    Ok(())
}

fn digest(password: &str) -> String {
    Argon2::default()
        .hash_password(password.as_bytes(), &SaltString::generate(&mut OsRng))
        .expect("the default parameters are valid")
        .to_string()
}

fn is_password(digest: &str, password: &str) -> bool {
    PasswordHash::new(digest).is_ok_and(|digest| {
        Argon2::default()
            .verify_password(password.as_bytes(), &digest)
            .is_ok()
    })
}

/// 24 letters and digits that nobody confuses: 139 bits.
fn random_password() -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    (0..24)
        .map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]))
        .collect()
}

fn secret<const N: usize>(name: &str, entries: [(&str, &str); N]) -> Secret {
    Secret {
        metadata: kube::core::ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(
                [(
                    "app.kubernetes.io/part-of".to_owned(),
                    "kubeflow".to_owned(),
                )]
                .into(),
            ),
            ..Default::default()
        },
        data: Some(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
                .collect(),
        ),
        ..Default::default()
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.0.clone())
        .ok()
        .filter(|text| !text.is_empty())
}

fn unavailable(error: kube::Error) -> Refusal {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the accounts cannot be read or written"
    );
    Refusal::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_knows_its_password_and_no_other() {
        let stored = digest("correct horse");
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        assert!(is_password(&stored, "correct horse"));
        assert!(!is_password(&stored, "correct horsf"));
        assert!(!is_password("", "") && !is_password("plain", "plain"));
        assert_ne!(
            stored,
            digest("correct horse"),
            "every digest has its own salt"
        );
    }

    #[test]
    fn first_passwords_are_long_and_never_the_same() {
        let (one, other) = (random_password(), random_password());
        assert_eq!(one.len(), 24);
        assert_ne!(one, other);
    }

    #[test]
    fn the_first_wrong_passwords_are_free_and_later_ones_wait_longer_and_longer() {
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(FREE_FAILURES - 1), Duration::ZERO);
        assert_eq!(pause(FREE_FAILURES), Duration::from_secs(1));
        assert_eq!(pause(FREE_FAILURES + 3), Duration::from_secs(8));
        assert_eq!(pause(1000), LONGEST_WAIT);
    }

    #[test]
    fn a_new_password_is_long_enough_and_new() {
        assert!(usable("x", "0123456789").is_ok());
        for (old, new) in [
            ("x", "012345678"),
            ("0123456789", "0123456789"),
            ("x", "y".repeat(257).as_str()),
        ] {
            assert!(
                matches!(usable(old, new), Err(Refusal::Unusable(_))),
                "{new}"
            );
        }
    }
}
