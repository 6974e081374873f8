//! The rules of kinds, identity and admission, through the whole server: what a client sees of them.
//! One file because it is one table of rules, tried against one server.

use apiserver::authn::User;
use apiserver::{ApiServer, Config};
use serde_json::{Value, json};

/// A server on a folder of its own, with the accounts that controllers would make.
struct Cluster {
    server: ApiServer,
    _folder: tempfile::TempDir,
}

/// What came back: the status code and the object.
#[derive(Debug)]
struct Answer {
    code: u16,
    body: Value,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{:#}", self.body);
        self.body
    }
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ApiServer::open(Config::at(folder.path())).await.unwrap();
        let cluster = Self {
            server,
            _folder: folder,
        };
        for namespace in ["default", "kubeflow"] {
            if namespace != "default" {
                cluster
                    .owner(
                        "POST",
                        "/api/v1/namespaces",
                        json!({"metadata": {"name": namespace}}),
                    )
                    .await
                    .ok();
            }
            let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
            cluster
                .owner("POST", &path, json!({"metadata": {"name": "default"}}))
                .await
                .ok();
        }
        cluster
    }

    /// A request as the bearer of `token`, perhaps as somebody else.
    async fn ask(
        &self,
        token: &str,
        acting_as: Option<&str>,
        method: &str,
        path: &str,
        body: Value,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path);
        let content_type = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        request = request.header("content-type", content_type);
        if let Some(name) = acting_as {
            request = request.header("impersonate-user", name);
        }
        let body = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(&body).unwrap()
        };
        let request = request.body(body.into()).unwrap();
        let response = self.server.client(token).send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        Answer {
            code,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }

    async fn owner(&self, method: &str, path: &str, body: Value) -> Answer {
        let token = self.server.admin_token().to_owned();
        self.ask(&token, None, method, path, body).await
    }

    async fn by(&self, user: User, method: &str, path: &str, body: Value) -> Answer {
        let token = self.server.issue(user);
        self.ask(&token, None, method, path, body).await
    }
}

/// The object without what differs from run to run.
fn steady(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in [
            "uid",
            "creationTimestamp",
            "resourceVersion",
            "managedFields",
            "generation",
        ] {
            metadata.remove(key);
        }
    }
    object
}

#[tokio::test]
async fn a_bare_pod_comes_back_as_a_real_cluster_would_show_it() {
    let cluster = Cluster::start().await;
    let pod = cluster
        .owner(
            "POST",
            "/api/v1/namespaces/default/pods",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "busybox:1.36"}]}}),
        )
        .await
        .ok();
    let volume = pod["spec"]["volumes"][0]["name"].clone();
    assert_eq!(
        steady(pod),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {
                "containers": [{
                    "name": "c", "image": "busybox:1.36", "imagePullPolicy": "IfNotPresent", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "volumeMounts": [{"name": volume, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}],
                }],
                "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
                "priority": 0, "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {},
                "serviceAccount": "default", "serviceAccountName": "default", "terminationGracePeriodSeconds": 30,
                "tolerations": [
                    {"effect": "NoExecute", "key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300},
                    {"effect": "NoExecute", "key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300},
                ],
                "volumes": [{"name": volume, "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                    {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
                ]}}],
            },
            "status": {"phase": "Pending", "qosClass": "BestEffort"},
        })
    );
}

#[tokio::test]
async fn a_job_finds_its_pods_by_its_uid() {
    let cluster = Cluster::start().await;
    let job = cluster
        .owner(
            "POST",
            "/apis/batch/v1/namespaces/default/jobs",
            json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}}}}),
        )
        .await
        .ok();
    let uid = job["metadata"]["uid"].clone();
    assert_eq!(
        job["spec"]["selector"]["matchLabels"],
        json!({"batch.kubernetes.io/controller-uid": uid})
    );
    assert_eq!(
        job["metadata"]["labels"]["batch.kubernetes.io/job-name"],
        "j"
    );
    let path = "/apis/batch/v1/namespaces/default/jobs/j";
    let change =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}});
    let refused = cluster.owner("PATCH", path, change).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused.message().contains("field is immutable"),
        "{}",
        refused.message()
    );
    cluster
        .owner("PATCH", path, json!({"spec": {"suspend": true}}))
        .await
        .ok();
}

#[tokio::test]
async fn workloads_services_and_claims_come_back_complete() {
    let cluster = Cluster::start().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
    let deployment = cluster
        .owner(
            "POST",
            "/apis/apps/v1/namespaces/default/deployments",
            json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        )
        .await
        .ok();
    assert_eq!(deployment["metadata"]["generation"], 1);
    assert_eq!(
        deployment["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let service = cluster
        .owner(
            "POST",
            "/api/v1/namespaces/default/services",
            json!({"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}),
        )
        .await
        .ok();
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("10.96."), "{address}");
    assert_eq!(service["spec"]["clusterIPs"], json!([address]));
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
    let class = json!({
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "example.com/local",
    });
    cluster
        .owner("POST", "/apis/storage.k8s.io/v1/storageclasses", class)
        .await
        .ok();
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}});
    let claim = cluster
        .owner(
            "POST",
            "/api/v1/namespaces/default/persistentvolumeclaims",
            claim,
        )
        .await
        .ok();
    assert_eq!(
        claim["spec"],
        json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "local", "volumeMode": "Filesystem",
        })
    );
    assert_eq!(claim["status"], json!({"phase": "Pending"}));
}

#[tokio::test]
async fn a_bad_pod_is_refused_in_the_words_kubectl_prints() {
    let cluster = Cluster::start().await;
    let refused = cluster
        .owner(
            "POST",
            "/api/v1/namespaces/default/pods",
            json!({"metadata": {"name": "p"}, "spec": {"containers": [
                {"name": "c", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                {"name": "c", "image": "a"},
            ]}}),
        )
        .await;
    assert_eq!(
        (refused.code, refused.body["reason"].as_str()),
        (422, Some("Invalid"))
    );
    assert_eq!(
        refused.message(),
        "Pod \"p\" is invalid: [spec.containers[0].volumeMounts[0].name: Not found: \"v\", spec.containers[1].name: Duplicate value: \"c\"]"
    );
}

#[tokio::test]
async fn nobody_gets_in_unknown_and_nobody_gets_further_than_their_roles() {
    let cluster = Cluster::start().await;
    let unknown = cluster
        .ask("wrong", None, "GET", "/api/v1/pods", Value::Null)
        .await;
    assert_eq!((unknown.code, unknown.message()), (401, "Unauthorized"));
    let none = cluster.ask("", None, "GET", "/version", Value::Null).await;
    assert_eq!(none.code, 401);
    let refused = cluster
        .by(
            User::new("ann", &[]),
            "GET",
            "/api/v1/namespaces/default/pods",
            Value::Null,
        )
        .await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let binding = json!({
        "metadata": {"name": "ann"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    cluster.owner("POST", path, binding).await.ok();
    let ann = || User::new("ann", &[]);
    cluster
        .by(ann(), "GET", "/api/v1/namespaces/default/pods", Value::Null)
        .await
        .ok();
    assert_eq!(
        cluster
            .by(
                ann(),
                "GET",
                "/api/v1/namespaces/default/secrets",
                Value::Null
            )
            .await
            .code,
        403
    );
    assert_eq!(
        cluster
            .by(
                ann(),
                "GET",
                "/api/v1/namespaces/kubeflow/pods",
                Value::Null
            )
            .await
            .code,
        403
    );
}

#[tokio::test]
async fn an_admin_of_a_namespace_hands_out_no_more_than_they_have() {
    let cluster = Cluster::start().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let binding = |name: &str, role: &str| {
        json!({
            "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}],
        })
    };
    cluster
        .owner("POST", path, binding("ann", "admin"))
        .await
        .ok();
    let ann = || User::new("ann", &[]);
    cluster
        .by(ann(), "POST", path, binding("bob", "edit"))
        .await
        .ok();
    let refused = cluster
        .by(ann(), "POST", path, binding("eve", "cluster-admin"))
        .await;
    assert_eq!(refused.code, 403);
    assert!(
        refused
            .message()
            .contains("is attempting to grant RBAC permissions not currently held"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn a_token_of_a_pod_opens_the_api_until_the_pod_is_gone() {
    let cluster = Cluster::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "a"}]}});
    let uid = cluster.owner("POST", pods, pod).await.ok()["metadata"]["uid"].clone();
    let request = json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}}});
    let answer = cluster
        .owner(
            "POST",
            "/api/v1/namespaces/default/serviceaccounts/default/token",
            request,
        )
        .await
        .ok();
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let review = || json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let me = cluster.ask(&token, None, "POST", path, review()).await.ok();
    assert_eq!(
        me["status"]["userInfo"]["username"],
        "system:serviceaccount:default:default"
    );
    assert_eq!(
        me["status"]["userInfo"]["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["p"])
    );
    cluster
        .owner(
            "DELETE",
            &format!("{pods}/p?gracePeriodSeconds=0"),
            Value::Null,
        )
        .await
        .ok();
    assert_eq!(
        cluster.ask(&token, None, "POST", path, review()).await.code,
        401
    );
}

#[tokio::test]
async fn namespaces_of_the_cluster_stay_and_others_take_nothing_while_they_go() {
    let cluster = Cluster::start().await;
    let refused = cluster
        .owner("DELETE", "/api/v1/namespaces/kube-system", Value::Null)
        .await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"
    );
    cluster
        .owner("DELETE", "/api/v1/namespaces/kubeflow", Value::Null)
        .await
        .ok();
    let map = json!({"metadata": {"name": "m"}});
    let refused = cluster
        .owner(
            "POST",
            "/api/v1/namespaces/kubeflow/configmaps",
            map.clone(),
        )
        .await;
    assert_eq!(
        refused.message(),
        "configmaps \"m\" is forbidden: unable to create new content in namespace kubeflow because it is being terminated"
    );
    let missing = cluster
        .owner("POST", "/api/v1/namespaces/gone/configmaps", map)
        .await;
    assert_eq!(
        (missing.code, missing.message()),
        (404, "namespaces \"gone\" not found")
    );
}

#[tokio::test]
async fn a_node_takes_care_of_its_own_pods_alone() {
    let cluster = Cluster::start().await;
    for node in ["n1", "n2"] {
        let body = json!({"metadata": {"name": node}});
        cluster
            .by(User::node(node), "POST", "/api/v1/nodes", body)
            .await
            .ok();
    }
    let pods = "/api/v1/namespaces/default/pods";
    let mut uids = Vec::new();
    for (name, node) in [("mine", "n1"), ("yours", "n2")] {
        let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "a"}]}});
        uids.push(cluster.owner("POST", pods, pod).await.ok()["metadata"]["uid"].clone());
    }
    let node = || User::node("n1");
    let listed = cluster
        .by(
            node(),
            "GET",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1",
            Value::Null,
        )
        .await
        .ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        cluster
            .by(node(), "GET", "/api/v1/pods", Value::Null)
            .await
            .code,
        403
    );
    let running = json!({"status": {"phase": "Running"}});
    cluster
        .by(
            node(),
            "PATCH",
            &format!("{pods}/mine/status"),
            running.clone(),
        )
        .await
        .ok();
    assert_eq!(
        cluster
            .by(node(), "PATCH", &format!("{pods}/yours/status"), running)
            .await
            .code,
        403
    );
    assert_eq!(
        cluster
            .by(node(), "DELETE", &format!("{pods}/yours"), Value::Null)
            .await
            .code,
        403
    );
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let bound = |name: &str, uid: &Value| json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}}});
    cluster
        .by(node(), "POST", token, bound("mine", &uids[0]))
        .await
        .ok();
    assert_eq!(
        cluster
            .by(node(), "POST", token, bound("yours", &uids[1]))
            .await
            .code,
        403
    );
    assert_eq!(
        cluster
            .by(node(), "POST", token, json!({"spec": {}}))
            .await
            .code,
        403
    );
    cluster
        .by(
            node(),
            "DELETE",
            &format!("{pods}/mine?gracePeriodSeconds=0"),
            Value::Null,
        )
        .await
        .ok();
}

#[tokio::test]
async fn a_quota_is_kept_and_limits_fill_in() {
    let cluster = Cluster::start().await;
    let core = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "requests.cpu": "1"}}});
    cluster
        .owner("POST", &core("resourcequotas"), quota)
        .await
        .ok();
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "a"}]}});
    let refused = cluster.owner("POST", &core("pods"), pod("a")).await;
    assert_eq!(
        refused.message(),
        "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "0.1"}}]}});
    cluster
        .owner("POST", &core("limitranges"), range)
        .await
        .ok();
    let made = cluster.owner("POST", &core("pods"), pod("a")).await.ok();
    assert_eq!(
        made["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "100m"
    );
    let refused = cluster.owner("POST", &core("pods"), pod("b")).await;
    assert_eq!(
        refused.message(),
        "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_kept_however_many_come_at_the_same_moment() {
    let cluster = Cluster::start().await;
    let core = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "3"}}});
    cluster
        .owner("POST", &core("resourcequotas"), quota)
        .await
        .ok();
    let path = core("configmaps");
    let create = |number: usize| {
        cluster.owner(
            "POST",
            &path,
            json!({"metadata": {"name": format!("m{number}")}}),
        )
    };
    let answers = futures::future::join_all((0..12).map(create)).await;
    let let_in = answers.iter().filter(|answer| answer.code == 201).count();
    assert_eq!(let_in, 3);
}

mod built_in {
    //! The mark of built-in pods through every door of the server.

    use super::*;

    const MARK: &str = "ferroflow.io/built-in";
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/kubeflow/deployments";
    const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/kubeflow/replicasets";
    const PODS: &str = "/api/v1/namespaces/kubeflow/pods";

    fn is_marked(object: &Value) -> bool {
        !object["metadata"]["annotations"][MARK].is_null()
    }

    fn deployment() -> Value {
        json!({
            "metadata": {"name": "d", "annotations": {MARK: "true"}},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "c", "image": "ferroflow/kfctl:1", "args": ["controller"]}]},
                },
            },
        })
    }

    fn controller(kind: &str, owner: &Value) -> Value {
        json!([{
            "apiVersion": "apps/v1", "kind": kind, "controller": true,
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        }])
    }

    fn controllers(name: &str) -> User {
        User::service_account("kube-system", name)
    }

    async fn make_replica_set(cluster: &Cluster, deployment: &Value) -> Value {
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = json!("h");
        let body = json!({
            "metadata": {"name": "d-h", "labels": template["metadata"]["labels"], "ownerReferences": controller("Deployment", deployment)},
            "spec": {"replicas": 1, "selector": {"matchLabels": template["metadata"]["labels"]}, "template": template},
        });
        cluster
            .by(
                controllers("deployment-controller"),
                "POST",
                REPLICA_SETS,
                body,
            )
            .await
            .ok()
    }

    fn pod_of(replica_set: &Value, name: &str) -> Value {
        let template = &replica_set["spec"]["template"];
        json!({
            "metadata": {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": controller("ReplicaSet", replica_set)},
            "spec": template["spec"],
        })
    }

    /// A cluster with a marked Deployment and its ReplicaSet.
    async fn installed() -> (Cluster, Value, Value) {
        let cluster = Cluster::start().await;
        let deployment = cluster
            .by(User::installer(), "POST", DEPLOYMENTS, deployment())
            .await
            .ok();
        assert!(is_marked(&deployment));
        let replica_set = make_replica_set(&cluster, &deployment).await;
        assert!(is_marked(&replica_set));
        (cluster, deployment, replica_set)
    }

    #[tokio::test]
    async fn the_installers_pods_are_marked_by_way_of_their_owners() {
        let (cluster, _, replica_set) = installed().await;
        let pod = cluster
            .by(
                controllers("replicaset-controller"),
                "POST",
                PODS,
                pod_of(&replica_set, "a"),
            )
            .await
            .ok();
        assert_eq!(pod["metadata"]["annotations"][MARK], "true");
    }

    #[tokio::test]
    async fn the_owner_of_the_cluster_marks_neither_pods_nor_deployments() {
        let (cluster, _, replica_set) = installed().await;
        let mut by_hand = pod_of(&replica_set, "by-hand");
        by_hand["metadata"]["annotations"] = json!({MARK: "true"});
        assert!(!is_marked(&cluster.owner("POST", PODS, by_hand).await.ok()));
        let mut other = deployment();
        other["metadata"]["name"] = json!("other");
        assert!(!is_marked(
            &cluster.owner("POST", DEPLOYMENTS, other).await.ok()
        ));
    }

    #[tokio::test]
    async fn no_door_to_a_pod_adds_the_mark() {
        let (cluster, _, _) = installed().await;
        let plain = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
        cluster.owner("POST", PODS, plain.clone()).await.ok();
        let marked = json!({"metadata": {"annotations": {MARK: "true"}}});
        for door in ["", "/status", "/resize", "/ephemeralcontainers"] {
            let answer = cluster
                .owner("PATCH", &format!("{PODS}/p{door}"), marked.clone())
                .await;
            assert!(
                answer.code >= 400 || !is_marked(&answer.body),
                "patch {door}: {:#}",
                answer.body
            );
        }
        for door in ["", "/status"] {
            let mut whole = cluster
                .owner("GET", &format!("{PODS}/p"), Value::Null)
                .await
                .ok();
            whole["metadata"]["annotations"] = json!({MARK: "true"});
            let answer = cluster
                .owner("PUT", &format!("{PODS}/p{door}"), whole)
                .await;
            assert!(
                answer.code >= 400 || !is_marked(&answer.body),
                "put {door}: {:#}",
                answer.body
            );
        }
        let mut applied = plain;
        applied["metadata"]["annotations"] = json!({MARK: "true"});
        let token = cluster.server.admin_token().to_owned();
        let request = http::Request::builder()
            .method("PATCH")
            .uri(format!("{PODS}/p?fieldManager=x&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(serde_json::to_vec(&applied).unwrap().into())
            .unwrap();
        let response = cluster.server.client(&token).send(request).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": "p", "annotations": {MARK: "true", "note": "kept"}},
            "target": {"kind": "Node", "name": "n1"},
        });
        cluster
            .owner("POST", &format!("{PODS}/p/binding"), binding)
            .await
            .ok();
        let pod = cluster
            .owner("GET", &format!("{PODS}/p"), Value::Null)
            .await
            .ok();
        assert_eq!(pod["spec"]["nodeName"], "n1");
        assert_eq!(pod["metadata"]["annotations"]["note"], "kept");
        assert!(!is_marked(&pod), "{:#}", pod["metadata"]);
    }

    #[tokio::test]
    async fn impersonating_the_controller_wins_nothing_and_the_installer_cannot_be_impersonated() {
        let (cluster, _, replica_set) = installed().await;
        let token = cluster.server.admin_token().to_owned();
        let mut evil = pod_of(&replica_set, "evil");
        evil["spec"]["containers"][0]["args"] = json!(["--data=/home"]);
        let acting = "system:serviceaccount:kube-system:replicaset-controller";
        let made = cluster
            .ask(&token, Some(acting), "POST", PODS, evil)
            .await
            .ok();
        assert!(!is_marked(&made));
        let mut other = deployment();
        other["metadata"]["name"] = json!("other");
        let refused = cluster
            .ask(
                &token,
                Some("system:ferroflow:installer"),
                "POST",
                DEPLOYMENTS,
                other,
            )
            .await;
        assert_eq!(refused.code, 403);
    }

    #[tokio::test]
    async fn scaling_and_restarting_keep_the_mark_and_editing_what_runs_ends_it() {
        let (cluster, _, replica_set) = installed().await;
        let path = format!("{DEPLOYMENTS}/d");
        let scaled = json!({"spec": {"replicas": 2}});
        cluster
            .owner("PATCH", &format!("{path}/scale"), scaled.clone())
            .await
            .ok();
        assert!(is_marked(&cluster.owner("PATCH", &path, scaled).await.ok()));
        let restart = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
        assert!(is_marked(
            &cluster.owner("PATCH", &path, restart).await.ok()
        ));
        let edit = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "ferroflow/kfctl:1", "args": ["other"]}]}}}});
        assert!(!is_marked(&cluster.owner("PATCH", &path, edit).await.ok()));
        let back = json!({"metadata": {"annotations": {MARK: "true"}}});
        assert!(!is_marked(&cluster.owner("PATCH", &path, back).await.ok()));
        let pod = cluster
            .by(
                controllers("replicaset-controller"),
                "POST",
                PODS,
                pod_of(&replica_set, "late"),
            )
            .await
            .ok();
        assert!(
            !is_marked(&pod),
            "the ReplicaSet's Deployment has no mark any more"
        );
    }

    #[tokio::test]
    async fn editing_the_replica_set_ends_its_mark() {
        let (cluster, _, _) = installed().await;
        let edit = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "ferroflow/kfctl:1", "args": ["other"]}]}}}});
        let edited = cluster
            .owner("PATCH", &format!("{REPLICA_SETS}/d-h"), edit)
            .await
            .ok();
        assert!(!is_marked(&edited));
        let pod = cluster
            .by(
                controllers("replicaset-controller"),
                "POST",
                PODS,
                pod_of(&edited, "b"),
            )
            .await
            .ok();
        assert!(!is_marked(&pod));
    }
}

#[tokio::test]
async fn a_role_made_of_others_shows_their_rules_soon() {
    let cluster = Cluster::start().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let rule = json!({"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]});
    let part = json!({
        "metadata": {"name": "widgets-view", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [rule],
    });
    cluster.owner("POST", path, part).await.ok();
    for name in ["view", "edit", "admin"] {
        let shows_it = async {
            loop {
                let role = cluster
                    .owner("GET", &format!("{path}/{name}"), Value::Null)
                    .await
                    .ok();
                if role["rules"]
                    .as_array()
                    .is_some_and(|rules| rules.contains(&rule))
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), shows_it)
            .await
            .unwrap_or_else(|_| panic!("{name} never shows the rule"));
    }
}

#[tokio::test]
async fn limits_that_a_namespace_adds_count_for_the_class_of_a_pod() {
    let cluster = Cluster::start().await;
    let limits = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "100m"}}]}});
    let path = "/api/v1/namespaces/default";
    cluster
        .owner("POST", &format!("{path}/limitranges"), limits)
        .await
        .ok();
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "m", "image": "a:1"}]}});
    let made = cluster
        .owner("POST", &format!("{path}/pods"), pod)
        .await
        .ok();
    assert_eq!(made["status"]["qosClass"], "Burstable");
}
