//! A container's `/dev`: the harmless devices, its own terminals, the pod's shared memory, and what it was granted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::failure::{Failure, While};
use super::host_tree::place;
use super::mount::{self, NO_EXEC, NO_SETUID};
use super::places;

const NODES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The host's device nodes a container gets; a granted one that is missing is an error.
pub fn collect(granted: &[PathBuf]) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let usual = NODES.iter().map(PathBuf::from).filter(|path| path.exists());
    usual
        .chain(granted.iter().cloned())
        .map(|path| {
            let step = || format!("giving the device {} to the pod", path.display());
            if !path.starts_with("/dev") {
                return Err(Failure(format!("{}: not below /dev", step())));
            }
            let node = mount::open_path(&path).during(step)?;
            let tree = mount::clone_tree(node.as_fd()).during(step)?;
            mount::restrict(tree.as_fd(), NO_SETUID | NO_EXEC).during(step)?;
            Ok((path, tree))
        })
        .collect()
}

/// Builds `/dev` in `root`.
pub fn furnish(
    root: BorrowedFd<'_>,
    nodes: &[(PathBuf, OwnedFd)],
    shared_memory: BorrowedFd<'_>,
    has_tty_group: bool,
) -> Result<(), Failure> {
    let options = [("mode", Some("755")), ("size", Some("64k"))];
    let dev =
        mount::new_filesystem("tmpfs", &options, NO_SETUID | NO_EXEC).during(|| "making /dev")?;
    for (path, node) in nodes {
        let inner = path.strip_prefix("/dev").unwrap_or(path);
        place(dev.as_fd(), inner, node.as_fd()).during(|| format!("binding {}", path.display()))?;
    }
    for (name, to) in LINKS {
        places::link(&dev, Path::new(name), Path::new(to))
            .during(|| format!("linking /dev/{name}"))?;
    }
    let mut options = vec![
        ("newinstance", None),
        ("ptmxmode", Some("0666")),
        ("mode", Some("620")),
    ];
    if has_tty_group {
        options.push(("gid", Some("5")));
    }
    let terminals = mount::new_filesystem("devpts", &options, NO_SETUID | NO_EXEC)
        .during(|| "making /dev/pts")?;
    place(dev.as_fd(), Path::new("pts"), terminals.as_fd()).during(|| "mounting /dev/pts")?;
    place(dev.as_fd(), Path::new("shm"), shared_memory).during(|| "mounting /dev/shm")?;
    // Not every kernel has message queues, and hardly a program needs them.
    if let Ok(queues) = mount::new_filesystem("mqueue", &[], NO_SETUID | NO_EXEC) {
        place(dev.as_fd(), Path::new("mqueue"), queues.as_fd())
            .during(|| "mounting /dev/mqueue")?;
    }
    place(root, Path::new("/dev"), dev.as_fd()).during(|| "mounting /dev")
}

/// A new terminal of this container: master and slave.
pub fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    use std::os::fd::{AsRawFd, FromRawFd};

    use super::failure::check;
    // SAFETY: strings and out-parameters outlive the calls; returned descriptors are new.
    unsafe {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let master = OwnedFd::from_raw_fd(check(
            libc::open(c"/dev/pts/ptmx".as_ptr(), flags).into(),
        )? as i32);
        let mut unlocked: libc::c_int = 0;
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &mut unlocked).into())?;
        let slave = check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER as _, flags).into())?;
        Ok((master, OwnedFd::from_raw_fd(slave as i32)))
    }
}
