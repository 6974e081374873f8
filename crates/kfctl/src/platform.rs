//! How a command reaches the platform: the kubeconfig of the data folder, as its administrator.

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::cli::Global;
use crate::cluster::Target;
use crate::config::Config;
use crate::instance::DataFolder;
use crate::kfp::Kfp;

/// The configuration in force for `global`.
pub fn config(global: &Global) -> Result<Config> {
    let mut config = Config::load(global.config.as_deref())?;
    if let Some(folder) = &global.data_dir {
        config.data_dir = Some(folder.clone());
    }
    config.validate()?;
    Ok(config)
}

/// The data folder in force for `global`.
pub fn data(global: &Global) -> Result<DataFolder> {
    Ok(DataFolder::new(config(global)?.data_dir()?))
}

/// A client of the running platform.
pub async fn client(data: &DataFolder) -> Result<kube::Client> {
    data.require_living()?;
    let path = data.kubeconfig();
    let kubeconfig =
        Kubeconfig::read_from(&path).with_context(|| format!("read {}", path.display()))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use {}", path.display()))?;
    kube::Client::try_from(config).context("prepare a client of the platform")
}

/// The pipelines API of the cluster that the command line names, or else of the platform on this machine.
pub async fn kfp(global: &Global, target: &Target) -> Result<Kfp> {
    let data = data(global)?;
    if !target.is_given() {
        return Ok(Kfp::new(client(&data).await?));
    }
    let cluster = target.cluster().await?;
    if cluster.is_ours(&data.kubeconfig()) {
        return Ok(Kfp::new(cluster.client));
    }
    Kfp::on_cluster(&cluster).await
}

/// One runtime for a command that talks to the platform.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(work)
}
