//! The API server and what stands beside it, with the flags of an ordinary cluster.

use anyhow::{Context, Result};

use super::hold::{Inside, Start};
use super::{Part, etcd, network};

/// Starts `kube-apiserver`.
pub fn api_server(inside: &Inside) -> Start {
    let mut command = inside.command(Part::ApiServer);
    let node = inside.record.node_address.to_string();
    let flag = |name: &str, value: &str| format!("--{name}={value}");
    let key = |name: &str, file: &str| flag(name, &inside.key(file));
    command
        .args([
            flag("etcd-servers", &format!("http://{}", etcd::CLIENTS)),
            flag("bind-address", "0.0.0.0"),
            flag("advertise-address", &node),
            flag("service-cluster-ip-range", network::SERVICES),
            flag("authorization-mode", "Node,RBAC"),
            flag("allow-privileged", "true"),
            // Else logs and exec look the node's name up, which nobody answers.
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("enable-aggregator-routing", "true"),
        ])
        .args([
            key("tls-cert-file", "apiserver.crt"),
            key("tls-private-key-file", "apiserver.key"),
            key("client-ca-file", "ca.crt"),
            key("kubelet-certificate-authority", "ca.crt"),
            key("kubelet-client-certificate", "kubelet-client.crt"),
            key("kubelet-client-key", "kubelet-client.key"),
        ])
        .args([
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            key("service-account-key-file", "tokens.pub"),
            key("service-account-signing-key-file", "tokens.key"),
        ])
        .args([
            key("requestheader-client-ca-file", "ca.crt"),
            flag("requestheader-allowed-names", "front-proxy"),
            flag("requestheader-username-headers", "X-Remote-User"),
            flag("requestheader-group-headers", "X-Remote-Group"),
            flag("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            key("proxy-client-cert-file", "front-proxy.crt"),
            key("proxy-client-key-file", "front-proxy.key"),
        ]);
    Start {
        command,
        is_ready: Box::new(|inside| {
            inside.kubectl(&["get", "--raw", "/readyz"])?;
            inside
                .kubectl(&["get", "service", "kubernetes", "-o", "name"])
                .map(drop)
        }),
    }
}

/// Starts `kube-controller-manager`; it is ready when the first service account is there.
pub fn controller_manager(inside: &Inside) -> Start {
    let mut command = inside.command(Part::ControllerManager);
    let kubeconfig = inside.key("kube-controller-manager.kubeconfig");
    command
        .args(
            [
                "kubeconfig",
                "authentication-kubeconfig",
                "authorization-kubeconfig",
            ]
            .map(|name| format!("--{name}={kubeconfig}")),
        )
        .arg(format!(
            "--service-account-private-key-file={}",
            inside.key("tokens.key")
        ))
        .arg(format!("--root-ca-file={}", inside.key("ca.crt")))
        .args([
            "--use-service-account-credentials=true",
            "--flex-volume-plugin-dir=/run/flex-volumes",
            "--cert-dir=/run/kube-controller-manager",
        ]);
    Start {
        command,
        is_ready: Box::new(|inside| {
            inside
                .kubectl(&["get", "serviceaccount", "default", "-o", "name"])
                .map(drop)
        }),
    }
}

/// Starts `kube-scheduler`; it is ready when it leads.
pub fn scheduler(inside: &Inside) -> Start {
    let mut command = inside.command(Part::Scheduler);
    let kubeconfig = inside.key("kube-scheduler.kubeconfig");
    command
        .args(
            [
                "kubeconfig",
                "authentication-kubeconfig",
                "authorization-kubeconfig",
            ]
            .map(|name| format!("--{name}={kubeconfig}")),
        )
        .arg("--cert-dir=/run/kube-scheduler");
    Start {
        command,
        is_ready: Box::new(leads),
    }
}

fn leads(inside: &Inside) -> Result<()> {
    let path = "jsonpath={.spec.holderIdentity}";
    inside
        .kubectl(&[
            "-n",
            "kube-system",
            "get",
            "lease",
            "kube-scheduler",
            "-o",
            path,
        ])
        .context("find the scheduler's lease")
        .map(drop)
}
