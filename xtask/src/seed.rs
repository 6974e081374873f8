//! A folder for intermediate files of a new checkout starts with the dependencies that another checkout compiled.
//! Nothing of the workspace's own crates is taken: cargo tells them apart by their path inside the checkout alone, and
//! would take the other checkout's programs for ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Makes `folder` from its newest sibling, unless it exists. `members` are the workspace's packages.
pub fn once(folder: &Path, members: &[String]) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent)?;
    let Some(sibling) = newest(parent)? else {
        return Ok(());
    };
    let unfinished = parent.join(format!(".new-{}", std::process::id()));
    for profile in ["debug", "release"] {
        for part in [".fingerprint", "build", "deps"] {
            let from = sibling.join(profile).join(part);
            if from.is_dir() {
                take(&from, &unfinished.join(profile).join(part), part, members)?;
            }
        }
    }
    if !unfinished.exists() {
        return Ok(());
    }
    fs::rename(&unfinished, folder)
}

/// The packages of the workspace, by the folders that hold them.
pub fn members(root: &Path) -> Vec<String> {
    let crates = fs::read_dir(root.join("crates"));
    let names = crates.into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .chain(["xtask".to_owned()])
        .collect()
}

fn newest(parent: &Path) -> io::Result<Option<PathBuf>> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let is_whole = !entry.file_name().to_string_lossy().starts_with('.');
        if is_whole && entry.file_type()?.is_dir() {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(found.into_iter().max().map(|(_, path)| path))
}

fn take(from: &Path, to: &Path, part: &str, members: &[String]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_wanted = match part {
            "deps" => is_library(&name) || name.ends_with(".d"),
            _ => true,
        };
        if !is_wanted || members.iter().any(|member| is_of(&name, member)) {
            continue;
        }
        // The compiler replaces libraries; everything else is written in place and must be ours alone.
        let is_shared = part == "deps" && is_library(&name);
        copy(&entry.path(), &to.join(&name), is_shared)?;
    }
    Ok(())
}

fn is_library(name: &str) -> bool {
    [".rlib", ".rmeta", ".so"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// Whether a file or folder of cargo's belongs to the package: `<package>-<16 digits>`, as a library `lib<package>-…`.
fn is_of(name: &str, package: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let Some((owner, hash)) = stem.rsplit_once('-') else {
        return false;
    };
    let is_hash = hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    let plain = |text: &str| text.replace('-', "_");
    let package = plain(package);
    let owner = plain(owner);
    is_hash && (owner == package || owner.strip_prefix("lib") == Some(&package))
}

/// Copies with the times that cargo compares.
fn copy(from: &Path, to: &Path, is_shared: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()), is_shared)?;
        }
        return Ok(());
    }
    if metadata.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if is_shared && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::File::options()
        .write(true)
        .open(to)
        .and_then(|file| file.set_modified(metadata.modified()?))
        // A build script may have left a read-only file; its time is not one that cargo compares.
        .or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Ok(()),
            _ => Err(error),
        })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_package_owns_its_own_files_and_not_those_of_its_namesakes() {
        for name in [
            "control-0123456789abcdef",
            "libcontrol-0123456789abcdef.rlib",
            "control-0123456789abcdef.d",
        ] {
            assert!(is_of(name, "control"), "{name}");
        }
        for name in [
            "control-flow-0123456789abcdef",
            "libcontrol_flow-0123456789abcdef.rmeta",
            "control",
        ] {
            assert!(!is_of(name, "control"), "{name}");
        }
    }

    #[test]
    fn a_second_checkout_takes_over_dependencies_and_builds_its_own_program() {
        let folder = std::env::temp_dir().join(format!("ferroflow-seed-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write(
            "dep/Cargo.toml",
            "[package]\nname = \"dep\"\nedition = \"2024\"\n[workspace]\n",
        );
        write(
            "dep/src/lib.rs",
            "pub fn word() -> &'static str { \"dep\" }\n",
        );
        // Both checkouts are older than what the first of them builds.
        for checkout in ["one", "two"] {
            write(
                &format!("{checkout}/Cargo.toml"),
                "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"3\"\n",
            );
            write(
                &format!("{checkout}/crates/program/Cargo.toml"),
                "[package]\nname = \"program\"\nedition = \"2024\"\n[dependencies]\ndep = { path = \"../../../dep\" }\n",
            );
            write(
                &format!("{checkout}/crates/program/src/main.rs"),
                &format!("fn main() {{ println!(\"{checkout} {{}}\", dep::word()) }}\n"),
            );
        }
        let build = |checkout: &str| {
            let root = folder.join(checkout);
            let intermediate = folder.join("build").join(checkout);
            once(&intermediate, &members(&root)).expect("a folder for intermediate files");
            let done = Command::new(env!("CARGO"))
                .args(["build", "--offline"])
                .current_dir(&root)
                .env("CARGO_TARGET_DIR", root.join("target"))
                .env("CARGO_BUILD_BUILD_DIR", &intermediate)
                .output()
                .expect("cargo can be run");
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{said}");
            let ran = Command::new(root.join("target/debug/program"))
                .output()
                .expect("the program was built");
            (said, String::from_utf8_lossy(&ran.stdout).into_owned())
        };
        let (said, answer) = build("one");
        assert!(said.contains("Compiling dep"), "{said}");
        assert_eq!(answer, "one dep\n");
        let (said, answer) = build("two");
        assert!(!said.contains("Compiling dep"), "{said}");
        assert_eq!(answer, "two dep\n");
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
