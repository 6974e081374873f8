//! Pipelines, `ml-pipeline`: engine and API. Over a database file one process at a time; over a database server every
//! process answers, and one drives the runs.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::stream;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use node::builtin::{Peer, PodContext};
use node::net::Layout;
use pipelines::serve::LEASE;
use pipelines::{Config, Database, ObjectStore};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::standalone::Process;
use crate::version;

/// The port that `ml-pipeline` answers on.
pub const PORT: u16 = 8888;
/// Folder of the database in its pod.
const STATE: &str = "/var/lib/ferroflow";
/// The artifact volume in its pod.
const ARTIFACTS: &str = "/artifacts";

/// The variable that names the database server; the installed Deployment fills it from a Secret.
const DATABASE_URL: &str = "FERROFLOW_DATABASE_URL";
/// The variable that names the bucket for artifacts, and those that hold the key to it; filled from a Secret too.
const OBJECT_STORE: &str = "FERROFLOW_OBJECT_STORE";
const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Where its state is, when it runs as a process of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Folders {
    /// Folder of the database file, where no --database-url is given.
    #[arg(long, default_value = STATE)]
    state: PathBuf,
    /// PostgreSQL server that keeps the runs instead: postgresql://USER:PASSWORD@HOST:5432/DATABASE. Better given as the
    /// variable, since others on this machine can read arguments.
    #[arg(long, env = DATABASE_URL, hide_env_values = true, value_name = "URL")]
    database_url: Option<DatabaseUrl>,
    /// The artifact volume; steps see it through the claim ferroflow-artifacts.
    #[arg(long, default_value = ARTIFACTS)]
    artifacts: PathBuf,
    /// Bucket that keeps artifacts instead: s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=NAME&path-style=true. The key
    /// to it comes from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and stays here: steps bring and take their artifacts
    /// through this component.
    #[arg(long, env = OBJECT_STORE, value_name = "URL")]
    object_store: Option<String>,
    /// Where step pods reach this component, with --object-store [default: the address of the Service ml-pipeline].
    #[arg(long, value_name = "http://ADDRESS:PORT")]
    steps_url: Option<String>,
}

/// A database's address as it was given: it is read only when it is used, so that no message about arguments shows it.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl From<String> for DatabaseUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

/// The server where one is named, else the folder. An empty address names none.
fn database(url: Option<&str>, folder: PathBuf) -> Result<Database> {
    match url.map(str::trim).filter(|url| !url.is_empty()) {
        Some(url) => Ok(Database::Server(url.parse().context(
            "read the database URL (--database-url, or the key url of the Secret ferroflow-database)",
        )?)),
        None => Ok(Database::Folder(folder)),
    }
}

/// The bucket, where one is named. An empty address names none.
fn object_store(
    url: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
    door: Option<String>,
) -> Result<Option<ObjectStore>> {
    let Some(url) = url.map(str::trim).filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let given = |name: &str| {
        variable(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    let needed = |name: &str, key: &str| {
        given(name).with_context(|| {
            format!(
                "the object store needs {name} (the key {key} of the Secret ferroflow-object-store)"
            )
        })
    };
    let address = url.parse().context(
        "read the object store's address (--object-store, or the key url of the Secret ferroflow-object-store)",
    )?;
    Ok(Some(ObjectStore {
        address,
        credentials: artifacts::s3::Credentials {
            access_key_id: needed(ACCESS_KEY_ID, "access-key-id")?,
            secret_access_key: needed(SECRET_ACCESS_KEY, "secret-access-key")?,
            session_token: given(SESSION_TOKEN),
        },
        door,
    }))
}

/// As a built-in pod.
pub async fn in_pod(pod: PodContext) -> Result<()> {
    let folder = |path: &str| {
        pod.volume(path)
            .map(std::path::Path::to_owned)
            .with_context(|| format!("the pod has no volume at {path}"))
    };
    let listener = pod
        .listen(PORT)
        .await
        .with_context(|| format!("listen on port {PORT}"))?;
    let connections = stream::unfold(listener, |mut listener| async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = pipelines::serve::Connection {
                        io: Box::new(stream),
                        is_trusted: is_the_proxy(peer),
                    };
                    return Some((connection, listener));
                }
                Err(error) => pause(&error).await,
            }
        }
    });
    let mut config = Config::new(
        pod.client.clone(),
        database(pod.env(DATABASE_URL), folder(STATE)?)?,
        folder(ARTIFACTS)?,
        version::IMAGE.to_owned(),
        Box::pin(connections),
    );
    config.namespace.clone_from(&pod.namespace);
    config.launcher = Some(crate::commands::launcher::LAUNCHER);
    let variable = |name: &str| pod.env(name).map(str::to_owned);
    config.object_store = object_store(pod.env(OBJECT_STORE), variable, None)?;
    tracing::info!(
        version = version::FERROFLOW,
        port = PORT,
        "the engine and the API of pipelines start"
    );
    let served = match config.database {
        Database::Folder(_) => pipelines::serve::serve(config, pod.shutdown.clone()).await,
        Database::Server(_) => {
            pipelines::serve::replicate(config, &pod.name, |_| (), pod.shutdown.clone()).await
        }
    };
    served.context("serve pipelines")
}

/// Only the API server's proxy, which says who asks, connects from this address. Pods cannot send with another's, and
/// what users can shape (probes, forwarded ports) comes from elsewhere.
fn is_the_proxy(peer: Peer) -> bool {
    !peer.is_from_host && peer.address.ip() == Layout::default().proxy
}

/// As a process of its own. No connection is trusted here: whoever asks shows a token.
pub async fn alone(process: &Process, folders: &Folders) -> Result<()> {
    let url = folders.database_url.as_ref().map(|url| url.0.as_str());
    let database = database(url, folders.state.clone())?;
    let variable = |name: &str| std::env::var(name).ok();
    let bucket = folders.object_store.as_deref();
    let object_store = object_store(bucket, variable, folders.steps_url.clone())?;
    let image = own_image(process).await?;
    if process.pod.is_some() {
        // Steps run as whoever their images say, and write into folders that are made here, on a volume that only this
        // platform's pods see.
        // SAFETY: umask only sets a number of this process and cannot fail.
        unsafe { libc::umask(0) };
    }
    let listener = Arc::new(process.surface.listen(PORT).await?);
    process.surface.vitals.follows(LEASE);
    let config = |ready| {
        let mut config = Config::new(
            process.cluster.client.clone(),
            database.clone(),
            folders.artifacts.clone(),
            image.clone(),
            Box::pin(connections(listener.clone())),
        );
        config.namespace.clone_from(&process.namespace);
        config.object_store.clone_from(&object_store);
        config.ready = Some(ready);
        config
    };
    match database {
        Database::Folder(_) => in_turn(process, config).await,
        Database::Server(_) => beside_others(process, config).await,
    }
}

/// Waits until no other process is at work, then opens the database and serves.
async fn in_turn(process: &Process, config: impl Fn(oneshot::Sender<()>) -> Config) -> Result<()> {
    let failure = Mutex::new(None);
    let candidate = control::lease::Candidate::new(&process.namespace, LEASE, &process.identity);
    let client = process.cluster.client.clone();
    let shutdown = process.surface.shutdown.clone();
    control::lease::lead(client, candidate, shutdown, |leading, _| {
        let (failure, config) = (&failure, &config);
        async move {
            let vitals = &process.surface.vitals;
            vitals.leads(true);
            let ended = serving(
                process,
                |config| pipelines::serve::serve(config, leading),
                config,
            )
            .await;
            vitals.leads(false);
            if let Err(error) = ended {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                process.surface.shutdown.cancel();
            }
        }
    })
    .await;
    let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(()), |error| Err(error).context("serve pipelines"))
}

/// Serves, and drives the runs when it is its turn.
async fn beside_others(
    process: &Process,
    config: impl Fn(oneshot::Sender<()>) -> Config,
) -> Result<()> {
    let (vitals, shutdown) = (&process.surface.vitals, process.surface.shutdown.clone());
    let leads = |leads| vitals.leads(leads);
    let serve = |config| pipelines::serve::replicate(config, &process.identity, leads, shutdown);
    serving(process, serve, &config)
        .await
        .context("serve pipelines")
}

/// Serves, and is ready once the database is open.
async fn serving<F: Future<Output = Result<(), pipelines::serve::Error>>>(
    process: &Process,
    serve: impl FnOnce(Config) -> F,
    config: &impl Fn(oneshot::Sender<()>) -> Config,
) -> Result<(), pipelines::serve::Error> {
    let (ready, opened) = oneshot::channel();
    let mut serving = pin!(serve(config(ready)));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        Ok(()) = opened => {
            process.surface.vitals.ready(true);
            serving.await
        }
    };
    process.surface.vitals.ready(false);
    ended
}

fn connections(
    listener: Arc<TcpListener>,
) -> impl futures::Stream<Item = pipelines::serve::Connection> {
    stream::unfold(listener, |listener| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let connection = pipelines::serve::Connection {
                        io: Box::new(stream),
                        is_trusted: false,
                    };
                    return Some((connection, listener));
                }
                Err(error) => pause(&error).await,
            }
        }
    })
}

/// Out of descriptors, or a peer that left again: the next one may do better.
async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// The image that step pods take the launcher from: whatever this very pod runs, so that it is named once.
async fn own_image(process: &Process) -> Result<String> {
    let Some(name) = &process.pod else {
        return Ok(version::IMAGE.to_owned());
    };
    let pod = Api::<Pod>::namespaced(process.cluster.client.clone(), &process.namespace)
        .get(name)
        .await
        .with_context(|| format!("read this process's own pod {name}"))?;
    pod.spec
        .and_then(|spec| spec.containers.into_iter().next())
        .and_then(|container| container.image)
        .with_context(|| format!("the pod {name} names no image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "s3://bucket/team?endpoint=http://127.0.0.1:1";

    #[test]
    fn a_bucket_without_its_key_is_refused_by_the_name_of_what_is_missing() {
        let only_id = |name: &str| (name == ACCESS_KEY_ID).then(|| "id".to_owned());
        let problem = object_store(Some(URL), only_id, None).unwrap_err();
        assert!(
            problem.to_string().contains("secret-access-key"),
            "{problem}"
        );
    }

    #[test]
    fn no_address_is_no_bucket_and_a_key_is_never_printed() {
        assert!(object_store(Some(" "), |_| None, None).unwrap().is_none());
        let hidden = |_: &str| Some(" hidden\n".to_owned());
        let store = object_store(Some(URL), hidden, None).unwrap().unwrap();
        assert_eq!(store.credentials.secret_access_key, "hidden");
        assert!(!format!("{store:?}").contains("hidden"));
    }
}
