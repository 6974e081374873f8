//! Nobody is served without being known and allowed.

use serde_json::json;

use super::platform::{Platform, post};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_valid_token_is_refused() {
    let mut platform = Platform::start().await;
    for token in ["", "nonsense"] {
        platform.token = token.into();
        let (status, answer) = platform.call("GET", "/runs", None).await;
        assert_eq!((status, &answer["code"]), (401, &json!(16)), "{answer}");
    }
    let http = reqwest::Client::new();
    let forged = http
        .get(format!("{}/apis/v2beta1/runs", platform.url))
        .header("x-remote-user", "system:admin")
        .header("x-remote-group", "system:masters")
        .header("kubeflow-userid", "admin")
        .send()
        .await
        .unwrap();
    assert_eq!(forged.status().as_u16(), 401, "headers alone name nobody");
    assert_eq!(
        http.get(format!("{}/apis/v2beta1/healthz", platform.url))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_do_what_its_role_in_the_namespace_says() {
    let mut platform = Platform::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/kubeflow";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"}, "rules": [{"apiGroups": ["pipelines.kubeflow.org"], "resources": ["runs"], "verbs": ["get", "list"]}]});
    post(&platform.client, &format!("{rbac}/roles"), &role).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}, "subjects": [{"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}]});
    post(&platform.client, &format!("{rbac}/rolebindings"), &binding).await;
    platform.token = platform.server.token_for("kubeflow", "pipeline-runner");
    assert_eq!(platform.call("GET", "/runs", None).await.0, 200);
    let (status, answer) = platform
        .call("POST", "/experiments", Some(json!({"display_name": "x"})))
        .await;
    assert_eq!(status, 403);
    assert_eq!(
        answer["message"],
        "user system:serviceaccount:kubeflow:pipeline-runner may not create experiments of pipelines.kubeflow.org in namespace kubeflow"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_for_steps_takes_the_right_to_make_pods() {
    let mut platform = Platform::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/kubeflow";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "runner"}, "rules": [{"apiGroups": ["pipelines.kubeflow.org"], "resources": ["*"], "verbs": ["*"]}]});
    post(&platform.client, &format!("{rbac}/roles"), &role).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "runner"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runner"}, "subjects": [{"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}]});
    post(&platform.client, &format!("{rbac}/rolebindings"), &binding).await;
    platform.token = platform.server.token_for("kubeflow", "pipeline-runner");
    let spec = pipelines::ir::Document::parse(include_str!("../pipelines/compiled/formatted.yaml"))
        .unwrap()
        .to_api();
    let (status, _) = platform
        .call(
            "POST",
            "/runs",
            Some(json!({"display_name": "x", "pipeline_spec": spec})),
        )
        .await;
    assert_eq!(status, 200);
    for more in [
        json!({"service_account": "dashboard"}),
        json!({"plugins_input": {"ferroflow.io/mounts": {"mounts": [{"hostPath": "/etc", "mountPath": "/host"}]}}}),
    ] {
        let mut body = json!({"display_name": "x", "pipeline_spec": spec});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, answer) = platform.call("POST", "/runs", Some(body)).await;
        assert_eq!(status, 403, "{answer}");
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("may not create pods in namespace kubeflow"),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_front_door_that_may_impersonate_speaks_for_others() {
    let platform = Platform::start().await;
    let http = reqwest::Client::new();
    let call = |token: String, user: &'static str| {
        http.get(format!("{}/apis/v2beta1/runs", platform.url))
            .bearer_auth(token)
            .header("kubeflow-userid", user)
            .send()
    };
    let runner = platform.server.token_for("kubeflow", "pipeline-runner");
    assert_eq!(call(runner, "ada").await.unwrap().status().as_u16(), 403);
    let admin = platform.server.admin_token().to_owned();
    assert_eq!(
        call(admin, "ada").await.unwrap().status().as_u16(),
        403,
        "ada herself has no role, whoever asks for her"
    );
}
