//! What `kfctl up` installed on one machine, and of which version: a ConfigMap each in `kube-system`.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::{Error, FIELD_MANAGER};

const NAMESPACE: &str = "kube-system";

/// What is installed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The platform.
    Platform,
    /// The StorageClass of the small Kubernetes.
    Storage,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Platform => "ferroflow-installation",
            Self::Storage => "ferroflow-storage",
        }
    }
}

/// The version of `part` that was installed completely, if any.
///
/// # Errors
/// [`Error::Record`] when it cannot be read.
pub async fn installed(client: &Client, part: Part) -> Result<Option<String>, Error> {
    let record = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE)
        .get_opt(part.name())
        .await
        .map_err(|error| Error::Record(Box::new(error)))?;
    Ok(record
        .and_then(|record| record.data)
        .and_then(|mut data| data.remove("version")))
}

/// Records that `version` of `part` is installed completely.
///
/// # Errors
/// [`Error::Record`] when it cannot be written.
pub async fn write(client: &Client, part: Part, version: &str) -> Result<(), Error> {
    let record = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": part.name(), "namespace": NAMESPACE },
        "data": { "version": version },
    });
    Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE)
        .patch(
            part.name(),
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&record),
        )
        .await
        .map_err(|error| Error::Record(Box::new(error)))?;
    Ok(())
}
