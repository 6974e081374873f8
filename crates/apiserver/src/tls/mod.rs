//! The keys of one installation: its certificate authority, serving certificate, admin token and
//! the key that signs service-account tokens.
//!
//! Everything is made at first start in one folder of mode 0700, each secret in a file of mode 0600,
//! and read back later. A serving certificate that is about to expire, that misses a name we now
//! answer to, or that another authority signed is replaced; the authority itself never is, because
//! kubeconfigs and pods hold its certificate. Listening is left to the server.

mod certificates;
mod folder;
mod kubeconfig;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

pub use kubeconfig::kubeconfig;

/// What can go wrong with the keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or a file in it could not be read or written.
    #[error("cannot use the key file {}; make its folder writable for you alone", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is there but does not hold what it should.
    #[error("the key file {} is damaged ({reason}); restore it, or remove the folder it is in to make new keys", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("cannot make the {what}")]
    Certificate {
        /// Which certificate or key.
        what: &'static str,
        /// What the certificate library said.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refused the certificates.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// The names and addresses the serving certificate is for besides the ones every installation has.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// More DNS names.
    pub dns: Vec<String>,
    /// More addresses.
    pub ips: Vec<IpAddr>,
}

/// A certificate with its private key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// All keys of one installation.
#[derive(Clone)]
pub struct Keys {
    ca: Identity,
    serving: Identity,
    admin_token: String,
    service_account_key: String,
}

impl Keys {
    /// Reads the keys in `folder`, making whatever is missing.
    pub fn open(folder: &Path, names: &Names) -> Result<Self, Error> {
        folder::ensure(folder)?;
        let ca = folder::identity(folder, "ca", certificates::authority)?;
        certificates::check_authority(&folder.join("ca.crt"), &ca)?;
        let mut serving =
            folder::identity(folder, "apiserver", || certificates::serving(&ca, names))?;
        if !certificates::is_good_serving(&serving, &ca, names) {
            serving = certificates::serving(&ca, names)?;
            folder::replace_identity(folder, "apiserver", &serving)?;
        }
        let admin_token = folder::secret(&folder.join("admin.token"), || Ok(random_token()))?;
        let service_account_key = folder::secret(
            &folder.join("service-account.key"),
            certificates::signing_key,
        )?;
        Ok(Self {
            ca,
            serving,
            admin_token: admin_token.trim().to_owned(),
            service_account_key,
        })
    }

    /// The authority's certificate as PEM: what clients and pods trust.
    pub fn ca_certificate(&self) -> &str {
        &self.ca.certificate
    }

    /// The token of the owner of this installation.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The private key (PEM, P-256) that signs service-account tokens.
    pub fn service_account_key(&self) -> &str {
        &self.service_account_key
    }

    /// A certificate for a client: `user` becomes the user's name, `groups` its groups.
    pub fn client_certificate(&self, user: &str, groups: &[&str]) -> Result<Identity, Error> {
        certificates::client(&self.ca, user, groups)
    }

    /// A serving certificate from the same authority, for a server of ours such as the node's.
    pub fn serving_certificate(&self, names: &Names) -> Result<Identity, Error> {
        certificates::serving(&self.ca, names)
    }

    /// TLS for the API: our certificate, client certificates of our authority accepted but not asked for.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = |err: &dyn std::fmt::Display| Error::Tls(err.to_string());
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate_der(&self.ca.certificate)?)
            .map_err(|err| tls(&err))?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .map_err(|err| tls(&err))?;
        let key =
            PrivateKeyDer::from_pem_slice(self.serving.key.as_bytes()).map_err(|err| tls(&err))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|err| tls(&err))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate_der(&self.serving.certificate)?], key)
            .map_err(|err| tls(&err))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The first certificate of a PEM text.
fn certificate_der(pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|err| Error::Tls(err.to_string()))
}

/// 256 random bits in letters and digits that survive any header, file or shell.
pub fn random_token() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn open(folder: &Path) -> Keys {
        Keys::open(folder, &Names::default()).unwrap()
    }

    #[test]
    fn keys_made_at_the_first_start_are_read_back_at_the_second() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        let second = open(folder.path());
        assert_eq!(first.ca_certificate(), second.ca_certificate());
        assert_eq!(first.serving.certificate, second.serving.certificate);
        assert_eq!(first.admin_token(), second.admin_token());
        assert_eq!(first.service_account_key(), second.service_account_key());
        assert_eq!(first.admin_token().len(), 64);
    }

    #[test]
    fn secrets_are_readable_by_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        open(&keys);
        assert_eq!(
            std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777,
            0o700
        );
        for entry in std::fs::read_dir(&keys).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        }
    }

    #[test]
    fn a_new_name_renews_the_serving_certificate_and_keeps_the_authority() {
        let folder = tempfile::tempdir().unwrap();
        let before = open(folder.path());
        let names = Names {
            dns: vec!["laptop.example".into()],
            ips: vec!["192.0.2.7".parse().unwrap()],
        };
        let after = Keys::open(folder.path(), &names).unwrap();
        assert_eq!(before.ca_certificate(), after.ca_certificate());
        assert_ne!(before.serving.certificate, after.serving.certificate);
        let again = Keys::open(folder.path(), &names).unwrap();
        assert_eq!(after.serving.certificate, again.serving.certificate);
    }

    #[test]
    fn a_serving_certificate_of_another_authority_is_replaced() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let foreign = open(other.path()).serving;
        open(one.path());
        folder::replace_identity(one.path(), "apiserver", &foreign).unwrap();
        assert_ne!(open(one.path()).serving.certificate, foreign.certificate);
    }

    #[test]
    fn a_damaged_authority_is_named_and_never_replaced_silently() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path());
        std::fs::write(folder.path().join("ca.crt"), "rubbish").unwrap();
        let message = Keys::open(folder.path(), &Names::default())
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains("ca.crt"), "{message}");
        assert!(message.contains("damaged"), "{message}");
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_reaches_the_server_by_each_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let keys = open(folder.path());
        for name in [
            "localhost",
            "127.0.0.1",
            "10.96.0.1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ] {
            handshake(&keys, name, None).await;
        }
    }

    #[tokio::test]
    async fn a_client_certificate_of_our_authority_tells_who_the_client_is() {
        let folder = tempfile::tempdir().unwrap();
        let keys = open(folder.path());
        let client = keys
            .client_certificate("system:node:n1", &["system:nodes"])
            .unwrap();
        let peer = handshake(&keys, "localhost", Some(client)).await.unwrap();
        let who = crate::authn::ClientCertificate::from_der(&peer).unwrap();
        assert_eq!(who.user, "system:node:n1");
        assert_eq!(who.groups, ["system:nodes"]);
    }

    /// Connects a client to a server over a pipe; gives the client certificate that the server saw.
    async fn handshake(
        keys: &Keys,
        name: &str,
        client: Option<Identity>,
    ) -> Option<CertificateDer<'static>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate_der(keys.ca_certificate()).unwrap())
            .unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![certificate_der(&identity.certificate).unwrap()],
                    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        let (near, far) = tokio::io::duplex(16 * 1024);
        let acceptor = tokio_rustls::TlsAcceptor::from(keys.server_config().unwrap());
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let server_name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let (client, server) =
            tokio::join!(connector.connect(server_name, near), acceptor.accept(far));
        client.unwrap_or_else(|err| panic!("{name}: {err}"));
        let server = server.unwrap();
        let peers = server.get_ref().1.peer_certificates()?;
        Some(peers[0].clone().into_owned())
    }
}
