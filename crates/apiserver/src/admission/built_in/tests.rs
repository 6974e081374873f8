//! The straight way of the mark, then every way round each of its three links.

use super::super::test_review::Write;
use super::*;
use crate::authn::User;
use crate::lookup::Fixed;

fn installers() -> Vec<String> {
    vec!["kubeflow".to_owned()]
}

fn deployment_controller() -> User {
    User::service_account("kube-system", "deployment-controller")
}

fn replica_set_controller() -> User {
    User::service_account("kube-system", "replicaset-controller")
}

fn marked(mut object: Value) -> Value {
    set_mark(&mut object, true);
    object
}

fn template() -> Value {
    let mut deployment = json!({"spec": {"template": {
        "metadata": {"labels": {"app": "ml-pipeline"}},
        "spec": {
            "serviceAccountName": "ml-pipeline",
            "containers": [{"name": "main", "image": "ferroflow/kfctl:0.1.0", "args": ["controller", "pipelines"],
                "resources": {"limits": {"cpu": "1"}}}],
        },
    }}});
    kinds::strategy("apps", "Deployment").default(&mut deployment);
    deployment["spec"]["template"].clone()
}

fn deployment(namespace: &str) -> Value {
    json!({
        "metadata": {"name": "ml-pipeline", "namespace": namespace, "uid": "d-1"},
        "spec": {"replicas": 1, "template": template()},
    })
}

fn owned_by(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn replica_set(namespace: &str) -> Value {
    let mut template = template();
    template["metadata"]["labels"][TEMPLATE_HASH] = json!("abc");
    json!({
        "metadata": {
            "name": "ml-pipeline-abc", "namespace": namespace, "uid": "r-1",
            "ownerReferences": owned_by("Deployment", "ml-pipeline", "d-1"),
        },
        "spec": {"template": template},
    })
}

fn pod(namespace: &str) -> Value {
    let template = replica_set(namespace)["spec"]["template"].clone();
    let mut pod = json!({
        "metadata": {
            "name": "ml-pipeline-abc-x", "namespace": namespace, "labels": template["metadata"]["labels"],
            "ownerReferences": owned_by("ReplicaSet", "ml-pipeline-abc", "r-1"),
        },
        "spec": template["spec"],
    });
    kinds::strategy("", "Pod").default(&mut pod);
    pod
}

/// The cluster after the installer and the controllers have done their part.
fn installed(namespace: &str) -> Fixed {
    Fixed::default()
        .with("apps", "deployments", marked(deployment(namespace)))
        .with("apps", "replicasets", marked(replica_set(namespace)))
}

/// Whether the object carries the mark after this write.
fn ends_marked(write: &mut Write, objects: &Fixed) -> bool {
    write
        .pass(|review| admit(review, objects, &installers()))
        .unwrap();
    assert!(
        meta::annotation(&write.object, BUILT_IN).is_none_or(|value| value == "true"),
        "no other value ever stays"
    );
    is_marked(&write.object)
}

fn new_deployment(user: User, object: Value) -> bool {
    ends_marked(
        &mut Write::create("apps", "deployments", object).by(user),
        &Fixed::default(),
    )
}

fn changed_deployment(user: User, change: impl FnOnce(&mut Value)) -> bool {
    let old = marked(deployment("kubeflow"));
    let mut new = old.clone();
    change(&mut new);
    ends_marked(
        &mut Write::update("apps", "deployments", &old, new).by(user),
        &Fixed::default(),
    )
}

fn new_replica_set(user: User, object: Value, objects: &Fixed) -> bool {
    ends_marked(
        &mut Write::create("apps", "replicasets", object).by(user),
        objects,
    )
}

fn new_pod(user: User, object: Value, objects: &Fixed) -> bool {
    ends_marked(&mut Write::create("", "pods", object).by(user), objects)
}

// The straight way.

#[test]
fn the_mark_goes_from_the_installers_deployment_to_its_pods() {
    assert!(new_deployment(
        User::installer(),
        marked(deployment("kubeflow"))
    ));
    let objects = installed("kubeflow");
    assert!(new_replica_set(
        deployment_controller(),
        replica_set("kubeflow"),
        &objects
    ));
    assert!(new_pod(replica_set_controller(), pod("kubeflow"), &objects));
    assert!(new_pod(
        User::controller_manager(),
        pod("kubeflow"),
        &objects
    ));
}

#[test]
fn the_installer_decides_for_each_deployment() {
    assert!(!new_deployment(User::installer(), deployment("kubeflow")));
    let mut maybe = deployment("kubeflow");
    meta::annotations_mut(&mut maybe).insert(BUILT_IN.into(), "maybe".into());
    assert!(!new_deployment(User::installer(), maybe));
}

// Ways round the first link: the Deployment.

#[test]
fn nobody_but_the_installer_marks_a_new_deployment_not_even_the_owner() {
    for user in [
        User::new("ann", &[]),
        User::admin(),
        User::controller_manager(),
        deployment_controller(),
        User::service_account("kubeflow", "installer"),
        User::new("system:ferroflow:other", &["system:masters"]),
    ] {
        assert!(
            !new_deployment(user.clone(), marked(deployment("kubeflow"))),
            "{}",
            user.name
        );
    }
}

#[test]
fn the_installer_marks_nothing_outside_its_namespaces() {
    for namespace in ["default", "kube-system", "kubeflow-user", "kubeflo"] {
        assert!(
            !new_deployment(User::installer(), marked(deployment(namespace))),
            "{namespace}"
        );
    }
}

#[test]
fn nobody_adds_the_mark_to_a_deployment_that_has_none() {
    let old = deployment("kubeflow");
    for subresource in ["", "status"] {
        let mut write = Write::update("apps", "deployments", &old, marked(old.clone()))
            .by(User::admin())
            .of(subresource);
        assert!(
            !ends_marked(&mut write, &Fixed::default()),
            "{subresource:?}"
        );
        assert_eq!(write.warnings.len(), 1);
    }
}

#[test]
fn scaling_restarting_and_labelling_keep_the_mark() {
    assert!(changed_deployment(
        User::admin(),
        |new| new["spec"]["replicas"] = json!(0)
    ));
    assert!(changed_deployment(User::admin(), |new| {
        new["spec"]["template"]["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/restartedAt": "now"});
    }));
    assert!(changed_deployment(
        User::admin(),
        |new| new["metadata"]["labels"] = json!({"a": "b"})
    ));
    assert!(changed_deployment(
        deployment_controller(),
        |new| new["status"] = json!({"replicas": 1})
    ));
}

#[test]
fn whoever_changes_what_runs_takes_the_mark_off() {
    let changes: [fn(&mut Value); 6] = [
        |spec| spec["containers"][0]["args"] = json!(["controller", "other"]),
        |spec| spec["containers"][0]["image"] = json!("evil"),
        |spec| spec["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]),
        |spec| spec["volumes"] = json!([{"name": "h", "hostPath": {"path": "/home"}}]),
        |spec| spec["serviceAccountName"] = json!("other"),
        |spec| spec["initContainers"] = json!([{"name": "i", "image": "ferroflow/kfctl:0.1.0"}]),
    ];
    for change in changes {
        assert!(!changed_deployment(User::admin(), |new| change(
            &mut new["spec"]["template"]["spec"]
        )));
        assert!(changed_deployment(User::installer(), |new| change(
            &mut new["spec"]["template"]["spec"]
        )));
    }
}

#[test]
fn whoever_may_change_a_deployment_may_take_the_mark_off_and_not_put_it_back() {
    assert!(!changed_deployment(User::admin(), |new| set_mark(
        new, false
    )));
    let old = deployment("kubeflow");
    let mut back =
        Write::update("apps", "deployments", &old, marked(old.clone())).by(User::admin());
    assert!(!ends_marked(&mut back, &Fixed::default()));
}

// Ways round the second link: the ReplicaSet.

#[test]
fn a_marked_replica_set_is_made_by_the_deployment_controller_alone() {
    let objects = installed("kubeflow");
    for user in [
        User::admin(),
        User::installer(),
        replica_set_controller(),
        User::new("ann", &[]),
    ] {
        assert!(
            !new_replica_set(user.clone(), marked(replica_set("kubeflow")), &objects),
            "{}",
            user.name
        );
    }
}

#[test]
fn a_replica_set_needs_a_marked_deployment_that_is_really_its_owner() {
    let unmarked = Fixed::default().with("apps", "deployments", deployment("kubeflow"));
    let none = Fixed::default();
    for objects in [&unmarked, &none] {
        assert!(!new_replica_set(
            deployment_controller(),
            marked(replica_set("kubeflow")),
            objects
        ));
    }
    let objects = installed("kubeflow");
    let owners = [
        owned_by("Deployment", "ml-pipeline", "another-uid"),
        owned_by("Deployment", "ml-pipeline", ""),
        owned_by("StatefulSet", "ml-pipeline", "d-1"),
        json!([{"apiVersion": "example.com/v1", "kind": "Deployment", "name": "ml-pipeline", "uid": "d-1", "controller": true}]),
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "ml-pipeline", "uid": "d-1"}]),
        json!([]),
    ];
    for owner in owners {
        let mut replica_set = marked(replica_set("kubeflow"));
        replica_set["metadata"]["ownerReferences"] = owner.clone();
        assert!(
            !new_replica_set(deployment_controller(), replica_set, &objects),
            "{owner}"
        );
    }
}

#[test]
fn a_replica_set_in_another_namespace_is_not_marked_by_an_owner_of_the_same_name() {
    let objects = installed("kubeflow").with("apps", "deployments", marked(deployment("dev")));
    assert!(!new_replica_set(
        deployment_controller(),
        marked(replica_set("dev")),
        &objects
    ));
}

#[test]
fn the_deployment_controller_cannot_mark_another_template_than_the_deployments() {
    let mut replica_set = marked(replica_set("kubeflow"));
    replica_set["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["other"]);
    assert!(!new_replica_set(
        deployment_controller(),
        replica_set,
        &installed("kubeflow")
    ));
}

#[test]
fn a_marked_replica_set_keeps_the_mark_only_with_its_template_and_owner() {
    let old = marked(replica_set("kubeflow"));
    let changed = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        let mut write = Write::update("apps", "replicasets", &old, new).by(User::admin());
        ends_marked(&mut write, &installed("kubeflow"))
    };
    assert!(changed(|new| new["spec"]["replicas"] = json!(2)));
    assert!(changed(|new| new["status"] = json!({"replicas": 2})));
    assert!(!changed(
        |new| new["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["other"])
    ));
    assert!(!changed(
        |new| new["metadata"]["ownerReferences"] = json!([])
    ));
    assert!(!changed(|new| {
        new["spec"]["template"]["metadata"]["annotations"] = json!({"a": "b"});
    }));
}

#[test]
fn an_adopted_replica_set_is_marked_only_if_it_is_what_the_deployment_would_have_made() {
    let mut orphan = replica_set("kubeflow");
    orphan["metadata"]["ownerReferences"] = json!([]);
    orphan["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["other"]);
    let mut adopted = marked(orphan.clone());
    adopted["metadata"]["ownerReferences"] = owned_by("Deployment", "ml-pipeline", "d-1");
    let mut write =
        Write::update("apps", "replicasets", &orphan, adopted).by(deployment_controller());
    assert!(!ends_marked(&mut write, &installed("kubeflow")));
}

// Ways round the third link: the Pod.

#[test]
fn nobody_makes_a_marked_pod_by_hand() {
    let objects = installed("kubeflow");
    let users = [
        User::new("ann", &[]),
        User::admin(),
        User::installer(),
        User::node("n1"),
        deployment_controller(),
        User::service_account("kubeflow", "replicaset-controller"),
    ];
    for user in users {
        let mut write = Write::create("", "pods", marked(pod("kubeflow"))).by(user.clone());
        assert!(!ends_marked(&mut write, &objects), "{}", user.name);
    }
    let mut write = Write::create("", "pods", marked(pod("kubeflow"))).by(User::admin());
    ends_marked(&mut write, &objects);
    assert!(
        write.warnings[0].contains("ordinary sandbox"),
        "{:?}",
        write.warnings
    );
}

#[test]
fn whoever_acts_as_the_controller_can_only_make_the_very_pod_it_would_have_made() {
    let objects = installed("kubeflow");
    let changes: [fn(&mut Value); 9] = [
        |pod| pod["spec"]["containers"][0]["args"] = json!(["other"]),
        |pod| pod["spec"]["containers"][0]["image"] = json!("evil"),
        |pod| pod["spec"]["containers"][0]["command"] = json!(["sh"]),
        |pod| pod["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]),
        |pod| pod["spec"]["volumes"] = json!([{"name": "h", "hostPath": {"path": "/"}}]),
        |pod| pod["spec"]["serviceAccountName"] = json!("admin"),
        |pod| pod["spec"]["nodeName"] = json!("n1"),
        |pod| pod["metadata"]["labels"]["app"] = json!("other"),
        |pod| pod["metadata"]["annotations"] = json!({"a": "b"}),
    ];
    for change in changes {
        let mut pod = marked(pod("kubeflow"));
        change(&mut pod);
        assert!(
            !new_pod(replica_set_controller(), pod.clone(), &objects),
            "{pod}"
        );
    }
}

#[test]
fn a_pod_needs_both_owners_marked_and_really_its_own() {
    let marked_set_only = Fixed::default()
        .with("apps", "deployments", deployment("kubeflow"))
        .with("apps", "replicasets", marked(replica_set("kubeflow")));
    let marked_deployment_only = Fixed::default()
        .with("apps", "deployments", marked(deployment("kubeflow")))
        .with("apps", "replicasets", replica_set("kubeflow"));
    let replaced_deployment = {
        let mut other = marked(deployment("kubeflow"));
        other["metadata"]["uid"] = json!("d-2");
        Fixed::default().with("apps", "deployments", other).with(
            "apps",
            "replicasets",
            marked(replica_set("kubeflow")),
        )
    };
    for objects in [
        &marked_set_only,
        &marked_deployment_only,
        &replaced_deployment,
        &Fixed::default(),
    ] {
        assert!(!new_pod(
            replica_set_controller(),
            marked(pod("kubeflow")),
            objects
        ));
    }
    let mut foreign = marked(pod("kubeflow"));
    foreign["metadata"]["ownerReferences"] = owned_by("ReplicaSet", "ml-pipeline-abc", "r-2");
    assert!(!new_pod(
        replica_set_controller(),
        foreign,
        &installed("kubeflow")
    ));
    assert!(!new_pod(
        replica_set_controller(),
        marked(pod("dev")),
        &installed("dev")
    ));
}

#[test]
fn no_later_write_adds_or_removes_the_mark_of_a_pod() {
    let plain = pod("kubeflow");
    for subresource in ["", "status", "resize", "ephemeralcontainers"] {
        for user in [
            User::admin(),
            User::installer(),
            User::node("n1"),
            replica_set_controller(),
        ] {
            let mut adding = Write::update("", "pods", &plain, marked(plain.clone()))
                .by(user.clone())
                .of(subresource);
            assert!(
                !ends_marked(&mut adding, &installed("kubeflow")),
                "{subresource} {}",
                user.name
            );
            let old = marked(plain.clone());
            let mut removing = Write::update("", "pods", &old, plain.clone())
                .by(user)
                .of(subresource);
            assert!(
                ends_marked(&mut removing, &installed("kubeflow")),
                "{subresource}"
            );
        }
    }
}

#[test]
fn the_image_of_a_marked_pod_stays_and_it_takes_no_further_containers() {
    let old = marked(pod("kubeflow"));
    let mut other_image = old.clone();
    other_image["spec"]["containers"][0]["image"] = json!("evil");
    let mut write = Write::update("", "pods", &old, other_image.clone()).by(User::admin());
    assert_eq!(write.pass(|review| validate(review)).unwrap_err().code, 403);
    let mut debugged = Write::update("", "pods", &old, old.clone())
        .by(User::admin())
        .of("ephemeralcontainers");
    assert_eq!(
        debugged.pass(|review| validate(review)).unwrap_err().code,
        403
    );
    let plain = pod("kubeflow");
    assert!(
        Write::update("", "pods", &plain, other_image)
            .pass(|review| validate(review))
            .is_ok()
    );
    assert!(
        Write::update("", "pods", &old, old.clone())
            .of("status")
            .pass(|review| validate(review))
            .is_ok()
    );
}

#[test]
fn the_annotation_of_other_kinds_means_nothing_and_is_left() {
    let stateful_set = marked(json!({"metadata": {"name": "s", "namespace": "dev"}}));
    let mut write = Write::create("apps", "statefulsets", stateful_set);
    assert!(ends_marked(&mut write, &Fixed::default()));
}
