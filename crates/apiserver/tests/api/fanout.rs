//! Many writers, many watchers: whoever folds the events of a watch arrives at what a list shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use http::Request;
use serde_json::{Value, json};

use crate::server::{CONFIG_MAPS, Server, config_map};

const WRITERS: usize = 8;
const ROUNDS: usize = 40;
const WATCHERS: usize = 40;

/// Folds a watch until the object `done` appears; a watcher with a selector sees only its tier.
async fn fold(server: Arc<Server>, tier: Option<&'static str>) -> BTreeMap<String, String> {
    let selector = tier
        .map(|tier| format!("&labelSelector=tier+in+({tier},all)"))
        .unwrap_or_default();
    let path = format!("{CONFIG_MAPS}?watch=1{selector}");
    let request = Request::get(path).header("authorization", format!("Bearer {}", server.token));
    let response = server.send(request.body(Body::empty()).unwrap()).await;
    let mut body = response.into_body().into_data_stream();
    let (mut state, mut rest, mut newest) = (BTreeMap::new(), Vec::new(), 0);
    loop {
        let chunk = tokio::time::timeout(Duration::from_secs(60), body.next())
            .await
            .expect("an event in time");
        rest.extend_from_slice(&chunk.expect("the watch goes on").unwrap());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap();
            let metadata = &event["object"]["metadata"];
            let name = metadata["name"].as_str().unwrap().to_owned();
            let revision: u64 = metadata["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            match event["type"].as_str().unwrap() {
                "ADDED" => {
                    let before = state.insert(name.clone(), revision.to_string());
                    assert!(before.is_none(), "{name} was added twice");
                }
                "MODIFIED" => {
                    let before = state.insert(name.clone(), revision.to_string());
                    assert!(before.is_some(), "{name} changed before it was added");
                }
                "DELETED" => assert!(state.remove(&name).is_some(), "{name} went before it came"),
                other => panic!("{other}: {event}"),
            }
            // The initial state comes by name; from then on revisions rise.
            if newest > 0 && event["type"] != "ADDED" {
                assert!(revision > newest, "events are in order");
            }
            if event["type"] != "ADDED" {
                newest = revision;
            }
            if name == "done" {
                return state;
            }
        }
    }
}

async fn write(server: Arc<Server>, writer: usize) {
    for round in 0..ROUNDS {
        let name = format!("c{}", (writer * 7 + round * 3) % 12);
        let path = format!("{CONFIG_MAPS}/{name}");
        let tier = if round % 3 == 0 { "x" } else { "y" };
        match round % 4 {
            0 | 1 => {
                let mut object = config_map(&name, json!({}));
                object["metadata"]["labels"] = json!({"tier": tier});
                server.post(CONFIG_MAPS, &object).await;
            }
            2 => {
                let patch = json!({"metadata": {"labels": {"tier": tier}}, "data": {"by": format!("{writer}-{round}")}});
                server.patch(&path, "merge", &patch).await;
            }
            _ => {
                server.delete(&path, None).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_watcher_arrives_at_the_state_that_a_list_shows() {
    let server = Arc::new(Server::start().await);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(server.clone(), writer)))
        .collect();
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|n| {
            let tier = [None, Some("x"), Some("y")][n % 3];
            (tier, tokio::spawn(fold(server.clone(), tier)))
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut last = config_map("done", json!({}));
    last["metadata"]["labels"] = json!({"tier": "all"});
    server.post(CONFIG_MAPS, &last).await.expect(201);
    let list = server.get(CONFIG_MAPS).await.expect(200);
    let shown = |tier: Option<&str>| -> BTreeMap<String, String> {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| &item["metadata"])
            .filter(|metadata| {
                let own = metadata["labels"]["tier"].as_str().unwrap();
                tier.is_none_or(|tier| own == tier || own == "all")
            })
            .map(|metadata| {
                let text = |field: &str| metadata[field].as_str().unwrap().to_owned();
                (text("name"), text("resourceVersion"))
            })
            .collect()
    };
    for (tier, watcher) in watchers {
        assert_eq!(watcher.await.unwrap(), shown(tier), "{tier:?}");
    }
}
