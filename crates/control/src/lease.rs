//! Leadership by a Lease: of several processes, one works at a time. Who leads carries an epoch that grows with every
//! change of hands, so that a late write of a former leader can be told and refused.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::write;

/// What is led, and by whom.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// This process, unlike any other.
    pub identity: String,
    /// How long a silent leader is waited for.
    pub lease: Duration,
    /// How long a leader goes on trying to renew before it gives up; shorter than `lease`.
    pub renew: Duration,
    /// Pause between tries.
    pub retry: Duration,
}

impl Candidate {
    /// A candidate with the usual times: 15 s, 10 s and 2 s.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What a look at the lease calls for.
#[derive(Debug, PartialEq)]
enum Step {
    /// Write this; it makes or keeps us leader.
    Claim(Box<LeaseSpec>),
    /// Somebody else leads.
    Wait,
}

/// The lease as last seen, and since when it has not changed by our own clock.
#[derive(Default)]
struct Seen {
    version: Option<String>,
    since: Option<Instant>,
}

impl Seen {
    /// Whether the lease has been silent for `lease`. Only our own clock counts: clocks of different machines differ.
    fn is_silent(&mut self, held: &Lease, lease: Duration) -> bool {
        let version = held.metadata.resource_version.clone();
        if self.version != version || self.since.is_none() {
            *self = Self {
                version,
                since: Some(Instant::now()),
            };
        }
        self.since.is_some_and(|since| since.elapsed() >= lease)
    }
}

fn step(candidate: &Candidate, held: Option<&Lease>, is_silent: bool, now: Timestamp) -> Step {
    let spec = held.and_then(|held| held.spec.clone()).unwrap_or_default();
    let holder = spec
        .holder_identity
        .clone()
        .filter(|holder| !holder.is_empty());
    let is_ours = holder.as_deref() == Some(&candidate.identity);
    if holder.is_some() && !is_ours && !is_silent {
        return Step::Wait;
    }
    let transitions = spec.lease_transitions.unwrap_or(0);
    Step::Claim(Box::new(LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: Some(
            i32::try_from(candidate.lease.as_secs())
                .unwrap_or(i32::MAX)
                .max(1),
        ),
        acquire_time: if is_ours {
            spec.acquire_time
        } else {
            Some(MicroTime(now))
        },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if is_ours {
            transitions
        } else {
            transitions + 1
        }),
        ..LeaseSpec::default()
    }))
}

/// Runs `work` whenever this process leads, with a token that ends when it no longer does, and the epoch. Returns after
/// shutdown, when work has ended and the lease is given back.
pub async fn lead<F, R>(
    client: Client,
    candidate: Candidate,
    shutdown: CancellationToken,
    mut work: F,
) where
    F: FnMut(CancellationToken, i32) -> R,
    R: Future<Output = ()>,
{
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let mut seen = Seen::default();
    while !shutdown.is_cancelled() {
        if let Some(epoch) = attempt(&api, &candidate, &mut seen).await {
            tracing::info!(lease = candidate.name, epoch, "leading {}", candidate.name);
            let leading = shutdown.child_token();
            let renewing = async {
                renew(&api, &candidate, &mut seen, &leading).await;
                leading.cancel();
            };
            tokio::join!(work(leading.clone(), epoch), renewing);
            if shutdown.is_cancelled() {
                give_back(&api, &candidate).await;
                return;
            }
            tracing::warn!(
                lease = candidate.name,
                "no longer leading {}",
                candidate.name
            );
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(candidate.retry) => {}
        }
    }
}

/// One try; the epoch if we lead now.
async fn attempt(api: &Api<Lease>, candidate: &Candidate, seen: &mut Seen) -> Option<i32> {
    match try_claim(api, candidate, seen).await {
        Ok(epoch) => epoch,
        // Somebody was faster.
        Err(error) if write::is_conflict(&error) => None,
        Err(error) => {
            let text = objects::chain(&error);
            tracing::warn!(
                lease = candidate.name,
                error = text,
                "lease {} could not be claimed",
                candidate.name
            );
            None
        }
    }
}

async fn try_claim(
    api: &Api<Lease>,
    candidate: &Candidate,
    seen: &mut Seen,
) -> kube::Result<Option<i32>> {
    let held = api.get_opt(&candidate.name).await?;
    let is_silent = held
        .as_ref()
        .is_some_and(|held| seen.is_silent(held, candidate.lease));
    let Step::Claim(spec) = step(candidate, held.as_ref(), is_silent, Timestamp::now()) else {
        return Ok(None);
    };
    let epoch = spec.lease_transitions;
    let written = match held {
        Some(held) => {
            let lease = Lease {
                spec: Some(*spec),
                ..held
            };
            api.replace(&candidate.name, &PostParams::default(), &lease)
                .await?
        }
        None => {
            let metadata = ObjectMeta {
                name: Some(candidate.name.clone()),
                ..ObjectMeta::default()
            };
            api.create(
                &PostParams::default(),
                &Lease {
                    metadata,
                    spec: Some(*spec),
                },
            )
            .await?
        }
    };
    *seen = Seen {
        version: written.metadata.resource_version,
        since: Some(Instant::now()),
    };
    Ok(epoch)
}

/// Renews until shut down or until renewing has failed for too long.
async fn renew(
    api: &Api<Lease>,
    candidate: &Candidate,
    seen: &mut Seen,
    leading: &CancellationToken,
) {
    let mut last_success = Instant::now();
    loop {
        tokio::select! {
            () = leading.cancelled() => return,
            () = tokio::time::sleep(candidate.retry) => {}
        }
        let left = candidate.renew.saturating_sub(last_success.elapsed());
        match tokio::time::timeout(left, attempt(api, candidate, seen)).await {
            Ok(Some(_)) => last_success = Instant::now(),
            Ok(None) if last_success.elapsed() < candidate.renew => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// Lets the next candidate in at once.
async fn give_back(api: &Api<Lease>, candidate: &Candidate) {
    let Ok(Some(mut lease)) = api.get_opt(&candidate.name).await else {
        return;
    };
    let Some(spec) = lease
        .spec
        .as_mut()
        .filter(|spec| spec.holder_identity.as_ref() == Some(&candidate.identity))
    else {
        return;
    };
    spec.holder_identity = None;
    spec.lease_duration_seconds = Some(1);
    if let Err(error) = api
        .replace(&candidate.name, &PostParams::default(), &lease)
        .await
    {
        tracing::debug!(error = %objects::chain(&error), "lease {} was not given back", candidate.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(identity: &str) -> Candidate {
        Candidate::new("kube-system", "engine", identity)
    }

    fn held_by(holder: &str, transitions: i32) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        Lease {
            metadata: ObjectMeta {
                resource_version: Some("1".into()),
                ..Default::default()
            },
            spec: Some(spec),
        }
    }

    fn epoch(step: Step) -> Option<i32> {
        match step {
            Step::Claim(spec) => spec.lease_transitions,
            Step::Wait => None,
        }
    }

    #[test]
    fn a_lease_in_use_is_left_and_a_silent_one_taken_with_a_new_epoch() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            step(&candidate("b"), Some(&held_by("a", 3)), false, now),
            Step::Wait
        );
        assert_eq!(
            epoch(step(&candidate("b"), Some(&held_by("a", 3)), true, now)),
            Some(4)
        );
        assert_eq!(
            epoch(step(&candidate("a"), Some(&held_by("a", 3)), false, now)),
            Some(3),
            "renewing keeps it"
        );
        assert_eq!(
            epoch(step(&candidate("b"), Some(&held_by("", 3)), false, now)),
            Some(4),
            "it was given back"
        );
        assert_eq!(epoch(step(&candidate("b"), None, false, now)), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_measured_from_the_last_change_that_was_seen() {
        let mut seen = Seen::default();
        let lease = Duration::from_secs(15);
        assert!(!seen.is_silent(&held_by("a", 1), lease));
        tokio::time::advance(Duration::from_secs(10)).await;
        let mut renewed = held_by("a", 1);
        renewed.metadata.resource_version = Some("2".into());
        assert!(!seen.is_silent(&renewed, lease));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!seen.is_silent(&renewed, lease));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(seen.is_silent(&renewed, lease));
    }
}
