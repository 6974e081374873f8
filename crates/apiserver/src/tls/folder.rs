//! The folder of keys: every secret is created exclusively, with mode 0600 from its first byte on,
//! and appears under its name only when it is whole.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::{Error, Identity};

/// Makes the folder, for its owner alone.
pub(super) fn ensure(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: folder.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)
}

/// The text of a secret file, made by `make` when there is none yet.
pub(super) fn secret(
    path: &Path,
    make: impl FnOnce() -> Result<String, Error>,
) -> Result<String, Error> {
    if path.exists() {
        return read(path);
    }
    let text = make()?;
    write(path, &text)?;
    Ok(text)
}

/// A certificate and its key, made by `make` when either is missing.
pub(super) fn identity(
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> Result<Identity, Error>,
) -> Result<Identity, Error> {
    let (certificate, key) = (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    );
    // A key without its certificate is a first start that was interrupted: nobody has seen that certificate yet.
    if !certificate.exists() || !key.exists() {
        let made = make()?;
        replace_identity(folder, name, &made)?;
        return Ok(made);
    }
    Ok(Identity {
        certificate: read(&certificate)?,
        key: read(&key)?,
    })
}

/// Writes a certificate and its key over what was there; the certificate last, so that it is never there alone.
pub(super) fn replace_identity(
    folder: &Path,
    name: &str,
    identity: &Identity,
) -> Result<(), Error> {
    write(&folder.join(format!("{name}.key")), &identity.key)?;
    write(&folder.join(format!("{name}.crt")), &identity.certificate)
}

fn read(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    if text.trim().is_empty() {
        return Err(Error::Damaged {
            path: path.to_owned(),
            reason: "it is empty".into(),
        });
    }
    Ok(text)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let partial = path.with_extension("partial");
    match std::fs::remove_file(&partial) {
        Err(err) if err.kind() != ErrorKind::NotFound => return Err(failed(err)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}
