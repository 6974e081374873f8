//! Putting the launcher where the step's container finds it: `kfctl launcher install FOLDER` in the init container.
//!
//! The binary itself is built by
//! `RUSTFLAGS="-C target-feature=+crt-static" cargo build -p launcher --profile launcher --target x86_64-unknown-linux-gnu`
//! and embedded by whoever ships it.

use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

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
}
