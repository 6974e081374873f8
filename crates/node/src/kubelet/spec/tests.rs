//! What a shim is told, for containers written in different ways.

use super::*;
use crate::shim::Root;
use serde_json::{Value, json};

fn image() -> Prepared {
    Prepared {
        image_id: "x".into(),
        root: Root::HostReadOnly { allow: Vec::new() },
        mounts: Vec::new(),
        env: Vec::new(),
        entrypoint: vec!["entry".into()],
        arguments: vec!["arg".into()],
        working_dir: Some("/app".into()),
        user: None,
        python: None,
        copy: None,
        environment: None,
        notes: Vec::new(),
    }
}

fn pod(container: Value, more: Value) -> Pod {
    let mut spec = json!({"containers": [container]});
    spec.as_object_mut()
        .expect("a spec")
        .extend(more.as_object().expect("fields").clone());
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}))
        .expect("a pod")
}

fn spec_of(container: Value, more: Value, image: &Prepared) -> Result<ContainerSpec, Error> {
    let pod = pod(container, more);
    container_spec(Inputs {
        container: &pod.spec.as_ref().expect("a spec").containers[0],
        pod: &pod,
        restarts: 2,
        image,
        env: [("A".to_owned(), "1".to_owned())].into(),
        mounts: vec![
            Mount::writable("/h/deep", "/data/deep"),
            Mount::writable("/h/data", "/data"),
        ],
        run: Path::new("/run"),
        log: "/log".into(),
        gpus: &[],
        devices: Vec::new(),
        memory_clamp: None,
    })
}

#[test]
fn a_container_runs_its_own_words_or_else_the_images() {
    for (container, words) in [
        (json!({"name": "c"}), vec!["entry", "arg"]),
        (json!({"name": "c", "args": ["x"]}), vec!["entry", "x"]),
        (json!({"name": "c", "command": ["y"]}), vec!["y"]),
        (
            json!({"name": "c", "command": ["y"], "args": ["x", "$(A)-$(B)"]}),
            vec!["y", "x", "1-$(B)"],
        ),
    ] {
        assert_eq!(
            spec_of(container, json!({}), &image())
                .expect("a spec")
                .command,
            words
        );
    }
    let empty = Prepared {
        entrypoint: Vec::new(),
        arguments: Vec::new(),
        ..image()
    };
    assert_eq!(
        spec_of(json!({"name": "c", "image": "z"}), json!({}), &empty).map(drop),
        Err(Error::NoCommand("z".into()))
    );
}

#[test]
fn mounts_stand_parents_first_and_the_termination_message_is_among_them() {
    let spec = spec_of(json!({"name": "c"}), json!({}), &image()).expect("a spec");
    let targets: Vec<&Path> = spec
        .mounts
        .iter()
        .map(|mount| mount.target.as_path())
        .collect();
    assert_eq!(
        targets,
        [
            Path::new("/data"),
            Path::new("/dev/termination-log"),
            Path::new("/data/deep")
        ]
    );
    assert_eq!(
        (spec.attempt, spec.cwd.as_deref()),
        (2, Some(Path::new("/app")))
    );
}

#[test]
fn the_containers_user_wins_over_the_pods_and_the_images() {
    let user = |own: Value, of_pod: Value, of_image: Option<&str>| {
        let image = Prepared {
            user: of_image.map(str::to_owned),
            ..image()
        };
        spec_of(
            json!({"name": "c", "securityContext": own}),
            json!({"securityContext": of_pod}),
            &image,
        )
        .map(|s| s.user)
    };
    let ids = |uid, gid, groups: &[u32]| {
        Ok(User::Ids {
            uid,
            gid,
            groups: groups.into(),
        })
    };
    assert_eq!(
        user(
            json!({"runAsUser": 7}),
            json!({"runAsUser": 8, "runAsGroup": 9}),
            Some("bob")
        ),
        ids(7, Some(9), &[])
    );
    assert_eq!(
        user(
            json!({}),
            json!({"fsGroup": 5, "supplementalGroups": [6]}),
            None
        ),
        ids(0, None, &[6, 5])
    );
    assert_eq!(
        user(json!({}), json!({}), Some("bob")),
        Ok(User::Named("bob".into()))
    );
    assert_eq!(
        user(json!({"runAsNonRoot": true}), json!({}), None),
        ids(65532, None, &[])
    );
    assert!(matches!(
        user(
            json!({"runAsNonRoot": true, "runAsUser": 0}),
            json!({}),
            None
        ),
        Err(Error::WouldBeRoot { .. })
    ));
    assert!(matches!(
        user(json!({"runAsNonRoot": true}), json!({}), Some("root")),
        Err(Error::WouldBeRoot { .. })
    ));
}

#[test]
fn limits_are_read_in_their_own_units() {
    let resources = json!({"limits": {"memory": "1Gi", "cpu": "500m", "nvidia.com/gpu": "2"}, "requests": {"cpu": "0.25"}});
    let container = json!({"name": "c", "resources": resources});
    let limits = spec_of(container.clone(), json!({}), &image())
        .expect("a spec")
        .limits;
    assert_eq!(
        (
            limits.memory_bytes,
            limits.cpu_millis,
            limits.cpu_request_millis
        ),
        (Some(1 << 30), Some(500), Some(250))
    );
    let pod = pod(container, json!({}));
    assert_eq!(gpu_count(&pod.spec.expect("a spec").containers[0]), 2);
}

#[test]
fn a_pod_finds_itself_and_its_aliases_in_its_hosts_file() {
    let more = json!({
        "hostname": "w-0", "subdomain": "w",
        "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}],
    });
    let text = hosts_file(
        &pod(json!({"name": "c"}), more),
        "10.1.0.7".parse().ok(),
        "cluster.local",
    );
    assert!(
        text.contains("10.1.0.7\tw-0.w.ns.svc.cluster.local\tw-0\n"),
        "{text}"
    );
    assert!(text.contains("1.2.3.4\ta\tb\n"), "{text}");
}

#[test]
fn names_are_looked_up_in_the_pods_namespace_first() {
    let text = |more: Value| {
        resolv_conf(
            &pod(json!({"name": "c"}), more),
            &Layout::default(),
            "cluster.local",
        )
    };
    assert_eq!(
        text(json!({})),
        "nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    );
    let own = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]}});
    assert_eq!(text(own), "nameserver 1.1.1.1\noptions ndots:2\n");
}
