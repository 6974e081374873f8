//! Users from client certificates: the common name is the user, organisations are groups.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{User, is_reserved};

/// The subject of a client certificate whose chain the TLS layer has already verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The common name.
    pub user: String,
    /// The organisations.
    pub groups: Vec<String>,
}

impl ClientCertificate {
    /// Reads the subject; none when it names nobody.
    pub fn from_der(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject
            .iter_organization()
            .filter_map(|organization| organization.as_str().ok())
            .map(ToOwned::to_owned)
            .collect();
        (!user.is_empty()).then_some(Self { user, groups })
    }

    /// The user; none for names that no certificate may carry.
    pub(super) fn to_user(&self) -> Option<User> {
        if is_reserved(&self.user) || self.groups.iter().any(|group| is_reserved(group)) {
            return None;
        }
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        Some(User::new(self.user.clone(), &groups))
    }
}
