//! KfDef, the file that `kfctl build` and `kfctl apply` are given: which parts are installed, and from where.
//! `build` writes a folder that kustomize itself can render; `apply` renders that folder and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Error, kustomize, sources};

/// Versions of the kind that are read.
const VERSIONS: [&str; 2] = [
    "kfdef.apps.kubeflow.org/v1",
    "kfdef.apps.kubeflow.org/v1beta1",
];
/// The repository that lies inside the program.
const BUILT_IN: &str = "builtin:";
/// Folders of `manifests/` that an application may name.
const PARTS: [&str; 8] = [
    "namespaces",
    "pipelines",
    "console",
    "gateway",
    "ingress",
    "local-storage",
    LOCAL_PROVISIONER,
    "kubeflow",
];
/// The application that makes volumes on the nodes, for clusters without storage, and its folder.
const LOCAL_PROVISIONER: &str = "local-provisioner";
/// The only namespace that the parts of this version can be in.
const NAMESPACE: &str = "kubeflow";

/// One KfDef, as its file says; what we do not know in it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KfDef {
    document: Value,
}

/// One application of a KfDef.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its name, and the name of its folder.
    pub name: String,
    /// The folder of the manifests.
    pub path: String,
}

/// What was generated.
#[derive(Debug, Default)]
pub struct Generated {
    /// Text by path below the application's folder.
    pub files: BTreeMap<PathBuf, String>,
    /// What was left out, in words.
    pub warnings: Vec<String>,
}

impl KfDef {
    /// Reads a KfDef. `default_name` is its name where it has none.
    ///
    /// # Errors
    /// [`Error::KfDef`] says what is wrong with it.
    pub fn parse(text: &str, default_name: &str) -> Result<Self, Error> {
        let mut document = objects::yaml::parse(text)
            .map_err(|error| Error::KfDef(format!("it is no YAML: {error}")))?;
        let kind = document["kind"].as_str().unwrap_or_default();
        if kind != "KfDef" {
            return Err(Error::KfDef(format!("unsupported object kind: {kind:?}")));
        }
        let version = document["apiVersion"].as_str().unwrap_or_default();
        if !VERSIONS.contains(&version) {
            return Err(Error::KfDef(format!(
                "version {version:?} is not read; write {}",
                VERSIONS[0]
            )));
        }
        if document["metadata"]["name"]
            .as_str()
            .is_none_or(str::is_empty)
        {
            document["metadata"]["name"] = default_name.into();
        }
        match document["metadata"]["namespace"].as_str() {
            None | Some("") => document["metadata"]["namespace"] = NAMESPACE.into(),
            Some(NAMESPACE) => {}
            Some(other) => {
                return Err(Error::KfDef(format!(
                    "metadata.namespace is {other:?}; this version installs into the namespace {NAMESPACE} only"
                )));
            }
        }
        let kfdef = Self { document };
        kfdef.source()?;
        Ok(kfdef)
    }

    /// The KfDef that we keep for a well-known file name, wherever its address leads.
    pub fn well_known(file_name: &str) -> Option<Self> {
        if !is_well_known(file_name) {
            return None;
        }
        let text = sources::read("kfdef/kubeflow.yaml")?;
        Self::parse(&text, NAMESPACE).ok()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.document["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
    }

    /// The cluster that it was applied to.
    pub fn cluster(&self) -> Option<&str> {
        self.document["metadata"]["clusterName"].as_str()
    }

    /// Records where it was applied, and how that ended.
    pub fn record(&mut self, cluster: &str, is_available: bool, message: &str, now: &str) {
        self.document["metadata"]["clusterName"] = cluster.into();
        let kind = if is_available {
            "Available"
        } else {
            "Degraded"
        };
        let old = self.document["status"]["conditions"][0].clone();
        let since = if old["type"] == kind {
            old["lastTransitionTime"].clone()
        } else {
            now.into()
        };
        self.document["status"]["conditions"] = json!([{
            "type": kind,
            "status": "True",
            "reason": if is_available { "AllReady" } else { "NotReady" },
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": since,
        }]);
    }

    /// Adds the application that makes volumes on the nodes, before the others, which need it. Answers whether it was
    /// not there yet.
    pub fn add_local_storage(&mut self) -> bool {
        let repository = self.repositories().next().map(|(name, _)| name.to_owned());
        let Some(applications) = self.document["spec"]["applications"].as_array_mut() else {
            return false;
        };
        if applications
            .iter()
            .any(|one| one["name"] == LOCAL_PROVISIONER)
        {
            return false;
        }
        let reference = json!({"name": repository, "path": LOCAL_PROVISIONER});
        applications.insert(
            0,
            json!({"name": LOCAL_PROVISIONER, "kustomizeConfig": {"repoRef": reference}}),
        );
        true
    }

    /// Its text.
    pub fn text(&self) -> String {
        objects::yaml::write(&self.document)
    }

    /// Its applications, in order. What this version does not have is left out, and said.
    ///
    /// # Errors
    /// [`Error::KfDef`] when one has no usable `kustomizeConfig`.
    pub fn applications(&self) -> Result<(Vec<Application>, Vec<String>), Error> {
        let (mut known, mut warnings) = (Vec::new(), Vec::new());
        for one in self.document["spec"]["applications"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = one["name"].as_str().unwrap_or_default();
            if !is_folder_name(name) {
                return Err(Error::KfDef(format!(
                    "an application is called {name:?}; use letters, digits and dashes"
                )));
            }
            let reference = &one["kustomizeConfig"]["repoRef"];
            let Some(path) = reference["path"].as_str() else {
                return Err(Error::KfDef(format!(
                    "application {name} has no kustomizeConfig.repoRef.path"
                )));
            };
            let repository = reference["name"].as_str().unwrap_or_default();
            if !self.repositories().any(|(known, _)| known == repository) {
                return Err(Error::KfDef(format!(
                    "application {name} wants the repository {repository:?}, which spec.repos does not have"
                )));
            }
            for unused in ["overlays", "parameters"] {
                if one["kustomizeConfig"][unused]
                    .as_array()
                    .is_some_and(|list| !list.is_empty())
                {
                    warnings.push(format!(
                        "application {name}: {unused} are not used; edit kustomize/{name}/kustomization.yaml instead"
                    ));
                }
            }
            let path = path.trim_matches('/');
            if PARTS.contains(&path) || self.folder().is_some() {
                known.push(Application {
                    name: name.to_owned(),
                    path: path.to_owned(),
                });
            } else {
                warnings.push(format!(
                    "application {name} ({path}) is not in this version of Ferroflow; it is left out"
                ));
            }
        }
        Ok((known, warnings))
    }

    /// Everything below the application's folder except the KfDef itself: the manifests, and a folder for each
    /// application that refers to them.
    ///
    /// # Errors
    /// As [`Self::applications`].
    pub fn generate(&self, version: &str) -> Result<Generated, Error> {
        let (applications, warnings) = self.applications()?;
        let mut generated = Generated {
            warnings,
            ..Generated::default()
        };
        let cache = match self.folder() {
            Some(folder) => folder,
            None => {
                let cache = PathBuf::from(format!(".cache/manifests/manifests-{version}"));
                for path in sources::tree() {
                    let text = sources::read(&path).unwrap_or_default();
                    generated.files.insert(cache.join(path), text);
                }
                Path::new("../..").join(cache)
            }
        };
        for application in applications {
            let resource = cache.join(&application.path);
            let kustomization = json!({
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [resource],
                "images": [{ "name": "ferroflow/kfctl", "newTag": version }],
            });
            let path = Path::new("kustomize")
                .join(&application.name)
                .join("kustomization.yaml");
            generated
                .files
                .insert(path, objects::yaml::write(&kustomization));
        }
        Ok(generated)
    }

    /// A manifests folder of the user's own, relative to the application's folder.
    fn folder(&self) -> Option<PathBuf> {
        let (_, uri) = self.repositories().next()?;
        (uri != BUILT_IN).then(|| Path::new("../..").join(uri))
    }

    fn repositories(&self) -> impl Iterator<Item = (&str, &str)> {
        self.document["spec"]["repos"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| {
                (
                    one["name"].as_str().unwrap_or_default(),
                    one["uri"].as_str().unwrap_or_default(),
                )
            })
    }

    fn source(&self) -> Result<(), Error> {
        let repositories: Vec<_> = self.repositories().collect();
        match repositories[..] {
            [(_, uri)] if !uri.contains("://") && !uri.is_empty() && !uri.starts_with('/') => {
                Ok(())
            }
            [(name, uri)] => Err(Error::KfDef(format!(
                "the repository {name} is {uri:?}; this version takes {BUILT_IN:?} or a folder beside this file"
            ))),
            _ => Err(Error::KfDef(
                "spec.repos must have one repository".to_owned(),
            )),
        }
    }
}

/// The objects of one application, rendered from the folder that `build` made, after whatever was edited there.
///
/// # Errors
/// [`Error::Render`] names the file and what is wrong with it.
pub fn render(folder: &Path, application: &str) -> Result<Vec<Value>, Error> {
    kustomize::render(&format!("kustomize/{application}"), &|path| {
        std::fs::read_to_string(folder.join(path)).ok()
    })
}

/// A kustomization that people may have edited, brought to the version of a newly generated one: what refers to our
/// manifests and the tag of our image follow it, everything else stays.
///
/// # Errors
/// [`Error::KfDef`] when one of them is no YAML.
pub fn carry_over(old: &str, new: &str) -> Result<String, Error> {
    let read = |text: &str| {
        objects::yaml::parse(text).map_err(|error| Error::KfDef(format!("it is no YAML: {error}")))
    };
    let (mut old, new) = (read(old)?, read(new)?);
    for resource in old["resources"].as_array_mut().into_iter().flatten() {
        let text = resource.as_str().unwrap_or_default();
        if text.starts_with("../../.cache/manifests/manifests-") {
            *resource = new["resources"][0].clone();
        }
    }
    for image in old["images"].as_array_mut().into_iter().flatten() {
        if image["name"] == new["images"][0]["name"] && image.get("newName").is_none() {
            image["newTag"] = new["images"][0]["newTag"].clone();
        }
    }
    Ok(objects::yaml::write(&old))
}

/// `kfctl_k8s_istio.v1.2.0.yaml`, `kfdef_k8s_istio.v1.7.0.yaml` and their like.
fn is_well_known(file_name: &str) -> bool {
    let Some(rest) = file_name
        .strip_prefix("kfctl_")
        .or_else(|| file_name.strip_prefix("kfdef_"))
    else {
        return false;
    };
    let Some(rest) = rest
        .strip_suffix(".yaml")
        .or_else(|| rest.strip_suffix(".yml"))
    else {
        return false;
    };
    let (name, version) = rest.split_once('.').unwrap_or((rest, "1"));
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let numbers: Vec<&str> = version.trim_start_matches('v').split('.').collect();
    let is_version = numbers.len() <= 3
        && numbers
            .iter()
            .all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    is_name && is_version
}

fn is_folder_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "apiVersion: kfdef.apps.kubeflow.org/v1\nkind: KfDef\nspec:\n  repos: [{name: manifests, uri: 'builtin:'}]\n";

    #[test]
    fn names_of_the_guide_and_of_upstream_are_known_and_others_are_not() {
        for name in [
            "kfdef_k8s_istio.v1.7.0.yaml",
            "kfctl_k8s_istio.v1.2.0.yaml",
            "kfctl_istio_dex.yaml",
            "kfdef_aws.1.2.yml",
        ] {
            assert!(KfDef::well_known(name).is_some(), "{name}");
        }
        for name in [
            "mine.yaml",
            "kfdef_.yaml",
            "kfdef_K8s.yaml",
            "kfdef_a.v1.2.3.4.yaml",
            "kfdef_a.vx.yaml",
            "../kfdef_a.yaml",
        ] {
            assert!(KfDef::well_known(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_kfdef_without_a_name_is_named_after_its_folder() {
        let kfdef = KfDef::parse(MINIMAL, "mine").expect("valid");
        assert_eq!(kfdef.name(), "mine");
        assert_eq!(kfdef.applications().expect("none"), (vec![], vec![]));
    }

    #[test]
    fn storage_on_the_nodes_is_added_once_and_stays_in_the_file() {
        let mut kfdef = KfDef::well_known("kfdef_k8s_istio.v1.7.0.yaml").expect("known");
        let without = kfdef.applications().expect("valid").0.len();
        assert!(kfdef.add_local_storage());
        let mut again = KfDef::parse(&kfdef.text(), "x").expect("valid");
        assert!(!again.add_local_storage());
        let (applications, warnings) = again.applications().expect("valid");
        assert_eq!(applications.len(), without + 1);
        assert_eq!(
            (applications[0].name.as_str(), warnings.len()),
            (LOCAL_PROVISIONER, 0)
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        for (text, word) in [
            ("kind: Pod", "unsupported object kind"),
            (
                "kind: KfDef\napiVersion: kfdef.apps.kubeflow.org/v1alpha1",
                "v1alpha1",
            ),
            (
                "kind: KfDef\napiVersion: kfdef.apps.kubeflow.org/v1\nmetadata: {namespace: x}\n",
                "namespace",
            ),
            (
                "kind: KfDef\napiVersion: kfdef.apps.kubeflow.org/v1\nspec: {repos: [{name: m, uri: 'https://x'}]}",
                "https://x",
            ),
        ] {
            let error = KfDef::parse(text, "x").expect_err(text).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn an_application_that_is_not_there_is_left_out_and_said() {
        let text = format!(
            "{MINIMAL}  applications:\n  - {{name: katib, kustomizeConfig: {{repoRef: {{name: manifests, path: katib}}}}}}\n  - {{name: console, kustomizeConfig: {{repoRef: {{name: manifests, path: console}}, parameters: [{{name: a, value: b}}]}}}}\n"
        );
        let (known, warnings) = KfDef::parse(&text, "x")
            .expect("valid")
            .applications()
            .expect("both are well formed");
        assert_eq!(known.len(), 1);
        assert!(
            warnings[0].contains("katib") && warnings[1].contains("parameters"),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_is_generated_renders_to_what_is_installed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kfdef = KfDef::well_known("kfdef_k8s_istio.v1.7.0.yaml").expect("known");
        let version = env!("CARGO_PKG_VERSION");
        let generated = kfdef.generate(version).expect("valid");
        assert!(generated.warnings.is_empty(), "{:?}", generated.warnings);
        for (path, text) in generated.files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, text).expect("written");
        }
        let (applications, _) = kfdef.applications().expect("valid");
        let mut objects: Vec<String> = applications
            .iter()
            .flat_map(|one| render(folder.path(), &one.name).expect("it renders"))
            .map(|object| object.to_string())
            .collect();
        let mut wanted: Vec<String> = kustomize::render("example", &sources::read)
            .expect("it renders")
            .iter()
            .map(Value::to_string)
            .collect();
        objects.sort();
        wanted.sort();
        assert_eq!(objects, wanted);
    }

    #[test]
    fn an_edited_folder_follows_the_version_and_keeps_the_edits() {
        let of = |version: &str, more: &str| {
            format!(
                "resources: [../../.cache/manifests/manifests-{version}/console]\nimages: [{{name: ferroflow/kfctl, newTag: {version}}}]\n{more}"
            )
        };
        let carried =
            carry_over(&of("0.0.9", "namespace: kept\n"), &of("0.1.0", "")).expect("YAML");
        let carried = objects::yaml::parse(&carried).expect("YAML");
        let wanted = objects::yaml::parse(&of("0.1.0", "namespace: kept\n")).expect("YAML");
        assert_eq!(carried, wanted);
    }

    #[test]
    fn the_record_keeps_the_time_of_the_last_change() {
        let mut kfdef = KfDef::parse(MINIMAL, "x").expect("valid");
        kfdef.record("c", true, "", "t1");
        kfdef.record("c", true, "", "t2");
        let condition = kfdef.document["status"]["conditions"][0].clone();
        assert_eq!(
            (
                condition["lastTransitionTime"].clone(),
                condition["lastUpdateTime"].clone()
            ),
            (json!("t1"), json!("t2"))
        );
        kfdef.record("c", false, "", "t3");
        assert_eq!(
            kfdef.document["status"]["conditions"][0]["lastTransitionTime"],
            "t3"
        );
        assert_eq!(
            KfDef::parse(&kfdef.text(), "x")
                .expect("readable")
                .cluster(),
            Some("c")
        );
    }
}
