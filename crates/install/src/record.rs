//! Which version is installed: one ConfigMap in the platform's namespace of record, `kube-system`.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::{Error, FIELD_MANAGER};

const NAME: &str = "ferroflow-installation";
const NAMESPACE: &str = "kube-system";

/// The version that was installed completely, if any.
///
/// # Errors
/// [`Error::Record`] when it cannot be read.
pub async fn installed(client: &Client) -> Result<Option<String>, Error> {
    let record = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE)
        .get_opt(NAME)
        .await
        .map_err(|error| Error::Record(Box::new(error)))?;
    Ok(record
        .and_then(|record| record.data)
        .and_then(|mut data| data.remove("version")))
}

/// Records that `version` is installed completely.
///
/// # Errors
/// [`Error::Record`] when it cannot be written.
pub async fn write(client: &Client, version: &str) -> Result<(), Error> {
    let record = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "data": { "version": version },
    });
    Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE)
        .patch(
            NAME,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&record),
        )
        .await
        .map_err(|error| Error::Record(Box::new(error)))?;
    Ok(())
}
