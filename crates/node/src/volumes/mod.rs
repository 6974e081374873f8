//! A pod's volumes: where each is on the host, made before the pod's containers start and kept current while they run.
//! Mounting itself is the sandbox's; deciding what may be mounted is done here.

mod host_path;
mod payload;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EmptyDirVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, ServiceAccount, Volume,
};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use objects::quantity::Quantity;

use crate::env::{NodeFacts, Referenced, References};
use crate::shim::Mount;
pub use host_path::{AllowList, Error as HostPathError};
pub use payload::{Error as PayloadError, TokenWish};

/// Why a volume cannot be made; the pod waits with a `FailedMount` event and the node tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its content.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Payload {
        /// The volume.
        volume: String,
        /// The cause; part of the message, since users read only that.
        source: PayloadError,
    },
    /// A host path.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    HostPath {
        /// The volume.
        volume: String,
        /// The cause.
        source: HostPathError,
    },
    /// A claim without a usable volume.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
    Claim {
        /// The volume.
        volume: String,
        /// In words.
        message: String,
    },
    /// A kind of volume that this node does not have.
    #[error(
        "MountVolume.SetUp failed for volume {volume:?} : this node has no volumes of this kind; it has emptyDir, configMap, secret, projected, downwardAPI, hostPath and persistentVolumeClaim"
    )]
    Unsupported {
        /// The volume.
        volume: String,
    },
    /// The API did not answer.
    #[error("fetching {what}")]
    Api {
        /// What was asked for.
        what: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// A folder could not be written.
    #[error("writing {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A container mounts what the pod has not.
    #[error("container {container:?} mounts volume {volume:?}, which the pod does not have")]
    NoSuchVolume {
        /// The container.
        container: String,
        /// The name it uses.
        volume: String,
    },
    /// A path inside a volume leads out of it.
    #[error("subPath {0:?} must be relative and must not contain '..'")]
    BadSubPath(String),
}

/// What making volumes needs of the node.
#[derive(Clone)]
pub struct Volumes {
    /// The API.
    pub client: Client,
    /// Host folders that pods may see.
    pub allow_list: AllowList,
    /// Where the node's own provisioner makes the folders of claims.
    pub claims_folder: PathBuf,
}

/// A pod's volumes on the host.
#[derive(Debug, Clone, Default)]
pub struct Mounted {
    /// Where each volume is, by its name.
    pub sources: BTreeMap<String, Source>,
    /// When the content should be looked at again.
    pub refresh_at: Option<Timestamp>,
    tokens: BTreeMap<TokenWish, (String, Timestamp)>,
}

/// Where a volume is.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// On the host.
    pub path: PathBuf,
    /// Whatever its mounts say.
    pub is_read_only: bool,
    /// Its ids on disk are the pod's.
    pub is_owned_by_pod: bool,
}

/// How often content from the API is compared with what a pod sees.
const REFRESH_S: i64 = 30;

impl Volumes {
    /// Makes all volumes of a pod below `folder`, or brings those that came from the API up to date.
    pub async fn make(
        &self,
        pod: &Pod,
        folder: &Path,
        pod_ip: Option<IpAddr>,
        node: &NodeFacts,
        mounted: &mut Mounted,
    ) -> Result<(), Error> {
        let namespace = pod.namespace().unwrap_or_default();
        let volumes = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.volumes.as_deref())
            .unwrap_or_default();
        let mut references = References::default();
        let mut wishes = Vec::new();
        for volume in volumes {
            let own = payload::references(volume);
            references.config_maps.extend(own.config_maps);
            references.secrets.extend(own.secrets);
            wishes.extend(payload::tokens(volume));
        }
        let has_content = volumes.iter().any(|volume| {
            volume.config_map.is_some()
                || volume.secret.is_some()
                || volume.projected.is_some()
                || volume.downward_api.is_some()
        });
        let referenced = fetch(&self.client, &namespace, &references).await?;
        let now = Timestamp::now();
        for wish in wishes {
            if mounted
                .tokens
                .get(&wish)
                .is_none_or(|(_, renew_at)| *renew_at <= now)
            {
                let token = self.token(pod, &namespace, &wish).await?;
                mounted.tokens.insert(wish, token);
            }
        }
        let tokens = mounted
            .tokens
            .iter()
            .map(|(wish, (token, _))| (wish.clone(), token.clone()))
            .collect();
        let inputs = payload::Inputs {
            pod,
            pod_ip,
            node,
            referenced: &referenced,
            tokens: &tokens,
        };
        for volume in volumes {
            let own = |source| Error::Payload {
                volume: volume.name.clone(),
                source,
            };
            if let Some(files) = payload::payload(&inputs, volume).map_err(own)? {
                let path = folder.join("content").join(&volume.name);
                writer::write(&path, &files).map_err(|source| Error::Io {
                    path: path.clone(),
                    source,
                })?;
                let source = Source {
                    path,
                    is_read_only: true,
                    is_owned_by_pod: true,
                };
                mounted.sources.insert(volume.name.clone(), source);
            } else if !mounted.sources.contains_key(&volume.name) {
                let source = self.place(pod, &namespace, volume, folder).await?;
                mounted.sources.insert(volume.name.clone(), source);
            }
        }
        mounted.refresh_at = has_content.then(|| {
            let next_token = mounted.tokens.values().map(|(_, renew_at)| *renew_at).min();
            let regular = now
                .checked_add(jiff::SignedDuration::from_secs(REFRESH_S))
                .unwrap_or(now);
            next_token.map_or(regular, |token| token.min(regular))
        });
        Ok(())
    }

    /// A volume that is a place, not content.
    async fn place(
        &self,
        pod: &Pod,
        namespace: &str,
        volume: &Volume,
        folder: &Path,
    ) -> Result<Source, Error> {
        let plain = |path| Source {
            path,
            is_read_only: false,
            is_owned_by_pod: true,
        };
        if volume.empty_dir.is_some() {
            let path = empty_folder(folder, volume);
            open_folder(&path)?;
            return Ok(plain(path));
        }
        if let Some(host) = &volume.host_path {
            let refused = |source| Error::HostPath {
                volume: volume.name.clone(),
                source,
            };
            let type_ = host.type_.as_deref().unwrap_or_default();
            let path = self
                .allow_list
                .prepare(Path::new(&host.path), type_)
                .map_err(refused)?;
            return Ok(Source {
                path,
                is_read_only: false,
                is_owned_by_pod: true,
            });
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            let path = self
                .claimed(namespace, &volume.name, &claim.claim_name)
                .await?;
            return Ok(Source {
                is_read_only: claim.read_only == Some(true),
                ..plain(path)
            });
        }
        if volume.ephemeral.is_some() {
            let claim = format!("{}-{}", pod.name_any(), volume.name);
            return Ok(plain(self.claimed(namespace, &volume.name, &claim).await?));
        }
        // A volume that names no source at all is an emptyDir.
        let value = serde_json::to_value(volume).unwrap_or_default();
        if value.as_object().is_some_and(|fields| fields.len() == 1) {
            let path = empty_folder(folder, volume);
            open_folder(&path)?;
            return Ok(plain(path));
        }
        Err(Error::Unsupported {
            volume: volume.name.clone(),
        })
    }

    /// The folder behind a claim.
    async fn claimed(&self, namespace: &str, volume: &str, claim: &str) -> Result<PathBuf, Error> {
        let wrong = |message: String| Error::Claim {
            volume: volume.to_owned(),
            message,
        };
        let api = |what: String| {
            move |source| Error::Api {
                what,
                source: Box::new(source),
            }
        };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let found = claims
            .get_opt(claim)
            .await
            .map_err(api(format!("persistentvolumeclaim {claim:?}")))?;
        let found =
            found.ok_or_else(|| wrong(format!("persistentvolumeclaim {claim:?} not found")))?;
        if found.metadata.deletion_timestamp.is_some() {
            return Err(wrong(format!(
                "persistentvolumeclaim {claim:?} is being deleted"
            )));
        }
        let phase = found
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .unwrap_or("Pending");
        let name = found
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_name.clone());
        let Some(name) = name.filter(|_| phase == "Bound") else {
            return Err(wrong(format!(
                "persistentvolumeclaim {claim:?} is not bound to a volume yet"
            )));
        };
        let all: Api<PersistentVolume> = Api::all(self.client.clone());
        let persistent = all
            .get(&name)
            .await
            .map_err(api(format!("persistentvolume {name:?}")))?;
        let spec = persistent.spec.unwrap_or_default();
        let path = spec
            .host_path
            .map(|source| source.path)
            .or_else(|| spec.local.map(|source| source.path));
        let path = path.ok_or_else(|| wrong(format!("volume {name:?} is not on this machine")))?;
        let path = PathBuf::from(path);
        let is_ours = path.starts_with(&self.claims_folder)
            && !path
                .components()
                .any(|part| matches!(part, std::path::Component::ParentDir));
        if is_ours {
            open_folder(&path)?;
            return Ok(path);
        }
        let refused = |source| Error::HostPath {
            volume: volume.to_owned(),
            source,
        };
        self.allow_list.prepare(&path, "Directory").map_err(refused)
    }

    /// A token for the pod's service account, and when to ask for the next one.
    async fn token(
        &self,
        pod: &Pod,
        namespace: &str,
        wish: &TokenWish,
    ) -> Result<(String, Timestamp), Error> {
        let account = service_account(pod);
        let (token, expires_at) =
            request_token(&self.client, pod, namespace, account, wish).await?;
        let now = Timestamp::now();
        let lifetime_s = expires_at.as_second() - now.as_second();
        let renew_at = now
            .checked_add(jiff::SignedDuration::from_secs((lifetime_s * 4 / 5).max(1)))
            .unwrap_or(now);
        Ok((token, renew_at))
    }
}

/// The volumes of a pod that will be memory, with their limits, as [`Volumes::make`] finds them below `folder`: the pod's
/// namespaces are made with them.
pub fn memory_volumes(pod: &Pod, folder: &Path) -> BTreeMap<PathBuf, Option<u64>> {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| {
            let bytes = memory_size(volume.empty_dir.as_ref()?)?;
            Some((empty_folder(folder, volume), bytes))
        })
        .collect()
}

fn empty_folder(folder: &Path, volume: &Volume) -> PathBuf {
    folder.join("empty").join(&volume.name)
}

/// The limit of an emptyDir that is memory; none for one on disk.
fn memory_size(empty: &EmptyDirVolumeSource) -> Option<Option<u64>> {
    if empty.medium.as_deref() != Some("Memory") {
        return None;
    }
    let limit = empty.size_limit.as_ref();
    let limit = limit.and_then(|limit| limit.0.parse::<Quantity>().ok());
    Some(
        limit
            .and_then(|limit| u64::try_from(limit.as_bytes()).ok())
            .filter(|bytes| *bytes > 0),
    )
}

/// The service account that a pod acts as.
pub fn service_account(pod: &Pod) -> &str {
    let name = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref());
    name.filter(|name| !name.is_empty()).unwrap_or("default")
}

/// Asks the API for a token of the pod's service account, bound to the pod.
pub async fn request_token(
    client: &Client,
    pod: &Pod,
    namespace: &str,
    account: &str,
    wish: &TokenWish,
) -> Result<(String, Timestamp), Error> {
    let failed = |source: kube::Error| Error::Api {
        what: format!("a token of serviceaccount {account:?}"),
        source: Box::new(source),
    };
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: if wish.audience.is_empty() {
                Vec::new()
            } else {
                vec![wish.audience.clone()]
            },
            expiration_seconds: Some(wish.expiration_seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .map_err(failed)?;
    let missing = || {
        failed(kube::Error::SerdeError(serde::ser::Error::custom(
            "the answer holds no token",
        )))
    };
    let status = answer.status.ok_or_else(missing)?;
    let expires_at =
        Timestamp::from_second(status.expiration_timestamp.0.as_second()).unwrap_or_default();
    Ok((status.token, expires_at))
}

/// Fetches objects; those that do not exist are left out.
pub async fn fetch(
    client: &Client,
    namespace: &str,
    references: &References,
) -> Result<Referenced, Error> {
    let mut referenced = Referenced::default();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for name in &references.config_maps {
        let failed = |source| Error::Api {
            what: format!("configmap {name:?}"),
            source: Box::new(source),
        };
        if let Some(map) = maps.get_opt(name).await.map_err(failed)? {
            referenced.config_maps.insert(name.clone(), map);
        }
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for name in &references.secrets {
        let failed = |source| Error::Api {
            what: format!("secret {name:?}"),
            source: Box::new(source),
        };
        if let Some(secret) = secrets.get_opt(name).await.map_err(failed)? {
            referenced.secrets.insert(name.clone(), secret);
        }
    }
    Ok(referenced)
}

/// What a container mounts of its pod's volumes.
pub fn mounts(
    container: &Container,
    mounted: &Mounted,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, Error> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let source = mounted
            .sources
            .get(&mount.name)
            .ok_or_else(|| Error::NoSuchVolume {
                container: container.name.clone(),
                volume: mount.name.clone(),
            })?;
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) if !path.is_empty() => Some(path.clone()),
            (_, Some(path)) if !path.is_empty() => Some(crate::env::expand::expand(path, |name| {
                environment.get(name).cloned()
            })),
            _ => None,
        };
        if let Some(path) = &sub_path {
            let leaves = Path::new(path)
                .components()
                .any(|part| !matches!(part, std::path::Component::Normal(_)));
            if leaves || path.contains("$(") {
                return Err(Error::BadSubPath(path.clone()));
            }
        }
        mounts.push(Mount {
            source: source.path.clone(),
            sub_path: sub_path.map(PathBuf::from),
            target: PathBuf::from(&mount.mount_path),
            read_only: source.is_read_only || mount.read_only == Some(true),
            owned_by_pod: source.is_owned_by_pod,
        });
    }
    Ok(mounts)
}

/// A folder that every user of the pod may write to; nobody else reaches it, since the pod's own folder is closed.
fn open_folder(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(failed)?;
    // The folder of a claim is open already, and each chmod is work for the disk.
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o7777 == 0o777 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mounted() -> Mounted {
        let source = |is_read_only| Source {
            path: "/host/v".into(),
            is_read_only,
            is_owned_by_pod: true,
        };
        Mounted {
            sources: [("rw".into(), source(false)), ("ro".into(), source(true))].into(),
            ..Mounted::default()
        }
    }

    fn container(mounts: serde_json::Value) -> Container {
        serde_json::from_value(json!({"name": "c", "volumeMounts": mounts})).expect("a container")
    }

    #[test]
    fn a_mount_is_read_only_when_it_or_its_volume_says_so() {
        let container = container(json!([
            {"name": "rw", "mountPath": "/a"}, {"name": "rw", "mountPath": "/b", "readOnly": true},
            {"name": "ro", "mountPath": "/c"},
        ]));
        let found = mounts(&container, &mounted(), &BTreeMap::new()).expect("mounts");
        assert_eq!(
            found
                .iter()
                .map(|mount| mount.read_only)
                .collect::<Vec<_>>(),
            [false, true, true]
        );
    }

    #[test]
    fn a_sub_path_may_come_from_the_environment_but_never_leave_the_volume() {
        let with = |path: &str| {
            let container =
                container(json!([{"name": "rw", "mountPath": "/a", "subPathExpr": path}]));
            let environment = [
                ("POD".to_owned(), "p1".to_owned()),
                ("UP".into(), "../..".into()),
            ]
            .into();
            mounts(&container, &mounted(), &environment).map(|mounts| mounts[0].sub_path.clone())
        };
        assert_eq!(with("logs/$(POD)").expect("a path"), Some("logs/p1".into()));
        assert!(matches!(with("$(UP)/x"), Err(Error::BadSubPath(_))));
        assert!(matches!(with("$(NONE)"), Err(Error::BadSubPath(_))));
        assert!(matches!(with("/etc"), Err(Error::BadSubPath(_))));
    }

    #[test]
    fn a_mount_of_a_volume_that_is_not_there_is_refused() {
        let container = container(json!([{"name": "none", "mountPath": "/a"}]));
        assert!(matches!(
            mounts(&container, &mounted(), &BTreeMap::new()),
            Err(Error::NoSuchVolume { .. })
        ));
    }
}
