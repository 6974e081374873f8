//! The repository's own promises, checked: every module says what it keeps true, the crate map is
//! true, arrows between crates point down the list of design, no file has grown into two.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::paths;

/// The crates from the ground up. A crate may use only crates that stand before it.
const ORDER: &[&str] = &[
    "objects",
    "unverified",
    "apiserver",
    "control",
    "workloads",
    "spdy",
    "node",
    "artifacts",
    "launcher",
    "pipelines",
    "install",
    "console",
    "kfctl",
];

/// Crates that reach the world through `kube::Client` alone and must not name the API server.
const CLIENTS_ONLY: &[&str] = &[
    "workloads",
    "node",
    "control",
    "artifacts",
    "pipelines",
    "install",
    "console",
];

/// Lines after which a file must say in its head comment why it is one thing.
const LONG: usize = 600;

/// Runs every check and reports all that it finds.
pub fn run() -> Result<()> {
    let mut faults = Vec::new();
    crates(&mut faults)?;
    modules(&mut faults)?;
    names(&mut faults)?;
    if faults.is_empty() {
        println!("  tidy: nothing to mend");
        return Ok(());
    }
    for fault in &faults {
        eprintln!("  {fault}");
    }
    bail!("tidy: {} to mend", faults.len())
}

fn crates(faults: &mut Vec<String>) -> Result<()> {
    let map = fs::read_to_string(paths::root().join("ARCHITECTURE.md")).unwrap_or_default();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(paths::root().join("crates")).context("list crates/")? {
        let folder = entry?.path();
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let text = fs::read_to_string(&manifest)?;
        let manifest: toml::Table =
            toml::from_str(&text).with_context(|| format!("read {}", folder.display()))?;
        let name = folder
            .file_name()
            .expect("a folder has a name")
            .to_string_lossy()
            .into_owned();
        found.insert(name, manifest);
    }
    for (name, manifest) in &found {
        let Some(place) = ORDER.iter().position(|known| known == name) else {
            faults.push(format!("crates/{name}: not in the crate order of xtask/src/tidy.rs; a new crate is a design change"));
            continue;
        };
        if !map.contains(&format!("`{name}`")) {
            faults.push(format!("ARCHITECTURE.md: does not describe `{name}`"));
        }
        for dependency in dependencies(manifest) {
            if let Some(other) = ORDER.iter().position(|known| known == dependency)
                && other >= place
            {
                faults.push(format!(
                    "crates/{name}: the arrow to {dependency} points up"
                ));
            }
            if dependency == "apiserver" && CLIENTS_ONLY.contains(&name.as_str()) {
                faults.push(format!(
                    "crates/{name}: must know only kube::Client, not apiserver"
                ));
            }
        }
    }
    Ok(())
}

/// All that ends up in a crate's code, on whatever machine; what only its tests use does not.
fn dependencies(manifest: &toml::Table) -> Vec<&String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let places = std::iter::once(manifest).chain(
        targets
            .into_iter()
            .flat_map(toml::Table::values)
            .filter_map(toml::Value::as_table),
    );
    places
        .flat_map(|place| ["dependencies", "build-dependencies"].map(|kind| place.get(kind)))
        .flatten()
        .filter_map(toml::Value::as_table)
        .flat_map(toml::Table::keys)
        .collect()
}

fn sources() -> impl Iterator<Item = PathBuf> {
    ["crates", "xtask"].into_iter().flat_map(|folder| {
        WalkDir::new(paths::root().join(folder))
            .into_iter()
            .filter_map(Result::ok)
            .map(walkdir::DirEntry::into_path)
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
    })
}

fn modules(faults: &mut Vec<String>) -> Result<()> {
    for path in sources() {
        let text = fs::read_to_string(&path)?;
        let shown = path.strip_prefix(paths::root()).unwrap_or(&path).display();
        let head = text
            .lines()
            .find(|line| !line.is_empty())
            .unwrap_or_default();
        if !head.starts_with("//!") {
            faults.push(format!(
                "{shown}: opens without //! saying what it keeps true"
            ));
        }
        let lines = text.lines().count();
        let reason = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .any(|line| line.contains("One file because"));
        if lines > LONG && !reason {
            faults.push(format!("{shown}: {lines} lines; which two things is it? (or say \"One file because …\" in its head)"));
        }
        // The needles are split so that this file does not find itself.
        for needle in [
            concat!("todo", "!("),
            concat!("unimplemented", "!("),
            concat!("#[", "ignore"),
        ] {
            if text.contains(needle) {
                faults.push(format!("{shown}: contains {needle}"));
            }
        }
    }
    Ok(())
}

fn names(faults: &mut Vec<String>) -> Result<()> {
    const VAGUE: &[&str] = &["utils", "util", "helpers", "common", "types", "misc"];
    for path in sources() {
        let vague = |part: &Path| {
            part.file_stem()
                .is_some_and(|stem| VAGUE.iter().any(|word| stem == *word))
        };
        if vague(&path) || path.parent().is_some_and(vague) {
            let shown = path.strip_prefix(paths::root()).unwrap_or(&path).display();
            faults.push(format!("{shown}: name the thing it holds"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_counts_wherever_the_manifest_names_it_but_among_those_of_tests() {
        let manifest: toml::Table = toml::from_str(
            "[dependencies]\na = '1'\n[build-dependencies]\nb = '1'\n[target.'cfg(unix)'.dependencies]\nc = '1'\n[dev-dependencies]\nd = '1'\n",
        )
        .expect("a manifest");
        assert_eq!(dependencies(&manifest), ["a", "b", "c"]);
    }
}
