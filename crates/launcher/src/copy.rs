//! Copies files and folders: an artifact that was left outside its place, and what an image has at a shared path.
//! Symlinks are copied as what they are, so a copy never reaches outside what was named.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Copies a file, folder or symlink to a place; what is there already is overwritten.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    if found.is_symlink() {
        let _ = fs::remove_file(to);
        return symlink(fs::read_link(from)?, to);
    }
    if !found.is_dir() {
        return fs::copy(from, to).map(|_| ());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    fs::set_permissions(to, found.permissions())
}

/// Fills an empty folder with what another holds; nothing to copy, or a folder that holds something, is fine.
pub fn fill(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    if !from.is_dir() || fs::read_dir(to)?.next().is_some() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_copied_with_everything_below_and_symlinks_stay_symlinks() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/file"), "1").unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let to = folder.path().join("a/b");
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("deep/file")).unwrap(), "1");
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
    }

    #[test]
    fn only_an_empty_folder_is_filled() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fill(&from, &to).unwrap();
        fs::create_dir(&from).unwrap();
        fs::write(from.join("x"), "1").unwrap();
        fill(&from, &to).unwrap();
        fs::write(from.join("y"), "2").unwrap();
        fill(&from, &to).unwrap();
        assert!(to.join("x").exists() && !to.join("y").exists());
    }
}
