//! The Pythons of this machine that a sandbox can use: found by asking each candidate about itself, once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// A usable Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Such as `3.11.7`.
    pub version: String,
    /// Its program, with links resolved.
    pub executable: PathBuf,
    /// The folder that holds its standard library.
    pub prefix: PathBuf,
}

impl Interpreter {
    /// Such as `3.11`.
    pub fn minor(&self) -> String {
        self.version
            .splitn(3, '.')
            .take(2)
            .collect::<Vec<_>>()
            .join(".")
    }

    fn number(&self) -> (u32, u32, u32) {
        let mut parts = self.version.split('.').map(|part| {
            part.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .unwrap_or(0)
        });
        (
            parts.next().unwrap_or(0),
            parts.next().unwrap_or(0),
            parts.next().unwrap_or(0),
        )
    }

    /// It belongs to the system, whose folders every sandbox sees anyway.
    pub fn is_of_system(&self) -> bool {
        self.prefix == Path::new("/usr")
    }
}

/// Which Python serves a request, and whether it is the one asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The Python to use.
    pub interpreter: Interpreter,
    /// Set when another minor version than the one asked for is used.
    pub instead_of: Option<String>,
}

/// The version people get who do not say one: what compiled pipeline components ask for.
pub const USUAL: &str = "3.11";

/// Picks the interpreter for `wanted` (`3.11`, or `3` for any): the same minor version, else the nearest one.
pub fn choose(interpreters: &[Interpreter], wanted: &str) -> Option<Choice> {
    let wants_any = !wanted.contains('.');
    let target = if wants_any { USUAL } else { wanted };
    let target_minor: u32 = target
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0);
    let best = interpreters
        .iter()
        .filter(|interpreter| interpreter.number().0 == 3)
        .min_by_key(|interpreter| {
            let (_, minor, patch) = interpreter.number();
            // A newer Python runs older code more often than the other way round.
            (
                minor.abs_diff(target_minor),
                minor < target_minor,
                !interpreter.is_of_system(),
                u32::MAX - patch,
            )
        })?;
    let is_other = best.minor() != target && !wants_any;
    Some(Choice {
        interpreter: best.clone(),
        instead_of: is_other.then(|| wanted.to_owned()),
    })
}

/// What a Python says about itself: version, program, library prefix, and whether it can make environments.
const QUESTION: &str = "import sys, os, importlib.util as u\n\
    print('.'.join(map(str, sys.version_info[:3])))\n\
    print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))\n\
    print(sys.base_prefix)\n\
    print(bool(u.find_spec('venv') and u.find_spec('ensurepip')))";

/// Asks every candidate. Those that cannot run, cannot make environments, or are too old are left out.
pub async fn find(search: &[PathBuf], home: Option<&Path>) -> Vec<Interpreter> {
    let mut found: BTreeMap<PathBuf, Interpreter> = BTreeMap::new();
    for candidate in candidates(search, home) {
        if found.contains_key(&candidate) {
            continue;
        }
        if let Some(interpreter) = ask(&candidate).await {
            found
                .entry(interpreter.executable.clone())
                .or_insert(interpreter);
        }
    }
    found.into_values().collect()
}

fn candidates(search: &[PathBuf], home: Option<&Path>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from).into();
    folders.extend(
        search
            .iter()
            .filter(|folder| !folder.ends_with("shims"))
            .cloned(),
    );
    if let Some(home) = home {
        for parent in [
            ".pyenv/versions",
            ".local/share/uv/python",
            "miniconda3/envs",
            "anaconda3/envs",
        ] {
            let versions = std::fs::read_dir(home.join(parent))
                .into_iter()
                .flatten()
                .flatten();
            folders.extend(versions.map(|entry| entry.path().join("bin")));
        }
        folders.extend([
            home.join("miniconda3/bin"),
            home.join("anaconda3/bin"),
            home.join(".local/bin"),
        ]);
    }
    let mut programs: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| {
            (8..=16)
                .rev()
                .map(move |minor| folder.join(format!("python3.{minor}")))
        })
        .filter_map(|program| program.canonicalize().ok())
        .filter(|program| others_may_run(program))
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    programs.retain(|program| seen.insert(program.clone()));
    programs
}

/// Pods run with ids of their own; a program that only its owner may run is of no use to them.
fn others_may_run(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let is_open = |path: &Path| {
        path.metadata()
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o005 == 0o005)
    };
    is_open(program) && program.parent().is_some_and(is_open)
}

async fn ask(program: &Path) -> Option<Interpreter> {
    let mut command = Command::new(program);
    command
        .args(["-I", "-c", QUESTION])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(10), command.output())
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let (version, executable, prefix, can_make) =
        (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    let interpreter = Interpreter {
        version: version.into(),
        executable: executable.into(),
        prefix: PathBuf::from(prefix),
    };
    (can_make == "True" && interpreter.number() >= (3, 8, 0)).then_some(interpreter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(version: &str, prefix: &str) -> Interpreter {
        Interpreter {
            version: version.into(),
            executable: format!("{prefix}/bin/python3").into(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn the_asked_version_is_taken_and_the_systems_own_before_others() {
        let all = [
            python("3.11.7", "/opt/p311"),
            python("3.11.2", "/usr"),
            python("3.12.1", "/opt/p312"),
        ];
        let choice = choose(&all, "3.11").expect("a choice");
        assert_eq!(
            (choice.interpreter.prefix.as_path(), choice.instead_of),
            (Path::new("/usr"), None)
        );
        assert_eq!(
            choose(&all, "3.12").map(|choice| choice.interpreter.minor()),
            Some("3.12".into())
        );
        assert_eq!(choose(&all, "3").and_then(|choice| choice.instead_of), None);
    }

    #[test]
    fn another_version_is_taken_with_a_word_about_it() {
        let choice = choose(
            &[python("3.11.2", "/usr"), python("3.9.1", "/opt/p39")],
            "3.10",
        )
        .expect("a choice");
        assert_eq!(
            choice.interpreter.minor(),
            "3.11",
            "rather newer than older"
        );
        assert_eq!(choice.instead_of.as_deref(), Some("3.10"));
    }

    #[test]
    fn no_python_at_all_is_no_choice() {
        assert_eq!(choose(&[], "3.11"), None);
        assert_eq!(choose(&[python("2.7.18", "/opt/p2")], "3.11"), None);
    }
}
