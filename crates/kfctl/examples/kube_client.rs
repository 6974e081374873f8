//! kube-rs as anybody uses it, against a running platform: `KUBECONFIG=… kube_client NAMESPACE`. Each line that it prints is
//! something that worked; it ends with the first thing that did not. `tests/e2e/test_api.py` runs it and reads the lines.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    AttachParams, DeleteParams, DynamicObject, ListParams, LogParams, ObjectMeta, Patch,
    PatchParams, PostParams,
};
use kube::discovery::Discovery;
use kube::runtime::wait::{await_condition, conditions, delete::delete_and_finalize};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

/// Nothing here takes longer on a machine that works, however busy.
const PATIENCE: Duration = Duration::from_secs(90);

fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context("read an object of this program's own")
}

#[tokio::main]
async fn main() -> Result<()> {
    let namespace = std::env::args()
        .nth(1)
        .context("name the namespace to work in")?;
    let client = Client::try_default()
        .await
        .context("read the kubeconfig that KUBECONFIG names")?;
    let version = client.apiserver_version().await?;
    println!("version {}", version.git_version);
    let all: Api<Namespace> = Api::all(client.clone());
    all.create(
        &PostParams::default(),
        &typed(json!({"metadata": {"name": namespace}}))?,
    )
    .await?;
    objects(&client, &namespace).await?;
    watches(&client, &namespace).await?;
    custom_kind(&client, &namespace).await?;
    pod(&client, &namespace).await?;
    deployment(&client, &namespace).await?;
    tokio::time::timeout(
        PATIENCE,
        delete_and_finalize(all, &namespace, &DeleteParams::default()),
    )
    .await
    .context("wait for the namespace to go")??;
    println!("namespace gone");
    Ok(())
}

/// Every verb and every kind of patch on a small object.
async fn objects(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let made = api
        .create(
            &PostParams::default(),
            &typed(json!({"metadata": {"name": "c"}, "data": {"a": "1"}}))?,
        )
        .await?;
    let refused = api
        .create(
            &PostParams::default(),
            &typed(json!({"metadata": {"name": "c"}}))?,
        )
        .await;
    ensure!(
        matches!(refused, Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" && status.code == 409)
    );
    let patches = [
        Patch::Merge(json!({"data": {"b": "2"}})),
        Patch::Strategic(json!({"data": {"c": "3"}})),
        Patch::Json(typed(
            json!([{"op": "add", "path": "/data/d", "value": "4"}]),
        )?),
    ];
    for patch in &patches {
        api.patch("c", &PatchParams::default(), patch).await?;
    }
    let applied = Patch::Apply(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"e": "5"}}),
    );
    api.patch("c", &PatchParams::apply("kube-client"), &applied)
        .await?;
    let mut now = api.get("c").await?;
    let keys: Vec<String> = now.data.clone().unwrap_or_default().into_keys().collect();
    ensure!(keys == ["a", "b", "c", "d", "e"], "{keys:?}");
    ensure!(
        now.managed_fields()
            .iter()
            .any(|fields| fields.manager.as_deref() == Some("kube-client"))
    );
    now.data = Some(BTreeMap::from([("only".to_owned(), "one".to_owned())]));
    api.replace("c", &PostParams::default(), &now).await?;
    let stale = api.replace("c", &PostParams::default(), &made).await;
    ensure!(
        matches!(stale, Err(kube::Error::Api(status)) if status.reason == "Conflict" && status.code == 409)
    );
    let page = api.list(&ListParams::default().limit(1)).await?;
    ensure!(page.metadata.continue_.is_some() || page.items.len() == 1);
    let names = api.list_metadata(&ListParams::default()).await?;
    ensure!(names.items.iter().any(|object| object.name_any() == "c"));
    api.delete("c", &DeleteParams::default()).await?;
    ensure!(api.get_opt("c").await?.is_none());
    println!("objects created, patched four ways, replaced, listed, deleted");
    Ok(())
}

/// Lists and streamed lists see the same objects, and a reflector follows them.
async fn watches(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let only = watcher::Config::default().labels("of=watches");
    for index in 0..3 {
        let object =
            json!({"metadata": {"name": format!("w{index}"), "labels": {"of": "watches"}}});
        api.create(&PostParams::default(), &typed(object)?).await?;
    }
    for config in [only.clone(), only.clone().streaming_lists()] {
        let seen: Vec<ConfigMap> = watcher(api.clone(), config)
            .applied_objects()
            .take(3)
            .try_collect()
            .await?;
        let names: Vec<String> = seen.iter().map(ConfigMap::name_any).collect();
        ensure!(names == ["w0", "w1", "w2"], "{names:?}");
    }
    let (store, writer) = reflector::store();
    let following = watcher(api.clone(), only.streaming_lists()).reflect(writer);
    let following = tokio::spawn(following.for_each(|_| futures::future::ready(())));
    store.wait_until_ready().await?;
    api.delete("w1", &DeleteParams::default()).await?;
    tokio::time::timeout(PATIENCE, async {
        while store.state().len() != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .context("wait for the reflector to hear of a deletion")?;
    following.abort();
    println!("watches listed, streamed and reflected");
    Ok(())
}

/// A definition is served, defaulted, validated, and its status is a door of its own.
async fn custom_kind(client: &Client, namespace: &str) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "gears.kube-client.example.com";
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["teeth"], "properties": {
            "teeth": {"type": "integer", "minimum": 3},
            "material": {"type": "string", "default": "steel"},
        }},
        "status": {"type": "object", "properties": {"turns": {"type": "integer"}}},
    }});
    let definition = json!({
        "metadata": {"name": name},
        "spec": {
            "group": "kube-client.example.com", "scope": "Namespaced",
            "names": {"plural": "gears", "singular": "gear", "kind": "Gear"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
            }],
        },
    });
    definitions
        .create(&PostParams::default(), &typed(definition)?)
        .await?;
    tokio::time::timeout(
        PATIENCE,
        await_condition(definitions.clone(), name, conditions::is_crd_established()),
    )
    .await
    .context("wait for the definition to be served")??;
    let discovery = Discovery::new(client.clone()).run().await?;
    let (resource, _) = discovery
        .get("kube-client.example.com")
        .context("discovery names the new group")?
        .recommended_kind("Gear")
        .context("discovery names the new kind")?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let gear = |spec: Value| DynamicObject::new("g", &resource).data(json!({"spec": spec}));
    let refused = api
        .create(&PostParams::default(), &gear(json!({"teeth": 2})))
        .await;
    ensure!(
        matches!(&refused, Err(kube::Error::Api(status)) if status.reason == "Invalid" && status.message.contains("spec.teeth")),
        "{refused:?}"
    );
    let made = api
        .create(&PostParams::default(), &gear(json!({"teeth": 12})))
        .await?;
    ensure!(made.data["spec"]["material"] == "steel");
    api.patch(
        "g",
        &PatchParams::default(),
        &Patch::Merge(json!({"status": {"turns": 1}})),
    )
    .await?;
    ensure!(api.get("g").await?.data.get("status").is_none());
    let turned = api
        .patch_status(
            "g",
            &PatchParams::default(),
            &Patch::Merge(json!({"status": {"turns": 1}})),
        )
        .await?;
    ensure!(turned.data["status"]["turns"] == 1);
    definitions.delete(name, &DeleteParams::default()).await?;
    println!("custom kind defined, discovered, defaulted, validated");
    Ok(())
}

/// Waiting, logs and exec.
async fn pod(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let account: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), namespace);
    tokio::time::timeout(
        PATIENCE,
        await_condition(
            account,
            "default",
            |found: Option<&k8s_openapi::api::core::v1::ServiceAccount>| found.is_some(),
        ),
    )
    .await
    .context("wait for the namespace's account")??;
    let spec = json!({"containers": [{
        "name": "main", "image": "alpine", "command": ["sh", "-c", "echo begun; exec sleep 600"],
    }], "terminationGracePeriodSeconds": 1});
    api.create(
        &PostParams::default(),
        &typed(json!({"metadata": {"name": "p"}, "spec": spec}))?,
    )
    .await?;
    tokio::time::timeout(
        PATIENCE,
        await_condition(api.clone(), "p", conditions::is_pod_running()),
    )
    .await
    .context("wait for the pod to run")??;
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let first = tokio::time::timeout(PATIENCE, async {
        let mut lines = api.log_stream("p", &follow).await?.lines();
        anyhow::Ok(lines.try_next().await?)
    })
    .await
    .context("wait for the first line of the log")??;
    ensure!(first.as_deref() == Some("begun"), "{first:?}");
    let script = "cat; echo to stderr >&2; exit 3";
    let mut running = api
        .exec(
            "p",
            ["sh", "-c", script],
            &AttachParams::default().stdin(true).stderr(true),
        )
        .await?;
    let mut input = running.stdin().context("exec has an input")?;
    tokio::io::AsyncWriteExt::write_all(&mut input, b"typed").await?;
    tokio::io::AsyncWriteExt::shutdown(&mut input).await?;
    drop(input);
    let mut said = String::new();
    running
        .stdout()
        .context("exec has an output")?
        .read_to_string(&mut said)
        .await?;
    ensure!(said == "typed", "{said:?}");
    let status = running.take_status().context("exec reports its end")?;
    let status = tokio::time::timeout(PATIENCE, status)
        .await
        .context("wait for exec to end")?
        .context("exec says how it ended")?;
    ensure!(
        status.reason.as_deref() == Some("NonZeroExitCode"),
        "{status:?}"
    );
    tokio::time::timeout(
        PATIENCE,
        delete_and_finalize(api, "p", &DeleteParams::default()),
    )
    .await
    .context("wait for the pod to go")??;
    println!("pod awaited, followed, entered, ended");
    Ok(())
}

/// A workload comes to be and its scale is a door of its own.
async fn deployment(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = Deployment {
        metadata: ObjectMeta {
            name: Some("d".to_owned()),
            ..ObjectMeta::default()
        },
        spec: typed(json!({
            "replicas": 1,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "alpine", "command": ["sleep", "600"]}],
            }},
        }))?,
        ..Deployment::default()
    };
    api.create(&PostParams::default(), &deployment).await?;
    api.patch_scale(
        "d",
        &PatchParams::default(),
        &Patch::Merge(json!({"spec": {"replicas": 2}})),
    )
    .await?;
    let is_complete = |found: Option<&Deployment>| {
        found
            .and_then(|deployment| deployment.status.as_ref())
            .is_some_and(|status| status.available_replicas == Some(2))
    };
    tokio::time::timeout(PATIENCE, await_condition(api, "d", is_complete))
        .await
        .context("wait for both replicas")??;
    println!("deployment scaled and available");
    Ok(())
}
