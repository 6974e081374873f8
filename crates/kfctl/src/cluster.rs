//! Which cluster a command means: a kubeconfig's context, or the cluster that this process runs in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueHint};
use kube::config::{KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret;

/// Where every pod finds its service-account token.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Options of commands that work on any cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config; inside a pod, its own cluster].
    #[arg(long, global = true, value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: the current one].
    #[arg(long, global = true)]
    pub context: Option<String>,
}

/// A cluster that a command may use.
#[derive(Clone)]
pub struct Cluster {
    /// How it is reached.
    pub client: kube::Client,
    /// The same, for clients with another identity.
    pub config: kube::Config,
    /// The context's name, `in-cluster` inside a pod.
    pub context: String,
    /// The cluster's name in the kubeconfig.
    pub name: String,
}

impl Target {
    /// Whether the command line names a cluster.
    pub fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// The cluster that is meant.
    pub async fn cluster(&self) -> Result<Cluster> {
        if !self.is_given() && is_in_a_pod() {
            let config = kube::Config::incluster().context("use the pod's service account")?;
            return Cluster::new(config, "in-cluster".to_owned(), "in-cluster".to_owned());
        }
        let kubeconfig = self.kubeconfig()?;
        let context = self
            .context
            .clone()
            .or_else(|| kubeconfig.current_context.clone())
            .filter(|context| !context.is_empty())
            .context("the kubeconfig has no current context; choose one with --context NAME")?;
        let known: Vec<&str> = kubeconfig
            .contexts
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        if !known.contains(&context.as_str()) {
            bail!(
                "the kubeconfig has no context {context:?}; it has: {}",
                known.join(", ")
            );
        }
        let name = kubeconfig
            .contexts
            .iter()
            .find(|known| known.name == context)
            .and_then(|known| known.context.as_ref())
            .map(|known| known.cluster.clone())
            .unwrap_or_default();
        let options = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("use the context {context}"))?;
        Cluster::new(config, context, name)
    }

    fn kubeconfig(&self) -> Result<Kubeconfig> {
        if let Some(file) = &self.kubeconfig {
            return Kubeconfig::read_from(file)
                .with_context(|| format!("read the kubeconfig {}", file.display()));
        }
        Kubeconfig::read().map_err(|error| {
            anyhow!("no cluster is chosen ({error}); give one with --kubeconfig FILE or KUBECONFIG, or start one on this machine with: kfctl up --bare --export-kubeconfig")
        })
    }
}

impl Cluster {
    fn new(config: kube::Config, context: String, name: String) -> Result<Self> {
        let client = kube::Client::try_from(config.clone()).context("prepare a client")?;
        Ok(Self {
            client,
            config,
            context,
            name,
        })
    }

    /// A client that acts as somebody else.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Result<kube::Client> {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            Some(groups.iter().map(|group| (*group).to_owned()).collect());
        kube::Client::try_from(config).with_context(|| format!("prepare a client of {user}"))
    }

    /// Whether it is the one that `kfctl up` keeps on this machine: same place, same key.
    pub fn is_ours(&self, own_kubeconfig: &Path) -> bool {
        let Ok(own) = Kubeconfig::read_from(own_kubeconfig) else {
            return false;
        };
        let is_same_place = own
            .clusters
            .iter()
            .filter_map(|cluster| cluster.cluster.as_ref()?.server.as_deref())
            .any(|server| {
                server.trim_end_matches('/')
                    == self.config.cluster_url.to_string().trim_end_matches('/')
            });
        let token = |info: &kube::config::AuthInfo| {
            info.token
                .as_ref()
                .map(|token| token.expose_secret().to_owned())
        };
        is_same_place
            && own
                .auth_infos
                .iter()
                .filter_map(|user| token(user.auth_info.as_ref()?))
                .any(|own| token(&self.config.auth_info) == Some(own))
    }

    /// Where its API is.
    pub fn server(&self) -> String {
        self.config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned()
    }
}

fn is_in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(POD_TOKEN).exists()
}

/// The sentence for a cluster that does not do what it was asked for: the cause, and the remedy where one is known.
pub fn refusal(cluster: &Cluster, error: &kube::Error) -> anyhow::Error {
    let server = cluster.server();
    match error {
        kube::Error::Api(status) if status.code == 401 => anyhow!(
            "{server} does not accept the credentials of context {}; they may have expired: sign in again and retry",
            cluster.context
        ),
        kube::Error::Api(status) if status.code == 403 => anyhow!(
            "{}; ask an administrator of the cluster for that right, or choose another --context",
            status.message
        ),
        kube::Error::Api(status) => {
            anyhow!("{server} answered {}: {}", status.code, status.message)
        }
        other => anyhow!(
            "the cluster of context {} does not answer at {server}: {}; is it running, and is the address right?",
            cluster.context,
            crate::text::sentence(&anyhow!(describe(other)))
        ),
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
