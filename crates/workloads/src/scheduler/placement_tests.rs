//! Placement on small clusters.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn node(name: &str, change: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    for (pointer, value) in change.as_object().unwrap() {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        node.pointer_mut(parent).unwrap()[field.replace("~1", "/")] = value.clone();
    }
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, requests: Value, change: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"containers": [{"name": "main", "resources": {"requests": requests}}]},
    });
    for (field, value) in change.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn cluster(nodes: Vec<Arc<Node>>) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.set_node(node);
    }
    cluster
}

fn try_place(pod: &Pod, cluster: &Cluster, allowed: Fallback) -> Result<Placement, Failure> {
    place(pod, cluster, Ok(&Claims::default()), allowed, &|_| None)
}

fn reasons(pod: &Pod, cluster: &Cluster) -> Vec<String> {
    let failure = try_place(pod, cluster, Fallback::default()).expect_err("no node fits");
    failure.reasons.into_keys().collect()
}

fn chosen(pod: &Pod, cluster: &Cluster) -> String {
    try_place(pod, cluster, Fallback::default())
        .expect("a node fits")
        .node
}

#[test]
fn devices_are_handed_out_one_by_one_until_none_is_left() {
    let mut cluster = cluster(vec![node(
        "n1",
        json!({"/status/allocatable/nvidia.com~1gpu": "2"}),
    )]);
    let gpu = |name: &str| pod(name, json!({"nvidia.com/gpu": "1"}), json!({}));
    for name in ["a", "b"] {
        assert_eq!(chosen(&gpu(name), &cluster), "n1");
        cluster.place(Arc::new(gpu(name)), "n1", Fallback::default());
    }
    assert_eq!(
        reasons(&gpu("c"), &cluster),
        ["Insufficient nvidia.com/gpu"]
    );
    cluster.remove_pod(&control::Key::new("ns", "a"));
    assert_eq!(chosen(&gpu("c"), &cluster), "n1");
}

#[test]
fn the_emptier_node_is_preferred() {
    let mut cluster = cluster(vec![node("n1", json!({})), node("n2", json!({}))]);
    cluster.place(
        Arc::new(pod("a", json!({"cpu": "2"}), json!({}))),
        "n1",
        Fallback::default(),
    );
    assert_eq!(
        chosen(&pod("b", json!({"cpu": "1"}), json!({})), &cluster),
        "n2"
    );
}

#[test]
fn taints_need_tolerations() {
    let taint = json!([{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}]);
    let cluster = cluster(vec![node("n1", json!({"/spec/taints": taint}))]);
    let tolerating = |toleration: Value| pod("p", json!({}), json!({"tolerations": [toleration]}));
    assert_eq!(
        reasons(&pod("p", json!({}), json!({})), &cluster),
        ["node(s) had untolerated taint {dedicated: ml}"]
    );
    assert_eq!(
        chosen(
            &tolerating(json!({"key": "dedicated", "value": "ml"})),
            &cluster
        ),
        "n1"
    );
    assert_eq!(
        chosen(&tolerating(json!({"operator": "Exists"})), &cluster),
        "n1"
    );
    assert!(
        !reasons(
            &tolerating(json!({"key": "dedicated", "value": "web"})),
            &cluster
        )
        .is_empty()
    );
}

#[test]
fn a_cordoned_node_takes_nothing_new() {
    let cluster = cluster(vec![node("n1", json!({"/spec/unschedulable": true}))]);
    assert_eq!(
        reasons(&pod("p", json!({}), json!({})), &cluster),
        ["node(s) were unschedulable"]
    );
}

#[test]
fn a_host_port_is_given_once_per_node() {
    let mut cluster = cluster(vec![node("n1", json!({}))]);
    let containers = json!([{"name": "main", "ports": [{"containerPort": 80, "hostPort": 8080}]}]);
    let web = |name: &str| pod(name, json!({}), json!({"containers": containers.clone()}));
    cluster.place(Arc::new(web("a")), "n1", Fallback::default());
    assert_eq!(
        reasons(&web("b"), &cluster),
        ["node(s) didn't have free ports for the requested pod ports"]
    );
}

#[test]
fn without_a_gpu_the_fallback_runs_the_pod_and_says_so() {
    let cluster = cluster(vec![node("n1", json!({}))]);
    let asks = pod(
        "p",
        json!({"nvidia.com/gpu": "1", "memory": "32Gi"}),
        json!({}),
    );
    let failure = try_place(&asks, &cluster, Fallback::default()).unwrap_err();
    assert_eq!(failure.beyond_all, ["memory", "nvidia.com/gpu"]);
    assert_eq!(failure.could_free_up, 0);
    let both = Fallback {
        gpu: true,
        memory: true,
    };
    assert_eq!(try_place(&asks, &cluster, both).unwrap().fallback, both);
}

#[test]
fn a_gpu_in_use_is_waited_for_despite_the_fallback() {
    let mut cluster = cluster(vec![node(
        "n1",
        json!({"/status/allocatable/nvidia.com~1gpu": "1"}),
    )]);
    let gpu = |name: &str| pod(name, json!({"nvidia.com/gpu": "1"}), json!({}));
    cluster.place(Arc::new(gpu("a")), "n1", Fallback::default());
    let failure = try_place(
        &gpu("b"),
        &cluster,
        Fallback {
            gpu: true,
            memory: true,
        },
    )
    .unwrap_err();
    assert_eq!(failure.could_free_up, 1);
    assert!(failure.beyond_all.is_empty());
}

#[test]
fn a_node_full_of_pods_takes_no_more() {
    let mut cluster = cluster(vec![node("n1", json!({"/status/allocatable/pods": "1"}))]);
    cluster.place(
        Arc::new(pod("a", json!({}), json!({}))),
        "n1",
        Fallback::default(),
    );
    assert_eq!(
        reasons(&pod("b", json!({}), json!({})), &cluster),
        ["Too many pods"]
    );
}

#[test]
fn a_missing_claim_is_the_reason_whatever_the_nodes() {
    let cluster = cluster(vec![node("n1", json!({}))]);
    let missing = Err("persistentvolumeclaim \"data\" not found".to_owned());
    let failure = place(
        &pod("p", json!({}), json!({})),
        &cluster,
        missing,
        Fallback::default(),
        &|_| None,
    )
    .unwrap_err();
    assert_eq!(
        failure.everywhere.as_deref(),
        Some("persistentvolumeclaim \"data\" not found")
    );
}
