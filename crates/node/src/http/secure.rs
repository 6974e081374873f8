//! The HTTP API on a port, for an API server that is another process: TLS, a client certificate where the caller has
//! one, and every request past the guard.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::guard::{Guard, Subject};

/// How long a caller may take to finish the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request; longer than API servers keep one open.
const IDLE: Duration = Duration::from_secs(600);
/// How long requests under way may go on after the end was announced.
const DRAIN: Duration = Duration::from_millis(500);

/// What the port is served with, all as PEM.
#[derive(Clone)]
pub struct Keys {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The authorities whose client certificates are believed: the API server's own is signed by one of them.
    pub client_authorities: String,
}

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file does not hold what it should.
    #[error("the {what} is no PEM that can be used: {reason}")]
    Pem {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate of our own could not be made.
    #[error("making a certificate for {address}")]
    SelfSigned {
        /// The node's address.
        address: IpAddr,
        /// What the certificate library said.
        #[source]
        source: rcgen::Error,
    },
}

impl Keys {
    /// A certificate that nobody else has signed, as a kubelet makes one for itself: enough for API servers that do not
    /// ask who signed it.
    pub fn self_signed(
        node: &str,
        address: IpAddr,
        client_authorities: String,
    ) -> Result<Self, Error> {
        let names = vec![node.to_owned(), address.to_string()];
        let made = rcgen::generate_simple_self_signed(names)
            .map_err(|source| Error::SelfSigned { address, source })?;
        Ok(Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            client_authorities,
        })
    }

    fn tls(&self) -> Result<rustls::ServerConfig, Error> {
        let pem = |what, reason: &dyn std::fmt::Display| Error::Pem {
            what,
            reason: reason.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(self.client_authorities.as_bytes()) {
            let authority =
                authority.map_err(|e| pem("certificate of the client authority", &e))?;
            roots
                .add(authority)
                .map_err(|e| pem("certificate of the client authority", &e))?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                // Who has none may still bring a token.
                .allow_unauthenticated()
                .build()
                .map_err(|e| pem("certificate of the client authority", &e))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| pem("serving certificate", &e))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|e| pem("key of the serving certificate", &e))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| pem("serving certificate", &e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|e| pem("serving certificate", &e))?;
        // Streams leave HTTP by an upgrade, which only HTTP/1.1 has.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Serves `router` on `listener` until `shutdown`; the future does the work.
pub fn serve(
    listener: TcpListener,
    keys: &Keys,
    guard: Guard,
    router: Router,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
    let acceptor = TlsAcceptor::from(Arc::new(keys.tls()?));
    let router = guard.before(router);
    Ok(async move {
        let connections = TaskTracker::new();
        while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    let work =
                        connection(stream, acceptor.clone(), router.clone(), shutdown.clone());
                    connections.spawn(work);
                }
                Err(error) => {
                    // Out of descriptors, most likely: those in use come back when connections end.
                    tracing::warn!(%error, "the node's port cannot accept a connection");
                    let pause = tokio::time::sleep(Duration::from_millis(100));
                    shutdown.run_until_cancelled(pause).await;
                }
            }
        }
        connections.close();
        let _ = tokio::time::timeout(DRAIN * 2, connections.wait()).await;
    })
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    shutdown: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return tracing::debug!(%error, "a caller of the node ended the handshake");
        }
        Err(_) => return,
    };
    let subject = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| Subject::of_certificate(chain.first()?));
    let service =
        hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            if let Some(subject) = &subject {
                request.extensions_mut().insert(subject.clone());
            }
            router.clone().oneshot(request.map(Body::new))
        });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the node ended");
    }
}
