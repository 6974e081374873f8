//! The node's port, as an API server in another process and everybody else reach it.

use anyhow::{Context, Result};
use apiserver::ApiServer;
use apiserver::authn::User;
use node::http::{Guard, Keys, Server, router, serve};
use node::kubelet::{Identity, PodIndex};
use tokio_util::sync::CancellationToken;

/// A port of the node `n` beside an API server that decides who may use it.
struct Port {
    _data: tempfile::TempDir,
    server: ApiServer,
    url: String,
    keys: Keys,
    stop: CancellationToken,
}

impl Port {
    async fn open() -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = tempfile::tempdir()?;
        let server = ApiServer::open(apiserver::Config::at(data.path())).await?;
        let authority = server.keys().ca_certificate().to_owned();
        let keys = Keys::self_signed("n", "127.0.0.1".parse()?, authority)?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", listener.local_addr()?);
        let routes = router(Server {
            pods: PodIndex::default(),
            identity: Identity {
                name: "n".into(),
                address: "127.0.0.1".parse()?,
                port: 0,
                resources: Default::default(),
                isolation: "sandbox",
            },
            network: None,
        });
        let guard = Guard::new(server.client(&server.issue(User::node("n"))), "n");
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, &keys, guard, routes, stop.clone())?);
        Ok(Self {
            _data: data,
            server,
            url,
            keys,
            stop,
        })
    }

    /// What somebody with this certificate (and its key, as PEM) or token is answered.
    async fn ask(
        &self,
        path: &str,
        identity: Option<String>,
        token: Option<&str>,
    ) -> Result<(u16, String)> {
        let own = reqwest::Certificate::from_pem(self.keys.certificate.as_bytes())?;
        let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([own]);
        if let Some(identity) = identity {
            client = client.identity(reqwest::Identity::from_pem(identity.as_bytes())?);
        }
        let mut request = client.build()?.get(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.context("ask the node")?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    fn certificate(&self, user: &str, groups: &[&str]) -> Result<Option<String>> {
        let made = self.server.keys().client_certificate(user, groups)?;
        Ok(Some(format!("{}{}", made.certificate, made.key)))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn the_port_answers_nobody_without_a_name_and_nobody_without_the_right() -> Result<()> {
    let port = Port::open().await?;
    assert_eq!(port.ask("/pods", None, None).await?.0, 401);
    assert_eq!(port.ask("/pods", None, Some("not-a-token")).await?.0, 401);
    let someone = port.server.token_for("default", "default");
    let (code, words) = port.ask("/pods", None, Some(&someone)).await?;
    assert_eq!(code, 403);
    assert_eq!(
        words,
        "system:serviceaccount:default:default may not get nodes/proxy of n"
    );
    let node = port.certificate("system:node:other", &["system:nodes"])?;
    assert_eq!(port.ask("/pods", node, None).await?.0, 403);
    Ok(())
}

#[tokio::test]
async fn the_port_answers_the_api_servers_certificate_and_an_administrators_token() -> Result<()> {
    let port = Port::open().await?;
    let api = port.certificate("kube-apiserver", &["system:masters"])?;
    let (code, pods) = port.ask("/pods", api, None).await?;
    assert_eq!(code, 200, "{pods}");
    assert!(pods.contains("\"kind\":\"PodList\""), "{pods}");
    let administrator = port.server.admin_token().to_owned();
    assert_eq!(
        port.ask("/healthz", None, Some(&administrator)).await?,
        (200, "ok".into())
    );
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_another_authority_names_nobody() -> Result<()> {
    let port = Port::open().await?;
    let other = Port::open().await?;
    let foreign = other.certificate("kube-apiserver", &["system:masters"])?;
    // The handshake fails, or the certificate counts for nothing.
    if let Ok((code, _)) = port.ask("/pods", foreign, None).await {
        assert_eq!(code, 401);
    }
    Ok(())
}
