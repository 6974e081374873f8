//! The base under a folder image: what a pod here sees of this machine and a program can expect anywhere. The C library,
//! a shell with the usual tools, certificates, and the interpreter with its standard library at the very paths they have
//! here, so that the environment on top needs no change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::libraries::Libraries;
use super::tree::{self, Tree};
use crate::images::python::Interpreter;

/// Programs that scripts take for granted; those that this machine has are taken.
const TOOLS: [&str; 68] = [
    "sh",
    "bash",
    "cat",
    "ls",
    "cp",
    "mv",
    "rm",
    "mkdir",
    "rmdir",
    "ln",
    "chmod",
    "chown",
    "env",
    "echo",
    "printf",
    "test",
    "[",
    "true",
    "false",
    "sleep",
    "date",
    "id",
    "head",
    "tail",
    "wc",
    "sort",
    "uniq",
    "cut",
    "tr",
    "tee",
    "touch",
    "basename",
    "dirname",
    "readlink",
    "realpath",
    "mktemp",
    "uname",
    "whoami",
    "seq",
    "expr",
    "find",
    "xargs",
    "grep",
    "egrep",
    "sed",
    "awk",
    "mawk",
    "tar",
    "gzip",
    "gunzip",
    "zcat",
    "du",
    "df",
    "stat",
    "nproc",
    "sha256sum",
    "md5sum",
    "pwd",
    "dd",
    "kill",
    "ps",
    "timeout",
    "nohup",
    "hostname",
    "base64",
    "diff",
    "cmp",
    "which",
];
/// Certificates of the usual distributions; the first that exists stands at all the usual places.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Folders, names and certificates: what is under every image.
pub(super) fn bare() -> io::Result<Tree> {
    let mut tree = Tree::default();
    for folder in ["dev", "etc", "home", "proc", "run", "sys", "var"] {
        tree.folder(folder, 0o755);
    }
    tree.folder("root", 0o700);
    tree.folder("tmp", 0o1777);
    tree.folder("var/tmp", 0o1777);
    tree.text(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n\
         nonroot:x:65532:65532:nonroot:/home:/sbin/nologin\n",
    );
    tree.text(
        "etc/group",
        "root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n",
    );
    tree.text(
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    );
    // The same shape as this machine: libraries are looked for along these links.
    for link in ["/bin", "/sbin", "/lib", "/lib64"] {
        if let Ok(to) = fs::read_link(link) {
            tree.folder(&format!("usr{link}"), 0o755);
            tree.link(Path::new(link.trim_start_matches('/')), &to);
        }
    }
    if let Some(certificates) = CERTIFICATES.iter().find(|path| Path::new(path).is_file()) {
        let text = fs::read_to_string(certificates)?;
        tree.text("etc/ssl/certs/ca-certificates.crt", &text);
        let link = |tree: &mut Tree, at: &str| {
            tree.link(
                Path::new(at),
                Path::new("/etc/ssl/certs/ca-certificates.crt"),
            );
        };
        link(&mut tree, "etc/ssl/cert.pem");
        link(&mut tree, "etc/pki/tls/certs/ca-bundle.crt");
        // Where Debian's OpenSSL looks.
        tree.link(Path::new("usr/lib/ssl/certs"), Path::new("/etc/ssl/certs"));
        tree.link(
            Path::new("usr/lib/ssl/cert.pem"),
            Path::new("/etc/ssl/certs/ca-certificates.crt"),
        );
    }
    Ok(tree)
}

/// The same with a shell, tools and, if given, a Python. Also the libraries met so far, for whoever adds more programs.
pub(super) fn with_tools(interpreter: Option<&Interpreter>) -> io::Result<(Tree, Libraries)> {
    let mut tree = bare()?;
    let mut programs: Vec<PathBuf> = TOOLS.iter().filter_map(|name| find(name)).collect();
    let mut libraries = Libraries::default();
    if let Some(interpreter) = interpreter {
        programs.push(interpreter.executable.clone());
        let usual = interpreter.executable.with_file_name("python3");
        if usual
            .canonicalize()
            .is_ok_and(|real| real == interpreter.executable)
        {
            programs.push(usual);
        }
        for lib in ["lib", "lib64"] {
            let minor = format!("python{}", interpreter.minor());
            let library = interpreter.prefix.join(lib).join(minor);
            if !library.join("os.py").is_file() && !library.join("lib-dynload").is_dir() {
                continue;
            }
            // Along the links that lead there.
            let real = library.canonicalize()?;
            let inside = real.strip_prefix("/").unwrap_or(&real);
            tree.copy(&real, inside, &tree::LIBRARY)?;
            libraries.need_all(&real.join("lib-dynload"));
            // Parts that a distribution keeps elsewhere.
            for entry in fs::read_dir(&real)?.flatten() {
                if let Ok(to) = fs::read_link(entry.path())
                    && entry.path().is_file()
                    && to.is_absolute()
                {
                    tree.host(&to)?;
                }
            }
        }
        let wheels = Path::new("/usr/share/python-wheels");
        if interpreter.is_of_system() && wheels.is_dir() {
            tree.copy(wheels, Path::new("usr/share/python-wheels"), &tree::LIBRARY)?;
        }
    }
    for locale in ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"].map(Path::new) {
        if locale.is_dir() {
            let inside = locale.strip_prefix("/").unwrap_or(locale);
            tree.copy(locale, inside, &tree::LIBRARY)?;
        }
    }
    for program in &programs {
        tree.host(program)?;
        libraries.need(&program.canonicalize()?);
    }
    libraries.put_into(&mut tree)?;
    Ok((tree, libraries))
}

fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}
