//! From a container as the API has it to what a shim is told to run. Pure: everything that had to be fetched, chosen or
//! made is handed in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use objects::quantity::Quantity;

use super::capacity::GPU;
use crate::env::{expand, hostname};
use crate::images::Prepared;
use crate::images::python;
use crate::net::Layout;
use crate::shim::{Capabilities, ContainerSpec, Limits, LogFile, Mount, User};

/// Why a container cannot be run as it is written; it waits with `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// Neither the container nor its image says what to run.
    #[error("no command specified: image {0:?} names none, so the container must")]
    NoCommand(String),
    /// It must not run as root, and would.
    #[error(
        "container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})"
    )]
    WouldBeRoot {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// A quantity could not be read.
    #[error("limit {0:?} is not a quantity")]
    BadQuantity(String),
}

/// What was made for one run of a container.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// One of its containers.
    pub container: &'a Container,
    /// How often it was restarted before.
    pub restarts: u32,
    /// Its image.
    pub image: &'a Prepared,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// What it mounts of the pod's volumes.
    pub mounts: Vec<Mount>,
    /// The folder that belongs to this run alone.
    pub run: &'a Path,
    /// Its log.
    pub log: PathBuf,
    /// GPUs it was given.
    pub gpus: &'a [u32],
    /// Their device files.
    pub devices: Vec<PathBuf>,
    /// No memory limit is larger than this; none where the limit stands as it is.
    pub memory_clamp: Option<u64>,
}

/// Where a container's termination message is, on the host.
pub fn termination_message(run: &Path) -> PathBuf {
    run.join("termination-message")
}

/// Where the copy of a folder image is, on the host.
pub fn copy_folder(run: &Path) -> PathBuf {
    run.join("app")
}

/// Where a container's own Python is, on the host.
pub fn python_folder(run: &Path) -> PathBuf {
    run.join("python")
}

/// Decides everything about one run.
pub fn container_spec(inputs: Inputs<'_>) -> Result<ContainerSpec, Error> {
    let Inputs {
        pod,
        container,
        image,
        env,
        ..
    } = &inputs;
    let command = command_line(container, image, env)?;
    let mut mounts: Vec<Mount> = image.mounts.clone();
    if image.python.is_some() {
        mounts.push(Mount::writable(python_folder(inputs.run), python::LAYER));
    }
    if let Some((_, target)) = &image.copy {
        mounts.push(Mount::writable(copy_folder(inputs.run), target));
    }
    let message_path = container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty());
    mounts.push(Mount::writable(
        termination_message(inputs.run),
        message_path.unwrap_or("/dev/termination-log"),
    ));
    mounts.extend(inputs.mounts.iter().cloned());
    // A volume below another must come after it.
    mounts.sort_by_key(|mount| mount.target.components().count());
    let security = container.security_context.as_ref();
    let working_dir = container
        .working_dir
        .as_ref()
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let mut env: Vec<(String, String)> = env
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !inputs.gpus.is_empty() {
        let numbers = inputs
            .gpus
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",");
        env.push(("NVIDIA_VISIBLE_DEVICES".into(), numbers.clone()));
        env.push(("CUDA_VISIBLE_DEVICES".into(), numbers));
        env.push(("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into()));
    }
    Ok(ContainerSpec {
        name: container.name.clone(),
        attempt: inputs.restarts,
        root: image.root.clone(),
        read_only_root: security.and_then(|security| security.read_only_root_filesystem)
            == Some(true),
        mounts,
        devices: inputs.devices.clone(),
        command,
        env,
        cwd: working_dir.or_else(|| image.working_dir.clone()),
        user: user(pod, container, image)?,
        capabilities: security
            .and_then(|security| security.capabilities.as_ref())
            .map(|capabilities| Capabilities {
                add: capabilities.add.clone().unwrap_or_default(),
                drop: capabilities.drop.clone().unwrap_or_default(),
            })
            .unwrap_or_default(),
        limits: limits(container, inputs.memory_clamp)?,
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        init: true,
        log: LogFile::new(inputs.log.clone()),
        oom_score_adj: None,
    })
}

/// What a container runs: its own words, or else the image's.
pub fn command_line(
    container: &Container,
    image: &Prepared,
    env: &BTreeMap<String, String>,
) -> Result<Vec<String>, Error> {
    let own_command = container
        .command
        .clone()
        .filter(|command| !command.is_empty());
    let own_args = container.args.clone().filter(|args| !args.is_empty());
    let mut command = match (&own_command, &own_args) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => image.entrypoint.clone(),
        (None, None) => image
            .entrypoint
            .iter()
            .chain(&image.arguments)
            .cloned()
            .collect(),
    };
    command.extend(own_args.unwrap_or_default());
    if command.is_empty() {
        return Err(Error::NoCommand(
            container.image.clone().unwrap_or_default(),
        ));
    }
    Ok(command
        .iter()
        .map(|word| expand::expand(word, |name| env.get(name).cloned()))
        .collect())
}

fn user(pod: &Pod, container: &Container, image: &Prepared) -> Result<User, Error> {
    let of_pod = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let uid = own
        .and_then(|own| own.run_as_user)
        .or_else(|| of_pod.and_then(|pod| pod.run_as_user));
    let gid = own
        .and_then(|own| own.run_as_group)
        .or_else(|| of_pod.and_then(|pod| pod.run_as_group));
    let non_root = own
        .and_then(|own| own.run_as_non_root)
        .or_else(|| of_pod.and_then(|pod| pod.run_as_non_root));
    let id = |id: i64| u32::try_from(id).unwrap_or(u32::MAX);
    let would_be_root = match (uid, &image.user) {
        (Some(uid), _) => uid == 0,
        (None, Some(user)) => matches!(user.split(':').next(), Some("root" | "0" | "")),
        (None, None) => true,
    };
    // An image of ours has no user of its own; it runs as whoever the pod's rules allow.
    let is_free_to_choose = uid.is_none() && image.user.is_none();
    if non_root == Some(true) && would_be_root && !is_free_to_choose {
        return Err(Error::WouldBeRoot {
            pod: pod.name_any(),
            container: container.name.clone(),
        });
    }
    if let (None, Some(user)) = (uid, &image.user) {
        return Ok(User::Named(user.clone()));
    }
    let groups = of_pod
        .into_iter()
        .flat_map(|pod| {
            pod.supplemental_groups
                .iter()
                .flatten()
                .copied()
                .chain(pod.fs_group)
        })
        .map(id)
        .collect();
    let nobody_in_particular = if non_root == Some(true) { 65532 } else { 0 };
    Ok(User::Ids {
        uid: uid.map_or(nobody_in_particular, id),
        gid: gid.map(id),
        groups,
    })
}

fn limits(container: &Container, memory_clamp: Option<u64>) -> Result<Limits, Error> {
    let resources = container.resources.as_ref();
    let quantity = |list: Option<
        &BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    >,
                    name: &str| {
        let Some(text) = list
            .and_then(|list| list.get(name))
            .map(|quantity| quantity.0.as_str())
        else {
            return Ok(None);
        };
        text.parse::<Quantity>()
            .map(Some)
            .map_err(|_| Error::BadQuantity(text.to_owned()))
    };
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let memory = quantity(limits, "memory")?.and_then(|q| positive(q.as_bytes()));
    Ok(Limits {
        memory_bytes: memory.map(|bytes| memory_clamp.map_or(bytes, |most| bytes.min(most))),
        cpu_millis: quantity(limits, "cpu")?.and_then(|q| positive(q.as_millis())),
        cpu_request_millis: quantity(requests, "cpu")?.and_then(|q| positive(q.as_millis())),
        ..Limits::default()
    })
}

/// How many GPUs a container asks for.
pub fn gpu_count(container: &Container) -> usize {
    let limits = container
        .resources
        .as_ref()
        .and_then(|resources| resources.limits.as_ref());
    let text = limits
        .and_then(|limits| limits.get(GPU))
        .map(|quantity| quantity.0.as_str());
    text.and_then(|text| text.parse::<Quantity>().ok())
        .and_then(|q| usize::try_from(q.as_bytes()).ok())
        .unwrap_or(0)
}

/// The pod's `/etc/hosts`.
pub fn hosts_file(pod: &Pod, ip: Option<IpAddr>, domain: &str) -> String {
    let mut text = String::from(
        "# Managed by the node.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    let spec = pod.spec.as_ref();
    let host = hostname(pod);
    if let Some(ip) = ip {
        let namespace = pod.namespace().unwrap_or_default();
        match spec
            .and_then(|spec| spec.subdomain.as_deref())
            .filter(|subdomain| !subdomain.is_empty())
        {
            Some(subdomain) => {
                text.push_str(&format!(
                    "{ip}\t{host}.{subdomain}.{namespace}.svc.{domain}\t{host}\n"
                ));
            }
            None => text.push_str(&format!("{ip}\t{host}\n")),
        }
    }
    for alias in spec
        .iter()
        .flat_map(|spec| spec.host_aliases.iter().flatten())
    {
        let names = alias
            .hostnames
            .iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// The pod's `/etc/resolv.conf`.
pub fn resolv_conf(pod: &Pod, layout: &Layout, domain: &str) -> String {
    let spec = pod.spec.as_ref();
    let policy = spec
        .and_then(|spec| spec.dns_policy.as_deref())
        .unwrap_or("ClusterFirst");
    let namespace = pod.namespace().unwrap_or_default();
    let (mut servers, mut search, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if policy != "None" {
        servers.push(layout.dns.to_string());
    }
    if policy.starts_with("ClusterFirst") {
        search = vec![
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.to_owned(),
        ];
        options.push("ndots:5".to_owned());
    }
    if let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        servers.extend(config.nameservers.iter().flatten().cloned());
        search.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.retain(|other| other.split(':').next() != Some(&name));
            options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    let mut text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests;
