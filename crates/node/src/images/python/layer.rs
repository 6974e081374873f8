//! A container's own Python: a small writable environment over the shared read-only one, so that `pip install` inside
//! a pod works and touches nobody else. Everything in it has a fixed path, whatever the node's folders are called.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Interpreter;

/// Where a container finds the shared environment.
pub const SHARED: &str = "/opt/ferroflow/environment";
/// Where a container finds its own layer.
pub const LAYER: &str = "/opt/ferroflow/python";

/// Folders to search for programs, this environment's first.
pub fn search_path() -> String {
    format!("{LAYER}/bin:{SHARED}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// Writes the layer into an empty folder.
pub fn write(folder: &Path, interpreter: &Interpreter) -> io::Result<()> {
    let minor = format!("python{}", interpreter.minor());
    let site_packages = PathBuf::from("lib").join(&minor).join("site-packages");
    fs::create_dir_all(folder.join("bin"))?;
    fs::create_dir_all(folder.join(&site_packages))?;
    let home = interpreter
        .executable
        .parent()
        .unwrap_or(Path::new("/usr/bin"));
    fs::write(
        folder.join("pyvenv.cfg"),
        format!(
            "home = {}\ninclude-system-site-packages = false\nversion = {}\n",
            home.display(),
            interpreter.version
        ),
    )?;
    fs::write(
        folder.join(&site_packages).join("ferroflow.pth"),
        format!(
            "import site; site.addsitedir('{SHARED}/{}')\n",
            site_packages.display()
        ),
    )?;
    symlink(&interpreter.executable, folder.join("bin/python3"))?;
    symlink("python3", folder.join("bin/python"))?;
    symlink("python3", folder.join("bin").join(&minor))?;
    let pip = folder.join("bin/pip");
    fs::write(
        &pip,
        format!(
            "#!{LAYER}/bin/python3\nimport runpy\nimport sys\nsys.path.pop(0)\n\
             runpy.run_module('pip', run_name='__main__', alter_sys=True)\n"
        ),
    )?;
    fs::set_permissions(&pip, fs::Permissions::from_mode(0o755))?;
    symlink("pip", folder.join("bin/pip3"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_sees_the_shared_environment_and_runs_the_interpreter_it_was_made_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let interpreter = Interpreter {
            version: "3.11.7".into(),
            executable: "/usr/bin/python3.11".into(),
            prefix: "/usr".into(),
        };
        write(folder.path(), &interpreter).expect("a layer");
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).expect("a file");
        assert!(read("pyvenv.cfg").starts_with("home = /usr/bin\n"));
        assert!(
            read("lib/python3.11/site-packages/ferroflow.pth")
                .contains("/opt/ferroflow/environment/lib/python3.11")
        );
        assert_eq!(
            fs::read_link(folder.path().join("bin/python3")).expect("a link"),
            Path::new("/usr/bin/python3.11")
        );
    }
}
