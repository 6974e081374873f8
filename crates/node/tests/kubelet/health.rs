//! How the platform learns whether a container is well, and what it does about it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::home::{Home, once, shell};

fn is_ready(pod: &Value) -> bool {
    pod["status"]["containerStatuses"][0]["ready"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_ready_when_its_probe_says_so_and_not_before() -> Result<()> {
    let home = Home::start().await?;
    let mut container = shell("while :; do sleep 0.1; done");
    container["readinessProbe"] =
        json!({"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1});
    home.run(
        "probed",
        json!({"terminationGracePeriodSeconds": 1, "containers": [container]}),
    )
    .await?;
    let pod = home.until_phase("probed", "Running").await?;
    assert!(!is_ready(&pod));
    home.exec("probed", &["touch", "/tmp/ready"]).await?;
    home.until("probed", "ready", is_ready).await?;
    home.exec("probed", &["rm", "/tmp/ready"]).await?;
    home.until("probed", "unready again", |pod| !is_ready(pod))
        .await?;
    let events = home.events("probed").await?;
    assert!(events.iter().any(|(reason, message)| reason == "Unhealthy"
        && message.starts_with("Readiness probe failed: cat: ")));
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_fails_its_liveness_probe_is_started_again() -> Result<()> {
    let home = Home::start().await?;
    let mut container = shell("touch /tmp/alive; trap 'exit 0' TERM; while :; do sleep 0.1; done");
    container["livenessProbe"] = json!({
        "exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1,
        "initialDelaySeconds": 1,
    });
    home.run("lively", json!({"containers": [container]}))
        .await?;
    home.until("lively", "ready", is_ready).await?;
    home.exec("lively", &["rm", "/tmp/alive"]).await?;
    home.until("lively", "restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(pod)
    })
    .await?;
    let events = home.events("lively").await?;
    assert!(events.contains(&(
        "Killing".into(),
        "Container main failed liveness probe, will be restarted".into()
    )));
    home.delete("lively", 0).await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_each_other_by_the_name_of_a_service() -> Result<()> {
    let home = Home::start().await?;
    home.create(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }))
    .await?;
    let server = json!({
        "name": "main", "image": "python:3", "command": ["python3", "-m", "http.server", "8080", "-d", "/etc"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": "http"}, "periodSeconds": 1},
    });
    let labels = json!({"app": "web"});
    home.run_labelled(
        "server",
        labels,
        json!({"terminationGracePeriodSeconds": 1, "containers": [server]}),
    )
    .await?;
    home.until("server", "ready", is_ready).await?;
    let script = "import time, urllib.request\n\
        for _ in range(400):\n  \
          try: print(urllib.request.urlopen('http://web/hosts', timeout=5).status); break\n  \
          except OSError: time.sleep(0.05)";
    let client = json!({"name": "main", "image": "python:3", "command": ["python3", "-c", script]});
    home.run(
        "client",
        json!({"restartPolicy": "Never", "containers": [client]}),
    )
    .await?;
    home.until_phase("client", "Succeeded").await?;
    assert_eq!(home.log("client").await?, "200\n");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_in_a_pod_ends_with_its_own_exit_code() -> Result<()> {
    let home = Home::start().await?;
    home.run("shell", once("while :; do sleep 0.1; done"))
        .await?;
    home.until("shell", "ready", is_ready).await?;
    let answer = home
        .exec("shell", &["sh", "-c", "echo out; exit 7"])
        .await?;
    assert_eq!(answer, ("out\n".into(), "7".into()));
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_past_its_deadline_fails() -> Result<()> {
    let home = Home::start().await?;
    let mut spec = once("while :; do sleep 0.1; done");
    spec["activeDeadlineSeconds"] = json!(1);
    home.run("late", spec).await?;
    let pod = home.until_phase("late", "Failed").await?;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_runs_beside_the_container_and_ends_after_it() -> Result<()> {
    let home = Home::start().await?;
    let mut sidecar = shell("trap 'exit 0' TERM; touch /v/up; while :; do sleep 0.05; done");
    sidecar["name"] = json!("beside");
    sidecar["restartPolicy"] = json!("Always");
    sidecar["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let mut main = shell("while [ ! -e /v/up ]; do sleep 0.05; done; echo saw it");
    main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    home.run(
        "both",
        json!({
            "restartPolicy": "Never", "initContainers": [sidecar], "containers": [main],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }),
    )
    .await?;
    let pod = home.until_phase("both", "Succeeded").await?;
    assert_eq!(
        pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"],
        0
    );
    home.end().await
}
