//! Leadership by a lease, between two candidates of one home.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use control::lease::{Candidate, lead};
use k8s_openapi::api::coordination::v1::Lease;
use tokio_util::sync::CancellationToken;

use crate::home::{Home, eventually};

/// A candidate that notes its epoch while it leads. Its token ends it in order; aborting its task is a crash.
fn run(
    home: &Home,
    identity: &str,
    leads: &Arc<AtomicI32>,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let mut candidate = Candidate::new("default", "engine", identity);
    candidate.lease = Duration::from_secs(2);
    candidate.renew = Duration::from_millis(1500);
    candidate.retry = Duration::from_millis(50);
    let (shutdown, leads, client) = (CancellationToken::new(), leads.clone(), home.client.clone());
    let stop = shutdown.clone();
    let task = tokio::spawn(async move {
        lead(client, candidate, stop, move |leading, epoch| {
            let leads = leads.clone();
            async move {
                leads.store(epoch, Ordering::SeqCst);
                leading.cancelled().await;
                leads.store(0, Ordering::SeqCst);
            }
        })
        .await;
    });
    (shutdown, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_follows_after_a_good_end_or_a_crash() {
    let home = Home::start().await;
    let (first, second) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicI32::new(0)));
    let epoch = |who: &Arc<AtomicI32>| {
        let who = who.clone();
        move || {
            let who = who.clone();
            async move { who.load(Ordering::SeqCst) }
        }
    };
    let (stop_first, task) = run(&home, "first", &first);
    eventually(epoch(&first), |epoch| *epoch == 1).await;
    let (_stop_second, second_task) = run(&home, "second", &second);
    // The lease is renewed, so the second has had its chances.
    home.until::<Lease>("engine", |held| {
        held.spec
            .as_ref()
            .is_some_and(|spec| spec.renew_time > spec.acquire_time)
    })
    .await;
    assert_eq!(second.load(Ordering::SeqCst), 0);

    stop_first.cancel();
    task.await.expect("it ends");
    assert_eq!(
        first.load(Ordering::SeqCst),
        0,
        "its work has ended before the lease was given back"
    );
    eventually(epoch(&second), |epoch| *epoch == 2).await;

    second_task.abort();
    let (_stop_third, _task) = run(&home, "third", &first);
    eventually(epoch(&first), |epoch| *epoch == 3).await;
}
