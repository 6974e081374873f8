//! The kubeconfig that `up` leaves for its owner: one context, everything embedded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Identity;

/// A kubeconfig whose only context, `ferroflow`, reaches `server` as the bearer of `identity` and trusts `ca_certificate`.
///
/// A certificate rather than a token: the Python client resets the server's address each time it reads a token from a
/// kubeconfig, which breaks `kfp.Client()` without arguments.
/// Names are quoted as JSON strings, which YAML reads as they are.
pub fn kubeconfig(server: &str, ca_certificate: &str, identity: &Identity) -> String {
    let server = serde_json::Value::from(server).to_string();
    let ca = STANDARD.encode(ca_certificate);
    let (certificate, key) = (
        STANDARD.encode(&identity.certificate),
        STANDARD.encode(&identity.key),
    );
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: ferroflow
  cluster:
    certificate-authority-data: {ca}
    server: {server}
contexts:
- name: ferroflow
  context:
    cluster: ferroflow
    user: ferroflow-admin
current-context: ferroflow
preferences: {{}}
users:
- name: ferroflow-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_server_certificate_and_authority_from_the_kubeconfig() {
        let identity = Identity {
            certificate: "C".into(),
            key: "K".into(),
        };
        let text = kubeconfig("https://127.0.0.1:7443", "PEM", &identity);
        let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("ferroflow"));
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:7443"));
        assert_eq!(
            cluster.certificate_authority_data.as_deref(),
            Some(STANDARD.encode("PEM").as_str())
        );
        let user = config.auth_infos[0].auth_info.as_ref().unwrap();
        assert_eq!(user.client_certificate_data, Some(STANDARD.encode("C")));
    }
}
