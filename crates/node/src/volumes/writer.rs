//! Writes the files of a volume so that a reader sees either all of the old ones or all of the new ones: the names in
//! the volume are links into `..data`, which is itself a link that is replaced in one step.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::payload::Payload;

const CURRENT: &str = "..data";

/// Makes the folder hold exactly these files. True if anything changed.
pub fn write(folder: &Path, payload: &Payload) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    let current = fs::read_link(folder.join(CURRENT)).ok();
    if current
        .as_ref()
        .is_some_and(|current| holds(&folder.join(current), payload))
    {
        return Ok(false);
    }
    let next = format!("..{}", uuid::Uuid::new_v4());
    let next_folder = folder.join(&next);
    for_all_to_enter(&next_folder)?;
    for (path, file) in payload {
        let target = next_folder.join(path);
        let mut parent = next_folder.clone();
        for part in Path::new(path)
            .parent()
            .into_iter()
            .flat_map(Path::components)
        {
            parent.push(part);
            if !parent.is_dir() {
                for_all_to_enter(&parent)?;
            }
        }
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(file.mode)
            .open(&target)?;
        (&made).write_all(&file.content)?;
        has_mode(&made, file.mode)?;
    }
    let is_first = current.is_none() && symlink(&next, folder.join(CURRENT)).is_ok();
    if !is_first {
        let link = folder.join("..data_next");
        let _ = fs::remove_file(&link);
        symlink(&next, &link)?;
        fs::rename(&link, folder.join(CURRENT))?;
    }
    let wanted: std::collections::BTreeSet<&str> = payload
        .keys()
        .filter_map(|path| path.split('/').next())
        .collect();
    for name in &wanted {
        if folder.join(name).symlink_metadata().is_err() {
            symlink(Path::new(CURRENT).join(name), folder.join(name))?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(name.as_str()) {
            fs::remove_file(folder.join(&name))?;
        }
    }
    if let Some(old) = current {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(true)
}

fn for_all_to_enter(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(folder)?;
    has_mode(&fs::File::open(folder)?, 0o755)
}

/// What the owner's umask took away comes back; where it took nothing, the disk has nothing to do.
fn has_mode(made: &fs::File, mode: u32) -> io::Result<()> {
    if made.metadata()?.permissions().mode() & 0o777 != mode {
        made.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Whether a folder holds these files and no others.
fn holds(folder: &Path, payload: &Payload) -> bool {
    let mut found = Vec::new();
    if list(folder, Path::new(""), &mut found).is_err() || found.len() != payload.len() {
        return false;
    }
    payload.iter().all(|(path, file)| {
        let target = folder.join(path);
        let same_mode = target
            .metadata()
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o777 == file.mode);
        same_mode && fs::read(&target).is_ok_and(|content| content == file.content)
    })
}

fn list(folder: &Path, inside: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let inside = inside.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &inside, found)?;
        } else {
            found.push(inside);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::payload::PayloadFile;
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, content)| {
                (
                    (*path).to_owned(),
                    PayloadFile {
                        content: content.as_bytes().to_vec(),
                        mode: 0o644,
                    },
                )
            })
            .collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| !name.starts_with(".."))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_under_their_paths_and_an_update_replaces_them_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert!(write(folder, &payload(&[("a", "1"), ("d/b", "2")])).expect("written"));
        assert_eq!(fs::read_to_string(folder.join("d/b")).expect("a file"), "2");
        let before = fs::read_link(folder.join(CURRENT)).expect("a link");
        assert!(write(folder, &payload(&[("a", "3"), ("c", "4")])).expect("written"));
        assert_eq!(names(folder), ["a", "c"]);
        assert_eq!(fs::read_to_string(folder.join("a")).expect("a file"), "3");
        assert!(!folder.join(before).exists(), "the old files are gone");
    }

    #[test]
    fn equal_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = payload(&[("a", "1")]);
        assert!(write(folder.path(), &files).expect("written"));
        assert!(!write(folder.path(), &files).expect("written"));
    }
}
