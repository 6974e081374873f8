//! CertificateSigningRequests: kept and listed. Nobody signs them here.

use super::Strategy;

pub(super) struct CertificateSigningRequest;

impl Strategy for CertificateSigningRequest {
    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }
}
