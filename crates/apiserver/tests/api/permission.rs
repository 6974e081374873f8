//! What a client sees of permission: given objects, when a request comes, then this answer.

use axum::body::Body;
use http::Method;
use serde_json::json;

use crate::server::{CONFIG_MAPS, Server, config_map, service_account};

#[tokio::test]
async fn nobody_is_let_in_without_a_token() {
    let server = Server::start().await;
    for authorization in ["", "Bearer ", "Bearer wrong", "Basic YTpi"] {
        let headers = [("authorization", authorization)];
        let answer = server
            .request(Method::GET, "/version", &headers, Body::empty())
            .await;
        assert_eq!(answer.body["reason"], "Unauthorized");
        answer.expect(401);
    }
}

#[tokio::test]
async fn a_service_account_may_do_what_its_roles_say_from_that_moment_on() {
    let server = Server::start().await;
    server
        .post(
            "/api/v1/namespaces/default/serviceaccounts",
            &service_account("robot"),
        )
        .await
        .expect(201);
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let token = server.post(path, &request).await.expect(201)["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let list = || server.request(Method::GET, CONFIG_MAPS, &headers, Body::empty());
    let words = list().await.refused(403);
    assert_eq!(
        words,
        "configmaps is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"configmaps\" in API \
         group \"\" in the namespace \"default\""
    );
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    server
        .post(&format!("{base}/roles"), &role)
        .await
        .expect(201);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]});
    server
        .post(&format!("{base}/rolebindings"), &binding)
        .await
        .expect(201);
    list().await.expect(200);
    let create = config_map("x", json!({})).to_string();
    server
        .request(Method::POST, CONFIG_MAPS, &headers, Body::from(create))
        .await
        .expect(403);
    server
        .delete(&format!("{base}/rolebindings/b"), None)
        .await
        .expect(200);
    list().await.expect(403);
    server
        .delete("/api/v1/namespaces/default/serviceaccounts/robot", None)
        .await
        .expect(200);
    list().await.expect(401);
}

#[tokio::test]
async fn reviews_answer_for_oneself_and_for_others() {
    let server = Server::start().await;
    let question = |kind: &str, spec: serde_json::Value| json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    let base = "/apis/authorization.k8s.io/v1";
    let what = json!({"verb": "delete", "resource": "nodes"});
    let mine = question(
        "SelfSubjectAccessReview",
        json!({"resourceAttributes": what}),
    );
    let answer = server
        .post(&format!("{base}/selfsubjectaccessreviews"), &mine)
        .await
        .expect(201);
    assert_eq!(answer["status"]["allowed"], true);
    let theirs = question(
        "SubjectAccessReview",
        json!({"user": "jane", "resourceAttributes": what}),
    );
    let answer = server
        .post(&format!("{base}/subjectaccessreviews"), &theirs)
        .await
        .expect(201);
    assert_eq!(answer["status"]["allowed"], false);
    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = server
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &who)
        .await
        .expect(201);
    assert_eq!(answer["status"]["userInfo"]["username"], "kubernetes-admin");
}

#[tokio::test]
async fn the_owner_can_act_as_somebody_else() {
    let server = Server::start().await;
    let headers = [("impersonate-user", "jane")];
    let words = server
        .request(Method::GET, CONFIG_MAPS, &headers, Body::empty())
        .await
        .refused(403);
    assert!(words.contains("User \"jane\""), "{words}");
}

#[tokio::test]
async fn an_encoded_slash_reaches_no_other_namespace() {
    let server = Server::start().await;
    server.create_config_map("a", json!({})).await;
    for path in [
        "/api/v1/namespaces/x/configmaps/..%2F..%2Fdefault",
        "/api/v1/namespaces/default%2Fa/configmaps/b",
    ] {
        server.get(path).await.expect(400);
    }
}
