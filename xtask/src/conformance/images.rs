//! The images that the tests name. Each is a root of its own made from a few static programs and packed as an archive:
//! no registry is asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::suite::Suite;
use crate::cluster;
use crate::image_archive::{self, Settings};

const E2E: &str = "registry.k8s.io/e2e-test-images";

/// Makes them below `folder` and says where their archives are.
pub fn make(suite: &Suite, folder: &Path) -> Result<Vec<PathBuf>> {
    let _ = fs::remove_dir_all(folder);
    let mut images = Images {
        folder,
        archives: Vec::new(),
    };
    images.agnhost(suite)?;
    let shell = Settings {
        arguments: &["sh"],
        ..Settings::default()
    };
    images.shell(&format!("{E2E}/busybox:1.36.1-1"), &shell)?;
    let nobody = Settings {
        user: Some("1234"),
        ..shell
    };
    images.shell(&format!("{E2E}/nonroot:1.4"), &nobody)?;
    for tag in ["2.4.38-4", "2.4.39-4"] {
        images.web_server(&format!("{E2E}/httpd:{tag}"), "/usr/local/apache2/htdocs")?;
    }
    for tag in ["1.14-4", "1.15-4"] {
        images.web_server(&format!("{E2E}/nginx:{tag}"), "/usr/share/nginx/html")?;
    }
    images.nonewprivs(suite)?;
    images.pause(suite)?;
    Ok(images.archives)
}

struct Images<'a> {
    folder: &'a Path,
    archives: Vec<PathBuf>,
}

impl Images<'_> {
    fn agnhost(&mut self, suite: &Suite) -> Result<()> {
        let name = format!("{E2E}/agnhost:2.53");
        let root = self.root(&name)?;
        with_busybox(&root)?;
        program(&suite.agnhost, &root.join("agnhost"))?;
        // Tests tell by the name which of the two was started.
        symlink("agnhost", root.join("agnhost-2")).context("link agnhost-2")?;
        fs::create_dir_all(root.join("uploads")).context("create uploads")?;
        for name in ["bash", "curl", "dig"] {
            linked_program(name, &root)?;
        }
        // Tests say options to nc that busybox' own does not know, and its shell prefers its own to any other.
        fs::remove_file(root.join("bin/sh")).context("take busybox's shell away")?;
        symlink("/usr/bin/bash", root.join("bin/sh")).context("link sh")?;
        linked_program("nc.openbsd", &root)?;
        symlink("nc.openbsd", root.join("usr/bin/nc")).context("link nc")?;
        // What it serves TLS with is part of its sources.
        for name in ["localhost.crt", "localhost.key"] {
            let from = suite.agnhost_sources.join("porter").join(name);
            let text = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
            fs::write(root.join(name), text).with_context(|| format!("write {name}"))?;
        }
        // One test asks for groups that only the image knows.
        append(
            &root.join("etc/passwd"),
            "user-defined-in-image:x:1000:1000::/:/bin/sh\n",
        )?;
        append(
            &root.join("etc/group"),
            "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n",
        )?;
        let settings = Settings {
            entrypoint: &["/agnhost"],
            arguments: &["pause"],
            user: None,
        };
        self.pack(&name, &root, &settings)
    }

    fn shell(&mut self, name: &str, settings: &Settings<'_>) -> Result<()> {
        let root = self.root(name)?;
        with_busybox(&root)?;
        // Debian's busybox hides variables whose names are no shell variables, which tests of `sh -c env` look for; others
        // look for busybox's own words, and name it by its path.
        linked_program("bash", &root)?;
        symlink("bash", root.join("usr/bin/sh")).context("link sh")?;
        self.pack(name, &root, settings)
    }

    fn web_server(&mut self, name: &str, pages: &str) -> Result<()> {
        let root = self.root(name)?;
        with_busybox(&root)?;
        let folder = root.join(pages.trim_start_matches('/'));
        fs::create_dir_all(&folder).with_context(|| format!("create {pages}"))?;
        fs::write(
            folder.join("index.html"),
            "<html><body>It works!</body></html>\n",
        )
        .context("write the page")?;
        let settings = Settings {
            arguments: &["httpd", "-f", "-p", "80", "-h", pages],
            ..Settings::default()
        };
        self.pack(name, &root, &settings)
    }

    fn nonewprivs(&mut self, suite: &Suite) -> Result<()> {
        let name = format!("{E2E}/nonewprivs:1.3");
        let root = self.root(&name)?;
        with_busybox(&root)?;
        let target = root.join("usr/local/bin/nnp");
        program(&suite.nonewprivs, &target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o4755))
            .context("set the set-user-ID bit")?;
        let settings = Settings {
            arguments: &["nnp"],
            ..Settings::default()
        };
        self.pack(&name, &root, &settings)
    }

    fn pause(&mut self, suite: &Suite) -> Result<()> {
        let name = cluster::PAUSE;
        let root = self.root(name)?;
        program(&suite.pause, &root.join("pause"))?;
        let settings = Settings {
            entrypoint: &["/pause"],
            ..Settings::default()
        };
        self.pack(name, &root, &settings)
    }

    fn root(&self, name: &str) -> Result<PathBuf> {
        let root = self.folder.join(file_name(name));
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        Ok(root)
    }

    fn pack(&mut self, name: &str, root: &Path, settings: &Settings<'_>) -> Result<()> {
        // Names hold dots, so the extension is put on by hand.
        let archive = root.with_file_name(format!("{}.tar", file_name(name)));
        image_archive::write(&archive, name, root, settings)?;
        fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))?;
        self.archives.push(archive);
        Ok(())
    }
}

fn file_name(image: &str) -> String {
    image.replace(['/', ':'], "_")
}

/// A root with busybox under every name that it answers to.
fn with_busybox(root: &Path) -> Result<()> {
    for name in [
        "bin",
        "dev",
        "etc",
        "home",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/bin",
        "usr/local/bin",
        "var/run",
        "var/tmp",
    ] {
        fs::create_dir_all(root.join(name)).with_context(|| format!("create {name}"))?;
    }
    for name in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o1777))
            .with_context(|| format!("open {name} to all"))?;
    }
    let busybox = crate::step::find("busybox").context("find busybox (Debian: busybox-static)")?;
    program(&busybox, &root.join("bin/busybox"))?;
    let listed = Command::new(&busybox)
        .arg("--list")
        .output()
        .context("start busybox")?;
    ensure!(listed.status.success(), "busybox does not list its names");
    for applet in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet))
                .with_context(|| format!("link {applet}"))?;
        }
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )
    .context("write etc/passwd")?;
    fs::write(root.join("etc/group"), "root:x:0:\nnobody:x:65534:\n").context("write etc/group")?;
    fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n")
        .context("write etc/nsswitch.conf")
}

fn program(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} a program", to.display()))
}

/// Copies a program of this machine with the libraries that it is linked to.
fn linked_program(name: &str, root: &Path) -> Result<()> {
    let program = crate::step::find(name).with_context(|| format!("find {name}"))?;
    self::program(&program, &root.join("usr/bin").join(name))?;
    let said = Command::new("ldd")
        .arg(&program)
        .output()
        .context("start ldd")?;
    let said = String::from_utf8_lossy(&said.stdout);
    let libraries = said
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(Path::new);
    for library in libraries {
        let target = root.join(library.strip_prefix("/").unwrap_or(library));
        let folder = target.parent().context("a library lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        self::program(library, &target)?;
    }
    Ok(())
}

fn append(file: &Path, text: &str) -> Result<()> {
    let before = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    fs::write(file, before + text).with_context(|| format!("write {}", file.display()))
}
