//! Commands that people will look for and that are not in this version: named as absent, with what there is instead.

use anyhow::{Result, bail};

/// What installs Kubeflow on a real Kubernetes.
pub fn cluster(command: &str) -> Result<()> {
    bail!(
        "kfctl {command} installs Kubeflow on a Kubernetes cluster, and that is not in this version; \
         on this machine `kfctl up` installs the same components"
    )
}
