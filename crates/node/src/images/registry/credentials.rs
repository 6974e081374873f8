//! Who signs in where: files and secrets of the form that `docker login` writes. The most specific entry wins, as the
//! kubelet has it: host and path, host, host with `*`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::images::name::{ImageName, fits};

/// A user of a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({:?}, …)", self.username)
    }
}

/// Known logins, by where they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    entries: Vec<(String, Login)>,
}

/// A file of credentials that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the credentials are not in the form that docker login writes: {0}")]
pub struct Unreadable(String);

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// One login for every registry: what the user typed for this one command.
    pub fn of(login: Login) -> Self {
        Self {
            entries: vec![(String::new(), login)],
        }
    }

    /// Reads `{"auths": {…}}`, or the older form without `auths`.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let unreadable = |error: &dyn std::fmt::Display| Unreadable(error.to_string());
        let mut all: Value = serde_json::from_slice(text).map_err(|error| unreadable(&error))?;
        // A file with helpers alone names no login; an older one is nothing but logins.
        let has_helpers = all.get("credsStore").is_some() || all.get("credHelpers").is_some();
        let auths = match all.get_mut("auths") {
            Some(auths) => auths.take(),
            None if has_helpers => return Ok(Self::default()),
            None => all,
        };
        let auths: BTreeMap<String, Entry> =
            serde_json::from_value(auths).map_err(|error| unreadable(&error))?;
        let mut entries = Vec::new();
        for (place, entry) in auths {
            let login = match (entry.username, entry.password, entry.auth) {
                (Some(username), Some(password), _) => Login { username, password },
                (_, _, Some(auth)) if !auth.is_empty() => {
                    let pair = BASE64_STANDARD
                        .decode(auth.trim())
                        .ok()
                        .and_then(|pair| String::from_utf8(pair).ok());
                    let (username, password) = pair
                        .as_deref()
                        .and_then(|pair| pair.split_once(':'))
                        .ok_or_else(|| {
                            unreadable(&format!(
                                "the entry of {place} is no user:password in base64"
                            ))
                        })?;
                    Login {
                        username: username.to_owned(),
                        password: password.trim_end_matches('\0').to_owned(),
                    }
                }
                // An entry without a login stands for a credential helper.
                _ => continue,
            };
            entries.push((place_of(&place), login));
        }
        Ok(Self { entries })
    }

    /// Adds more; what was there first wins where both fit equally.
    pub fn extend(&mut self, more: Self) {
        self.entries.extend(more.entries);
    }

    /// The login for an image.
    pub fn find(&self, name: &ImageName) -> Option<Login> {
        let path = match name.registry() {
            "docker.io" => place_of(&format!("docker.io/{}", name.repository)),
            _ => name.repository.clone(),
        };
        let fitting = self
            .entries
            .iter()
            .filter(|(place, _)| is_for(place, &path));
        // Of equal places the first.
        fitting
            .rev()
            .max_by_key(|(place, _)| (!place.contains('*'), place.len()))
            .map(|(_, login)| login.clone())
    }
}

/// A place in one form: no scheme, no version, one name for the default registry.
fn place_of(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.trim_end_matches('/');
    let rest = rest
        .strip_suffix("/v1")
        .or(rest.strip_suffix("/v2"))
        .unwrap_or(rest);
    let (host, path) = rest
        .split_once('/')
        .map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

/// Whether credentials for `place` are for the image at `path`: `*` stands within one part of a host's name only.
fn is_for(place: &str, path: &str) -> bool {
    if place.is_empty() {
        return true;
    }
    let (place_host, place_path) = place.split_once('/').unwrap_or((place, ""));
    let (host, inside) = path.split_once('/').unwrap_or((path, ""));
    let (wanted, given): (Vec<_>, Vec<_>) =
        (place_host.split('.').collect(), host.split('.').collect());
    let host_fits =
        wanted.len() == given.len() && wanted.iter().zip(&given).all(|(a, b)| fits(a, b));
    host_fits
        && (place_path.is_empty()
            || inside == place_path
            || inside
                .strip_prefix(place_path)
                .is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(config: &str, image: &str) -> Option<String> {
        let credentials = Credentials::read(config.as_bytes()).expect("credentials");
        let name = ImageName::parse(image).expect("a name");
        credentials.find(&name).map(|login| login.username)
    }

    const FILE: &str = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "aHViOnM6ZWNyZXQ="},
        "quay.io": {"username": "quay", "password": "x"},
        "quay.io/team": {"username": "team", "password": "x"},
        "*.example.org:5000": {"username": "star", "password": "x"},
        "helper.example.org": {}
    }}"#;

    #[test]
    fn the_most_specific_entry_is_used() {
        for (image, expected) in [
            ("train", Some("hub")),
            ("team/train", Some("hub")),
            ("quay.io/other/train", Some("quay")),
            ("quay.io/team/train", Some("team")),
            ("quay.io/teams/train", Some("quay")),
            ("a.example.org:5000/x", Some("star")),
            ("a.b.example.org:5000/x", None),
            ("a.example.org/x", None),
            ("helper.example.org/x", None),
            ("evil.io/quay.io/x", None),
        ] {
            assert_eq!(user(FILE, image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn a_password_may_have_colons_and_is_never_printed() {
        let credentials = Credentials::read(FILE.as_bytes()).expect("credentials");
        let login = credentials
            .find(&ImageName::parse("train").expect("a name"))
            .expect("a login");
        assert_eq!(login.password, "s:ecret");
        assert!(!format!("{credentials:?}").contains("ecret"));
    }

    #[test]
    fn the_form_without_auths_is_read_too_and_nonsense_is_refused() {
        let old = r#"{"quay.io": {"auth": "YTpi"}}"#;
        assert_eq!(user(old, "quay.io/x").as_deref(), Some("a"));
        assert_eq!(user(r#"{"credsStore": "desktop"}"#, "quay.io/x"), None);
        for text in ["[]", r#"{"auths": {"x": {"auth": "%"}}}"#, "no json"] {
            assert!(Credentials::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
