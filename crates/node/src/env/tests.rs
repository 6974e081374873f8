//! What a container finds in its environment, case by case.

use super::*;
use serde_json::{Value, json};

fn pod(container: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [container]},
    }))
    .expect("a pod")
}

fn referenced() -> Referenced {
    let map: ConfigMap = serde_json::from_value(
        json!({"metadata": {"name": "m"}, "data": {"k": "v", "other": "w"}}),
    )
    .expect("a map");
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "s"}, "data": {"pw": "aHVudGVy"}}))
            .expect("a secret");
    Referenced {
        config_maps: [("m".into(), map)].into(),
        secrets: [("s".into(), secret)].into(),
    }
}

fn built(container: Value) -> Result<BTreeMap<String, String>, Error> {
    let pod = pod(container);
    build(&Inputs {
        pod: &pod,
        container: &pod.spec.as_ref().expect("a spec").containers[0],
        pod_ip: None,
        node: &NodeFacts::default(),
        services: &[],
        referenced: &referenced(),
        image: &[("PATH".into(), "/bin".into()), ("LANG".into(), "C".into())],
        settings: &[("HTTPS_PROXY".into(), "http://proxy".into())],
    })
}

fn value(environment: &BTreeMap<String, String>, name: &str) -> Option<String> {
    environment.get(name).cloned()
}

#[test]
fn a_value_may_refer_to_the_variables_before_it() {
    let environment = built(
        json!({"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2$(C)"}]}),
    );
    assert_eq!(
        value(&environment.expect("an environment"), "B"),
        Some("12$(C)".into())
    );
}

#[test]
fn what_the_container_says_wins_over_the_image_and_the_node() {
    let environment = built(json!({"name": "c", "env": [
        {"name": "LANG", "value": "de"}, {"name": "HTTPS_PROXY", "value": "mine"},
    ]}))
    .expect("an environment");
    assert_eq!(value(&environment, "LANG"), Some("de".into()));
    assert_eq!(value(&environment, "HTTPS_PROXY"), Some("mine".into()));
    assert_eq!(value(&environment, "PATH"), Some("/bin".into()));
    assert_eq!(value(&environment, "HOSTNAME"), Some("p".into()));
}

#[test]
fn keys_and_whole_maps_come_from_config_maps_and_secrets() {
    let environment = built(json!({
        "name": "c",
        "envFrom": [{"prefix": "M_", "configMapRef": {"name": "m"}}],
        "env": [
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
            {"name": "M_k", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "other"}}},
        ],
    }))
    .expect("an environment");
    assert_eq!(value(&environment, "PW"), Some("hunter".into()));
    assert_eq!(value(&environment, "M_other"), Some("w".into()));
    assert_eq!(
        value(&environment, "M_k"),
        Some("w".into()),
        "env wins over envFrom"
    );
}

#[test]
fn an_absent_object_is_an_error_unless_it_is_optional() {
    let absent = |optional: bool| {
        built(json!({"name": "c", "env": [
            {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": optional}}},
        ]}))
    };
    assert_eq!(absent(false), Err(Error::NoConfigMap("none".into())));
    assert_eq!(value(&absent(true).expect("an environment"), "X"), None);
    let no_key = built(json!({"name": "c", "env": [
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "none"}}},
    ]}));
    assert_eq!(
        no_key.expect_err("no key").to_string(),
        "couldn't find key none in Secret ns/s"
    );
}

#[test]
fn a_long_pod_name_is_cut_to_a_valid_hostname() {
    let mut long = pod(json!({"name": "c"}));
    long.metadata.name = Some(format!("{}-xyz", "a".repeat(62)));
    assert_eq!(hostname(&long), "a".repeat(62));
}

#[test]
fn every_object_that_an_environment_needs_is_named() {
    let pod = pod(json!({
        "name": "c",
        "envFrom": [{"secretRef": {"name": "s1"}}, {"configMapRef": {"name": "m1"}}],
        "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "m2", "key": "k"}}}],
    }));
    let found = references(&pod.spec.expect("a spec").containers[0]);
    assert_eq!(found.config_maps, ["m1".to_owned(), "m2".into()].into());
    assert_eq!(found.secrets, ["s1".to_owned()].into());
}
