//! Server-side apply and ownership on real kinds, case by case.

use objects::apply::{self, Error, FieldSet, Write};
use objects::patch;
use objects::{Schema, Status};
use serde_json::{Value, json};

use crate::kinds::{config_maps, deployment, deployments};

const T0: &str = "2026-01-01T00:00:00Z";
const T1: &str = "2026-01-02T00:00:00Z";
const T2: &str = "2026-01-03T00:00:00Z";

/// A ConfigMap-like configuration for ConfigMaps, which need only their data.
fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}, "data": data})
}

fn applied(
    live: Option<&Value>,
    configuration: &Value,
    manager: &str,
    schema: &Schema,
    now: &str,
) -> Value {
    apply::apply(live, configuration, manager, "", false, schema, now)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn refused(live: &Value, configuration: &Value, manager: &str, schema: &Schema) -> Status {
    match apply::apply(Some(live), configuration, manager, "", false, schema, T1) {
        Ok(object) => panic!("applied: {object}"),
        Err(error) => error.into(),
    }
}

fn created(object: Value, manager: &str, schema: &Schema, now: &str) -> Value {
    let mut object = object;
    apply::track_update(None, &mut object, manager, "", schema, now);
    object
}

fn updated(
    old: &Value,
    manager: &str,
    schema: &Schema,
    now: &str,
    change: impl FnOnce(&mut Value),
) -> Value {
    let mut new = old.clone();
    change(&mut new);
    apply::track_update(Some(old), &mut new, manager, "", schema, now);
    new
}

fn entry<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = objects::meta::managed_fields(object);
    entries
        .iter()
        .find(|entry| entry["manager"] == manager)
        .unwrap_or(&Value::Null)
}

#[test]
fn the_first_apply_creates_the_object_and_owns_what_it_says() {
    let object = applied(None, &deployment(), "kubectl", &deployments(), T0);
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "time": T0, "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:selector": {},
                    "f:template": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {"f:containers": {
                            "k:{\"name\":\"web\"}": {
                                ".": {}, "f:name": {}, "f:image": {},
                                "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}},
                                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                    ".": {}, "f:containerPort": {}, "f:name": {}}},
                            },
                            "k:{\"name\":\"side\"}": {".": {}, "f:name": {}, "f:image": {}},
                        }},
                    },
                },
            },
        }])
    );
    assert_eq!(object["spec"], deployment()["spec"]);
}

#[test]
fn a_create_owns_what_it_says_including_the_maps_around_it() {
    let object = created(deployment(), "kubectl-create", &deployments(), T0);
    let fields = &entry(&object, "kubectl-create")["fieldsV1"];
    assert_eq!(
        fields["f:metadata"],
        json!({"f:labels": {".": {}, "f:app": {}}})
    );
    assert_eq!(fields["f:spec"]["f:selector"], json!({}));
    assert_eq!(
        fields["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"side\"}"],
        json!({".": {}, "f:name": {}, "f:image": {}})
    );
    assert_eq!(fields.get("f:apiVersion"), None);
    assert_eq!(fields["f:metadata"].get("f:name"), None);
    assert_eq!(entry(&object, "kubectl-create")["operation"], "Update");
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_the_time() {
    let schema = deployments();
    let once = applied(None, &deployment(), "kubectl", &schema, T0);
    assert_eq!(
        applied(Some(&once), &deployment(), "kubectl", &schema, T1),
        once
    );
    let mut reordered = once.clone();
    reordered["metadata"]["resourceVersion"] = json!("7");
    assert_eq!(
        applied(Some(&reordered), &deployment(), "kubectl", &schema, T1),
        reordered
    );
}

#[test]
fn what_is_no_longer_applied_goes_unless_somebody_else_owns_it() {
    let schema = config_maps();
    let first = applied(
        None,
        &config_map(json!({"a": "1", "b": "2", "c": "3"})),
        "one",
        &schema,
        T0,
    );
    let second = applied(
        Some(&first),
        &config_map(json!({"b": "2"})),
        "two",
        &schema,
        T0,
    );
    let third = updated(&second, "hand", &schema, T0, |object| {
        object["data"]["d"] = json!("4")
    });
    let last = applied(
        Some(&third),
        &config_map(json!({"a": "1"})),
        "one",
        &schema,
        T1,
    );
    assert_eq!(last["data"], json!({"a": "1", "b": "2", "d": "4"}));
    assert_eq!(
        entry(&last, "one")["fieldsV1"],
        json!({"f:data": {"f:a": {}}})
    );
    assert_eq!(
        entry(&last, "two")["fieldsV1"],
        json!({"f:data": {"f:b": {}}})
    );
    let gone = applied(Some(&last), &config_map(json!({})), "one", &schema, T2);
    assert_eq!(gone["data"], json!({"b": "2", "d": "4"}));
}

#[test]
fn removing_everything_that_was_applied_removes_the_map_too() {
    let schema = config_maps();
    let first = applied(None, &config_map(json!({"a": "1"})), "one", &schema, T0);
    let mut bare = config_map(json!({}));
    bare.as_object_mut().unwrap().remove("data");
    let last = applied(Some(&first), &bare, "one", &schema, T1);
    assert_eq!(last.get("data"), None);
    assert_eq!(
        last["metadata"],
        json!({"name": "c", "namespace": "default"})
    );
}

#[test]
fn what_the_server_set_survives_every_apply() {
    let schema = deployments();
    let mut live = applied(None, &deployment(), "kubectl", &schema, T0);
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["creationTimestamp"] = json!(T0);
    live["spec"]["progressDeadlineSeconds"] = json!(600);
    live["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
    let mut smaller = deployment();
    smaller["spec"].as_object_mut().unwrap().remove("replicas");
    smaller["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("labels");
    let last = applied(Some(&live), &smaller, "kubectl", &schema, T1);
    assert_eq!(last["metadata"]["uid"], "u");
    assert_eq!(last["spec"]["progressDeadlineSeconds"], 600);
    assert_eq!(
        last["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"],
        "Always"
    );
    assert_eq!(last["spec"].get("replicas"), None);
    assert_eq!(last["metadata"].get("labels"), None);
}

#[test]
fn changing_what_another_manager_owns_is_a_conflict_in_kubectls_words() {
    let schema = deployments();
    let live = applied(None, &deployment(), "owner", &schema, T0);
    let mut other = deployment();
    other["spec"]["replicas"] = json!(5);
    let status = refused(&live, &other, "me", &schema);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"owner\": .spec.replicas"
    );
    let causes = &status.details.unwrap().causes;
    assert_eq!(
        serde_json::to_value(causes).unwrap(),
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"owner\"", "field": ".spec.replicas"}])
    );

    let live = updated(&live, "scaler", &schema, T1, |object| {
        object["spec"]["replicas"] = json!(4)
    });
    assert_eq!(
        refused(&live, &other, "me", &schema).message,
        "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1: .spec.replicas"
    );
    other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    other["spec"]["template"]["spec"]["containers"][1]["image"] = json!("side:2");
    assert_eq!(
        refused(&live, &other, "me", &schema).message,
        "Apply failed with 3 conflicts: conflicts with \"owner\":\n\
         - .spec.template.spec.containers[name=\"side\"].image\n\
         - .spec.template.spec.containers[name=\"web\"].image\n\
         conflicts with \"scaler\" using apps/v1:\n\
         - .spec.replicas"
    );
}

#[test]
fn the_same_value_is_shared_and_force_takes_over() {
    let schema = config_maps();
    let live = applied(None, &config_map(json!({"a": "1"})), "one", &schema, T0);
    let shared = applied(
        Some(&live),
        &config_map(json!({"a": "1"})),
        "two",
        &schema,
        T1,
    );
    assert_eq!(
        entry(&shared, "one")["fieldsV1"],
        entry(&shared, "two")["fieldsV1"]
    );
    // Who only agrees with what is there has changed nothing, and has no time of doing so.
    assert!(entry(&shared, "two")["time"].is_null());
    let forced = apply::apply(
        Some(&shared),
        &config_map(json!({"a": "2"})),
        "two",
        "",
        true,
        &schema,
        T2,
    )
    .unwrap();
    assert_eq!(forced["data"]["a"], "2");
    assert_eq!(entry(&forced, "one"), &Value::Null);
    assert_eq!(entry(&forced, "two")["time"], T2);
}

#[test]
fn an_update_takes_fields_from_those_who_had_them() {
    let schema = config_maps();
    let live = applied(
        None,
        &config_map(json!({"a": "1", "b": "2"})),
        "one",
        &schema,
        T0,
    );
    let new = updated(&live, "hand", &schema, T1, |object| {
        object["data"]["a"] = json!("changed");
        object["data"].as_object_mut().unwrap().remove("b");
    });
    assert_eq!(entry(&new, "one"), &Value::Null);
    assert_eq!(
        entry(&new, "hand")["fieldsV1"],
        json!({"f:data": {"f:a": {}}})
    );
    assert_eq!(entry(&new, "hand")["time"], T1);
    // The applier meets a conflict about the changed value, and none about the one that is gone.
    let status = refused(
        &new,
        &config_map(json!({"a": "1", "b": "2"})),
        "one",
        &schema,
    );
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"hand\" using v1: .data.a"
    );
}

#[test]
fn an_update_that_changes_nothing_leaves_everything_alone() {
    let schema = config_maps();
    let live = created(config_map(json!({"a": "1"})), "hand", &schema, T0);
    assert_eq!(updated(&live, "other", &schema, T1, |_| {}), live);
    let stripped = updated(&live, "other", &schema, T1, |object| {
        objects::meta::remove(object, "managedFields");
    });
    assert_eq!(stripped, live);
}

#[test]
fn status_and_spec_have_separate_owners() {
    let schema = deployments();
    let status_fields = FieldSet::of_fields([["status"]]);
    let live = applied(None, &deployment(), "kubectl", &schema, T0);
    let mut new = live.clone();
    new["status"] = json!({"replicas": 3, "conditions": [{"type": "Available", "status": "True"}]});
    apply::track_update(Some(&live), &mut new, "controller", "status", &schema, T1);
    let found = entry(&new, "controller");
    assert_eq!(found["subresource"], "status");
    assert_eq!(
        found["fieldsV1"]["f:status"]["f:conditions"],
        json!({".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:type": {}, "f:status": {}}})
    );

    let mut with_status = deployment();
    with_status["status"] = json!({"replicas": 9});
    let write = Write {
        manager: "kubectl",
        subresource: "",
        schema: &schema,
        now: T2,
        reset: Some(&status_fields),
    };
    let object = write.apply(Some(&new), &with_status, false).unwrap();
    assert_eq!(entry(&object, "kubectl")["fieldsV1"].get("f:status"), None);
    assert_eq!(entry(&object, "controller"), found);
    let conflict =
        apply::apply(Some(&new), &with_status, "kubectl", "", false, &schema, T2).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "Apply failed with 1 conflict: conflict with \"controller\" with subresource \"status\" using apps/v1: .status.replicas"
    );
}

#[test]
fn atomic_parts_are_owned_and_replaced_as_wholes() {
    let schema = deployments();
    let mut configuration = deployment();
    configuration["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "1", "b": "2"});
    configuration["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["x", "y"]);
    let live = applied(None, &configuration, "one", &schema, T0);
    let mut other = configuration.clone();
    other["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "1"});
    other["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["x"]);
    let status = refused(&live, &other, "two", &schema);
    assert!(
        status
            .message
            .contains(".spec.template.spec.nodeSelector\n")
            || status.message.ends_with(".spec.template.spec.nodeSelector"),
        "{}",
        status.message
    );
    let object = applied(Some(&live), &other, "one", &schema, T1);
    assert_eq!(
        object["spec"]["template"]["spec"]["nodeSelector"],
        json!({"a": "1"})
    );
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["args"],
        json!(["x"])
    );
}

#[test]
fn lists_of_two_managers_are_woven_together() {
    let schema = deployments();
    let live = applied(None, &deployment(), "one", &schema, T0);
    let mine = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"template": {"spec": {"containers": [{"name": "mesh", "image": "m"}, {"name": "web", "env": [{"name": "B", "value": "2"}]}]}}},
    });
    let object = applied(Some(&live), &mine, "two", &schema, T1);
    let containers = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    let names: Vec<&str> = containers
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["mesh", "web", "side"]);
    assert_eq!(containers[1]["image"], "web:1");
    assert_eq!(
        containers[1]["env"],
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    );
    // The second manager leaves: only its own parts go.
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}});
    let object = applied(Some(&object), &nothing, "two", &schema, T2);
    assert_eq!(object["spec"], deployment()["spec"]);
}

#[test]
fn an_object_from_before_the_first_apply_gets_an_owner_of_its_past() {
    let schema = config_maps();
    let live = config_map(json!({"a": "1", "b": "2"}));
    let object = applied(
        Some(&live),
        &config_map(json!({"a": "1"})),
        "one",
        &schema,
        T1,
    );
    assert_eq!(
        entry(&object, "before-first-apply")["fieldsV1"],
        json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})
    );
    let status = refused(&live, &config_map(json!({"a": "2"})), "one", &schema);
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a"
    );
}

#[test]
fn kubectl_moves_from_client_side_to_server_side_apply_without_conflicts() {
    let schema = config_maps();
    let configuration = config_map(json!({"a": "1", "b": "2"}));
    let mut object = configuration.clone();
    object["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": configuration.to_string()});
    let live = created(object, "kubectl-client-side-apply", &schema, T0);
    let changed = config_map(json!({"a": "changed", "b": "2"}));
    let moved = applied(Some(&live), &changed, "kubectl", &schema, T1);
    assert_eq!(moved["data"]["a"], "changed");
    let annotation =
        objects::meta::annotation(&moved, "kubectl.kubernetes.io/last-applied-configuration")
            .unwrap();
    assert_eq!(serde_json::from_str::<Value>(annotation).unwrap(), changed);
    // Anybody else, or a value that changed behind the annotation's back, meets the conflict.
    assert!(
        refused(&live, &changed, "other", &schema)
            .message
            .contains("kubectl-client-side-apply")
    );
    let meddled = updated(&live, "hand", &schema, T1, |object| {
        object["data"]["a"] = json!("meddled")
    });
    assert!(
        refused(&meddled, &changed, "kubectl", &schema)
            .message
            .contains("\"hand\" using v1: .data.a")
    );
    // What kubectl itself does: it rewrites its entry by a patch on managedFields, and then owns by applying.
    let mut rewritten = live.clone();
    patch::json(
        &mut rewritten,
        &json!([
            {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "kubectl"},
            {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"},
        ]),
    )
    .unwrap();
    apply::track_update(Some(&live), &mut rewritten, "kubectl", "", &schema, T1);
    assert_eq!(entry(&rewritten, "kubectl")["operation"], "Apply");
    let smaller = applied(
        Some(&rewritten),
        &config_map(json!({"a": "1"})),
        "kubectl",
        &schema,
        T2,
    );
    assert_eq!(smaller["data"], json!({"a": "1"}));
}

#[test]
fn managed_fields_can_be_reset_and_start_again_with_the_next_change() {
    let schema = config_maps();
    let live = created(config_map(json!({"a": "1"})), "hand", &schema, T0);
    let reset = updated(&live, "hand", &schema, T1, |object| {
        object["metadata"]["managedFields"] = json!([{}])
    });
    assert_eq!(reset["metadata"].get("managedFields"), None);
    let again = updated(&reset, "hand", &schema, T1, |object| {
        object["data"]["a"] = json!("2")
    });
    assert_eq!(
        entry(&again, "hand")["fieldsV1"],
        json!({"f:data": {"f:a": {}}})
    );
    let garbage = updated(&live, "hand", &schema, T1, |object| {
        object["metadata"]["managedFields"] = json!([{"manager": "x"}])
    });
    assert_eq!(garbage, live);
}

#[test]
fn configurations_that_cannot_be_applied_are_refused_in_words() {
    let schema = deployments();
    let live = applied(None, &deployment(), "one", &schema, T0);
    let mut unknown = deployment();
    unknown["spec"]["replicaz"] = json!(1);
    let status = refused(&live, &unknown, "one", &schema);
    assert_eq!(
        status.message,
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema"
    );
    let mut twice = deployment();
    twice["spec"]["template"]["spec"]["containers"][1]["name"] = json!("web");
    assert!(
        refused(&live, &twice, "one", &schema)
            .message
            .ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"web\"]")
    );
    let mut nameless = deployment();
    nameless["spec"]["template"]["spec"]["containers"][1]
        .as_object_mut()
        .unwrap()
        .remove("name");
    assert!(
        refused(&live, &nameless, "one", &schema)
            .message
            .contains("omits key field \"name\"")
    );
    let mut wrong = deployment();
    wrong["apiVersion"] = json!("apps/v1beta1");
    assert_eq!(refused(&live, &wrong, "one", &schema).code, 400);
    let managed = live.clone();
    let status = refused(&live, &managed, "one", &schema);
    assert_eq!(
        (status.code, status.message.as_str()),
        (400, "metadata.managedFields must be nil")
    );
    assert!(matches!(
        apply::apply(None, &json!([]), "m", "", false, &schema, T0),
        Err(Error::Malformed(_))
    ));
}

#[test]
fn nulls_in_a_configuration_say_nothing() {
    let schema = deployments();
    let mut configuration = deployment();
    configuration["metadata"]["creationTimestamp"] = Value::Null;
    configuration["spec"]["paused"] = Value::Null;
    let object = applied(None, &configuration, "one", &schema, T0);
    assert_eq!(object["spec"].get("paused"), None);
    assert_eq!(
        entry(&object, "one")["fieldsV1"]["f:spec"].get("f:paused"),
        None
    );
}

#[test]
fn an_entry_of_another_version_is_kept_and_followed() {
    let schema = deployments();
    let mut live = applied(None, &deployment(), "one", &schema, T0);
    live["metadata"]["managedFields"].as_array_mut().unwrap().push(json!({
        "manager": "old", "operation": "Update", "apiVersion": "apps/v1beta9", "time": T0, "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:paused": {}, "f:minReadySeconds": {}}},
    }));
    live["spec"]["paused"] = json!(true);
    live["spec"]["minReadySeconds"] = json!(1);
    let new = updated(&live, "hand", &schema, T1, |object| {
        object["spec"]["paused"] = json!(false)
    });
    assert_eq!(
        entry(&new, "old")["fieldsV1"],
        json!({"f:spec": {"f:minReadySeconds": {}}})
    );
    assert_eq!(entry(&new, "old")["apiVersion"], "apps/v1beta9");
}

#[test]
fn what_was_owned_inside_a_part_that_became_atomic_is_owned_as_the_whole() {
    let schema = deployments();
    let mut live = applied(None, &deployment(), "one", &schema, T0);
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:selector"] =
        json!({"f:matchLabels": {"f:app": {}}});
    let mut other = deployment();
    other["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    assert_eq!(
        refused(&live, &other, "two", &schema).message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.selector"
    );
}
