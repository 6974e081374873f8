//! `kfctl up --install-service`: a systemd user unit, so that a reboot loses nothing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::instance::DataFolder;

const UNIT: &str = "ferroflow.service";

/// Writes the unit, enables it and starts it.
pub fn install(data: &DataFolder) -> Result<()> {
    if !std::path::Path::new("/run/systemd/system").exists() {
        bail!(
            "this machine is not run by systemd; start `kfctl up --detach` from whatever starts programs here"
        );
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
        .context("find your home folder")?;
    let folder = config.join("systemd/user");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(UNIT);
    let exe = std::env::current_exe().context("find this program's own file")?;
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--install-service" && argument != "--detach")
        .collect();
    std::fs::write(
        &path,
        unit(
            &exe.display().to_string(),
            &arguments,
            &data.path().display().to_string(),
        ),
    )
    .with_context(|| format!("write {}", path.display()))?;
    for arguments in [
        &["--user", "daemon-reload"][..],
        &["--user", "enable", "--now", UNIT],
    ] {
        let status = Command::new("systemctl")
            .args(arguments)
            .status()
            .context("run systemctl")?;
        if !status.success() {
            bail!("systemctl {} ended with {status}", arguments.join(" "));
        }
    }
    println!(
        "installed {}; `loginctl enable-linger` lets it run while you are signed out",
        path.display()
    );
    Ok(())
}

fn unit(exe: &str, arguments: &[String], data: &str) -> String {
    let quoted: Vec<String> = arguments
        .iter()
        .map(|argument| shell_words::quote(argument).into_owned())
        .collect();
    format!(
        "[Unit]\nDescription=Ferroflow, a Kubeflow on this machine\nAfter=network.target\n\n[Service]\nType=exec\nEnvironment=FERROFLOW_BACKGROUND=1\nEnvironment=FERROFLOW_DATA_DIR={data}\nExecStart={exe} {}\nKillMode=process\nKillSignal=SIGTERM\nTimeoutStopSec=90\nRestart=on-failure\nDelegate=yes\n\n[Install]\nWantedBy=default.target\n",
        quoted.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_this_program_with_the_same_arguments_and_lets_pods_outlive_it() {
        let unit = unit(
            "/usr/local/bin/kfctl",
            &["up".into(), "--port".into(), "9000".into()],
            "/home/ana/.local/share/ferroflow",
        );
        assert!(unit.contains("ExecStart=/usr/local/bin/kfctl up --port 9000\n"));
        assert!(
            unit.contains("KillMode=process"),
            "shims are not the unit's to kill"
        );
    }
}
