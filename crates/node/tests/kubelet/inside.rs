//! What a container finds: its environment, its volumes, its image.

use anyhow::Result;
use serde_json::{Value, json};

use crate::home::{Home, once, shell};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_finds_what_it_was_promised_in_its_environment() -> Result<()> {
    let home = Home::start().await?;
    home.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "from-map"}})).await?;
    home.create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "from-secret"}}))
        .await?;
    let mut container = shell(
        "echo $A $B $C $NAME $IP $KUBERNETES_SERVICE_HOST; env | cut -d= -f1 | sort | tr '\\n' ' '",
    );
    container["env"] = json!([
        {"name": "A", "value": "a"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]);
    home.run(
        "env",
        json!({"restartPolicy": "Never", "containers": [container]}),
    )
    .await?;
    let pod = home.until_phase("env", "Succeeded").await?;
    let log = home.log("env").await?;
    let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
    assert!(
        log.starts_with(&format!("a from-map from-secret env {ip} 10.96.0.1\n")),
        "{log}"
    );
    assert!(
        !log.contains("CARGO"),
        "nothing of the server's own environment: {log}"
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_waits_for_the_config_map_it_needs() -> Result<()> {
    let home = Home::start().await?;
    let mut container = shell("echo $A");
    container["env"] =
        json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]);
    home.run(
        "waits",
        json!({"restartPolicy": "Never", "containers": [container]}),
    )
    .await?;
    home.until("waits", "waiting", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
            == "CreateContainerConfigError"
    })
    .await?;
    home.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"k": "here"}})).await?;
    home.until_phase("waits", "Succeeded").await?;
    assert_eq!(home.log("waits").await?, "here\n");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_every_kind_are_where_the_container_wants_them() -> Result<()> {
    let home = Home::start().await?;
    std::fs::create_dir_all(home.data().join("shared"))?;
    std::fs::write(home.data().join("shared/host"), "from-host\n")?;
    home.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "map\n", "b": "other\n"}}))
        .await?;
    home.create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"pw": "secret\n"}}))
        .await?;
    let mut container = shell(
        "cat /m/a /s/pw /d/labels /one/file /h/host; echo w > /e/x; cat /e/x; echo w > /mem/x; cat /mem/x; \
         cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; \
         test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token; \
         (echo no > /m/a) 2>/dev/null || echo read-only; ls /m",
    );
    container["volumeMounts"] = json!([
        {"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s"}, {"name": "d", "mountPath": "/d"},
        {"name": "m", "mountPath": "/one/file", "subPath": "b"}, {"name": "e", "mountPath": "/e"},
        {"name": "mem", "mountPath": "/mem"}, {"name": "h", "mountPath": "/h", "readOnly": true},
    ]);
    let volumes = json!([
        {"name": "m", "configMap": {"name": "m"}}, {"name": "s", "secret": {"secretName": "s"}},
        {"name": "d", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "e", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "h", "hostPath": {"path": home.data().join("shared")}},
    ]);
    home.run(
        "volumes",
        json!({"restartPolicy": "Never", "containers": [container], "volumes": volumes}),
    )
    .await?;
    home.until_phase("volumes", "Succeeded").await?;
    let log = home.log("volumes").await?;
    let wanted = [
        "map",
        "secret",
        "volumesother",
        "from-host",
        "w",
        "w",
        "default",
        "token",
    ];
    assert_eq!(log.lines().take(8).collect::<Vec<_>>(), wanted, "{log}");
    assert!(log.ends_with("read-only\na\nb\n"), "{log}");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_path_that_nobody_allowed_is_refused_in_words() -> Result<()> {
    let home = Home::start().await?;
    let mut spec = once("true");
    spec["volumes"] = json!([{"name": "h", "hostPath": {"path": "/etc"}}]);
    home.run("etc", spec).await?;
    loop {
        let events = home.events("etc").await?;
        if let Some((_, message)) = events.iter().find(|(reason, _)| reason == "FailedMount") {
            assert!(
                message.contains("hostPath /etc is not allowed on this node"),
                "{message}"
            );
            break;
        }
        tokio::task::yield_now().await;
    }
    home.delete("etc", 0).await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_keeps_what_one_pod_wrote_for_the_next() -> Result<()> {
    let home = Home::start().await?;
    home.create(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }))
    .await?;
    let with_claim = |script: &str| {
        let mut container = shell(script);
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/data"}]);
        json!({
            "restartPolicy": "Never", "containers": [container],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        })
    };
    home.run("writes", with_claim("echo kept > /data/x"))
        .await?;
    home.until_phase("writes", "Succeeded").await?;
    home.run("reads", with_claim("cat /data/x; echo more >> /data/x"))
        .await?;
    home.until_phase("reads", "Succeeded").await?;
    assert_eq!(home.log("reads").await?, "kept\n");
    home.end().await
}

fn python(command: &Value) -> Value {
    json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3.11", "command": command}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_image_is_a_python_of_its_own_with_a_writable_layer() -> Result<()> {
    let home = Home::start().await?;
    let script =
        "import sys, os; print(sys.version_info[0], sys.prefix, os.access(sys.prefix, os.W_OK))";
    home.run("python", python(&json!(["python", "-c", script])))
        .await?;
    home.until_phase("python", "Succeeded").await?;
    assert_eq!(home.log("python").await?, "3 /opt/ferroflow/python True\n");
    home.run(
        "pip",
        python(&json!([
            "sh",
            "-c",
            "pip --version && python3 -m pip list --format=freeze"
        ])),
    )
    .await?;
    home.until_phase("pip", "Succeeded").await?;
    let log = home.log("pip").await?;
    assert!(
        log.contains("from /opt/ferroflow/environment/lib/python3"),
        "{log}"
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_image_starts_in_a_copy_of_its_folder() -> Result<()> {
    let home = Home::start().await?;
    let source = home.data().join("preprocess");
    std::fs::create_dir_all(&source)?;
    std::fs::write(
        source.join("preprocess.py"),
        "import sys; open('out', 'w').write('x'); print(sys.argv[1:], open('data').read())",
    )?;
    std::fs::write(source.join("data"), "corpus")?;
    let images = node::images_of(&node::Config::new("here", home.data(), "/none"));
    let new = node::images::store::NewImage {
        name: "preprocess:latest".into(),
        folder: source.clone(),
        ..Default::default()
    };
    images.folders().add(&new)?;
    let command = json!(["python", "preprocess.py", "--input", "/data/raw"]);
    let container = json!({"name": "main", "image": "preprocess:latest", "imagePullPolicy": "IfNotPresent", "command": command});
    home.run(
        "step",
        json!({"restartPolicy": "Never", "containers": [container]}),
    )
    .await?;
    home.until_phase("step", "Succeeded").await?;
    assert_eq!(home.log("step").await?, "['--input', '/data/raw'] corpus\n");
    assert!(!source.join("out").exists());
    home.end().await
}
