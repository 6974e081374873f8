//! What the files of a ConfigMap, Secret, downward API or projected volume are: pure, from objects already fetched.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Secret, Volume,
};

use crate::env::{NodeFacts, Referenced, References, fields};

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadFile {
    /// Its content.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// The files of a volume by relative path.
pub type Payload = BTreeMap<String, PayloadFile>;

/// Why a volume has no content; the pod waits and the node tries again.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// A ConfigMap does not exist.
    #[error("configmap {0:?} not found")]
    NoConfigMap(String),
    /// A Secret does not exist.
    #[error("secret {0:?} not found")]
    NoSecret(String),
    /// A key of an object does not exist.
    #[error("references non-existent {kind} key: {key}")]
    NoKey {
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// A path would leave the volume.
    #[error("path {0:?} must be relative and must not contain '..'")]
    BadPath(String),
    /// A field or resource has no value.
    #[error(transparent)]
    Field(#[from] fields::Error),
    /// A token was asked for that was not fetched.
    #[error("no token for audience {0:?} yet")]
    NoToken(String),
}

/// A token that a projected volume asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenWish {
    /// Whom it is for; empty for the API itself.
    pub audience: String,
    /// How long it should last.
    pub expiration_seconds: i64,
}

/// What a payload depends on.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its address.
    pub pod_ip: Option<IpAddr>,
    /// The node.
    pub node: &'a NodeFacts,
    /// The objects that `references` named, as far as they exist.
    pub referenced: &'a Referenced,
    /// The tokens that `tokens` named.
    pub tokens: &'a BTreeMap<TokenWish, String>,
}

const DEFAULT_MODE: i32 = 0o644;
const DEFAULT_EXPIRATION_S: i64 = 3600;

/// The objects a volume's content comes from.
pub fn references(volume: &Volume) -> References {
    let mut references = References::default();
    references
        .config_maps
        .extend(volume.config_map.iter().map(|source| source.name.clone()));
    references.secrets.extend(
        volume
            .secret
            .iter()
            .filter_map(|source| source.secret_name.clone()),
    );
    for source in volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten())
    {
        references
            .config_maps
            .extend(source.config_map.iter().map(|source| source.name.clone()));
        references
            .secrets
            .extend(source.secret.iter().map(|source| source.name.clone()));
    }
    references
}

/// The tokens a volume's content comes from.
pub fn tokens(volume: &Volume) -> Vec<TokenWish> {
    let sources = volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten());
    sources
        .filter_map(|source| source.service_account_token.as_ref())
        .map(|token| TokenWish {
            audience: token.audience.clone().unwrap_or_default(),
            expiration_seconds: token.expiration_seconds.unwrap_or(DEFAULT_EXPIRATION_S),
        })
        .collect()
}

/// The files of a volume, or none when it is not of a kind that has files from the API.
pub fn payload(inputs: &Inputs<'_>, volume: &Volume) -> Result<Option<Payload>, Error> {
    let mut files = Payload::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        config_map(
            inputs,
            &mut files,
            &source.name,
            source.items.as_deref(),
            optional,
            mode,
        )?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        secret(
            inputs,
            &mut files,
            name,
            source.items.as_deref(),
            source.optional == Some(true),
            mode,
        )?;
    } else if let Some(source) = &volume.downward_api {
        downward(
            inputs,
            &mut files,
            source.items.as_deref(),
            source.default_mode.unwrap_or(DEFAULT_MODE),
        )?;
    } else if let Some(source) = &volume.projected {
        projected(inputs, &mut files, source)?;
    } else {
        return Ok(None);
    }
    // With an fsGroup its members may read everything, whatever the modes say.
    let context = inputs
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    if context.is_some_and(|context| context.fs_group.is_some()) {
        files.values_mut().for_each(|file| file.mode |= 0o440);
    }
    Ok(Some(files))
}

fn projected(
    inputs: &Inputs<'_>,
    files: &mut Payload,
    projected: &ProjectedVolumeSource,
) -> Result<(), Error> {
    let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
    for source in projected.sources.iter().flatten() {
        if let Some(source) = &source.config_map {
            let optional = source.optional == Some(true);
            config_map(
                inputs,
                files,
                &source.name,
                source.items.as_deref(),
                optional,
                mode,
            )?;
        }
        if let Some(source) = &source.secret {
            secret(
                inputs,
                files,
                &source.name,
                source.items.as_deref(),
                source.optional == Some(true),
                mode,
            )?;
        }
        if let Some(source) = &source.downward_api {
            downward(inputs, files, source.items.as_deref(), mode)?;
        }
        if let Some(source) = &source.service_account_token {
            let wish = TokenWish {
                audience: source.audience.clone().unwrap_or_default(),
                expiration_seconds: source.expiration_seconds.unwrap_or(DEFAULT_EXPIRATION_S),
            };
            let token = inputs
                .tokens
                .get(&wish)
                .ok_or(Error::NoToken(wish.audience))?;
            put(files, &source.path, token.clone().into_bytes(), mode)?;
        }
    }
    Ok(())
}

fn config_map(
    inputs: &Inputs<'_>,
    files: &mut Payload,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
) -> Result<(), Error> {
    let contents = match inputs.referenced.config_maps.get(name) {
        Some(map) => contents_of_map(map),
        None if optional => return Ok(()),
        None => return Err(Error::NoConfigMap(name.to_owned())),
    };
    pick(files, contents, items, optional, mode, "config")
}

fn secret(
    inputs: &Inputs<'_>,
    files: &mut Payload,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
) -> Result<(), Error> {
    let contents = match inputs.referenced.secrets.get(name) {
        Some(secret) => contents_of_secret(secret),
        None if optional => return Ok(()),
        None => return Err(Error::NoSecret(name.to_owned())),
    };
    pick(files, contents, items, optional, mode, "secret")
}

fn contents_of_map(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

fn contents_of_secret(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()))
        .collect()
}

/// All keys, or only those named, each under its own path.
fn pick(
    files: &mut Payload,
    mut contents: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
    kind: &'static str,
) -> Result<(), Error> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return contents
            .into_iter()
            .try_for_each(|(key, content)| put(files, &key, content, mode));
    };
    for item in items {
        match contents.remove(&item.key) {
            Some(content) => put(files, &item.path, content, item.mode.unwrap_or(mode))?,
            None if optional => {}
            None => {
                return Err(Error::NoKey {
                    kind,
                    key: item.key.clone(),
                });
            }
        }
    }
    Ok(())
}

fn downward(
    inputs: &Inputs<'_>,
    files: &mut Payload,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<(), Error> {
    for item in items.unwrap_or_default() {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => {
                fields::field(inputs.pod, inputs.pod_ip, inputs.node, &field.field_path)?
            }
            (None, Some(selector)) => fields::resource(inputs.pod, None, inputs.node, selector)?,
            (None, None) => String::new(),
        };
        put(
            files,
            &item.path,
            value.into_bytes(),
            item.mode.unwrap_or(mode),
        )?;
    }
    Ok(())
}

fn put(files: &mut Payload, path: &str, content: Vec<u8>, mode: i32) -> Result<(), Error> {
    let is_inside = !path.is_empty()
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    // Names that begin with two dots are the volume's own bookkeeping.
    if !is_inside || path.starts_with("..") {
        return Err(Error::BadPath(path.to_owned()));
    }
    let mode = u32::try_from(mode).unwrap_or(0o644) & 0o777;
    files.insert(path.to_owned(), PayloadFile { content, mode });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn volume(source: Value) -> Volume {
        let mut value = json!({"name": "v"});
        value
            .as_object_mut()
            .expect("an object")
            .extend(source.as_object().expect("an object").clone());
        serde_json::from_value(value).expect("a volume")
    }

    fn files(pod: Value, source: Value) -> Result<Payload, Error> {
        let map = serde_json::from_value(
            json!({"data": {"a.txt": "A", "b": "B"}, "binaryData": {"c": "AAE="}}),
        );
        let secret = serde_json::from_value(json!({"data": {"pw": "aHVudGVy"}}));
        let referenced = Referenced {
            config_maps: [("m".into(), map.expect("a map"))].into(),
            secrets: [("s".into(), secret.expect("a secret"))].into(),
        };
        let wish = TokenWish {
            audience: "x".into(),
            expiration_seconds: 600,
        };
        let inputs = Inputs {
            pod: &serde_json::from_value(pod).expect("a pod"),
            pod_ip: None,
            node: &NodeFacts::default(),
            referenced: &referenced,
            tokens: &[(wish, "the-token".to_owned())].into(),
        };
        payload(&inputs, &volume(source)).map(|files| files.expect("a payload"))
    }

    fn text<'a>(files: &'a Payload, path: &str) -> (&'a str, u32) {
        let file = files.get(path).unwrap_or_else(|| panic!("no file {path}"));
        (std::str::from_utf8(&file.content).expect("text"), file.mode)
    }

    #[test]
    fn every_key_is_a_file_unless_some_are_named() {
        let all = files(json!({}), json!({"configMap": {"name": "m"}})).expect("files");
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a.txt", "b", "c"]);
        assert_eq!(text(&all, "a.txt"), ("A", 0o644));
        let items = json!({"configMap": {"name": "m", "defaultMode": 0o600, "items": [
            {"key": "b", "path": "deep/er/b"}, {"key": "a.txt", "path": "a", "mode": 0o444},
        ]}});
        let some = files(json!({}), items).expect("files");
        assert_eq!(
            (text(&some, "deep/er/b"), text(&some, "a")),
            (("B", 0o600), ("A", 0o444))
        );
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_optional() {
        let no_map = |optional: bool| {
            files(
                json!({}),
                json!({"configMap": {"name": "none", "optional": optional}}),
            )
        };
        assert_eq!(no_map(false), Err(Error::NoConfigMap("none".into())));
        assert_eq!(no_map(true), Ok(Payload::new()));
        let no_key = files(
            json!({}),
            json!({"secret": {"secretName": "s", "items": [{"key": "x", "path": "x"}]}}),
        );
        assert_eq!(
            no_key,
            Err(Error::NoKey {
                kind: "secret",
                key: "x".into()
            })
        );
    }

    #[test]
    fn a_projected_volume_joins_its_sources() {
        let pod = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let all = files(pod, json!({"projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "audience": "x", "expirationSeconds": 600}},
            {"configMap": {"name": "m", "items": [{"key": "b", "path": "b"}]}},
            {"secret": {"name": "s"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}}))
        .expect("files");
        assert_eq!(text(&all, "token").0, "the-token");
        assert_eq!(text(&all, "labels").0, "app=\"web\"");
        assert_eq!(
            all.keys().collect::<Vec<_>>(),
            ["b", "labels", "pw", "token"]
        );
    }

    #[test]
    fn no_path_leaves_the_volume() {
        for path in ["../x", "/etc/passwd", "a/../../b", "..data", "", "a//b"] {
            let items = json!({"configMap": {"name": "m", "items": [{"key": "b", "path": path}]}});
            assert_eq!(
                files(json!({}), items),
                Err(Error::BadPath(path.into())),
                "{path}"
            );
        }
    }

    #[test]
    fn members_of_the_fs_group_may_read_everything() {
        let pod = json!({"spec": {"securityContext": {"fsGroup": 1000}, "containers": []}});
        let files = files(
            pod,
            json!({"secret": {"secretName": "s", "defaultMode": 0o400}}),
        )
        .expect("files");
        assert_eq!(text(&files, "pw").1, 0o440);
    }
}
