//! `kfctl image` where the command line names a cluster: what its nodes have, and in words what only its registry does.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

use crate::cli::{Image, Output};
use crate::cluster::{Target, refusal};
use crate::{platform, text};

/// Lists what the nodes have; refuses what a cluster has no part in. True where the command is done with that.
pub fn run(command: &Image, target: &Target) -> Result<bool> {
    match command {
        Image::List { output } => platform::block_on(list(target, *output)).map(|()| true),
        // Both are about this machine and a registry or file: the cluster changes only what comes next.
        Image::Push(_) | Image::Export(_) => Ok(false),
        Image::Add(_) => bail!(
            "an image is made on this machine: leave out --context and --kubeconfig here, then {SENDING}"
        ),
        Image::Load { .. } | Image::Pull(_) => bail!(
            "a cluster's nodes pull their images from registries themselves; to give them one of this machine, {SENDING}"
        ),
        Image::Rm { .. } => bail!(
            "a cluster's nodes drop images that no pod uses by themselves; without --context and --kubeconfig this removes an image of this machine"
        ),
        Image::Inspect { .. } => bail!(
            "kfctl image list shows what a cluster's nodes have; without --context and --kubeconfig this shows an image of this machine"
        ),
    }
}

const SENDING: &str =
    "send it with kfctl image push NAME REGISTRY/NAME and run with --image-map NAME=REGISTRY/NAME";

/// What a person types next, once an image of this machine is where the cluster finds it.
pub fn say_next(target: &Target, name: &str, pushed: &str) {
    let mut options = String::new();
    if let Some(file) = &target.kubeconfig {
        options += &format!(" --kubeconfig {}", file.display());
    }
    if let Some(context) = &target.context {
        options += &format!(" --context {context}");
    }
    println!("next     kfctl run PIPELINE{options} --image-map {name}={pushed}");
}

async fn list(target: &Target, output: Output) -> Result<()> {
    let cluster = target.cluster().await?;
    let nodes = Api::<Node>::all(cluster.client.clone())
        .list(&ListParams::default())
        .await
        .map_err(|error| refusal(&cluster, &error))?;
    let found = images_of(&nodes.items);
    if output == Output::Json {
        let rows: Vec<_> = found
            .iter()
            .map(|(name, held)| serde_json::json!({ "name": name, "sizeBytes": held.size_bytes, "nodes": held.nodes }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    if found.is_empty() {
        println!("the nodes of {} tell of no images", cluster.context);
        return Ok(());
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["NAME", "SIZE", "NODES"]);
    for (name, held) in found {
        table.add_row([name, text::bytes(held.size_bytes), held.nodes.join(", ")]);
    }
    println!("{table}");
    Ok(())
}

/// An image, as nodes tell of it.
#[derive(Debug, Default, PartialEq)]
struct Held {
    size_bytes: u64,
    nodes: Vec<String>,
}

/// By name; one that has only a digest keeps that.
fn images_of(nodes: &[Node]) -> BTreeMap<String, Held> {
    let mut found = BTreeMap::<String, Held>::new();
    for node in nodes {
        let images = node
            .status
            .as_ref()
            .and_then(|status| status.images.as_ref());
        for image in images.into_iter().flatten() {
            let names = image.names.clone().unwrap_or_default();
            let tagged: Vec<&String> = names.iter().filter(|name| !name.contains('@')).collect();
            let shown = if tagged.is_empty() {
                names.iter().take(1).collect()
            } else {
                tagged
            };
            for name in shown {
                let held = found.entry(name.clone()).or_default();
                held.size_bytes = u64::try_from(image.size_bytes.unwrap_or(0)).unwrap_or(0);
                held.nodes
                    .push(node.metadata.name.clone().unwrap_or_default());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, images: serde_json::Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"images": images}}))
            .expect("a node")
    }

    #[test]
    fn an_image_is_listed_once_under_each_tag_with_the_nodes_that_have_it() {
        let digest = format!("r.example/x@sha256:{}", "a".repeat(64));
        let x = json!({"names": [digest, "r.example/x:1"], "sizeBytes": 5});
        let nameless = json!({"names": [digest], "sizeBytes": 7});
        let found = images_of(&[
            node("one", json!([x])),
            node("two", json!([x, nameless])),
            node("new", json!(null)),
        ]);
        let held = |size_bytes, nodes: &[&str]| Held {
            size_bytes,
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [
                ("r.example/x:1".to_owned(), held(5, &["one", "two"])),
                (digest, held(7, &["two"])),
            ]
        );
    }
}
