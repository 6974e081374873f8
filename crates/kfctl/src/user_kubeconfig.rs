//! Adds the context `ferroflow` to the user's own kubeconfig. Nothing that is there is overwritten, except
//! what an earlier `up` put there under the same names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const NAME: &str = "ferroflow";

/// Merges our kubeconfig into the user's; answers where that is.
pub fn merge(ours: &Path) -> Result<PathBuf> {
    let theirs = path();
    // A link stays a link; what it leads to is changed.
    let theirs = std::fs::canonicalize(&theirs).unwrap_or(theirs);
    let own = read(ours)?.with_context(|| format!("read {}", ours.display()))?;
    let merged = merged(
        read(&theirs)?.unwrap_or_else(|| json!({ "apiVersion": "v1", "kind": "Config" })),
        &own,
    )?;
    if let Some(folder) = theirs.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let text = objects::yaml::write(&merged);
    let temporary = theirs.with_extension("ferroflow-new");
    std::fs::write(&temporary, text).with_context(|| format!("write {}", temporary.display()))?;
    std::fs::set_permissions(
        &temporary,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )?;
    std::fs::rename(&temporary, &theirs).with_context(|| format!("write {}", theirs.display()))?;
    Ok(theirs)
}

fn path() -> PathBuf {
    let first = std::env::var_os("KUBECONFIG")
        .and_then(|list| std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty()));
    first.unwrap_or_else(|| {
        std::env::var_os("HOME")
            .map(PathBuf::from)
            .unwrap_or_default()
            .join(".kube/config")
    })
}

fn read(path: &Path) -> Result<Option<Value>> {
    match std::fs::read_to_string(path) {
        Ok(text) => objects::yaml::parse(&text)
            .map(Some)
            .with_context(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn merged(mut theirs: Value, ours: &Value) -> Result<Value> {
    if theirs.is_null() {
        theirs = json!({ "apiVersion": "v1", "kind": "Config" });
    }
    for list in ["clusters", "users", "contexts"] {
        let Some(own) = ours[list].as_array().and_then(|entries| entries.first()) else {
            bail!("our own kubeconfig has no {list}")
        };
        let mut own = own.clone();
        own["name"] = NAME.into();
        if list == "contexts" {
            own["context"]["cluster"] = NAME.into();
            own["context"]["user"] = NAME.into();
        }
        if theirs[list].is_null() {
            theirs[list] = json!([]);
        }
        let Some(entries) = theirs[list].as_array_mut() else {
            bail!("{list} in your kubeconfig is no list")
        };
        let is_foreign = |entry: &Value| {
            entry["name"] == NAME
                && entry["cluster"]["server"]
                    .as_str()
                    .is_some_and(|server| !server.starts_with("https://127.0.0.1:"))
        };
        if entries.iter().any(is_foreign) {
            bail!(
                "your kubeconfig has another cluster named {NAME:?}, which is left alone; rename it, or use: \
                 export KUBECONFIG with the file that is shown above"
            )
        }
        entries.retain(|entry| entry["name"] != NAME);
        entries.push(own);
    }
    if theirs["current-context"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        theirs["current-context"] = NAME.into();
    }
    Ok(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({ "clusters": [{ "name": "x", "cluster": { "server": "https://127.0.0.1:7443" } }], "users": [{ "name": "x", "user": { "token": "t" } }], "contexts": [{ "name": "x", "context": { "cluster": "x", "user": "x" } }] })
    }

    #[test]
    fn what_the_user_has_stays() {
        let theirs = json!({ "clusters": [{ "name": "work" }], "users": [], "contexts": [{ "name": "work" }], "current-context": "work", "preferences": { "colors": true } });
        let merged = merged(theirs, &ours()).expect("both are valid");
        assert_eq!(merged["current-context"], "work");
        assert_eq!(merged["clusters"][0]["name"], "work");
        assert_eq!(
            merged["contexts"][1],
            json!({ "name": "ferroflow", "context": { "cluster": "ferroflow", "user": "ferroflow" } })
        );
        assert_eq!(merged["preferences"]["colors"], true);
    }

    #[test]
    fn another_cluster_of_our_name_is_not_overwritten() {
        let theirs = json!({ "clusters": [{ "name": "ferroflow", "cluster": { "server": "https://10.0.0.1:6443" } }] });
        let error = merged(theirs, &ours()).expect_err("it is theirs");
        assert!(error.to_string().contains("left alone"), "{error}");
    }

    #[test]
    fn a_second_merge_replaces_only_our_own() {
        let once = merged(Value::Null, &ours()).expect("both are valid");
        let twice = merged(once.clone(), &ours()).expect("both are valid");
        assert_eq!(once, twice);
        assert_eq!(twice["current-context"], "ferroflow");
    }
}
