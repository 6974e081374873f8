//! Encryption of connections: with anybody, or only with whom authorities vouch for.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::url::Trust;
use super::{Unusable, Url};
use crate::store::Result;

/// How a connection is encrypted, should the server offer or the URL demand it.
pub(super) fn config(url: &Url) -> Result<rustls::ClientConfig> {
    let untrusted = |why: String| Unusable::Untrusted {
        url: url.clone(),
        why,
    };
    let mut roots = rustls::RootCertStore::empty();
    match &url.trust {
        Trust::Anybody => {
            return Ok(unverified::config().map_err(|problem| untrusted(problem.to_string()))?);
        }
        Trust::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Trust::File(file) => {
            let unreadable = |problem: String| {
                untrusted(format!(
                    "the file of authorities {file} (sslrootcert) cannot be read: {problem}"
                ))
            };
            let certificates = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|problem| unreadable(problem.to_string()))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(unreadable("it holds no certificate".to_owned()).into());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|problem| untrusted(problem.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
