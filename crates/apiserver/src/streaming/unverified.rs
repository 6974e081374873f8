//! TLS to a pod that the user asked for by `https:`: encrypted, but nobody vouches for a pod's certificate, as upstream.

use std::sync::Arc;

use objects::Status;
use rustls::pki_types::ServerName;

use crate::backend::Stream;
use crate::error::ApiError;

/// Wraps a connection in TLS.
pub(super) async fn wrap(
    connection: Box<dyn Stream>,
    host: &str,
) -> Result<Box<dyn Stream>, ApiError> {
    let failed = |err: &dyn std::fmt::Display| {
        ApiError::from(Status::unavailable(format!("TLS to {host}: {err}")))
    };
    let mut config = unverified::config().map_err(|err| failed(&err))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|err| failed(&err))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, connection)
        .await
        .map_err(|err| failed(&err))?;
    Ok(Box::new(stream))
}
