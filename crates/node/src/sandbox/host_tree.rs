//! What a pod without an image sees of the host: programs, libraries and the few files of `/etc` they need, read-only.
//! An allow-list: what is not named here (home folders, keys, `/root`, `/var`, `/run`, other people's data) does not exist.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::failure::{Failure, While};
use super::mount::{self, NO_DEVICES, NO_SETUID, READ_ONLY};
use super::places;
use crate::shim::User;

const SHOWN: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
    "/etc/inputrc",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/fonts",
    "/etc/perl",
    "/etc/vulkan",
    "/etc/OpenCL",
    "/etc/magic",
];

/// What a folder is made with.
const USUAL_MODE: u32 = 0o755;

/// Folders every pod has, with their modes.
const FOLDERS: &[(&str, u32)] = &[
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
];

/// A host path as a pod sees it.
#[derive(Debug)]
pub enum Shown {
    /// The same link.
    Link(PathBuf, PathBuf),
    /// The same tree, read-only.
    Tree(PathBuf, OwnedFd),
}

/// Collects the host's trees; paths this host lacks are left out, but not those the pod asked for.
pub fn collect(allow: &[PathBuf]) -> Result<Vec<Shown>, Failure> {
    let mut shown = Vec::new();
    for path in SHOWN.iter().map(Path::new) {
        // A name that cannot be looked at is as absent.
        if fs::symlink_metadata(path).is_ok() {
            shown.push(collect_one(path)?);
        }
    }
    for path in allow {
        shown.push(collect_one(path)?);
    }
    Ok(shown)
}

fn collect_one(path: &Path) -> Result<Shown, Failure> {
    let step = || format!("showing the host's {} to the pod", path.display());
    let metadata = fs::symlink_metadata(path).during(step)?;
    if metadata.is_symlink() {
        return Ok(Shown::Link(
            path.to_owned(),
            fs::read_link(path).during(step)?,
        ));
    }
    let tree = mount::clone_tree(mount::open_path(path).during(step)?.as_fd()).during(step)?;
    mount::restrict(tree.as_fd(), READ_ONLY | NO_SETUID | NO_DEVICES).during(step)?;
    Ok(Shown::Tree(path.to_owned(), tree))
}

/// Fills an empty root with all that need not be mounted: folders, links, accounts, and the places of the trees.
pub fn lay_out(root: BorrowedFd<'_>, shown: &[Shown], user: &User) -> Result<(), Failure> {
    for (path, mode) in FOLDERS {
        make_folder(root, Path::new(path), *mode).during(|| format!("making {path}"))?;
    }
    for entry in shown {
        let (Shown::Link(path, _) | Shown::Tree(path, _)) = entry;
        let made = match entry {
            Shown::Link(path, to) => places::link(root, path, to),
            Shown::Tree(path, tree) => reserve(root, path, tree.as_fd()).map(drop),
        };
        made.during(|| format!("making {} in the pod", path.display()))?;
    }
    let (uid, gid) = match user {
        User::Ids { uid, gid, .. } => (*uid, gid.unwrap_or(0)),
        User::Named(_) => (0, 0),
    };
    let (passwd, group) = accounts(uid, gid);
    let home = if uid == 0 {
        None
    } else {
        Some(Path::new("/home/user"))
    };
    if let Some(home) = home {
        make_folder(root, home, 0o777).during(|| "making the home folder")?;
    }
    let files = [
        ("/etc/passwd", passwd.as_str()),
        ("/etc/group", group.as_str()),
        ("/etc/nsswitch.conf", NSSWITCH),
    ];
    for (path, content) in files {
        places::write(root, Path::new(path), content).during(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// Mounts the trees in a root that was laid out for them.
pub fn attach(root: BorrowedFd<'_>, shown: &[Shown]) -> Result<(), Failure> {
    for entry in shown {
        if let Shown::Tree(path, tree) = entry {
            place(root, path, tree.as_fd())
                .during(|| format!("putting {} into the pod", path.display()))?;
        }
    }
    Ok(())
}

/// Puts a tree at a path of the root, which is made as a file or folder as the tree is.
pub fn place(root: BorrowedFd<'_>, path: &Path, tree: BorrowedFd<'_>) -> io::Result<()> {
    mount::attach(tree, reserve(root, path, tree)?.as_fd())
}

/// The place for a tree, made as a file or folder as the tree is.
pub fn reserve(root: BorrowedFd<'_>, path: &Path, tree: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if is_folder(tree)? {
        places::folder(root, path)
    } else {
        places::file(root, path)
    }
}

/// Whether a descriptor names a folder.
pub fn is_folder(tree: BorrowedFd<'_>) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    // SAFETY: the structure is plain data, filled by the call.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        super::failure::check(libc::fstat(tree.as_raw_fd(), &mut stat).into())?;
        Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
    }
}

fn make_folder(root: BorrowedFd<'_>, path: &Path, mode: u32) -> io::Result<()> {
    let made = places::folder(root, path)?;
    if mode == USUAL_MODE {
        return Ok(());
    }
    let name = mount::c_string(Path::new(&mount::path_of(made.as_fd())))?;
    // SAFETY: the string outlives the call.
    super::failure::check(unsafe { libc::chmod(name.as_ptr(), mode) }.into()).map(drop)
}

const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n";

/// The accounts of a pod without an image: root, nobody, and whoever it runs as.
fn accounts(uid: u32, gid: u32) -> (String, String) {
    let mut passwd =
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
            .to_owned();
    let mut group = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n".to_owned();
    if uid != 0 && uid != 65_534 {
        passwd.push_str(&format!("user:x:{uid}:{gid}:user:/home/user:/bin/sh\n"));
    }
    if gid != 0 && gid != 5 && gid != 65_534 {
        group.push_str(&format!("user:x:{gid}:\n"));
    }
    (passwd, group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_folders_and_keys_are_not_on_the_list() {
        for forbidden in [
            "/root",
            "/home",
            "/etc",
            "/etc/ssl",
            "/etc/ssh",
            "/etc/ssl/private",
            "/etc/shadow",
            "/var",
            "/run",
            "/opt",
            "/",
        ] {
            assert!(!SHOWN.contains(&forbidden), "{forbidden}");
        }
    }

    #[test]
    fn whoever_the_pod_runs_as_has_an_account() {
        let (passwd, group) = accounts(1000, 100);
        assert!(passwd.contains("user:x:1000:100:"), "{passwd}");
        assert!(group.contains("user:x:100:"), "{group}");
        assert_eq!(accounts(0, 0).0.lines().count(), 2);
    }
}
