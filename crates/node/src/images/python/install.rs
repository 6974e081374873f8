//! The packages that a container installs as its first act, read from its command: what compiled pipeline components
//! do before they run. Knowing the list, the node prepares the environment before the container starts.
//! Only lists that mean the same everywhere are read; anything else is left to pip inside the pod.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One `pip install`, as far as its result depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Install {
    /// Requirements, sorted.
    pub requirements: Vec<String>,
    /// `--no-deps`.
    pub without_dependencies: bool,
    /// Index options, as written.
    pub index: Vec<String>,
}

/// Options that change nothing but what is printed.
const SILENT: [&str; 8] = [
    "--quiet",
    "-q",
    "-qq",
    "--no-warn-script-location",
    "--disable-pip-version-check",
    "--no-cache-dir",
    "--no-input",
    "--root-user-action=ignore",
];
/// Index options that are followed by a value.
const INDEX: [&str; 4] = ["--index-url", "-i", "--extra-index-url", "--trusted-host"];

/// The installs at the start of a container's command, in order, up to the first that cannot be prepared outside of the
/// pod.
pub fn installs(command: &[String]) -> Vec<Install> {
    let Some(script) = command.iter().find(|part| part.contains("pip install ")) else {
        return Vec::new();
    };
    // A component that makes its own venv installs into that, not into the image.
    let in_image = script
        .find("-m venv")
        .map_or(script.as_str(), |at| &script[..at]);
    let mut found = Vec::new();
    for line in commands_of(in_image) {
        match read(&line) {
            Line::Other => {}
            Line::Install(install) => found.push(install),
            // What follows may build on what only the pod can do.
            Line::Unpreparable => break,
        }
    }
    found
}

enum Line {
    Install(Install),
    Unpreparable,
    Other,
}

/// Splits a script at `&&`, `||`, `;` and line ends that stand outside of quotes.
fn commands_of(script: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut quote = None;
    let mut characters = script.chars().peekable();
    while let Some(character) = characters.next() {
        let current = commands.last_mut().expect("never empty");
        match (quote, character) {
            (Some(open), _) if character == open => {
                quote = None;
                current.push(character);
            }
            (None, '\'' | '"') => {
                quote = Some(character);
                current.push(character);
            }
            (None, ';' | '\n') => commands.push(String::new()),
            (None, '&' | '|') if characters.peek() == Some(&character) => {
                characters.next();
                commands.push(String::new());
            }
            _ => current.push(character),
        }
    }
    commands
}

fn read(line: &str) -> Line {
    let Ok(words) = shell_words::split(line) else {
        return Line::Other;
    };
    // Variables set for this one command stand before it.
    let start = words.iter().take_while(|word| is_assignment(word)).count();
    let arguments = match words[start..]
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [python, "-m", "pip", "install", ..] if is_python(python) => &words[start + 4..],
        ["pip" | "pip3", "install", ..] => &words[start + 2..],
        _ => return Line::Other,
    };
    // Outside of single quotes a `$` or a backquote is the shell's; what it becomes is not known here.
    if words[..start]
        .iter()
        .any(|word| word.starts_with("PIP_") && word != "PIP_DISABLE_PIP_VERSION_CHECK=1")
        || arguments.iter().any(|word| word.contains(['$', '`']))
    {
        return Line::Unpreparable;
    }
    let mut install = Install::default();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if SILENT.contains(&word.as_str()) {
            continue;
        }
        if word == "--no-deps" {
            install.without_dependencies = true;
        } else if INDEX.contains(&word.as_str()) {
            let Some(value) = rest.next().filter(|value| is_public_host(value)) else {
                return Line::Unpreparable;
            };
            install.index.extend([word.clone(), value.clone()]);
        } else if is_plain_requirement(word) {
            install.requirements.push(word.clone());
        } else {
            return Line::Unpreparable;
        }
    }
    install.requirements.sort();
    install.requirements.dedup();
    if install.requirements.is_empty() {
        Line::Other
    } else {
        Line::Install(install)
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    })
}

fn is_python(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    name.strip_prefix("python")
        .is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// A package by name, with extras, versions and markers: nothing that names a place to fetch from.
pub fn is_plain_requirement(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains('@')
        && !text.contains("://")
        && !text
            .split(';')
            .next()
            .unwrap_or_default()
            .contains(['/', '\\'])
        && !text.ends_with(".whl")
        && !text.ends_with(".gz")
        && !text.ends_with(".zip")
        && !text.contains(char::is_control)
}

/// Preparing happens outside of the sandbox, so a pod's command must not make it talk to this machine or its network.
fn is_public_host(value: &str) -> bool {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.strip_prefix('[').map_or_else(
        || host.split(':').next().unwrap_or_default(),
        |v6| v6.split(']').next().unwrap_or_default(),
    );
    host.contains('.')
        && host.parse::<IpAddr>().is_err()
        && !host.ends_with(".localhost")
        && !host.ends_with(".local")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(installs: &str) -> Vec<String> {
        let script = format!(
            "\nif ! [ -x \"$(command -v pip)\" ]; then\n    python3 -m ensurepip || python3 -m ensurepip --user || \
             apt-get install python3-pip\nfi\n\nPIP_DISABLE_PIP_VERSION_CHECK=1 {installs} && \"$0\" \"$@\"\n"
        );
        [
            "/launcher",
            "--",
            "sh",
            "-c",
            &script,
            "sh",
            "-ec",
            "printf \"%s\" \"$0\"",
            "import x",
        ]
        .map(str::to_owned)
        .into()
    }

    const SDK: &str = "python3 -m pip install --quiet --no-warn-script-location 'kfp==2.17.0' '--no-deps' \
                       'typing-extensions>=3.7.4,<5; python_version<\"3.9\"'";

    #[test]
    fn a_components_own_list_and_the_sdk_are_two_installs() {
        let both = format!(
            "python3 -m pip install --quiet --no-warn-script-location 'six' 'numpy==1.26.4'  &&  {SDK}"
        );
        let found = installs(&component(&both));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].requirements, ["numpy==1.26.4", "six"]);
        assert!(!found[0].without_dependencies);
        assert_eq!(
            found[1].requirements,
            [
                "kfp==2.17.0",
                "typing-extensions>=3.7.4,<5; python_version<\"3.9\""
            ]
        );
        assert!(found[1].without_dependencies);
    }

    #[test]
    fn index_options_are_part_of_the_list() {
        let list =
            "python3 -m pip install --index-url https://pypi.org/simple --trusted-host x.org 'six'";
        assert_eq!(
            installs(&component(list))[0].index,
            [
                "--index-url",
                "https://pypi.org/simple",
                "--trusted-host",
                "x.org"
            ]
        );
    }

    #[test]
    fn what_means_something_else_outside_of_the_pod_is_left_to_the_pod() {
        for list in [
            "python3 -m pip install -r requirements.txt",
            "python3 -m pip install ./local",
            "python3 -m pip install git+https://example.org/x",
            "python3 -m pip install \"$PACKAGES\"",
            "python3 -m pip install --index-url http://127.0.0.1:8080/simple six",
            "python3 -m pip install --index-url http://metadata/simple six",
            "python3 -m pip install 'x @ https://example.org/x.whl'",
            "PIP_TARGET=/x python3 -m pip install six",
        ] {
            assert_eq!(installs(&component(list)), [], "{list}");
        }
    }

    #[test]
    fn what_comes_before_an_install_that_only_the_pod_can_do_is_prepared() {
        let both = format!("{SDK} && python3 -m pip install ./local && python3 -m pip install six");
        assert_eq!(installs(&component(&both)).len(), 1);
    }

    #[test]
    fn a_component_with_its_own_venv_keeps_what_it_installs_there() {
        let script = format!(
            "python3 -m pip install 'six'  &&  \ntmp=$(mktemp -d)\npython3 -m venv \"$tmp/venv\"\n {SDK}"
        );
        let found = installs(&component(&script));
        assert_eq!(
            found
                .iter()
                .map(|install| install.requirements.clone())
                .collect::<Vec<_>>(),
            [["six"]]
        );
    }

    #[test]
    fn a_command_that_installs_nothing_has_no_list() {
        assert_eq!(installs(&["python".into(), "train.py".into()]), []);
        assert_eq!(
            installs(&["sh".into(), "-c".into(), "echo 'pip install six'".into()]),
            []
        );
    }
}
