//! A container's environment, built from scratch: nothing of the server's own environment is in it except what the
//! node's settings name. Fetching the ConfigMaps and Secrets is left to the caller, so that building is pure.

pub mod expand;
pub mod fields;
pub mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service};

pub use fields::NodeFacts;

/// Why a container's environment cannot be built; the container waits with `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// A ConfigMap that the container needs does not exist.
    #[error("configmap {0:?} not found")]
    NoConfigMap(String),
    /// A Secret that the container needs does not exist.
    #[error("secret {0:?} not found")]
    NoSecret(String),
    /// A ConfigMap exists, but not the key.
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    NoConfigMapKey {
        /// The missing key.
        key: String,
        /// Where the ConfigMap is.
        namespace: String,
        /// The ConfigMap.
        name: String,
    },
    /// A Secret exists, but not the key.
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    NoSecretKey {
        /// The missing key.
        key: String,
        /// Where the Secret is.
        namespace: String,
        /// The Secret.
        name: String,
    },
    /// A field or resource has no value.
    #[error(transparent)]
    Field(#[from] fields::Error),
}

/// The objects that an environment or a volume takes values from, fetched before it is built.
/// A name that is absent here does not exist in the API.
#[derive(Debug, Clone, Default)]
pub struct Referenced {
    /// By name, in the pod's namespace.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// By name, in the pod's namespace.
    pub secrets: BTreeMap<String, Secret>,
}

/// The names of the objects to fetch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct References {
    /// ConfigMaps of the pod's namespace.
    pub config_maps: BTreeSet<String>,
    /// Secrets of the pod's namespace.
    pub secrets: BTreeSet<String>,
}

/// What the environment of one container depends on.
pub struct Inputs<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// One of its containers.
    pub container: &'a Container,
    /// The pod's address, once it has one.
    pub pod_ip: Option<IpAddr>,
    /// The node's own facts.
    pub node: &'a NodeFacts,
    /// All Services; those that the pod sees are chosen here.
    pub services: &'a [Service],
    /// What `references` named, as far as it exists.
    pub referenced: &'a Referenced,
    /// The environment of the image (PATH, HOME, what it sets), which everything else overrides.
    pub image: &'a [(String, String)],
    /// The node's settings for pods: proxy, package index, certificates.
    pub settings: &'a [(String, String)],
}

/// The objects that `container`'s environment needs.
pub fn references(container: &Container) -> References {
    let mut references = References::default();
    for source in container.env_from.iter().flatten() {
        references
            .config_maps
            .extend(source.config_map_ref.iter().map(|r| r.name.clone()));
        references
            .secrets
            .extend(source.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        references
            .config_maps
            .extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        references
            .secrets
            .extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    references
}

/// The whole environment of a container. Later sources win: image, node settings, Services, `envFrom`, `env`.
pub fn build(inputs: &Inputs<'_>) -> Result<BTreeMap<String, String>, Error> {
    let spec = inputs.pod.spec.as_ref();
    let namespace = inputs.pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for source in inputs.container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            match inputs.referenced.config_maps.get(&reference.name) {
                Some(map) => own.extend(
                    map.data
                        .iter()
                        .flatten()
                        .map(|(key, value)| (format!("{prefix}{key}"), value.clone())),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(Error::NoConfigMap(reference.name.clone())),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match inputs.referenced.secrets.get(&reference.name) {
                Some(secret) => own.extend(
                    secret
                        .data
                        .iter()
                        .flatten()
                        .map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(Error::NoSecret(reference.name.clone())),
            }
        }
    }
    let links = spec
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    let services: BTreeMap<String, String> =
        services::service_variables(inputs.services, namespace, links)
            .into_iter()
            .collect();
    for variable in inputs.container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => Some(expand::expand(value, |name| {
                own.get(name).or_else(|| services.get(name)).cloned()
            })),
            (_, Some(source)) => value_from(inputs, namespace, source)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            own.insert(variable.name.clone(), value);
        }
    }
    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    environment.insert("HOSTNAME".into(), hostname(inputs.pod));
    environment.extend(inputs.image.iter().cloned());
    environment.extend(inputs.settings.iter().cloned());
    environment.extend(services);
    environment.extend(own);
    Ok(environment)
}

/// A value from elsewhere; none when it is optional and absent.
fn value_from(
    inputs: &Inputs<'_>,
    namespace: &str,
    source: &k8s_openapi::api::core::v1::EnvVarSource,
) -> Result<Option<String>, Error> {
    if let Some(reference) = &source.field_ref {
        return Ok(Some(fields::field(
            inputs.pod,
            inputs.pod_ip,
            inputs.node,
            &reference.field_path,
        )?));
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(fields::resource(
            inputs.pod,
            Some(inputs.container),
            inputs.node,
            selector,
        )?));
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let map = inputs.referenced.config_maps.get(&reference.name);
        let value = map
            .and_then(|map| map.data.as_ref())
            .and_then(|data| data.get(&reference.key))
            .cloned();
        return match (map, value) {
            (_, Some(value)) => Ok(Some(value)),
            _ if optional => Ok(None),
            (None, _) => Err(Error::NoConfigMap(reference.name.clone())),
            _ => Err(Error::NoConfigMapKey {
                key: reference.key.clone(),
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
            }),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        let secret = inputs.referenced.secrets.get(&reference.name);
        let value = secret
            .and_then(|secret| secret.data.as_ref())
            .and_then(|data| data.get(&reference.key));
        return match (secret, value) {
            (_, Some(value)) => Ok(Some(text(&value.0))),
            _ if optional => Ok(None),
            (None, _) => Err(Error::NoSecret(reference.name.clone())),
            _ => Err(Error::NoSecretKey {
                key: reference.key.clone(),
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
            }),
        };
    }
    Ok(Some(String::new()))
}

/// The name a pod's processes see as their machine's: `spec.hostname`, else the pod's name, cut to 63 characters.
pub fn hostname(pod: &Pod) -> String {
    let asked = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.hostname.as_deref())
        .filter(|name| !name.is_empty());
    let name = asked.or(pod.metadata.name.as_deref()).unwrap_or_default();
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
