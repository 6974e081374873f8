//! Names of APIs: group and version, with a kind or with a resource.
//! The core group is the empty string; `apiVersion` is `v1` there and `group/version` elsewhere.

use std::fmt;
use std::str::FromStr;

/// An API group and one of its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// Empty for the core group.
    pub group: String,
    /// For example `v1`.
    pub version: String,
}

/// A kind in a group and version: what `apiVersion` and `kind` of an object say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvk {
    /// Empty for the core group.
    pub group: String,
    /// For example `v1`.
    pub version: String,
    /// For example `Deployment`.
    pub kind: String,
}

/// A resource in a group and version: what a request path says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvr {
    /// Empty for the core group.
    pub group: String,
    /// For example `v1`.
    pub version: String,
    /// The plural, for example `deployments`.
    pub resource: String,
}

/// An `apiVersion` that is neither `version` nor `group/version`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unexpected GroupVersion string: {0}")]
pub struct InvalidGroupVersion(pub String);

impl GroupVersion {
    /// A group version from its two parts.
    pub fn new(group: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
        }
    }

    /// The kind of this name in this group version.
    pub fn kind(&self, kind: impl Into<String>) -> Gvk {
        Gvk {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: kind.into(),
        }
    }

    /// The resource of this plural in this group version.
    pub fn resource(&self, resource: impl Into<String>) -> Gvr {
        Gvr {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

impl FromStr for GroupVersion {
    type Err = InvalidGroupVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            None => Ok(Self::new("", text)),
            Some((group, version)) if !version.contains('/') => Ok(Self::new(group, version)),
            Some(_) => Err(InvalidGroupVersion(text.to_owned())),
        }
    }
}

impl Gvk {
    /// A kind from its three parts.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        kind: impl Into<String>,
    ) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    /// What an object says it is; `None` where `apiVersion` or `kind` is absent or malformed.
    pub fn of(object: &serde_json::Value) -> Option<Self> {
        let api_version: GroupVersion = object.get("apiVersion")?.as_str()?.parse().ok()?;
        let kind = object.get("kind")?.as_str()?;
        (!kind.is_empty() && !api_version.version.is_empty()).then(|| api_version.kind(kind))
    }

    /// The group version of this kind.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(self.group.clone(), self.version.clone())
    }

    /// The value of `apiVersion`.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }

    /// `Deployment.apps`, or `Pod` in the core group: how error messages name a kind.
    pub fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.group_version(), self.kind)
    }
}

impl Gvr {
    /// A resource from its three parts.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        resource: impl Into<String>,
    ) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
        }
    }

    /// The group version of this resource.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(self.group.clone(), self.version.clone())
    }

    /// `deployments.apps`, or `pods` in the core group: how error messages name a resource.
    pub fn qualified_resource(&self) -> String {
        qualified(&self.resource, &self.group)
    }
}

impl fmt::Display for Gvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Resource={}", self.group_version(), self.resource)
    }
}

/// A name with its group behind a dot, without the dot in the core group.
pub(crate) fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_version_has_an_empty_group_and_prints_without_a_slash() {
        let core: GroupVersion = "v1".parse().unwrap();
        assert_eq!(core, GroupVersion::new("", "v1"));
        assert_eq!(core.to_string(), "v1");
        assert_eq!(
            "apps/v1".parse::<GroupVersion>().unwrap().to_string(),
            "apps/v1"
        );
        assert!("a/b/c".parse::<GroupVersion>().is_err());
    }

    #[test]
    fn an_object_without_a_kind_has_no_gvk() {
        assert_eq!(Gvk::of(&serde_json::json!({"apiVersion": "v1"})), None);
        let deployment =
            Gvk::of(&serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment"})).unwrap();
        assert_eq!(deployment.qualified_kind(), "Deployment.apps");
        assert_eq!(deployment.api_version(), "apps/v1");
    }
}
