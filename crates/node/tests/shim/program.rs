//! The program that the shim tests re-execute as a shim, and that they run inside of pods to try what a pod must not be
//! able to do. Inside, it prints one line per attempt: `<attempt>: done` or `<attempt>: <errno>`.

use std::ffi::CString;
use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = node::reexec::dispatch(std::env::args_os()) {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["remount-writable", path] => attempt("remount", remount_writable(path)),
        ["unmount", path] => attempt("unmount", unmount(path)),
        ["mount-tmpfs", path] => attempt("mount", mount_tmpfs(path)),
        ["setattr-writable", path] => attempt("setattr", setattr_writable(path)),
        ["user-namespace"] => attempt(
            "unshare",
            check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }),
        ),
        ["clone-user-namespace"] => attempt("clone", clone_user_namespace()),
        ["write", path] => attempt("write", std::fs::write(path, "x")),
        ["open-for-writing", path] => attempt(
            "open",
            std::fs::OpenOptions::new().write(true).open(path).map(drop),
        ),
        ["allocate", mebibytes] => allocate(mebibytes.parse().expect("a number")),
        ["zombies", count] => zombies(count.parse().expect("a number")),
        ["fork-bomb"] => fork_bomb(),
        ["setuid", uid] => attempt(
            "setuid",
            check(unsafe { libc::setuid(uid.parse().expect("a number")) }),
        ),
        ["keyctl"] => attempt(
            "keyctl",
            check(unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0, 0, 0) } as i32),
        ),
        ["io-uring"] => attempt(
            "io_uring",
            check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) } as i32),
        ),
        ["push-terminal-input"] => attempt(
            "tiocsti",
            check(unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) }),
        ),
        ["terminal-size"] => terminal_size(),
        ["wait-for-end"] => {
            let mut rest = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut rest);
            println!("end after {} bytes", rest.len());
        }
        other => {
            eprintln!(
                "this program is part of the tests of the crate `node`; it does not know {other:?}"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn attempt(name: &str, outcome: std::io::Result<()>) {
    match outcome {
        Ok(()) => println!("{name}: done"),
        Err(error) => println!("{name}: {error}"),
    }
    let _ = std::io::stdout().flush();
}

fn check(result: i32) -> std::io::Result<()> {
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn c(text: &str) -> CString {
    CString::new(text).expect("no null inside")
}

fn remount_writable(path: &str) -> std::io::Result<()> {
    let flags = libc::MS_REMOUNT | libc::MS_BIND;
    check(unsafe {
        libc::mount(
            std::ptr::null(),
            c(path).as_ptr(),
            std::ptr::null(),
            flags,
            std::ptr::null(),
        )
    })
}

fn setattr_writable(path: &str) -> std::io::Result<()> {
    let attributes: [u64; 4] = [0, 1, 0, 0];
    let size = size_of_val(&attributes);
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c(path).as_ptr(),
            0,
            &attributes,
            size,
        )
    } as i32)
}

fn unmount(path: &str) -> std::io::Result<()> {
    check(unsafe { libc::umount2(c(path).as_ptr(), libc::MNT_DETACH) })
}

fn mount_tmpfs(path: &str) -> std::io::Result<()> {
    check(unsafe {
        libc::mount(
            c"tmpfs".as_ptr(),
            c(path).as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            std::ptr::null(),
        )
    })
}

fn clone_user_namespace() -> std::io::Result<()> {
    let flags = (libc::CLONE_NEWUSER | libc::SIGCHLD) as libc::c_ulong;
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) } {
        // SAFETY: ends the child.
        0 => unsafe { libc::_exit(0) },
        result => check(result as i32),
    }
}

fn allocate(mebibytes: usize) {
    let mut kept = Vec::new();
    for _ in 0..mebibytes {
        // Every page is written, with values that no kernel can share.
        kept.push(
            (0..1 << 20)
                .map(|index| (index % 251) as u8)
                .collect::<Vec<u8>>(),
        );
        // Slow enough for whoever only looks from time to time.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    println!("allocated {} MiB", kept.len());
    std::thread::sleep(std::time::Duration::from_secs(600));
}

/// Leaves orphans behind that end at once, and tells how many dead are left lying about.
fn zombies(count: usize) {
    for _ in 0..count {
        match unsafe { libc::fork() } {
            0 => unsafe {
                if libc::fork() == 0 {
                    libc::_exit(0);
                }
                libc::_exit(0)
            },
            child => unsafe {
                libc::waitpid(child, std::ptr::null_mut(), 0);
            },
        }
    }
    let started = std::time::Instant::now();
    loop {
        let dead = std::fs::read_dir("/proc")
            .expect("proc")
            .flatten()
            .filter(|entry| {
                let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_some_and(|(_, rest)| rest.starts_with('Z'))
            });
        let dead = dead.count();
        if dead == 0 || started.elapsed().as_secs() > 10 {
            println!("zombies: {dead}");
            return;
        }
        std::thread::yield_now();
    }
}

/// Forks until it is refused, and tells how many children there were.
fn fork_bomb() {
    let mut children = Vec::new();
    loop {
        match unsafe { libc::fork() } {
            -1 => break,
            0 => loop {
                unsafe { libc::pause() };
            },
            child => children.push(child),
        }
        if children.len() > 5000 {
            break;
        }
    }
    println!("children: {}", children.len());
    for child in children {
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
}

fn terminal_size() {
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    let asked = unsafe { libc::ioctl(0, libc::TIOCGWINSZ, &mut size) };
    println!(
        "terminal: {asked} {} columns {} rows",
        size.ws_col, size.ws_row
    );
}
