//! Questions a client asks the API about identity and permission. Each is a function from the
//! posted object to the answered one; nothing is stored. Mirrors Kubernetes v1.33 `pkg/registry/{authentication,authorization}`.

mod access;
mod rules;
mod subject;
mod token_request;
mod token_review;

use serde_json::{Value, json};

pub use access::{local_subject_access_review, self_subject_access_review, subject_access_review};
pub use rules::self_subject_rules_review;
pub use subject::self_subject_review;
pub use token_request::token_request;
pub use token_review::token_review;

use crate::authn::User;

/// The posted object with a status; its type and spec are what the client sent.
fn answered(review: &Value, status: Value) -> Value {
    let mut answer = review.clone();
    if let Some(fields) = answer.as_object_mut() {
        fields.entry("metadata").or_insert_with(|| json!({}));
        fields.insert("status".into(), status);
    }
    answer
}

/// A user as reviews show it.
fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// A list of texts; empty if it is none.
fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(ToOwned::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::{Authenticator, TokenSigner, service_account::DEFAULT_ISSUER};
    use crate::authz::{Authorizer, Rbac};
    use crate::lookup::Fixed;
    use std::sync::Arc;

    const NOW: i64 = 1_800_000_000;

    fn signer() -> Arc<TokenSigner> {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        Arc::new(TokenSigner::new(&key, DEFAULT_ISSUER).unwrap())
    }

    fn objects() -> Fixed {
        Fixed::default()
            .with(
                "",
                "serviceaccounts",
                json!({"metadata": {"name": "builder", "namespace": "dev", "uid": "sa"}}),
            )
            .with(
                "",
                "nodes",
                json!({"metadata": {"name": "n1", "uid": "node"}}),
            )
            .with(
                "",
                "pods",
                json!({
                    "metadata": {"name": "p", "namespace": "dev", "uid": "pod"},
                    "spec": {"serviceAccountName": "builder", "nodeName": "n1"},
                }),
            )
            .with(
                "",
                "pods",
                json!({
                    "metadata": {"name": "other", "namespace": "dev", "uid": "other"},
                    "spec": {"serviceAccountName": "default"},
                }),
            )
    }

    /// Ann may get pods in `dev`.
    fn authorizer() -> Authorizer {
        let role = json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        let binding = json!({
            "metadata": {"name": "b", "namespace": "dev"},
            "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "ann"}],
        });
        Authorizer::new(
            Rbac::rebuild([], [&binding], [&role], []),
            Arc::new(Fixed::default()),
        )
    }

    fn request(spec: Value) -> Value {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
    }

    fn ask_token(request: &Value) -> Result<Value, objects::Status> {
        token_request(&signer(), &objects(), "dev", "builder", request, NOW)
    }

    #[test]
    fn a_token_is_for_the_api_and_one_hour_unless_said_otherwise() {
        let answer = ask_token(&request(json!({}))).unwrap();
        assert_eq!(answer["spec"]["audiences"], json!([DEFAULT_ISSUER]));
        assert_eq!(answer["spec"]["expirationSeconds"], 3600);
        assert_eq!(
            answer["status"]["expirationTimestamp"],
            "2027-01-15T09:00:00Z"
        );
        assert_eq!(
            answer["status"]["token"]
                .as_str()
                .unwrap()
                .split('.')
                .count(),
            3
        );
    }

    #[test]
    fn a_token_bound_to_a_pod_is_that_pods_alone_and_knows_its_node() {
        let signer = signer();
        let now = jiff::Timestamp::now().as_second();
        let bound = request(
            json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "pod"}}),
        );
        let answer = token_request(&signer, &objects(), "dev", "builder", &bound, now).unwrap();
        let authenticator = Authenticator::new("admin", signer, Arc::new(objects()));
        let token = answer["status"]["token"].as_str().unwrap();
        let user = authenticator.authenticate_token(token, &[]).unwrap().user;
        assert_eq!(user.extra["authentication.kubernetes.io/node-name"], ["n1"]);
        assert_eq!(
            user.extra["authentication.kubernetes.io/node-uid"],
            ["node"]
        );
    }

    #[test]
    fn a_token_is_not_given_for_what_does_not_fit() {
        let cases = [
            (
                json!({"expirationSeconds": 60}),
                422,
                "may not specify a duration less than 10 minutes",
            ),
            (
                json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "gone"}}),
                404,
                "pods \"gone\" not found",
            ),
            (
                json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "old"}}),
                409,
                "does not match the UID in record",
            ),
            (
                json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "other"}}),
                400,
                "different serviceaccount name",
            ),
            (
                json!({"boundObjectRef": {"kind": "Job", "apiVersion": "batch/v1", "name": "p"}}),
                400,
                "cannot bind token",
            ),
        ];
        for (spec, code, words) in cases {
            let status = ask_token(&request(spec)).unwrap_err();
            assert_eq!(status.code, code, "{}", status.message);
            assert!(status.message.contains(words), "{}", status.message);
        }
        let gone = token_request(
            &signer(),
            &objects(),
            "dev",
            "gone",
            &request(json!({})),
            NOW,
        )
        .unwrap_err();
        assert_eq!(gone.message, "serviceaccounts \"gone\" not found");
    }

    #[test]
    fn a_token_review_tells_whose_token_it_is_and_does_not_send_it_back() {
        let authenticator = Authenticator::new("admin", signer(), Arc::new(objects()));
        let review = |token: &str| json!({"kind": "TokenReview", "spec": {"token": token}});
        let good = token_review(&authenticator, &review("admin")).unwrap();
        assert_eq!(good["status"]["authenticated"], true);
        assert_eq!(good["status"]["user"]["username"], "kubernetes-admin");
        assert!(good["spec"].get("token").is_none());
        let bad = token_review(&authenticator, &review("x")).unwrap();
        assert!(bad["status"].get("authenticated").is_none());
        assert_eq!(bad["status"]["error"], "invalid bearer token");
        assert_eq!(
            token_review(&authenticator, &json!({})).unwrap_err().code,
            400
        );
    }

    #[test]
    fn access_reviews_answer_for_others_and_for_oneself() {
        let question = |verb: &str| json!({"verb": verb, "resource": "pods", "namespace": "dev"});
        let authorizer = authorizer();
        for (verb, allowed) in [("get", true), ("delete", false)] {
            let other = json!({"spec": {"user": "ann", "resourceAttributes": question(verb)}});
            let answer = subject_access_review(&authorizer, &other).unwrap();
            assert_eq!(answer["status"]["allowed"], allowed);
            let own = json!({"spec": {"resourceAttributes": question(verb)}});
            let answer =
                self_subject_access_review(&authorizer, &User::new("ann", &[]), &own).unwrap();
            assert_eq!(answer["status"]["allowed"], allowed);
            let local = local_subject_access_review(&authorizer, "dev", &other).unwrap();
            assert_eq!(local["status"]["allowed"], allowed);
        }
    }

    #[test]
    fn a_review_asks_exactly_one_question_about_somebody() {
        let authorizer = authorizer();
        let nothing = json!({"spec": {"user": "ann"}});
        assert_eq!(
            subject_access_review(&authorizer, &nothing)
                .unwrap_err()
                .code,
            422
        );
        let both = json!({"spec": {"resourceAttributes": {}, "nonResourceAttributes": {}}});
        assert_eq!(
            self_subject_access_review(&authorizer, &User::admin(), &both)
                .unwrap_err()
                .code,
            422
        );
        let nobody = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
        assert_eq!(
            subject_access_review(&authorizer, &nobody)
                .unwrap_err()
                .code,
            422
        );
        let elsewhere =
            json!({"spec": {"user": "ann", "resourceAttributes": {"namespace": "prod"}}});
        assert_eq!(
            local_subject_access_review(&authorizer, "dev", &elsewhere)
                .unwrap_err()
                .code,
            422
        );
    }

    #[test]
    fn a_question_about_no_resource_is_not_a_question_about_a_path() {
        let rule = json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
        let binding = json!({
            "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "ann"}],
        });
        let authorizer = Authorizer::new(
            Rbac::rebuild([], [], [&rule], [&binding]),
            Arc::new(Fixed::default()),
        );
        let review = json!({"spec": {"resourceAttributes": {"verb": "get"}}});
        let answer =
            self_subject_access_review(&authorizer, &User::new("ann", &[]), &review).unwrap();
        assert_eq!(answer["status"]["allowed"], false);
    }

    #[test]
    fn one_can_see_ones_own_rules_and_name() {
        let ann = User::new("ann", &[]);
        let review = json!({"spec": {"namespace": "dev"}});
        let answer = self_subject_rules_review(&authorizer(), &ann, &review).unwrap();
        assert_eq!(
            answer["status"]["resourceRules"],
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}])
        );
        assert_eq!(
            self_subject_review(&ann, &json!({}))["status"]["userInfo"]["username"],
            "ann"
        );
    }
}
