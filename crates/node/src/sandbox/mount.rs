//! Mounts without paths: trees are cloned into descriptors, given their attributes while nobody can see them, and then
//! attached at a place that was itself opened safely.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::failure::check;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const MOVE_MOUNT_BOTH_EMPTY_PATHS: libc::c_uint = 0x04 | 0x40;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

/// Nothing below can be written.
pub const READ_ONLY: u64 = 0x1;
/// No set-id program below gives anybody anything.
pub const NO_SETUID: u64 = 0x2;
/// No device below can be opened.
pub const NO_DEVICES: u64 = 0x4;
/// Nothing below can be executed.
pub const NO_EXEC: u64 = 0x8;
const ID_MAPPED: u64 = 0x0010_0000;

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// How a path is resolved below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// The folder is the root: `..` and absolute links stay inside.
    InRoot,
    /// Leaving the folder, even by a link that would come back, is an error.
    Beneath,
}

/// Opens `path` below `root` without ever leaving it.
pub fn open_below(
    root: impl AsFd,
    path: &Path,
    flags: i32,
    resolve: Resolve,
) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: an all-zero open_how is valid; the path outlives the call; the returned descriptor is new.
    unsafe {
        let mut how: libc::open_how = mem::zeroed();
        how.flags = (flags | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_NO_MAGICLINKS
            | match resolve {
                Resolve::InRoot => libc::RESOLVE_IN_ROOT,
                Resolve::Beneath => libc::RESOLVE_BENEATH,
            };
        let size = size_of_val(&how);
        let fd = libc::syscall(
            libc::SYS_openat2,
            root.as_fd().as_raw_fd(),
            path.as_ptr(),
            &how,
            size,
        );
        check(fd).map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Opens a host path without any rights on it but naming it.
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: the path outlives the call; the returned descriptor is new.
    unsafe {
        check(libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC).into())
            .map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// A detached copy of the tree at `source`, with everything mounted below.
pub fn clone_tree(source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE
        | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH | libc::O_CLOEXEC) as libc::c_uint;
    // SAFETY: the empty path is a static string; the returned descriptor is new.
    unsafe {
        check(libc::syscall(
            libc::SYS_open_tree,
            source.as_raw_fd(),
            c"".as_ptr(),
            flags,
        ))
        .map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Adds attributes to a tree and all below.
pub fn restrict(tree: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    set_attributes(
        tree,
        MountAttributes {
            set: attributes,
            clear: 0,
            propagation: 0,
            userns_fd: 0,
        },
        libc::AT_RECURSIVE,
    )
}

/// Adds attributes to one mount only.
pub fn restrict_top(tree: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    set_attributes(
        tree,
        MountAttributes {
            set: attributes,
            clear: 0,
            propagation: 0,
            userns_fd: 0,
        },
        0,
    )
}

/// Shows the ids on disk as those of `user_namespace`. Needs the rights over the file system itself (the host's root).
pub fn map_ids(tree: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = MountAttributes {
        set: ID_MAPPED,
        clear: 0,
        propagation: 0,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    set_attributes(tree, attributes, libc::AT_RECURSIVE)
}

fn set_attributes(
    tree: BorrowedFd<'_>,
    attributes: MountAttributes,
    recursive: i32,
) -> io::Result<()> {
    // SAFETY: the attributes outlive the call, which only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &attributes,
            size_of::<MountAttributes>(),
        )
    };
    check(result).map(drop)
}

/// Puts a detached tree over the file or folder `target`.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both paths are static empty strings.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_BOTH_EMPTY_PATHS,
        )
    };
    check(result).map(drop)
}

/// A new, detached file system. An option without a value is a flag.
pub fn new_filesystem(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    let kind = CString::new(kind)?;
    // SAFETY: every string outlives the call it is passed to; returned descriptors are new.
    unsafe {
        let context =
            OwnedFd::from_raw_fd(check(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1))? as i32);
        let configure =
            |command: libc::c_uint, key: *const libc::c_char, value: *const libc::c_char| {
                check(libc::syscall(
                    libc::SYS_fsconfig,
                    context.as_raw_fd(),
                    command,
                    key,
                    value,
                    0,
                ))
            };
        for (key, value) in options {
            let key = CString::new(*key)?;
            match value {
                Some(value) => configure(
                    FSCONFIG_SET_STRING,
                    key.as_ptr(),
                    CString::new(*value)?.as_ptr(),
                )?,
                None => configure(FSCONFIG_SET_FLAG, key.as_ptr(), std::ptr::null())?,
            };
        }
        configure(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        let mounted = libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            1,
            attributes as libc::c_uint,
        );
        check(mounted).map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Whether a file system takes no writes at all, whatever its mounts say.
pub fn is_read_only(root: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: the structure is plain data, filled by the call.
    unsafe {
        let mut found: libc::statvfs = mem::zeroed();
        check(libc::fstatvfs(root.as_raw_fd(), &mut found).into())?;
        Ok(found.f_flag & libc::ST_RDONLY != 0)
    }
}

/// Lets unmounts of the host through to this namespace, and nothing back.
pub fn follow_host() -> io::Result<()> {
    // SAFETY: all strings are static.
    let result = unsafe {
        libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_SLAVE,
            std::ptr::null(),
        )
    };
    check(result.into()).map(drop)
}

/// Makes `root` (a mount's top) the root of this mount namespace and lets the old one go.
pub fn pivot(root: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all strings are static.
    unsafe {
        check(libc::fchdir(root.as_raw_fd()).into())?;
        check(libc::syscall(
            libc::SYS_pivot_root,
            c".".as_ptr(),
            c".".as_ptr(),
        ))?;
        check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
        check(libc::chdir(c"/".as_ptr()).into())?;
    }
    Ok(())
}

/// The path under which a descriptor can be named where only paths are taken.
pub fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A path as the kernel takes it.
pub fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
