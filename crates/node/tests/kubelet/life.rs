//! How pods begin, go on and end.

use anyhow::Result;
use serde_json::json;

use crate::home::{Home, once, shell};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_to_its_end_and_its_log_stays_until_it_is_deleted() -> Result<()> {
    let home = Home::start().await?;
    home.run("hello", once("echo hi; echo there >&2")).await?;
    let pod = home.until_phase("hello", "Succeeded").await?;
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(container["state"]["terminated"]["exitCode"], 0);
    assert_eq!(container["state"]["terminated"]["reason"], "Completed");
    assert!(
        pod["status"]["podIP"]
            .as_str()
            .is_some_and(|ip| ip.starts_with("10.1.")),
        "{pod:#}"
    );
    assert_eq!(home.log("hello").await?, "hi\nthere\n");
    let folder = home.folder(&pod);
    assert!(folder.join("main/0.log").is_file());
    home.delete("hello", 0).await?;
    home.until_gone("hello").await?;
    home.end().await?;
    assert!(!folder.exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_decides_whether_a_pod_succeeded() -> Result<()> {
    let home = Home::start().await?;
    home.run("bad", once("echo because > /dev/termination-log; exit 3"))
        .await?;
    let pod = home.until_phase("bad", "Failed").await?;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&ended["exitCode"], &ended["reason"], &ended["message"]),
        (&json!(3), &json!("Error"), &json!("because\n"))
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_in_order_before_the_others() -> Result<()> {
    let home = Home::start().await?;
    let step = |name: &str, script: &str| {
        let mut container = shell(script);
        container["name"] = json!(name);
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        container
    };
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [step("one", "echo 1 >> /v/order"), step("two", "echo 2 >> /v/order")],
        "containers": [step("main", "echo 3 >> /v/order; cat /v/order")],
        "volumes": [{"name": "v", "emptyDir": {}}],
    });
    home.run("ordered", spec).await?;
    home.until_phase("ordered", "Succeeded").await?;
    assert_eq!(home.log("ordered").await?, "1\n2\n3\n");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_is_started_again_and_then_waits() -> Result<()> {
    let home = Home::start().await?;
    home.run(
        "again",
        json!({"terminationGracePeriodSeconds": 1, "containers": [shell("exit 1")]}),
    )
    .await?;
    let pod = home
        .until("again", "waiting for its third start", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                == "CrashLoopBackOff"
        })
        .await?;
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        container["restartCount"], 1,
        "the first restart does not wait"
    );
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(pod["status"]["phase"], "Running");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_gets_its_grace_and_is_gone_afterwards() -> Result<()> {
    let home = Home::start().await?;
    home.run(
        "trap",
        once("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"),
    )
    .await?;
    home.until("trap", "ready", |pod| {
        pod["status"]["containerStatuses"][0]["ready"] == true
    })
    .await?;
    let mut log = home.log("trap").await?;
    while !log.contains("up") {
        log = home.log("trap").await?;
    }
    home.delete("trap", 30).await?;
    home.until_gone("trap").await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_image_says_what_to_do() -> Result<()> {
    let home = Home::start().await?;
    home.run(
        "unknown",
        json!({"containers": [{"name": "main", "image": "nothing-like-it"}]}),
    )
    .await?;
    let pod = home
        .until("unknown", "refused", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull"
        })
        .await?;
    let message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        message.contains("kfctl image add nothing-like-it:latest"),
        "{message}"
    );
    home.delete("unknown", 0).await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_lives_on_while_no_server_runs_and_is_found_again() -> Result<()> {
    let mut home = Home::start().await?;
    home.run(
        "lasting",
        once("echo up; while [ ! -e /tmp/end ]; do sleep 0.05; done; echo down"),
    )
    .await?;
    let before = home.until_phase("lasting", "Running").await?;
    home.lose_node().await;
    home.start_node().await?;
    home.until_known("lasting").await?;
    // The container may end before this command does, and take it along.
    home.exec("lasting", &["touch", "/tmp/end"]).await?;
    let after = home.until_phase("lasting", "Succeeded").await?;
    assert_eq!(before["status"]["podIP"], after["status"]["podIP"]);
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(home.log("lasting").await?, "up\ndown\n");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_keeps_its_network_when_the_holder_dies_with_the_server() -> Result<()> {
    let mut home = Home::start().await?;
    home.run("lasting", once("while :; do sleep 0.05; done"))
        .await?;
    let before = home.until_phase("lasting", "Running").await?;
    let namespace = home.network_namespace();
    home.lose_node_and_holder().await;
    home.start_node().await?;
    home.until_known("lasting").await?;
    assert_eq!(home.network_namespace(), namespace);
    let after = home.until_phase("lasting", "Running").await?;
    assert_eq!(before["status"]["podIP"], after["status"]["podIP"]);
    home.exec("lasting", &["true"]).await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_end_with_the_node_and_those_that_restart_come_back_with_their_volumes() -> Result<()>
{
    let mut home = Home::start().await?;
    // Has the first address, which the next node gives to somebody else.
    home.run("earlier", once("true")).await?;
    home.until_phase("earlier", "Succeeded").await?;
    home.delete("earlier", 0).await?;
    home.until_gone("earlier").await?;
    let mut container =
        shell("echo run >> /v/runs; cat /v/runs; trap 'exit 0' TERM; while :; do sleep 0.05; done");
    container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    home.run(
        "stays",
        json!({"containers": [container], "volumes": volumes}),
    )
    .await?;
    home.run("step", once("while :; do sleep 0.05; done"))
        .await?;
    let is_ready = |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    for name in ["stays", "step"] {
        home.until(name, "ready", is_ready).await?;
    }
    let before = home.until("stays", "ready", is_ready).await?;
    while home.log("stays").await?.is_empty() {
        tokio::task::yield_now().await;
    }
    home.drain_node().await?;
    let step = home.until_phase("step", "Failed").await?;
    assert_eq!(step["status"]["reason"], "Terminated");
    home.until("stays", "ended", |pod| !is_ready(pod)).await?;
    home.start_node().await?;
    let after = home
        .until("stays", "back", |pod| {
            is_ready(pod) && pod["status"]["containerStatuses"][0]["restartCount"] == 1
        })
        .await?;
    assert_ne!(before["status"]["podIP"], after["status"]["podIP"]);
    assert_eq!(
        after["status"]["podIPs"],
        json!([{"ip": after["status"]["podIP"]}])
    );
    while home.log("stays").await? != "run\nrun\n" {
        tokio::task::yield_now().await;
    }
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_deleted_while_no_server_ran_is_cleared_away() -> Result<()> {
    let mut home = Home::start().await?;
    home.run("orphan", once("while :; do sleep 0.05; done"))
        .await?;
    let pod = home.until_phase("orphan", "Running").await?;
    let folder = home.folder(&pod);
    home.lose_node().await;
    home.delete("orphan", 0).await?;
    home.until_gone("orphan").await?;
    assert!(folder.exists());
    home.start_node().await?;
    while folder.exists() {
        tokio::task::yield_now().await;
    }
    home.end().await
}
