//! The node's configuration from ours and from the environment of `up`: proxies, package index and
//! certificates are taken over, nothing else of it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::instance::DataFolder;

/// Variables of the owner's environment that environment builds and pods get.
const SETTINGS: [&str; 17] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// The node of this machine.
pub fn of(config: &Config, data: &DataFolder) -> Result<node::Config> {
    let exe = std::env::current_exe().context("find this program's own file")?;
    let mut settings = node::Config::new(name(), data.path(), exe);
    settings.image_table = config
        .node
        .images
        .iter()
        .map(|(pattern, image)| (pattern.clone(), image.clone()))
        .collect();
    settings.search = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    settings.home = std::env::var_os("HOME").map(PathBuf::from);
    settings.settings = SETTINGS
        .iter()
        .filter_map(|name| {
            std::env::var(name)
                .ok()
                .map(|value| ((*name).to_owned(), value))
        })
        .collect();
    settings
        .insecure_registries
        .clone_from(&config.node.insecure_registries);
    settings.host_paths.clone_from(&config.node.host_paths);
    Ok(settings)
}

/// Whether this machine allows sandboxes and a pod network; if not, why, and the remedy.
pub async fn probe(data: &DataFolder) -> Result<()> {
    let exe = std::env::current_exe().context("find this program's own file")?;
    let folder = data.run().join("probe");
    let ability = node::sandbox::probe(&exe, &folder)
        .await
        .context("try to make a sandbox")?;
    if let Some(refusal) = ability.refusal {
        bail!(
            "pods cannot be sandboxed here: {}. {}",
            refusal.cause,
            refusal.remedy
        );
    }
    tracing::info!("{ability}");
    Ok(())
}

/// The node's name: the host's, made a valid object name.
fn name() -> String {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let clean: String = host
        .to_lowercase()
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let clean = clean.trim_matches('-');
    if clean.is_empty() {
        "this-machine".to_owned()
    } else {
        clean.to_owned()
    }
}
