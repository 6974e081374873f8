//! The kubeconfig that `up` leaves for its owner: one context, everything embedded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A kubeconfig whose only context, `ferroflow`, reaches `server` with `token` and trusts `ca_certificate`.
///
/// Names are quoted as JSON strings, which YAML reads as they are.
pub fn kubeconfig(server: &str, ca_certificate: &str, token: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (server, token) = (quoted(server), quoted(token));
    let ca = STANDARD.encode(ca_certificate);
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
    token: {token}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_server_token_and_authority_from_the_kubeconfig() {
        let text = kubeconfig("https://127.0.0.1:7443", "PEM", "secret");
        let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("ferroflow"));
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:7443"));
        assert_eq!(
            cluster.certificate_authority_data.as_deref(),
            Some(STANDARD.encode("PEM").as_str())
        );
        assert!(
            config.auth_infos[0]
                .auth_info
                .as_ref()
                .unwrap()
                .token
                .is_some()
        );
    }
}
