//! A container's `/proc` and `/sys`: its own processes and network, with what tells about or changes the host masked.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::failure::{Failure, While};
use super::host_tree::{is_folder, place};
use super::mount::{self, NO_DEVICES, NO_EXEC, NO_SETUID, READ_ONLY, Resolve};

/// Shown empty.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// Shown, but not to be written.
const READ_ONLY_PATHS: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Builds `/proc` and `/sys` in `root`. Must run in the PID and network namespaces they are to show. `null` is the host's
/// `/dev/null`, `base` a mounted folder outside of the root: only what is mounted somewhere can be cloned as a cover.
pub fn furnish(
    root: BorrowedFd<'_>,
    null: BorrowedFd<'_>,
    base: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let attributes = NO_SETUID | NO_DEVICES | NO_EXEC;
    let proc = mount::new_filesystem("proc", &[], attributes).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => Failure(
            "mounting a fresh /proc: the kernel refuses it where the host's own /proc is partly masked, as it is inside most \
             containers; run outside of the container, or start that one with an unmasked /proc"
                .to_owned(),
        ),
        _ => Failure(format!("mounting a fresh /proc: {error}")),
    })?;
    place(root, Path::new("/proc"), proc.as_fd()).during(|| "mounting /proc")?;
    // A kernel that refuses (the network namespace is somebody else's) leaves the pod an empty /sys.
    if let Ok(sys) = mount::new_filesystem("sysfs", &[], attributes | READ_ONLY) {
        place(root, Path::new("/sys"), sys.as_fd()).during(|| "mounting /sys")?;
    }
    for path in READ_ONLY_PATHS {
        protect(root, Path::new(path), attributes).during(|| format!("protecting {path}"))?;
    }
    let empty = mount::new_filesystem(
        "tmpfs",
        &[("mode", Some("555")), ("size", Some("0"))],
        attributes | READ_ONLY,
    )
    .during(|| "making an empty folder")?;
    place(base, Path::new("empty"), empty.as_fd()).during(|| "mounting an empty folder")?;
    for path in MASKED {
        mask(root, Path::new(path), null, empty.as_fd()).during(|| format!("masking {path}"))?;
    }
    Ok(())
}

fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<std::os::fd::OwnedFd>> {
    let inner = path.strip_prefix("/").unwrap_or(path);
    match mount::open_below(
        root,
        inner,
        libc::O_PATH | libc::O_NOFOLLOW,
        Resolve::InRoot,
    ) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EACCES)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn protect(root: BorrowedFd<'_>, path: &Path, attributes: u64) -> io::Result<()> {
    let Some(place) = open(root, path)? else {
        return Ok(());
    };
    let tree = mount::clone_tree(place.as_fd())?;
    mount::restrict(tree.as_fd(), attributes | READ_ONLY)?;
    mount::attach(tree.as_fd(), place.as_fd())
}

fn mask(
    root: BorrowedFd<'_>,
    path: &Path,
    null: BorrowedFd<'_>,
    empty: BorrowedFd<'_>,
) -> io::Result<()> {
    let Some(place) = open(root, path)? else {
        return Ok(());
    };
    let cover = mount::clone_tree(if is_folder(place.as_fd())? {
        empty
    } else {
        null
    })?;
    mount::attach(cover.as_fd(), place.as_fd())
}
