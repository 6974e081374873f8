//! `kfctl status`: what runs, how well, and what it costs.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;

use crate::cli::{Global, Output, Status};
use crate::instance::{DataFolder, Record};
use crate::{cluster, control, platform, text, version};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    running: bool,
    version: &'static str,
    data_dir: String,
    data_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods_memory_bytes: Option<u64>,
    components: Vec<Component>,
    pods: BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct Component {
    namespace: String,
    name: String,
    image: String,
    ready: bool,
    cause: String,
}

/// Prints the state; the exit code is 0 while every component is ready.
pub fn run(global: &Global, args: &Status) -> Result<ExitCode> {
    if args.target.is_given() {
        return platform::block_on(of_a_cluster(args));
    }
    let data = platform::data(global)?;
    let shown = match data.living()? {
        Some(record) => platform::block_on(living(&data, record))?,
        None => Shown {
            running: false,
            version: version::FERROFLOW,
            data_dir: data.path().display().to_string(),
            data_bytes: data.size_bytes(),
            instance: None,
            memory_bytes: None,
            pods_memory_bytes: None,
            components: Vec::new(),
            pods: BTreeMap::new(),
        },
    };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&shown)?),
        Output::Table => print(&shown),
    }
    Ok(health(shown.running, &shown.components))
}

/// Success while something runs and all of it is ready.
fn health(is_running: bool, components: &[Component]) -> ExitCode {
    if is_running && components.iter().all(|component| component.ready) {
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// What is installed on a cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnCluster {
    context: String,
    server: String,
    kubernetes: String,
    components: Vec<Component>,
    pods: BTreeMap<String, usize>,
}

async fn of_a_cluster(args: &Status) -> Result<ExitCode> {
    let cluster = args.target.cluster().await?;
    let version = cluster
        .client
        .apiserver_version()
        .await
        .map_err(|error| cluster::refusal(&cluster, &error))?;
    let components = components(&cluster.client).await?;
    let shown = OnCluster {
        server: cluster.server(),
        context: cluster.context.clone(),
        kubernetes: version.git_version,
        pods: phases(&Api::namespaced(cluster.client.clone(), "kubeflow")).await?,
        components,
    };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&shown)?),
        Output::Table => {
            println!("context  {} ({})", shown.context, shown.server);
            println!("cluster  Kubernetes {}", shown.kubernetes);
            print_pods(&shown.pods);
            print_components(&shown.components);
        }
    }
    Ok(health(!shown.components.is_empty(), &shown.components))
}

async fn components(client: &Client) -> Result<Vec<Component>> {
    let deployments = Api::<Deployment>::all(client.clone())
        .list(&ListParams::default().labels("app.kubernetes.io/part-of=kubeflow"))
        .await
        .context("list the components")?;
    let mut components = Vec::new();
    for deployment in deployments {
        let trouble = trouble(client, &deployment).await;
        let mut component = component(deployment);
        if !component.ready
            && let Some(cause) = trouble
        {
            component.cause = cause;
        }
        components.push(component);
    }
    Ok(components)
}

/// What a pod of a component that is not ready says about itself: why it ended, or what it lacks.
async fn trouble(client: &Client, deployment: &Deployment) -> Option<String> {
    let spec = deployment.spec.as_ref()?;
    let status = deployment.status.as_ref();
    let ready = status.and_then(|status| status.ready_replicas);
    if ready.unwrap_or_default() >= spec.replicas.unwrap_or(1) {
        return None;
    }
    let labels = spec.selector.match_labels.as_ref()?;
    let selector: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let namespace = deployment.metadata.namespace.as_deref()?;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().labels(&selector.join(",")))
        .await
        .ok()?;
    pods.items.iter().find_map(
        |pod| match install::wait::judge(pod, jiff::Timestamp::UNIX_EPOCH) {
            install::wait::Progress::Troubled(cause) => Some(cause),
            _ => None,
        },
    )
}

/// Pods by phase.
async fn phases(pods: &Api<Pod>) -> Result<BTreeMap<String, usize>> {
    let mut phases = BTreeMap::new();
    for pod in pods
        .list(&ListParams::default())
        .await
        .context("list the pods")?
    {
        let phase = pod.status.and_then(|status| status.phase);
        *phases
            .entry(phase.unwrap_or_else(|| "Pending".to_owned()))
            .or_default() += 1;
    }
    Ok(phases)
}

async fn living(data: &DataFolder, record: Record) -> Result<Shown> {
    let vitals = control::Client::new(data.clone()).vitals().await?;
    let client = platform::client(data).await?;
    let components = components(&client).await?;
    Ok(Shown {
        running: true,
        version: version::FERROFLOW,
        data_dir: data.path().display().to_string(),
        data_bytes: data.size_bytes(),
        instance: Some(record),
        memory_bytes: Some(vitals.memory_bytes),
        pods_memory_bytes: Some(vitals.pods_memory_bytes),
        components,
        pods: phases(&Api::all(client)).await?,
    })
}

fn component(deployment: Deployment) -> Component {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let status = deployment.status.unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or_default() >= wanted;
    let cause = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .filter(|condition| condition.status != "True")
        .filter_map(|condition| condition.message)
        .collect::<Vec<_>>()
        .join("; ");
    let image = deployment
        .spec
        .and_then(|spec| spec.template.spec)
        .and_then(|pod| pod.containers.into_iter().next())
        .and_then(|container| container.image)
        .unwrap_or_default();
    Component {
        namespace: deployment.metadata.namespace.unwrap_or_default(),
        name: deployment.metadata.name.unwrap_or_default(),
        image,
        ready,
        cause: if ready { String::new() } else { cause },
    }
}

fn print(shown: &Shown) {
    let Some(record) = &shown.instance else {
        println!("not running; start it with: kfctl up");
        println!(
            "data     {}  {}",
            shown.data_dir,
            text::bytes(shown.data_bytes)
        );
        return;
    };
    println!(
        "ferroflow {}  process {}  up {}",
        record.version,
        record.pid,
        text::since(&record.started)
    );
    if record.version != version::FERROFLOW {
        println!(
            "note     this kfctl is version {}; restart the platform to run it: kfctl down, kfctl up",
            version::FERROFLOW
        );
    }
    println!("console  http://127.0.0.1:{}", record.console_port);
    println!("api      https://127.0.0.1:{}", record.api_port);
    println!(
        "data     {}  {}",
        shown.data_dir,
        text::bytes(shown.data_bytes)
    );
    println!(
        "memory   {} platform, {} pods",
        text::bytes(shown.memory_bytes.unwrap_or_default()),
        text::bytes(shown.pods_memory_bytes.unwrap_or_default())
    );
    print_pods(&shown.pods);
    print_components(&shown.components);
}

fn print_pods(pods: &BTreeMap<String, usize>) {
    let pods: Vec<String> = pods
        .iter()
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    println!(
        "pods     {}",
        if pods.is_empty() {
            "none".to_owned()
        } else {
            pods.join(", ")
        }
    );
}

fn print_components(components: &[Component]) {
    if components.is_empty() {
        println!("\nno component is installed");
        return;
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["COMPONENT", "NAMESPACE", "READY", "IMAGE", ""]);
    for component in components {
        let ready = if component.ready { "yes" } else { "no" };
        table.add_row([
            &component.name,
            &component.namespace,
            ready,
            &component.image,
            &component.cause,
        ]);
    }
    println!("\n{table}");
}
