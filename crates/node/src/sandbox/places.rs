//! Making and finding places inside a root that is not trusted: a link in an image may point anywhere, and nothing here
//! ever follows one out of the root.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::failure::check;
use super::mount::{self, Resolve};

const FOLDER: i32 = libc::O_PATH | libc::O_DIRECTORY;

/// The folder at `path` inside `root`, created with its parents (mode 0755) where absent.
pub fn folder(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    walk(root.as_fd(), path, Resolve::InRoot)
}

/// The file at `path` inside `root`, created empty with its parents where absent; a folder that is there is refused.
pub fn file(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    let inner = inside(path)?;
    match mount::open_below(root, &inner, libc::O_PATH, Resolve::InRoot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let name = inner.file_name().ok_or_else(|| invalid(path))?;
    let parent = folder(root, inner.parent().unwrap_or(Path::new(".")))?;
    let c_name = mount::c_string(Path::new(name))?;
    // SAFETY: the name outlives the call; the returned descriptor is new.
    unsafe {
        let flags =
            libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY | libc::O_CLOEXEC;
        let made = check(libc::openat(parent.as_raw_fd(), c_name.as_ptr(), flags, 0o644).into())?;
        drop(OwnedFd::from_raw_fd(made as i32));
    }
    mount::open_below(root, &inner, libc::O_PATH, Resolve::InRoot)
}

/// Writes a file that must not exist yet.
pub fn write(root: impl AsFd, path: &Path, content: &str) -> io::Result<()> {
    let root = root.as_fd();
    drop(file(root, path)?);
    let opened = mount::open_below(
        root,
        &inside(path)?,
        libc::O_WRONLY | libc::O_TRUNC,
        Resolve::InRoot,
    )?;
    io::Write::write_all(&mut std::fs::File::from(opened), content.as_bytes())
}

/// Makes a link unless something is there already.
pub fn link(root: impl AsFd, path: &Path, to: &Path) -> io::Result<()> {
    let inner = inside(path)?;
    let parent = folder(root, inner.parent().unwrap_or(Path::new(".")))?;
    let name = mount::c_string(Path::new(inner.file_name().ok_or_else(|| invalid(path))?))?;
    let to = mount::c_string(to)?;
    // SAFETY: both strings outlive the call.
    match check(unsafe { libc::symlinkat(to.as_ptr(), parent.as_raw_fd(), name.as_ptr()) }.into()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// What `path` names below a volume, which the pod itself may have filled with links: leaving the volume is an error.
/// Created as a folder where absent.
pub fn sub_path(volume: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let volume = volume.as_fd();
    if path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a subPath must be relative and without `..`",
        ));
    }
    match mount::open_below(volume, &inside(path)?, libc::O_PATH, Resolve::Beneath) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            walk(volume, path, Resolve::Beneath)
        }
        found => found.map_err(|error| match error.raw_os_error() {
            Some(libc::EXDEV) => io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it leads out of the volume by a link",
            ),
            _ => error,
        }),
    }
}

fn walk(root: BorrowedFd<'_>, path: &Path, resolve: Resolve) -> io::Result<OwnedFd> {
    find_or_make(root, &inside(path)?, resolve)
}

fn find_or_make(root: BorrowedFd<'_>, inner: &Path, resolve: Resolve) -> io::Result<OwnedFd> {
    match mount::open_below(root, inner, FOLDER, resolve) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let (Some(parent), Some(name)) = (inner.parent(), inner.file_name()) else {
        return Err(invalid(inner));
    };
    let parent = find_or_make(root, parent, resolve)?;
    let name = mount::c_string(Path::new(name))?;
    // SAFETY: the name outlives the call. A link that leads nowhere makes it fail with EEXIST.
    check(unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) }.into())?;
    mount::open_below(root, inner, FOLDER, resolve)
}

/// An absolute path of the container as one relative to its root.
fn inside(path: &Path) -> io::Result<PathBuf> {
    let mut inner = PathBuf::from(".");
    for part in path.components() {
        match part {
            Component::Normal(name) => inner.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(invalid(path)),
        }
    }
    Ok(inner)
}

fn invalid(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{} is not a path inside a container", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Tree {
        dir: tempfile::TempDir,
    }

    impl Tree {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().expect("a temporary folder"),
            }
        }

        fn root(&self) -> OwnedFd {
            fs::create_dir_all(self.at("root")).expect("create");
            mount::open_path(&self.at("root")).expect("open")
        }

        fn at(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }
    }

    #[test]
    fn a_link_out_of_the_root_leads_back_into_it() {
        let tree = Tree::new();
        let root = tree.root();
        fs::create_dir(tree.at("outside")).expect("create");
        symlink(tree.at("outside"), tree.at("root/data")).expect("link");
        symlink("/etc", tree.at("root/conf")).expect("link");
        fs::create_dir(tree.at("root/etc")).expect("create");
        folder(&root, Path::new("/conf/inner")).expect("made inside");
        assert!(tree.at("root/etc/inner").is_dir());
        folder(&root, Path::new("/data/x")).expect_err("its target does not exist inside");
        assert_eq!(fs::read_dir(tree.at("outside")).expect("read").count(), 0);
    }

    #[test]
    fn a_path_with_parents_is_refused() {
        let tree = Tree::new();
        folder(tree.root(), Path::new("/a/../../b")).expect_err("refused");
    }

    #[test]
    fn a_file_is_made_with_its_parents_and_kept_when_it_is_there() {
        let tree = Tree::new();
        let root = tree.root();
        write(&root, Path::new("/etc/deep/hosts"), "one").expect("write");
        file(&root, Path::new("/etc/deep/hosts")).expect("found");
        assert_eq!(
            fs::read_to_string(tree.at("root/etc/deep/hosts")).expect("read"),
            "one"
        );
    }

    #[test]
    fn a_sub_path_that_leaves_its_volume_is_refused() {
        let tree = Tree::new();
        let volume = tree.root();
        fs::create_dir(tree.at("secret")).expect("create");
        symlink("../secret", tree.at("root/relative")).expect("link");
        symlink(tree.at("secret"), tree.at("root/absolute")).expect("link");
        for path in [
            "relative",
            "absolute",
            "relative/new",
            "../secret",
            "/etc",
            "a/../../secret",
        ] {
            sub_path(&volume, Path::new(path)).expect_err(path);
        }
        assert_eq!(fs::read_dir(tree.at("secret")).expect("read").count(), 0);
    }

    #[test]
    fn a_sub_path_follows_links_that_stay_inside_and_is_made_when_absent() {
        let tree = Tree::new();
        let volume = tree.root();
        fs::create_dir(tree.at("root/..2026")).expect("create");
        fs::write(tree.at("root/..2026/key"), "v").expect("write");
        symlink("..2026", tree.at("root/..data")).expect("link");
        symlink("..data/key", tree.at("root/key")).expect("link");
        sub_path(&volume, Path::new("key")).expect("found");
        sub_path(&volume, Path::new("new/folder")).expect("made");
        assert!(tree.at("root/new/folder").is_dir());
    }
}
