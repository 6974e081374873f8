//! A kind that carries a template: typed for reading, with the template kept as the JSON it is, so that what is made
//! from it loses no field that our types do not know.

use std::borrow::Cow;
use std::ops::Deref;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `K` and its `spec.template` (of a CronJob: `spec.jobTemplate`).
#[derive(Clone, Debug)]
pub struct Templated<K> {
    typed: K,
    /// The template as stored.
    pub template: Value,
}

impl<K> Templated<K> {
    /// A typed object with its template.
    pub fn new(typed: K, template: Value) -> Self {
        Self { typed, template }
    }
}

impl<K> Deref for Templated<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.typed
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Templated<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let template = object
            .pointer("/spec/template")
            .or_else(|| object.pointer("/spec/jobTemplate"))
            .cloned()
            .unwrap_or_default();
        let typed = serde_json::from_value(object).map_err(D::Error::custom)?;
        Ok(Self { typed, template })
    }
}

impl<K: Resource> Resource for Templated<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &K::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &K::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &K::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &K::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.typed.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.typed.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_the_template_that_no_type_knows_is_kept() {
        let deployment: Templated<Deployment> = serde_json::from_value(json!({
            "metadata": {"name": "d"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [], "fromTheFuture": true}}},
        }))
        .unwrap();
        assert_eq!(deployment.template["spec"]["fromTheFuture"], true);
        assert_eq!(deployment.metadata.name.as_deref(), Some("d"));
    }
}
