//! `kfctl up --install-service`: a systemd user unit, so that a reboot loses nothing. Pods live in their shims, which
//! the unit does not end.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::instance::DataFolder;

const UNIT: &str = "ferroflow.service";
/// Options that are about this call, or that the unit says in its own words.
const NOT_FOR_THE_UNIT: [&str; 3] = ["--install-service", "--detach", "--export-kubeconfig"];

/// Writes the unit, enables it and starts it.
pub fn install(data: &DataFolder) -> Result<()> {
    require_user_manager()?;
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from);
    let config = config
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
        .context("find your home folder")?;
    let folder = config.join("systemd/user");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(UNIT);
    let exe = std::env::current_exe().context("find this program's own file")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = unit(
        &exe.display().to_string(),
        &for_the_unit(&arguments),
        &data.path().display().to_string(),
    );
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    for arguments in [
        &["--user", "daemon-reload"][..],
        &["--user", "enable", "--now", UNIT],
    ] {
        let status = Command::new("systemctl")
            .args(arguments)
            .status()
            .context("run systemctl")?;
        if !status.success() {
            bail!(
                "systemctl {} ended with {status}; see: systemctl --user status {UNIT}",
                arguments.join(" ")
            );
        }
    }
    println!("installed {}", path.display());
    println!("  loginctl enable-linger                      lets it run while you are signed out");
    println!("  systemctl --user disable --now {UNIT}   takes it back");
    Ok(())
}

/// Nothing is written where nothing could start it.
fn require_user_manager() -> Result<()> {
    const INSTEAD: &str = "start `kfctl up --detach` from whatever starts programs here";
    let asked = Command::new("systemctl")
        .args(["--user", "show-environment"])
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(answer) => bail!(
            "systemd does not manage services for you here ({}); sign in to a session of your own \
             (not by su or sudo) and try again, or {INSTEAD}",
            String::from_utf8_lossy(&answer.stderr)
                .trim()
                .replace('\n', " ")
        ),
        Err(_) => bail!("this machine is not run by systemd; {INSTEAD}"),
    }
}

/// The arguments of `up` that the unit repeats. The data folder stands in it as an absolute path.
fn for_the_unit(arguments: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--data-dir" {
            rest.next();
        } else if !argument.starts_with("--data-dir=")
            && !NOT_FOR_THE_UNIT.contains(&argument.as_str())
        {
            kept.push(argument.clone());
        }
    }
    kept
}

fn unit(exe: &str, arguments: &[String], data: &str) -> String {
    let command: Vec<String> = std::iter::once(exe)
        .chain(arguments.iter().map(String::as_str))
        .map(quoted)
        .collect();
    let command = command.join(" ");
    let data = quoted(&format!("FERROFLOW_DATA_DIR={data}"));
    format!(
        "[Unit]\nDescription=Ferroflow, a Kubeflow on this machine\n\n\
         [Service]\nType=exec\nEnvironment=FERROFLOW_BACKGROUND=1\nEnvironment={data}\nExecStart={command}\n\
         KillMode=process\nKillSignal=SIGTERM\nTimeoutStopSec=90\nRestart=on-failure\nRestartSec=5\nDelegate=yes\n\n\
         [Install]\nWantedBy=default.target\n"
    )
}

/// A word as systemd reads it: in quotes where it needs them, with its own signs doubled.
fn quoted(word: &str) -> String {
    let doubled = word.replace('%', "%%").replace('$', "$$");
    let is_plain = doubled
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "%$/._-=:,+@~".contains(letter));
    if is_plain && !doubled.is_empty() {
        return doubled;
    }
    format!("\"{}\"", doubled.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_unit_starts_this_program_with_the_same_arguments_and_lets_pods_outlive_it() {
        let unit = unit(
            "/usr/local/bin/kfctl",
            &words("up --port 9000"),
            "/home/ana/.local/share/ferroflow",
        );
        assert!(unit.contains("ExecStart=/usr/local/bin/kfctl up --port 9000\n"));
        assert!(
            unit.contains("KillMode=process"),
            "shims are not the unit's to kill"
        );
    }

    #[test]
    fn a_relative_data_folder_and_what_was_about_this_call_are_left_out() {
        let given =
            words("--data-dir here up --install-service --port 1 --data-dir=there --detach");
        assert_eq!(for_the_unit(&given), words("up --port 1"));
    }

    #[test]
    fn words_with_spaces_and_signs_reach_the_program_as_they_are() {
        assert_eq!(quoted("/opt/kfctl"), "/opt/kfctl");
        assert_eq!(quoted("/my files/100%"), "\"/my files/100%%\"");
        assert_eq!(quoted("a\"b$c"), "\"a\\\"b$$c\"");
    }
}
