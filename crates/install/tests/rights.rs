//! What each component may do in a cluster, in full. Whoever gives one a right writes it here too.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every right that is handed out: who, where, and what. `*` as a place is the whole cluster.
const RIGHTS: &[(&str, &str, &str)] = &[
    ("dashboard", "*", "impersonate users"),
    (
        "dashboard",
        "*",
        "create subjectaccessreviews.authorization.k8s.io",
    ),
    (
        "dashboard",
        "*",
        "create tokenreviews.authentication.k8s.io",
    ),
    ("dashboard", "kubeflow", "create secrets"),
    (
        "dashboard",
        "kubeflow",
        "delete secrets kubeflow-initial-admin",
    ),
    (
        "dashboard",
        "kubeflow",
        "get,patch,update secrets dashboard-accounts",
    ),
    (
        "dashboard",
        "kubeflow",
        "get,patch,update secrets dashboard-session",
    ),
    (
        "dashboard",
        "kubeflow",
        "get,patch,update secrets kubeflow-initial-admin",
    ),
    (
        "kubeflow-admin",
        "kubeflow",
        "get,list,watch deployments.apps",
    ),
    ("kubeflow-admin", "kubeflow", "get,list,watch events"),
    (
        "kubeflow-admin",
        "kubeflow",
        "get,list,watch persistentvolumeclaims",
    ),
    ("kubeflow-admin", "kubeflow", "get,list,watch pods"),
    ("kubeflow-admin", "kubeflow", "get,list,watch pods/log"),
    (
        "kubeflow-admin",
        "kubeflow",
        "get,list,watch replicasets.apps",
    ),
    ("kubeflow-admin", "kubeflow", "get,list,watch services"),
    (
        "kubeflow-admin",
        "kubeflow",
        "use experiments.pipelines.kubeflow.org",
    ),
    (
        "kubeflow-admin",
        "kubeflow",
        "use jobs.pipelines.kubeflow.org",
    ),
    (
        "kubeflow-admin",
        "kubeflow",
        "use pipelines.pipelines.kubeflow.org",
    ),
    (
        "kubeflow-admin",
        "kubeflow",
        "use pipelineversions.pipelines.kubeflow.org",
    ),
    (
        "kubeflow-admin",
        "kubeflow",
        "use runs.pipelines.kubeflow.org",
    ),
    ("local-provisioner", "*", "create,patch events"),
    (
        "local-provisioner",
        "*",
        "create,delete,list,watch persistentvolumes",
    ),
    (
        "local-provisioner",
        "*",
        "get storageclasses.storage.k8s.io",
    ),
    (
        "local-provisioner",
        "*",
        "list,watch persistentvolumeclaims",
    ),
    (
        "ml-pipeline",
        "*",
        "create subjectaccessreviews.authorization.k8s.io",
    ),
    (
        "ml-pipeline",
        "*",
        "create tokenreviews.authentication.k8s.io",
    ),
    (
        "ml-pipeline",
        "kubeflow",
        "create,delete,get,list,patch,update,watch pods",
    ),
    (
        "ml-pipeline",
        "kubeflow",
        "create,delete,get,list,patch,watch persistentvolumeclaims",
    ),
    (
        "ml-pipeline",
        "kubeflow",
        "create,get,list,patch,watch events",
    ),
    (
        "ml-pipeline",
        "kubeflow",
        "create,get,patch,update leases.coordination.k8s.io",
    ),
    ("ml-pipeline", "kubeflow", "get pods/log"),
    ("ml-pipeline", "kubeflow", "get services ml-pipeline"),
    ("ml-pipeline", "kubeflow", "get,list,watch configmaps"),
    (
        "pipeline-runner",
        "kubeflow",
        "use experiments.pipelines.kubeflow.org",
    ),
    (
        "pipeline-runner",
        "kubeflow",
        "use pipelines.pipelines.kubeflow.org",
    ),
    (
        "pipeline-runner",
        "kubeflow",
        "use pipelineversions.pipelines.kubeflow.org",
    ),
    (
        "pipeline-runner",
        "kubeflow",
        "use runs.pipelines.kubeflow.org",
    ),
];

fn rendered(folder: &str) -> Vec<Value> {
    install::kustomize::render(folder, &install::sources::read)
        .expect("what we ship can be rendered")
}

fn objects() -> Vec<Value> {
    rendered("example")
}

/// What everybody gets, and what is only installed where it is asked for.
fn objects_with_options() -> Vec<Value> {
    let mut objects = objects();
    objects.extend(rendered("local-provisioner"));
    objects
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| entry.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Our own API's verbs are many; they are one right here.
fn verbs(rule: &Value, group: &str) -> String {
    if group == "pipelines.kubeflow.org" {
        return "use".to_owned();
    }
    let mut verbs = texts(&rule["verbs"]);
    verbs.sort();
    verbs.join(",")
}

fn handed_out() -> Vec<(String, String, String)> {
    let objects = objects_with_options();
    let mut roles = BTreeMap::new();
    for object in &objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind == "Role" || kind == "ClusterRole" {
            let key = (
                kind.to_owned(),
                object["metadata"]["namespace"].to_string(),
                object["metadata"]["name"].to_string(),
            );
            roles.insert(key, object);
        }
    }
    let mut rights = Vec::new();
    for binding in objects.iter().filter(|object| {
        object["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("Binding"))
    }) {
        let is_everywhere = binding["kind"] == "ClusterRoleBinding";
        let namespace = binding["metadata"]["namespace"].to_string();
        let kind = binding["roleRef"]["kind"].as_str().unwrap_or_default();
        let key = (
            kind.to_owned(),
            if kind == "Role" {
                namespace
            } else {
                "null".to_owned()
            },
            binding["roleRef"]["name"].to_string(),
        );
        let role = roles.get(&key).unwrap_or_else(|| {
            panic!("{key:?} is bound and shipped: nothing of the cluster's own is used")
        });
        let place = if is_everywhere {
            "*".to_owned()
        } else {
            binding["metadata"]["namespace"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let who = subject["name"].as_str().unwrap_or_default();
            for rule in role["rules"].as_array().into_iter().flatten() {
                for group in texts(&rule["apiGroups"]) {
                    for resource in texts(&rule["resources"]) {
                        let what = if group.is_empty() {
                            resource
                        } else {
                            format!("{resource}.{group}")
                        };
                        let names = texts(&rule["resourceNames"]);
                        let verbs = verbs(rule, &group);
                        if names.is_empty() {
                            rights.push((who.to_owned(), place.clone(), format!("{verbs} {what}")));
                        }
                        for name in names {
                            rights.push((
                                who.to_owned(),
                                place.clone(),
                                format!("{verbs} {what} {name}"),
                            ));
                        }
                    }
                }
            }
        }
    }
    rights.sort();
    rights
}

#[test]
fn each_component_may_do_this_and_nothing_else() {
    let mut wanted: Vec<(String, String, String)> = RIGHTS
        .iter()
        .map(|(who, place, what)| ((*who).to_owned(), (*place).to_owned(), (*what).to_owned()))
        .collect();
    wanted.sort();
    assert_eq!(handed_out(), wanted);
}

#[test]
fn no_right_is_a_wildcard() {
    for object in objects_with_options() {
        for rule in object["rules"].as_array().into_iter().flatten() {
            for list in ["apiGroups", "resources", "verbs"] {
                assert!(
                    texts(&rule[list]).iter().all(|entry| !entry.contains('*')),
                    "{}: {rule}",
                    object["metadata"]["name"]
                );
            }
        }
    }
}

#[test]
fn every_component_has_an_account_of_its_own() {
    let mut accounts = std::collections::BTreeSet::new();
    for object in objects()
        .iter()
        .filter(|object| object["kind"] == "Deployment")
    {
        let account = object["spec"]["template"]["spec"]["serviceAccountName"].as_str();
        let account =
            account.unwrap_or_else(|| panic!("{} names an account", object["metadata"]["name"]));
        assert!(
            accounts.insert(account.to_owned()),
            "{account} is used twice"
        );
        assert!(
            objects().iter().any(|one| one["kind"] == "ServiceAccount"
                && one["metadata"]["name"] == account
                && one["metadata"]["namespace"] == object["metadata"]["namespace"]),
            "{account} is shipped"
        );
    }
}

#[test]
fn every_pod_is_one_that_the_restricted_standard_accepts() {
    for object in objects()
        .iter()
        .filter(|object| object["kind"] == "Deployment")
    {
        let name = &object["metadata"]["name"];
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.get(forbidden).is_none(), "{name} {forbidden}");
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let allowed = [
                "persistentVolumeClaim",
                "emptyDir",
                "configMap",
                "secret",
                "projected",
            ];
            assert!(
                allowed.iter().any(|kind| volume.get(kind).is_some()),
                "{name} {volume}"
            );
        }
        for container in pod["containers"].as_array().into_iter().flatten() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(
                context["capabilities"]["drop"],
                serde_json::json!(["ALL"]),
                "{name}"
            );
            assert!(
                container.get("readinessProbe").is_some()
                    && container.get("livenessProbe").is_some(),
                "{name}"
            );
            assert!(container["resources"]["requests"].is_object(), "{name}");
            for port in container["ports"].as_array().into_iter().flatten() {
                assert!(port.get("hostPort").is_none(), "{name}");
            }
        }
    }
}

#[test]
fn every_deployment_has_a_disruption_budget_and_a_network_policy() {
    let objects = objects();
    for object in objects
        .iter()
        .filter(|object| object["kind"] == "Deployment")
    {
        for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
            let is_there = objects.iter().any(|one| {
                let labels = if kind == "NetworkPolicy" {
                    &one["spec"]["podSelector"]["matchLabels"]
                } else {
                    &one["spec"]["selector"]["matchLabels"]
                };
                one["kind"] == kind
                    && one["metadata"]["namespace"] == object["metadata"]["namespace"]
                    && labels["app"] == object["spec"]["selector"]["matchLabels"]["app"]
            });
            assert!(is_there, "{} has no {kind}", object["metadata"]["name"]);
        }
    }
}

#[test]
fn every_object_says_what_it_is_part_of() {
    for object in objects_with_options() {
        assert_eq!(
            object["metadata"]["labels"]["app.kubernetes.io/part-of"], "kubeflow",
            "{} {}",
            object["kind"], object["metadata"]["name"]
        );
    }
}

#[test]
fn the_tag_of_the_manifests_is_this_version() {
    for object in objects_with_options()
        .iter()
        .filter(|object| object["kind"] == "Deployment" || object["kind"] == "DaemonSet")
    {
        assert_eq!(
            object["spec"]["template"]["spec"]["containers"][0]["image"],
            concat!("ferroflow/kfctl:", env!("CARGO_PKG_VERSION")),
            "change newTag in manifests/kubeflow/kustomization.yaml"
        );
    }
}

/// One machine gets the very objects of a cluster, but for what `manifests/one-machine` says.
#[test]
fn one_machine_gets_what_a_cluster_gets() {
    let here = install::kustomize::render("one-machine", &install::sources::read)
        .expect("what we ship can be rendered");
    let name = |object: &Value| {
        (
            object["kind"].to_string(),
            object["metadata"]["namespace"].to_string(),
            object["metadata"]["name"].to_string(),
        )
    };
    let mut extra = Vec::new();
    let cluster = objects();
    for mut object in here {
        let Some(there) = cluster.iter().find(|one| name(one) == name(&object)) else {
            extra.push(name(&object).2);
            continue;
        };
        if object["kind"] == "Deployment" {
            assert_eq!(
                object["metadata"]["annotations"],
                serde_json::json!({"ferroflow.io/built-in": "true"})
            );
            object["metadata"]
                .as_object_mut()
                .expect("an object")
                .remove("annotations");
        }
        if object["metadata"]["name"] == "dashboard" && object["kind"] == "Deployment" {
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            container["env"]
                .as_array_mut()
                .expect("a list")
                .retain(|variable| variable["name"] != "FERROFLOW_OWNER");
            let port = container["ports"][0].as_object_mut().expect("a port");
            assert!(port.remove("hostPort").is_some() && port.remove("hostIP").is_some());
        }
        assert_eq!(&object, there);
    }
    extra.sort();
    assert_eq!(extra, ["\"ferroflow-owner\"", "\"standard\""]);
    assert_eq!(
        cluster.len() + extra.len(),
        install::kustomize::render("one-machine", &install::sources::read)
            .expect("rendered")
            .len()
    );
}

#[test]
fn the_provisioner_is_roots_with_two_capabilities_and_one_folder_in_a_namespace_of_its_own() {
    let objects = rendered("local-provisioner");
    let pod = objects
        .iter()
        .find(|object| object["kind"] == "DaemonSet")
        .map(|object| &object["spec"]["template"]["spec"])
        .expect("a DaemonSet");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(
        container["capabilities"],
        serde_json::json!({"drop": ["ALL"], "add": ["DAC_OVERRIDE", "FOWNER"]})
    );
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(
        pod["volumes"],
        serde_json::json!([{"name": "volumes", "hostPath": {"path": "/var/lib/ferroflow/volumes", "type": "DirectoryOrCreate"}}])
    );
    for object in &objects {
        if let Some(namespace) = object["metadata"]["namespace"].as_str() {
            assert_eq!(namespace, "ferroflow-storage", "{}", object["kind"]);
        }
    }
}
