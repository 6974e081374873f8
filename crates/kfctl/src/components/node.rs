//! This machine as a node of a cluster that is somewhere else: what `kfctl up` runs inside itself, joined to any API
//! server the way a kubelet joins.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use node::shim::Isolation;
use node::{Node, builtin, http::Keys};

use super::standalone::Process;
use crate::cli::Global;
use crate::cluster::{self, Cluster, Target};
use crate::instance::DataFolder;
use crate::{node_config, platform};

/// Where kubelets listen.
const PORT: u16 = 10250;
/// How the names of nodes begin among users.
const NODE_USER: &str = "system:node:";

/// How the node joins.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Name of the node [default: the one that the credentials are for, else this machine's].
    #[arg(long)]
    name: Option<String>,
    /// This machine's address as the API server reaches it [default: the one from which the API server is reached].
    #[arg(long)]
    address: Option<IpAddr>,
    /// Kubeconfig of system:kube-proxy, where the other one is a node's own: Services and EndpointSlices are read with it.
    #[arg(long, value_name = "FILE")]
    proxy_kubeconfig: Option<PathBuf>,
    /// File with the authorities that sign the API server's client certificate [default: as the cluster says in
    /// kube-system/extension-apiserver-authentication].
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Certificate to serve logs, exec and port-forward with [default: one that nobody has signed].
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

/// Joins, and serves pods until told to stop; then ends them in order.
pub async fn alone(process: &Process, global: &Global, settings: &Settings) -> Result<()> {
    let config = platform::config(global)?;
    let data = DataFolder::new(config.data_dir()?);
    if data.path().join("apiserver.db").exists() {
        bail!(
            "{} holds the platform of kfctl up, whose pods this node would take for its own; give the node a folder with --data-dir",
            data.path().display()
        );
    }
    data.create()?;
    let Some(_lock) = data.lock()? else {
        bail!(
            "another node runs on {}; stop it, or choose another folder with --data-dir",
            data.path().display()
        );
    };
    node_config::probe(&data).await?;
    let surface = &process.surface;
    let listener = surface.listen(PORT).await?;
    let mut wanted = node_config::of(&config, &data)?;
    let credentials = Credentials::of(process, settings, &wanted.name).await?;
    wanted.name = credentials.name;
    wanted.isolation = Isolation::Sandbox;
    wanted.port = listener
        .local_addr()
        .context("find the node's port")?
        .port();
    let address = match settings.address {
        Some(address) => address,
        None => address_towards(&process.cluster)?,
    };
    wanted.address = Some(address);
    let authorities = client_authorities(process, settings).await?;
    let keys = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => Keys {
            certificate: read(certificate, "certificate")?,
            key: read(key, "key")?,
            client_authorities: authorities,
        },
        _ => Keys::self_signed(&wanted.name, address, authorities)?,
    };
    let anyone = process.cluster.client.clone();
    let dependencies = node::Dependencies {
        client: credentials.node,
        proxy_client: credentials.proxy,
        // No component of ours runs inside of this process: whose mark would say so?
        client_factory: Arc::new(move |_| anyone.clone()),
        components: builtin::Table::default(),
        host_listeners: builtin::HostListeners::default(),
    };
    let name = wanted.name.clone();
    let mut node = Node::start(wanted, dependencies)
        .await
        .context("start the node")?;
    node.serve(listener, &keys)?;
    surface.vitals.ready(true);
    tracing::info!(node = name, %address, "joined as {name}");
    surface.shutdown.cancelled().await;
    surface.vitals.ready(false);
    tracing::info!("ending the pods of {name}");
    node.drain().await;
    node.stop(true).await.context("stop the node")
}

/// Whom the node speaks as.
struct Credentials {
    name: String,
    node: kube::Client,
    proxy: kube::Client,
}

impl Credentials {
    /// A node's own credentials are used as they are; an administrator's are used to speak as the node, so that it has
    /// a node's rights and no others.
    async fn of(process: &Process, settings: &Settings, machine: &str) -> Result<Self> {
        let cluster = &process.cluster;
        let user = whoami(cluster).await?;
        let own = user.strip_prefix(NODE_USER);
        let name = match (&settings.name, own) {
            (Some(name), Some(own)) if name != own => bail!(
                "the credentials of {} are for the node {own}, not for {name}",
                cluster.context
            ),
            (Some(name), _) => name.clone(),
            (None, Some(own)) => own.to_owned(),
            (None, None) => machine.to_owned(),
        };
        let node = match own {
            Some(_) => cluster.client.clone(),
            None => cluster.client_as(
                &format!("{NODE_USER}{name}"),
                &["system:nodes", "system:authenticated"],
            )?,
        };
        let proxy = match (&settings.proxy_kubeconfig, own) {
            (Some(file), _) => {
                let target = Target {
                    kubeconfig: Some(file.clone()),
                    context: None,
                };
                target.cluster().await?.client
            }
            (None, None) => cluster.client_as("system:kube-proxy", &["system:authenticated"])?,
            (None, Some(_)) => bail!(
                "a node may not read EndpointSlices; give the kubeconfig of system:kube-proxy with --proxy-kubeconfig FILE"
            ),
        };
        Ok(Self { name, node, proxy })
    }
}

/// The user that the API server takes us for.
async fn whoami(cluster: &Cluster) -> Result<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(|error| cluster::refusal(cluster, &error))?;
    review
        .status
        .and_then(|status| status.user_info?.username)
        .context("the API server does not say whom it takes us for")
}

/// Who signs the API server's client certificate: without it anybody could ask this node.
async fn client_authorities(process: &Process, settings: &Settings) -> Result<String> {
    if let Some(file) = &settings.client_ca {
        return read(file, "authority");
    }
    let maps: Api<ConfigMap> = Api::namespaced(process.cluster.client.clone(), "kube-system");
    let found = maps.get("extension-apiserver-authentication").await;
    found
        .ok()
        .and_then(|map| map.data?.remove("client-ca-file"))
        .ok_or_else(|| {
            anyhow!("the cluster does not tell us who signs its client certificates; give that authority with --client-ca FILE")
        })
}

fn read(file: &Path, what: &str) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("read the {what} {}", file.display()))
}

/// The address that this machine has on the way to the API server. Nothing is sent.
fn address_towards(cluster: &Cluster) -> Result<IpAddr> {
    let url = &cluster.config.cluster_url;
    let host = url.host().context("the cluster's address has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(443);
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))
        .with_context(|| format!("look {host} up"))?
        .find_map(|server: SocketAddr| {
            let any: IpAddr = match server {
                SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(server).ok()?;
            Some(socket.local_addr().ok()?.ip())
        });
    found.with_context(|| {
        format!(
            "no way leads to {host}; say how the API server reaches this machine with --address IP"
        )
    })
}
