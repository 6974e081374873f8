//! Every setting, with its documented default. Files < environment < flags; unknown keys are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// All sections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Where state lives. Default: `$XDG_DATA_HOME/ferroflow`, else `~/.local/share/ferroflow`.
    pub data_dir: Option<PathBuf>,
    /// The Kubernetes API.
    pub api: Api,
    /// The console.
    pub console: Console,
    /// Pods on this machine.
    pub node: Node,
}

/// The Kubernetes API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Api {
    /// TCP port on 127.0.0.1. Default 7443.
    pub port: u16,
    /// `normal` may lose the last moments on a power cut, never an order; `full` waits for the disk.
    pub durability: Durability,
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After the operating system took it.
    #[default]
    Normal,
    /// After the disk took it.
    Full,
}

/// The console.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Console {
    /// TCP port on 127.0.0.1. Default 7878.
    pub port: u16,
}

/// Pods on this machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Node {
    /// What happens to a pod that asks for a GPU where there is none.
    pub gpu_fallback: GpuFallback,
    /// What happens to a pod that asks for more memory than the machine has.
    pub memory_fallback: MemoryFallback,
    /// Host folders that pods may mount by `hostPath`, beside those given to `kfctl run --mount`.
    pub host_paths: Vec<PathBuf>,
    /// Image name (with `*`) to another image name; first of all places that are looked at.
    pub images: BTreeMap<String, String>,
    /// Registries, as `host:port`, that are spoken to in plain HTTP. Those on this machine always are.
    pub insecure_registries: Vec<String>,
    /// Run pods as plain processes where namespaces are refused. They see the whole machine.
    pub allow_host_processes: bool,
}

/// What happens to a pod that asks for a GPU where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum GpuFallback {
    /// It stays Pending and says why.
    #[default]
    None,
    /// It runs on the CPU, and its events and run page say so.
    Cpu,
}

/// What happens to a pod that asks for more memory than the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MemoryFallback {
    /// It stays Pending and says why.
    #[default]
    None,
    /// Its request is cut to what the machine has, and its events say so.
    Clamp,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            port: 7443,
            durability: Durability::default(),
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self { port: 7878 }
    }
}

impl Config {
    /// Reads `file`, or the user's configuration file when it exists, or the defaults.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let default = config_home().join("ferroflow/config.yaml");
        let (path, required) = file.map_or((default.as_path(), false), |file| (file, true));
        match std::fs::read_to_string(path) {
            Ok(text) => serde_saphyr::from_str(&text)
                .with_context(|| format!("read the configuration {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
                Ok(Self::default())
            }
            Err(error) => {
                Err(error).with_context(|| format!("read the configuration {}", path.display()))
            }
        }
    }

    /// Where state lives, as an absolute path.
    pub fn data_dir(&self) -> Result<PathBuf> {
        let folder = self
            .data_dir
            .clone()
            .unwrap_or_else(|| data_home().join("ferroflow"));
        std::path::absolute(&folder)
            .with_context(|| format!("find the data folder {}", folder.display()))
    }

    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<()> {
        if self.api.port == self.console.port && self.api.port != 0 {
            bail!(
                "api.port and console.port are both {}; give each its own",
                self.api.port
            );
        }
        for folder in &self.node.host_paths {
            if !folder.is_absolute() {
                bail!(
                    "node.hostPaths: {} is not an absolute path",
                    folder.display()
                );
            }
        }
        Ok(())
    }
}

fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

fn data_home() -> PathBuf {
    std::env::var_os("XDG_DATA_HOME").map_or_else(|| home().join(".local/share"), PathBuf::from)
}

fn config_home() -> PathBuf {
    std::env::var_os("XDG_CONFIG_HOME").map_or_else(|| home().join(".config"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error =
            serde_saphyr::from_str::<Config>("api:\n  prot: 1\n").expect_err("prot is no setting");
        assert!(error.to_string().contains("prot"), "{error}");
    }

    #[test]
    fn an_empty_file_means_the_documented_defaults() {
        let config: Config = serde_saphyr::from_str("{}").expect("an empty document is valid");
        assert_eq!((config.api.port, config.console.port), (7443, 7878));
        assert_eq!(config.node.gpu_fallback, GpuFallback::None);
    }

    #[test]
    fn two_services_cannot_share_a_port() {
        let mut config = Config::default();
        config.console.port = config.api.port;
        assert!(
            config
                .validate()
                .expect_err("the ports clash")
                .to_string()
                .contains("7443")
        );
    }
}
