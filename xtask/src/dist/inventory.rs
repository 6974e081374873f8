//! What is in the binary and its image, as a CycloneDX document: crates that are linked in, web packages that are
//! embedded, and the Debian packages whose libraries the image carries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{paths, step};

/// The crates whose programs are shipped: the binary, and the launcher inside it.
const SHIPPED: [&str; 2] = ["kfctl", "launcher"];

/// Ferroflow's own version.
pub fn own_version() -> Result<String> {
    let text = fs::read_to_string(paths::root().join("Cargo.toml")).context("read Cargo.toml")?;
    let manifest: toml::Value = toml::from_str(&text).context("read Cargo.toml")?;
    Ok(manifest["workspace"]["package"]["version"]
        .as_str()
        .context("the workspace has a version")?
        .to_owned())
}

/// Writes the document.
pub fn write(kfctl: &Path, target: &Path) -> Result<()> {
    let mut components = crates()?;
    components.extend(web_packages()?);
    components.extend(debian_packages(kfctl)?);
    let version = own_version()?;
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "application",
            "bom-ref": "kfctl",
            "name": "kfctl",
            "version": version,
            "licenses": [{"expression": "Apache-2.0"}],
        }},
        "components": components,
    });
    fs::write(target, serde_json::to_string_pretty(&document)? + "\n")
        .with_context(|| format!("write {}", target.display()))
}

fn component(
    kind: &str,
    name: &str,
    version: &str,
    licence: Option<&str>,
    sha256: Option<&str>,
) -> Value {
    let address = format!("pkg:{kind}/{}@{version}", name.replace('@', "%40"));
    let mut component = json!({
        "type": "library", "bom-ref": address, "purl": address, "name": name, "version": version,
    });
    if let Some(licence) = licence {
        component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(sum) = sha256 {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    component
}

/// All crates that are linked into what is shipped, by Cargo's own account for this target.
fn crates() -> Result<Vec<Value>> {
    let host = host_target()?;
    let output = step::cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        &host,
    ])
    .output()
    .context("run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let lock = fs::read_to_string(paths::root().join("Cargo.lock")).context("read Cargo.lock")?;
    Ok(linked(&metadata, &checksums(&lock)?))
}

fn host_target() -> Result<String> {
    let output = step::command("rustc")
        .arg("-vV")
        .output()
        .context("run rustc")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .context("rustc names its host")
}

/// Checksums of the registry, by name and version.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Value = toml::from_str(lock).context("read Cargo.lock")?;
    let text = |package: &toml::Value, field: &str| {
        package
            .get(field)
            .and_then(toml::Value::as_str)
            .map(str::to_owned)
    };
    let packages = lock.get("package").and_then(toml::Value::as_array);
    Ok(packages
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let key = (text(package, "name")?, text(package, "version")?);
            Some((key, text(package, "checksum")?))
        })
        .collect())
}

/// From what is shipped along the dependencies that end up in it: neither those of tests nor those of build scripts.
fn linked(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let mut waiting: Vec<String> = packages
        .values()
        .filter(|package| {
            SHIPPED.contains(&text(&package["name"]).as_str()) && package["source"].is_null()
        })
        .map(|package| text(&package["id"]))
        .collect();
    let mut seen: BTreeSet<String> = waiting.iter().cloned().collect();
    while let Some(id) = waiting.pop() {
        for dependency in nodes
            .get(&id)
            .into_iter()
            .flat_map(|node| list(&node["deps"]))
        {
            let is_linked = list(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null());
            let is_macro = packages
                .get(&text(&dependency["pkg"]))
                .is_some_and(|package| {
                    list(&package["targets"])
                        .iter()
                        .any(|target| list(&target["kind"]).contains(&json!("proc-macro")))
                });
            if is_linked && !is_macro && seen.insert(text(&dependency["pkg"])) {
                waiting.push(text(&dependency["pkg"]));
            }
        }
    }
    let mut components: Vec<(String, String, Value)> = seen
        .iter()
        .filter_map(|id| packages.get(id))
        .filter(|package| !SHIPPED.contains(&text(&package["name"]).as_str()))
        .map(|package| {
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            let sum = checksums
                .get(&(name.clone(), version.clone()))
                .map(String::as_str);
            let value = component("cargo", &name, &version, package["license"].as_str(), sum);
            (name, version, value)
        })
        .collect();
    components.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    components.into_iter().map(|(_, _, value)| value).collect()
}

/// What the pages are made of.
fn web_packages() -> Result<Vec<Value>> {
    let path = paths::root().join("web/package-lock.json");
    let lock: Value =
        serde_json::from_slice(&fs::read(&path).context("read web/package-lock.json")?)
            .context("read web/package-lock.json")?;
    let packages = lock["packages"].as_object().cloned().unwrap_or_default();
    Ok(packages
        .iter()
        .filter(|(_, package)| package["dev"] != true && package["optional"] != true)
        .filter_map(|(path, package)| {
            let name = path.rsplit_once("node_modules/")?.1;
            Some(component(
                "npm",
                name,
                package["version"].as_str()?,
                package["license"].as_str(),
                None,
            ))
        })
        .collect())
}

/// The packages of the libraries that the image carries; empty on a machine that is no Debian.
fn debian_packages(kfctl: &Path) -> Result<Vec<Value>> {
    if !step::has("dpkg-query") {
        return Ok(Vec::new());
    }
    let listed = Command::new("ldd").arg(kfctl).output().context("run ldd")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut names: BTreeSet<String> = BTreeSet::from(["ca-certificates".to_owned()]);
    for path in listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        // On merged systems a package may still say /lib.
        for name in [
            real.to_string_lossy().into_owned(),
            real.to_string_lossy().replacen("/usr", "", 1),
        ] {
            let owner = Command::new("dpkg-query")
                .arg("--search")
                .arg(&name)
                .output()?;
            if let Some((package, _)) = String::from_utf8_lossy(&owner.stdout).split_once(": ") {
                names.insert(package.to_owned());
            }
        }
    }
    let mut components = Vec::new();
    for name in names {
        let shown = Command::new("dpkg-query")
            .args(["--show", "--showformat=${Package} ${Version}", &name])
            .output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        if let Some((package, version)) = shown.split_once(' ') {
            components.push(component("deb/debian", package, version, None, None));
        }
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds_or_tests_it_is_not_in_it() -> Result<()> {
        let package = |name: &str, kind: &str| {
            json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0",
                   "source": if name == "kfctl" { Value::Null } else { json!("registry") },
                   "targets": [{"kind": [kind]}]})
        };
        let dependency =
            |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                package("kfctl", "bin"), package("a", "lib"), package("b", "lib"), package("tester", "lib"),
                package("builder", "lib"), package("derive", "proc-macro"),
            ],
            "resolve": {"nodes": [
                {"id": "kfctl", "deps": [dependency("a", Value::Null), dependency("tester", json!("dev")), dependency("builder", json!("build"))]},
                {"id": "a", "deps": [dependency("b", Value::Null), dependency("derive", Value::Null)]},
            ]},
        });
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"77\"\n";
        let found = linked(&metadata, &checksums(lock)?);
        let names: Vec<_> = found
            .iter()
            .map(|component| component["purl"].as_str())
            .collect();
        assert_eq!(
            names,
            [Some("pkg:cargo/a@1.0.0"), Some("pkg:cargo/b@1.0.0")]
        );
        assert_eq!(found[0]["hashes"][0]["content"], "77");
        assert_eq!(found[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        Ok(())
    }
}
