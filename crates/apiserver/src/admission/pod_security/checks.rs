//! The single checks, in the order and words of the published standards.

use serde_json::Value;

use super::Level;
use crate::kinds::fields::{is_empty, list, text};

/// What `pod` does that `level` does not allow.
pub(super) fn violations(pod: &Value, level: Level) -> Vec<String> {
    let pod = Pod::of(pod);
    // What only Linux has, only pods that may run there are asked for.
    let on_linux = pod.spec["os"]["name"] != "windows";
    match level {
        Level::Baseline => [
            pod.app_armor(),
            pod.capabilities_of_baseline(),
            pod.host_namespaces(),
            pod.host_path_volumes(),
            pod.host_ports(),
            pod.privileged(),
            pod.proc_mount(),
            pod.se_linux(),
            pod.seccomp_of_baseline(),
            pod.sysctls(),
            pod.host_process(),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Level::Restricted => [
            pod.app_armor(),
            pod.host_namespaces(),
            pod.host_ports(),
            pod.privileged(),
            pod.proc_mount(),
            pod.se_linux(),
            pod.sysctls(),
            pod.host_process(),
            on_linux.then(|| pod.allow_privilege_escalation()).flatten(),
            on_linux.then(|| pod.capabilities_of_restricted()).flatten(),
            pod.volume_types(),
            pod.run_as_non_root(),
            pod.run_as_user(),
            on_linux.then(|| pod.seccomp_of_restricted()).flatten(),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

/// The capabilities a container engine gives anyway.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

const RESTRICTED_VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// A pod and all its containers, whatever list they stand in.
struct Pod<'a> {
    metadata: &'a Value,
    spec: &'a Value,
    containers: Vec<&'a Value>,
}

impl<'a> Pod<'a> {
    fn of(pod: &'a Value) -> Self {
        let spec = &pod["spec"];
        let containers = ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(|kind| list(&spec[kind]))
            .collect();
        Self {
            metadata: &pod["metadata"],
            spec,
            containers,
        }
    }

    /// The names of the containers of which something is true.
    fn those(&self, is_so: impl Fn(&Value) -> bool) -> Vec<&str> {
        self.containers
            .iter()
            .filter(|container| is_so(container))
            .map(|container| text(&container["name"]))
            .collect()
    }

    fn host_namespaces(&self) -> Option<String> {
        let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
            .into_iter()
            .filter(|field| self.spec[field] == true)
            .map(|field| format!("{field}=true"))
            .collect();
        found(&used).then(|| format!("host namespaces ({})", used.join(", ")))
    }

    fn privileged(&self) -> Option<String> {
        let bad = self.those(|container| container["securityContext"]["privileged"] == true);
        found(&bad).then(|| {
            format!(
                "privileged ({} must not set securityContext.privileged=true)",
                named(&bad)
            )
        })
    }

    fn capabilities_of_baseline(&self) -> Option<String> {
        let is_extra = |name: &str| !DEFAULT_CAPABILITIES.contains(&name);
        let extra = self.added_capabilities(is_extra);
        found(&extra.names).then(|| {
            format!(
                "non-default capabilities ({} must not include {} in securityContext.capabilities.add)",
                named(&extra.containers),
                quoted(&extra.names)
            )
        })
    }

    fn capabilities_of_restricted(&self) -> Option<String> {
        let keeps = self.those(|container| {
            !list(&container["securityContext"]["capabilities"]["drop"]).any(|name| name == "ALL")
        });
        let extra = self.added_capabilities(|name| name != "NET_BIND_SERVICE");
        let mut parts = Vec::new();
        if found(&keeps) {
            parts.push(format!(
                "{} must set securityContext.capabilities.drop=[\"ALL\"]",
                named(&keeps)
            ));
        }
        if found(&extra.names) {
            parts.push(format!(
                "{} must not include {} in securityContext.capabilities.add",
                named(&extra.containers),
                quoted(&extra.names)
            ));
        }
        found(&parts).then(|| format!("unrestricted capabilities ({})", parts.join("; ")))
    }

    fn added_capabilities(&self, is_extra: impl Fn(&str) -> bool) -> Added<'_> {
        let mut added = Added::default();
        for container in &self.containers {
            let names: Vec<&str> = list(&container["securityContext"]["capabilities"]["add"])
                .map(text)
                .filter(|name| is_extra(name))
                .collect();
            if found(&names) {
                added.containers.push(text(&container["name"]));
                added.names.extend(names);
            }
        }
        added.names.sort_unstable();
        added.names.dedup();
        added
    }

    fn host_path_volumes(&self) -> Option<String> {
        let bad: Vec<&str> = list(&self.spec["volumes"])
            .filter(|volume| volume["hostPath"].is_object())
            .map(|volume| text(&volume["name"]))
            .collect();
        found(&bad).then(|| format!("hostPath volumes ({})", numbered("volume", &bad)))
    }

    fn volume_types(&self) -> Option<String> {
        let (mut names, mut types) = (Vec::new(), Vec::new());
        for volume in list(&self.spec["volumes"]) {
            let source = volume
                .as_object()
                .into_iter()
                .flatten()
                .find(|(key, value)| *key != "name" && !value.is_null());
            if let Some((kind, _)) = source
                && !RESTRICTED_VOLUMES.contains(&kind.as_str())
            {
                names.push(text(&volume["name"]));
                types.push(kind.as_str());
            }
        }
        types.sort_unstable();
        types.dedup();
        found(&names).then(|| {
            let (use_verb, noun) = if names.len() == 1 {
                ("uses", "type")
            } else {
                ("use", "types")
            };
            let noun = if types.len() == 1 { "type" } else { noun };
            format!(
                "restricted volume types ({} {use_verb} restricted volume {noun} {})",
                numbered("volume", &names),
                quoted(&types)
            )
        })
    }

    fn host_ports(&self) -> Option<String> {
        let (mut containers, mut ports) = (Vec::new(), Vec::new());
        for container in &self.containers {
            let used: Vec<i64> = list(&container["ports"])
                .filter_map(|port| port["hostPort"].as_i64())
                .filter(|port| *port != 0)
                .collect();
            if found(&used) {
                containers.push(text(&container["name"]));
                ports.extend(used);
            }
        }
        ports.sort_unstable();
        ports.dedup();
        found(&ports).then(|| {
            let verb = if containers.len() == 1 { "uses" } else { "use" };
            let noun = if ports.len() == 1 {
                "hostPort"
            } else {
                "hostPorts"
            };
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            format!(
                "hostPort ({} {verb} {noun} {})",
                named(&containers),
                ports.join(", ")
            )
        })
    }

    fn proc_mount(&self) -> Option<String> {
        let is_odd = |container: &Value| {
            let mount = &container["securityContext"]["procMount"];
            !is_empty(mount) && mount != "Default"
        };
        let bad = self.those(is_odd);
        found(&bad).then(|| {
            format!(
                "procMount ({} must not set securityContext.procMount to \"Unmasked\")",
                named(&bad)
            )
        })
    }

    fn app_armor(&self) -> Option<String> {
        let is_unconfined = |context: &Value| context["appArmorProfile"]["type"] == "Unconfined";
        let mut bad = self.setters(is_unconfined);
        let mut values = Vec::new();
        if found(&bad) {
            values.push("\"Unconfined\"".to_owned());
        }
        for (key, value) in self.metadata["annotations"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let profile = text(value);
            let is_odd = profile != "runtime/default"
                && !profile.is_empty()
                && !profile.starts_with("localhost/");
            if key.starts_with("container.apparmor.security.beta.kubernetes.io/") && is_odd {
                bad.push("annotation".to_owned());
                values.push(format!("\"{key}={profile:?}\""));
            }
        }
        found(&bad).then(|| {
            format!(
                "forbidden AppArmor profile ({} must not set AppArmor profile type to {})",
                bad.join(" and "),
                values.join(", ")
            )
        })
    }

    /// Who sets something that is not allowed: the pod, or which containers.
    fn setters(&self, is_bad: impl Fn(&Value) -> bool) -> Vec<String> {
        let mut setters = Vec::new();
        if is_bad(&self.spec["securityContext"]) {
            setters.push("pod".to_owned());
        }
        let containers = self.those(|container| is_bad(&container["securityContext"]));
        if found(&containers) {
            setters.push(named(&containers));
        }
        setters
    }

    fn se_linux(&self) -> Option<String> {
        const TYPES: [&str; 5] = [
            "",
            "container_t",
            "container_init_t",
            "container_kvm_t",
            "container_engine_t",
        ];
        let is_odd_type =
            |context: &Value| !TYPES.contains(&text(&context["seLinuxOptions"]["type"]));
        let names = |context: &Value, key: &str| !is_empty(&context["seLinuxOptions"][key]);
        let bad = self.setters(|context| {
            is_odd_type(context) || names(context, "user") || names(context, "role")
        });
        let contexts = || {
            std::iter::once(&self.spec["securityContext"]).chain(
                self.containers
                    .iter()
                    .map(|container| &container["securityContext"]),
            )
        };
        let mut details = Vec::new();
        let mut types: Vec<&str> = contexts()
            .filter(|context| is_odd_type(context))
            .map(|context| text(&context["seLinuxOptions"]["type"]))
            .collect();
        types.sort_unstable();
        types.dedup();
        if found(&types) {
            details.push(numbered("type", &types));
        }
        for key in ["user", "role"] {
            if contexts().any(|context| names(context, key)) {
                details.push(format!("{key} may not be set"));
            }
        }
        found(&bad).then(|| {
            format!(
                "seLinuxOptions ({} set forbidden securityContext.seLinuxOptions: {})",
                bad.join(" and "),
                details.join("; ")
            )
        })
    }

    fn seccomp_of_baseline(&self) -> Option<String> {
        let bad = self.setters(|context| context["seccompProfile"]["type"] == "Unconfined");
        found(&bad).then(|| {
            format!(
                "seccompProfile ({} must not set securityContext.seccompProfile.type to \"Unconfined\")",
                bad.join(" and ")
            )
        })
    }

    fn seccomp_of_restricted(&self) -> Option<String> {
        if let Some(bad) = self.seccomp_of_baseline() {
            return Some(bad);
        }
        let is_set = |context: &Value| {
            matches!(
                text(&context["seccompProfile"]["type"]),
                "RuntimeDefault" | "Localhost"
            )
        };
        if is_set(&self.spec["securityContext"]) {
            return None;
        }
        let bad = self.those(|container| !is_set(&container["securityContext"]));
        found(&bad).then(|| {
            format!(
                "seccompProfile (pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
                named(&bad)
            )
        })
    }

    fn sysctls(&self) -> Option<String> {
        let bad: Vec<&str> = list(&self.spec["securityContext"]["sysctls"])
            .map(|sysctl| text(&sysctl["name"]))
            .filter(|name| !SAFE_SYSCTLS.contains(name))
            .collect();
        found(&bad).then(|| format!("forbidden sysctls ({})", bad.join(", ")))
    }

    fn host_process(&self) -> Option<String> {
        let bad = self.setters(|context| context["windowsOptions"]["hostProcess"] == true);
        found(&bad).then(|| {
            format!(
                "hostProcess ({} must not set securityContext.windowsOptions.hostProcess=true)",
                bad.join(" and ")
            )
        })
    }

    fn allow_privilege_escalation(&self) -> Option<String> {
        let bad = self
            .those(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
        found(&bad).then(|| {
            format!(
                "allowPrivilegeEscalation != false ({} must set securityContext.allowPrivilegeEscalation=false)",
                named(&bad)
            )
        })
    }

    fn run_as_non_root(&self) -> Option<String> {
        let forbids_itself =
            self.those(|container| container["securityContext"]["runAsNonRoot"] == false);
        let is_said = self
            .containers
            .iter()
            .all(|container| container["securityContext"]["runAsNonRoot"] == true);
        let pod_forbids = self.spec["securityContext"]["runAsNonRoot"] == false && !is_said;
        let mut who: Vec<String> = pod_forbids.then(|| "pod".to_owned()).into_iter().collect();
        if found(&forbids_itself) {
            who.push(named(&forbids_itself));
        }
        if found(&who) {
            return Some(format!(
                "runAsNonRoot != true ({} must not set securityContext.runAsNonRoot=false)",
                who.join(" and ")
            ));
        }
        if self.spec["securityContext"]["runAsNonRoot"] == true {
            return None;
        }
        let silent = self.those(|container| container["securityContext"]["runAsNonRoot"] != true);
        found(&silent).then(|| {
            format!(
                "runAsNonRoot != true (pod or {} must set securityContext.runAsNonRoot=true)",
                named(&silent)
            )
        })
    }

    fn run_as_user(&self) -> Option<String> {
        let bad = self.setters(|context| context["runAsUser"] == 0);
        found(&bad).then(|| {
            format!(
                "runAsUser=0 ({} must not set runAsUser=0)",
                bad.join(" and ")
            )
        })
    }
}

/// Capabilities that were added, and by which containers.
#[derive(Default)]
struct Added<'a> {
    containers: Vec<&'a str>,
    names: Vec<&'a str>,
}

fn found<T>(list: &[T]) -> bool {
    !list.is_empty()
}

/// `container "a"` or `containers "a", "b"`.
fn named(containers: &[&str]) -> String {
    numbered("container", containers)
}

fn numbered(noun: &str, names: &[&str]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", quoted(names))
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn baseline(spec: Value) -> Vec<String> {
        violations(&json!({"spec": spec}), Level::Baseline)
    }

    #[test]
    fn what_reaches_for_the_host_is_beyond_the_baseline() {
        let spec = json!({
            "hostNetwork": true, "hostPID": true,
            "containers": [{
                "name": "a", "ports": [{"hostPort": 80}],
                "securityContext": {"privileged": true, "capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}, "procMount": "Unmasked"},
            }],
            "volumes": [{"name": "h", "hostPath": {"path": "/"}}],
            "securityContext": {"sysctls": [{"name": "kernel.msgmax"}], "seccompProfile": {"type": "Unconfined"}},
        });
        assert_eq!(
            baseline(spec),
            [
                r#"non-default capabilities (container "a" must not include "SYS_ADMIN" in securityContext.capabilities.add)"#,
                "host namespaces (hostNetwork=true, hostPID=true)",
                r#"hostPath volumes (volume "h")"#,
                r#"hostPort (container "a" uses hostPort 80)"#,
                r#"privileged (container "a" must not set securityContext.privileged=true)"#,
                r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#,
                r#"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#,
                "forbidden sysctls (kernel.msgmax)",
            ]
        );
    }

    #[test]
    fn an_ordinary_pod_is_within_the_baseline() {
        let spec = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}]}], "volumes": [{"name": "v", "emptyDir": {}}]});
        assert_eq!(baseline(spec), Vec::<String>::new());
    }

    #[test]
    fn several_containers_are_named_together() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "securityContext": {"runAsUser": 0}});
        let violations = violations(&json!({"spec": spec}), Level::Restricted);
        assert!(
            violations[0].contains(r#"containers "a", "b" must set"#),
            "{violations:?}"
        );
        assert!(
            violations
                .iter()
                .any(|text| text == "runAsUser=0 (pod must not set runAsUser=0)")
        );
    }

    #[test]
    fn restricted_allows_only_volumes_that_stay_in_the_cluster() {
        let spec = json!({"containers": [], "volumes": [{"name": "n", "nfs": {}}, {"name": "e", "emptyDir": {}}]});
        assert_eq!(
            violations(&json!({"spec": spec}), Level::Restricted),
            [r#"restricted volume types (volume "n" uses restricted volume type "nfs")"#]
        );
    }
}
