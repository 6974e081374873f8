//! Which resources exist: the built-in ones for good, those of CRDs while their definition does.
//!
//! A registry is immutable; a change makes a new one that is swapped in whole, so a request sees one state of it.

pub mod builtin;
pub mod crd;
mod fields;
pub mod records;
mod resource;
pub mod schemas;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use resource::{Conversion, Origin, Resource, Scale, Subresource};

/// Every resource of every served version.
#[derive(Debug, Default)]
pub struct Registry {
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    groups: BTreeMap<String, Vec<String>>,
    /// Rises with every change; caches of documents carry it.
    pub generation: u64,
}

impl Registry {
    /// A registry of these resources.
    pub fn new(resources: impl IntoIterator<Item = Arc<Resource>>, generation: u64) -> Self {
        let mut registry = Self {
            generation,
            ..Self::default()
        };
        for resource in resources {
            let versions = registry.groups.entry(resource.group.clone()).or_default();
            if !versions.contains(&resource.version) {
                versions.push(resource.version.clone());
            }
            let path = (
                resource.group.clone(),
                resource.version.clone(),
                resource.plural.clone(),
            );
            registry.by_path.entry(path).or_insert(resource);
        }
        for versions in registry.groups.values_mut() {
            versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        }
        registry
    }

    /// The resource at `/apis/{group}/{version}/…/{plural}`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        // A borrowed triple cannot look up an owned one; three short strings are cheaper than a second map.
        self.by_path
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The resource of a group in whichever version is preferred.
    pub fn find_any(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.groups
            .get(group)?
            .iter()
            .find_map(|version| self.find(group, version, plural))
    }

    /// Groups and their versions, the preferred version first.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.groups
            .iter()
            .map(|(group, versions)| (group.as_str(), versions.as_slice()))
    }

    /// The resources of one group and version, by plural.
    pub fn resources(&self, group: &str, version: &str) -> Vec<&Arc<Resource>> {
        let mut found: Vec<_> = self
            .by_path
            .values()
            .filter(|resource| resource.group == group && resource.version == version)
            .collect();
        found.sort_by(|a, b| a.plural.cmp(&b.plural));
        found
    }

    /// All resources, each served version once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_path.values()
    }
}

/// Kubernetes' order of versions: GA before beta before alpha, higher numbers first, other names last.
pub fn version_priority(version: &str) -> (u8, u64, u64) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major: u64 = rest[..digits].parse().ok()?;
        let stage = &rest[digits..];
        if stage.is_empty() {
            return Some((3, major, 0));
        }
        let (rank, minor) = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
            (Some(minor), _) => (2, minor),
            (_, Some(minor)) => (1, minor),
            _ => return None,
        };
        Some((rank, major, minor.parse().ok()?))
    };
    parse().unwrap_or((0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::version_priority;

    #[test]
    fn stable_versions_come_before_betas_and_alphas() {
        let mut versions = ["v1alpha1", "foo", "v2beta1", "v1", "v10", "v1beta2", "v2"];
        versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]
        );
    }
}
