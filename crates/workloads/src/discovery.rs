//! The resources a server has, each in its preferred version.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Client;
use kube::core::discovery::ApiResource;

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its names.
    pub api: ApiResource,
    /// Whether its objects live in namespaces.
    pub is_namespaced: bool,
    verbs: Vec<String>,
}

impl Resource {
    /// Whether the server offers a verb.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|held| held == verb)
    }

    /// The path of the collection; `namespace` is empty for cluster-scoped objects.
    pub fn path(&self, namespace: &str) -> String {
        let base = if self.api.group.is_empty() {
            format!("/api/{}", self.api.version)
        } else {
            format!("/apis/{}", self.api.api_version)
        };
        if self.is_namespaced && !namespace.is_empty() {
            format!("{base}/namespaces/{namespace}/{}", self.api.plural)
        } else {
            format!("{base}/{}", self.api.plural)
        }
    }
}

/// Every resource, and the groups that could not be asked about, with the reason.
pub async fn discover(client: &Client) -> (Vec<Resource>, Vec<String>) {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    match client.list_core_api_resources("v1").await {
        Ok(list) => collect(&mut found, "", "v1", &list.resources),
        Err(error) => failures.push(format!("v1: {error}")),
    }
    match client.list_api_groups().await {
        Err(error) => failures.push(format!("groups: {error}")),
        Ok(groups) => {
            for group in groups.groups {
                let Some(version) = group
                    .preferred_version
                    .or_else(|| group.versions.into_iter().next())
                else {
                    continue;
                };
                match client
                    .list_api_group_resources(&version.group_version)
                    .await
                {
                    Ok(list) => collect(&mut found, &group.name, &version.version, &list.resources),
                    Err(error) => failures.push(format!("{}: {error}", version.group_version)),
                }
            }
        }
    }
    (found, failures)
}

fn collect(found: &mut Vec<Resource>, group: &str, version: &str, resources: &[APIResource]) {
    for resource in resources
        .iter()
        .filter(|resource| !resource.name.contains('/'))
    {
        // Events are served under two groups but are one set of objects.
        if group == "events.k8s.io" {
            continue;
        }
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        found.push(Resource {
            api: ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version,
                kind: resource.kind.clone(),
                plural: resource.name.clone(),
            },
            is_namespaced: resource.namespaced,
            verbs: resource.verbs.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn subresources_and_the_second_name_of_events_are_left_out() {
        let list: Vec<APIResource> = serde_json::from_value(json!([
            {"name": "pods", "kind": "Pod", "namespaced": true, "singularName": "pod", "verbs": ["list", "delete"]},
            {"name": "pods/log", "kind": "Pod", "namespaced": true, "singularName": "", "verbs": ["get"]},
        ]))
        .unwrap();
        let mut found = Vec::new();
        collect(&mut found, "", "v1", &list);
        collect(&mut found, "events.k8s.io", "v1", &list);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path("ns"), "/api/v1/namespaces/ns/pods");
        assert!(found[0].can("delete") && !found[0].can("watch"));
    }
}
