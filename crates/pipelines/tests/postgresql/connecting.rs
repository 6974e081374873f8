//! A server that cannot be used is said in one sentence with what to do about it, and never with the password.

use std::sync::Arc;

use objects::chain;
use pipelines::store::postgresql::Url;
use pipelines::store::{self, Store};

use super::postgres::{PASSWORD, USER, server};

async fn connect(url: &str) -> store::Result<Arc<Store>> {
    Store::connect(url.parse().unwrap()).await
}

/// What is said of a database that cannot be used.
async fn refusal(url: &str) -> String {
    let words = chain(&connect(url).await.err().expect("connected"));
    assert!(
        !words.contains(PASSWORD) && !words.contains("s3cr"),
        "{words}"
    );
    words
}

async fn fresh() -> String {
    tokio::task::spawn_blocking(|| server().database())
        .await
        .unwrap()
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_as_the_cause() {
    let url = fresh().await;
    let words = refusal(&server().url(USER, "s3cret", name_of(&url))).await;
    assert!(
        words.contains("refuses the user or its password") && words.contains("Secret"),
        "{words}"
    );
    let words = refusal(&server().url("stranger", "s3cret", name_of(&url))).await;
    assert!(words.contains("refuses the user"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named_with_its_address() {
    // Nothing listens on port 1 of the loopback.
    let words = refusal("postgresql://ferroflow:s3cret@127.0.0.1:1/kubeflow").await;
    assert!(
        words
            .contains("does not answer (kubeflow on 127.0.0.1:1 as ferroflow): check that it runs"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_to_be_made() {
    fresh().await;
    let url = server().url(USER, "s3cr%3At%2F%40word", "absent");
    let words = refusal(&url).await;
    assert!(
        words.contains("has no such database") && words.contains("CREATE DATABASE"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_make_tables_is_to_be_made_the_owner() {
    let url = fresh().await;
    let guest = format!("guest_{}", name_of(&url));
    server()
        .sql(
            "postgres",
            &format!("CREATE USER {guest} PASSWORD 's3cret'"),
        )
        .unwrap();
    let words = refusal(&server().url(&guest, "s3cret", name_of(&url))).await;
    assert!(words.contains("ALTER DATABASE"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_closed_are_made_anew() {
    let url = fresh().await;
    let store = connect(&url).await.unwrap();
    let now = jiff::Timestamp::now();
    store
        .write(move |tx| store::experiment::default(tx, "", now))
        .await
        .unwrap();
    let list = |store: Arc<Store>| async move {
        let request = store::list::Request::default();
        store
            .read(move |db| store::experiment::list(db, None, &request))
            .await
    };
    assert_eq!(list(store.clone()).await.unwrap().total, 1);
    server()
        .sql(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{}'",
                name_of(&url)
            ),
        )
        .unwrap();
    assert_eq!(list(store.clone()).await.unwrap().total, 1);
    store
        .write(move |tx| store::experiment::default(tx, "", now))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_two_replicas_follow_each_other() {
    const EACH: i64 = 50;
    let url = fresh().await;
    let (first, second) = (connect(&url).await.unwrap(), connect(&url).await.unwrap());
    first
        .write(|tx| store::lease::take(tx, "nobody").map(drop))
        .await
        .unwrap();
    let add = |store: Arc<Store>| async move {
        for _ in 0..EACH {
            // Read, decide, write: one that did so at the same time would be lost.
            store
                .write(|tx| store::lease::take(tx, "somebody").map(drop))
                .await
                .unwrap();
        }
    };
    tokio::join!(add(first.clone()), add(second));
    let epoch = server()
        .sql(name_of(&url), "SELECT epoch FROM lease")
        .unwrap();
    assert_eq!(epoch, (2 * EACH + 1).to_string());
}

#[test]
fn what_is_no_database_url_is_refused_without_showing_it() {
    for (text, why) in [
        ("", "does not begin with postgresql://"),
        ("mysql://u:s3cret@h/d", "does not begin with postgresql://"),
        ("postgresql://u:s3cret@h:port/d", "is not a valid one"),
        ("postgresql://h/d", "names no user"),
        ("postgresql://u:s3cret@h", "names no database"),
        (
            "postgresql://u:s3cret@h/d?sslmode=verify-ca",
            "sslmode is one of",
        ),
        (
            "postgresql://u:s3cret@h/d?sslrootcert=/ca.pem",
            "needs sslmode=verify-full",
        ),
        ("postgresql://u:s3cret@h/d?s3cret=1", "is not a valid one"),
    ] {
        let refusal = text.parse::<Url>().expect_err(text).to_string();
        assert!(refusal.contains(why), "{text}: {refusal}");
        assert!(!refusal.contains("s3cr"), "{refusal}");
    }
}

#[test]
fn a_database_url_shows_itself_without_the_password() {
    let url: Url = "postgresql://u:s3cret@db.example:6000/kubeflow?sslmode=verify-full"
        .parse()
        .unwrap();
    assert_eq!(url.to_string(), "kubeflow on db.example:6000 as u");
    assert!(!format!("{url:?}").contains("s3cret"));
}
