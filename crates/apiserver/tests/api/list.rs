//! What a client sees of list: given objects, when a request comes, then this answer.

use serde_json::{Value, json};

use crate::server::{CONFIG_MAPS, PODS, Server, config_map, pod};

async fn five(server: &Server) {
    for name in ["a", "b", "c", "d", "e"] {
        let mut object = config_map(name, json!({}));
        object["metadata"]["labels"] =
            json!({"name": name, "vowel": if "ae".contains(name) { "yes" } else { "no" }});
        server.post(CONFIG_MAPS, &object).await.expect(201);
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_show_one_moment_whatever_happens_meanwhile() {
    let server = Server::start().await;
    five(&server).await;
    let first = server
        .get(&format!("{CONFIG_MAPS}?limit=2"))
        .await
        .expect(200);
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server
        .delete(&format!("{CONFIG_MAPS}/d"), None)
        .await
        .expect(200);
    server.create_config_map("cc", json!({})).await;
    let next = first["metadata"]["continue"].as_str().unwrap();
    let second = server
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={next}"))
        .await
        .expect(200);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let next = second["metadata"]["continue"].as_str().unwrap();
    let last = server
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={next}"))
        .await
        .expect(200);
    assert_eq!(names(&last), ["e"]);
    assert!(last["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn an_exact_revision_shows_the_past() {
    let server = Server::start().await;
    let made = server.create_config_map("a", json!({})).await;
    server.create_config_map("b", json!({})).await;
    let revision = made["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{CONFIG_MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact");
    let past = server.get(&path).await.expect(200);
    assert_eq!(names(&past), ["a"]);
    assert_eq!(past["metadata"]["resourceVersion"], revision);
    let now = server
        .get(&format!("{CONFIG_MAPS}?resourceVersion={revision}"))
        .await
        .expect(200);
    assert_eq!(names(&now), ["a", "b"]);
}

#[tokio::test]
async fn a_revision_from_the_future_is_waited_for_and_then_refused() {
    let server = Server::start().await;
    let answer = server
        .get(&format!("{CONFIG_MAPS}?resourceVersion=99999999"))
        .await;
    assert_eq!(
        answer.body["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    answer.expect(504);
}

#[tokio::test]
async fn selectors_choose_by_label_and_field() {
    let server = Server::start().await;
    five(&server).await;
    let by = |query: &'static str| {
        let server = &server;
        async move {
            server
                .get(&format!("{CONFIG_MAPS}?{query}"))
                .await
                .expect(200)
        }
    };
    assert_eq!(names(&by("labelSelector=vowel%3Dyes").await), ["a", "e"]);
    assert_eq!(
        names(&by("labelSelector=name+in+(b,c),vowel!%3Dyes").await),
        ["b", "c"]
    );
    assert_eq!(names(&by("fieldSelector=metadata.name%3Dd").await), ["d"]);
    assert_eq!(
        names(&by("fieldSelector=metadata.name!%3Dd&labelSelector=vowel%3Dno").await),
        ["b", "c"]
    );
    let words = server
        .get(&format!("{CONFIG_MAPS}?fieldSelector=data.x%3Dy"))
        .await
        .refused(400);
    assert_eq!(words, "field label not supported: data.x");
    server
        .get(&format!("{CONFIG_MAPS}?labelSelector=(("))
        .await
        .expect(400);
}

#[tokio::test]
async fn pods_are_selected_by_node_and_phase() {
    let server = Server::start().await;
    server.default_account().await;
    for name in ["p", "q"] {
        server.post(PODS, &pod(name)).await.expect(201);
    }
    let binding =
        json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n1"}});
    server
        .post(&format!("{PODS}/q/binding"), &binding)
        .await
        .expect(201);
    let list = server
        .get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1,status.phase%3DPending")
        .await
        .expect(200);
    assert_eq!(names(&list), ["q"]);
}

#[tokio::test]
async fn bad_options_are_refused_in_words() {
    let server = Server::start().await;
    for query in ["limit=x", "continue=rubbish", "resourceVersion=x"] {
        let answer = server.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(answer.code.as_u16(), 400, "{query}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let server = Server::start().await;
    five(&server).await;
    let before = server.get(CONFIG_MAPS).await.expect(200);
    let server = server.restart().await;
    let after = server.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(after["items"], before["items"]);
}

#[tokio::test]
async fn options_that_contradict_each_other_are_invalid_and_a_negative_limit_is_none() {
    let server = Server::start().await;
    five(&server).await;
    for (options, words) in [
        (
            "resourceVersionMatch=Exact",
            "forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=Nearly&resourceVersion=1",
            "Unsupported value: \"Nearly\"",
        ),
    ] {
        let message = server
            .get(&format!("{CONFIG_MAPS}?{options}"))
            .await
            .refused(422);
        assert!(message.contains(words), "{message}");
    }
    let all = server.get(&format!("{CONFIG_MAPS}?limit=-1")).await;
    assert_eq!(names(&all.expect(200)).len(), 5);
}
