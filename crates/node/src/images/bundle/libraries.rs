//! The shared libraries that programs need, asked of the dynamic loader itself: it knows every way in which one is found.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tree::Tree;

/// Programs and libraries, and what they lead to.
#[derive(Debug, Clone, Default)]
pub(super) struct Libraries {
    /// Found so far: the name it is asked for by, and where it is.
    found: BTreeSet<(String, PathBuf)>,
    asked: BTreeSet<PathBuf>,
}

/// Where the loader is, by the ABI of each architecture.
const LOADERS: [&str; 3] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib64/ld64.so.2",
];
/// Libraries that programs load by name while they run, or that wheels expect of every system.
const UNSAID: [&str; 6] = [
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libnss_files.so.2",
    "libnss_dns.so.2",
    "libresolv.so.2",
    "libpthread.so.0",
];

/// This machine's dynamic loader.
pub(super) fn loader() -> Option<&'static Path> {
    LOADERS.iter().map(Path::new).find(|path| path.exists())
}

impl Libraries {
    /// Adds what this program or library needs. What is not dynamic needs nothing.
    pub(super) fn need(&mut self, program: &Path) {
        let Some(loader) = loader() else { return };
        if !self.asked.insert(program.to_owned()) || !is_elf(program) {
            return;
        }
        let asked = Command::new(loader)
            .arg("--list")
            .arg(program)
            .env_clear()
            .output();
        let Ok(answer) = asked else { return };
        if answer.status.success() {
            self.found
                .extend(read(&String::from_utf8_lossy(&answer.stdout)));
            self.found.insert((String::new(), loader.to_owned()));
        }
    }

    /// Adds what all programs and libraries below a folder need.
    pub(super) fn need_all(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.need_all(&path),
                Ok(kind) if kind.is_file() => self.need(&path),
                _ => {}
            }
        }
        // What is below the folder goes along with it.
        self.found.retain(|(_, path)| !path.starts_with(folder));
    }

    /// Puts all that was found at its place. One that lies off the loader's own paths is found by a link beside the C library.
    pub(super) fn put_into(&self, tree: &mut Tree) -> io::Result<()> {
        let usual = self
            .found
            .iter()
            .find(|(name, _)| name == "libc.so.6")
            .and_then(|(_, path)| path.parent())
            .and_then(|folder| folder.canonicalize().ok());
        for (name, path) in &self.found {
            tree.host(path)?;
            if let (Some(usual), false) = (&usual, name.is_empty())
                && let Ok(real) = path.canonicalize()
                && real.parent() != Some(usual)
            {
                let beside = usual.join(name);
                let beside = beside.strip_prefix("/").unwrap_or(&beside);
                if !tree.has(beside) && !usual.join(name).exists() {
                    tree.link(beside, &real);
                }
            }
        }
        for name in UNSAID {
            if let Some(path) = usual.as_ref().map(|folder| folder.join(name))
                && path.exists()
            {
                tree.host(&path)?;
            }
        }
        Ok(())
    }
}

fn is_elf(path: &Path) -> bool {
    let mut start = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok()
        && start == *b"\x7fELF"
}

/// `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)`; a library without a path is the kernel's or missing.
fn read(answer: &str) -> Vec<(String, PathBuf)> {
    answer
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(" => ")?;
            let path = rest.split(" (0x").next()?.trim();
            path.starts_with('/').then(|| {
                (
                    name.rsplit('/').next().unwrap_or(name).to_owned(),
                    path.into(),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_answer_is_read_by_name_and_path() {
        let answer = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f)\n\
                      \tlibgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            read(answer),
            [("libm.so.6".to_owned(), PathBuf::from("/lib/x/libm.so.6"))]
        );
    }

    #[test]
    fn this_very_test_needs_the_c_library_and_the_loader() {
        let mut libraries = Libraries::default();
        libraries.need(&std::env::current_exe().expect("a program"));
        let mut tree = Tree::default();
        libraries.put_into(&mut tree).expect("put");
        let names: Vec<String> = tree
            .host_files()
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        assert!(
            names.iter().any(|name| name.starts_with("libc")),
            "{names:?}"
        );
        let loader = loader().expect("a loader").canonicalize().expect("there");
        assert!(tree.has(loader.strip_prefix("/").expect("absolute")));
    }
}
