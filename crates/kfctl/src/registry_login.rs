//! Who `kfctl image` signs in as: what the command line says, else what `docker login` or `podman login` noted, by
//! themselves or through a credential helper.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use node::images::name::ImageName;
use node::images::registry::Credentials;
use node::images::registry::credentials::Login;
use serde_json::Value;

use crate::cli::RegistryAccess;

/// The logins for an image's registry.
pub fn credentials(name: &ImageName, access: &RegistryAccess) -> Result<Credentials> {
    if let Some(username) = &access.username {
        if !access.password_stdin {
            bail!(
                "--username needs --password-stdin; a password on the command line is seen by everyone"
            );
        }
        let mut password = String::new();
        std::io::stdin()
            .read_to_string(&mut password)
            .context("read the password from standard input")?;
        return Ok(Credentials::of(Login {
            username: username.clone(),
            password: password.trim_end_matches(['\r', '\n']).to_owned(),
        }));
    }
    let mut all = Credentials::default();
    for path in files() {
        let Ok(text) = std::fs::read(&path) else {
            continue;
        };
        let read = Credentials::read(&text).with_context(|| format!("read {}", path.display()))?;
        if let Some(login) = from_helper(&text, name.registry())? {
            return Ok(Credentials::of(login));
        }
        all.extend(read);
    }
    Ok(all)
}

/// Where logins are noted, first to last.
fn files() -> Vec<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let docker = folder("DOCKER_CONFIG").or_else(|| Some(folder("HOME")?.join(".docker")));
    let podman = folder("REGISTRY_AUTH_FILE")
        .or_else(|| Some(folder("XDG_RUNTIME_DIR")?.join("containers/auth.json")));
    docker
        .map(|folder| folder.join("config.json"))
        .into_iter()
        .chain(podman)
        .collect()
}

/// Asks the helper that the file names for this registry, if it does.
fn from_helper(file: &[u8], registry: &str) -> Result<Option<Login>> {
    let file: Value = serde_json::from_slice(file).unwrap_or_default();
    let place = match registry {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    };
    let helper = file["credHelpers"][place]
        .as_str()
        .or(file["credHelpers"][registry].as_str())
        .or(file["credsStore"].as_str());
    let Some(helper) = helper.filter(|name| !name.is_empty() && !name.contains('/')) else {
        return Ok(None);
    };
    let program = format!("docker-credential-{helper}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| {
            format!("run {program}, which the Docker configuration names for {registry}")
        })?;
    child
        .stdin
        .take()
        .context("a pipe")?
        .write_all(place.as_bytes())
        .with_context(|| format!("ask {program}"))?;
    let answer = child
        .wait_with_output()
        .with_context(|| format!("wait for {program}"))?;
    if !answer.status.success() {
        // It has no login for this registry.
        return Ok(None);
    }
    let answer: Value = serde_json::from_slice(&answer.stdout)
        .with_context(|| format!("read the answer of {program}"))?;
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    Ok(Some(Login {
        username: text("Username"),
        password: text("Secret"),
    }))
}
