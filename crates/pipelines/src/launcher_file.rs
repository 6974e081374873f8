//! Putting the launcher where the step's container finds it: once on the artifact volume, or, where steps do not mount
//! that, by `kfctl launcher install FOLDER` in an init container.
//!
//! The binary itself is built by
//! `RUSTFLAGS="-C target-feature=+crt-static" cargo build -p launcher --profile launcher --target x86_64-unknown-linux-gnu`
//! and embedded by whoever ships it.

use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Writes the launcher as `FOLDER/launch`, executable by every user.
pub fn install(folder: &Path, launcher: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let temporary = folder.join(".launch.tmp");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(&temporary)?;
    io::Write::write_all(&mut file, launcher)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    // Closed before it is renamed: a file that is open for writing cannot be executed.
    drop(file);
    std::fs::rename(&temporary, folder.join("launch"))
}

/// Puts the launcher on the artifact volume, unless it lies there; answers where, relative to the volume. Named by its
/// content: pods of an earlier version go on with theirs, and no step can write either.
pub fn share(volume: &Path, launcher: &[u8]) -> io::Result<String> {
    let digest = hex::encode(Sha256::digest(launcher));
    let folder = format!(".launcher/{}", &digest[..16]);
    let file = format!("{folder}/launch");
    if !volume.join(&file).is_file() {
        install(&volume.join(&folder), launcher)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_launcher_can_be_executed() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), b"#!/bin/sh\nexit 3\n").unwrap();
        let status = std::process::Command::new(folder.path().join("launch"))
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn each_version_of_the_launcher_lies_on_the_volume_once() {
        let volume = tempfile::tempdir().unwrap();
        let first = share(volume.path(), b"one").unwrap();
        assert_eq!(share(volume.path(), b"one").unwrap(), first);
        assert_ne!(share(volume.path(), b"two").unwrap(), first);
        assert_eq!(std::fs::read(volume.path().join(first)).unwrap(), b"one");
    }
}
