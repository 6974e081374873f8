//! Finds the node's network namespace among what another process holds: after holder and server have both died, the
//! shims of living pods are all that is left of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

/// The node's network namespace, if process `pid` has a descriptor of it: one whose user namespace is a child of our
/// own. (That of a pod is a grandchild, that of the host none.)
pub fn network_held_by(pid: u32) -> io::Result<Option<OwnedFd>> {
    let own = std::fs::metadata("/proc/self/ns/user")?.ino();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        // Descriptors come and go while we look.
        let Ok(target) = std::fs::read_link(&path) else {
            continue;
        };
        if !target.to_string_lossy().starts_with("net:[") {
            continue;
        }
        let Ok(network) = File::open(&path) else {
            continue;
        };
        let parent = related(&network, libc::NS_GET_USERNS)
            .and_then(|user| related(&user, libc::NS_GET_PARENT))
            .and_then(|parent| File::from(parent).metadata());
        if parent.is_ok_and(|parent| parent.ino() == own) {
            return Ok(Some(network.into()));
        }
    }
    Ok(None)
}

fn related(namespace: &impl AsFd, which: libc::Ioctl) -> io::Result<OwnedFd> {
    // SAFETY: plain system call; a non-negative result is a descriptor nobody else owns.
    let fd = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), which) };
    Errno::result(fd)?;
    // SAFETY: checked above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_network_is_not_taken_for_the_nodes() {
        let _held = File::open("/proc/self/ns/net").expect("there");
        assert!(
            network_held_by(std::process::id())
                .expect("readable")
                .is_none()
        );
        assert!(network_held_by(u32::MAX).is_err());
    }
}
