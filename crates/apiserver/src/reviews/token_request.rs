//! TokenRequest: a token for a service account, bound to what the request names.

use objects::{FieldError, Status, meta};
use serde_json::{Value, json};

use super::{answered, texts};
use crate::authn::service_account::Reference;
use crate::authn::{Binding, TokenSigner};
use crate::lookup::Lookup;

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

/// Answers a request for a token of the service account `name`; `now` is in seconds since 1970.
pub fn token_request(
    signer: &TokenSigner,
    lookup: &dyn Lookup,
    namespace: &str,
    name: &str,
    request: &Value,
    now: i64,
) -> Result<Value, Status> {
    let Some(account) = lookup.get("", "serviceaccounts", namespace, name) else {
        return Err(Status::not_found("", "serviceaccounts", name));
    };
    let spec = &request["spec"];
    let seconds = spec["expirationSeconds"]
        .as_i64()
        .unwrap_or(DEFAULT_SECONDS);
    check_lifetime(seconds)?;
    let mut binding = Binding {
        namespace: namespace.to_owned(),
        serviceaccount: reference(&account),
        pod: None,
        node: None,
        secret: None,
    };
    if spec["boundObjectRef"].is_object() {
        bind(
            &mut binding,
            lookup,
            namespace,
            name,
            &spec["boundObjectRef"],
        )?;
    }
    let audiences = signer.audiences_or_api(&texts(&spec["audiences"]));
    let token = signer
        .sign(binding, &audiences, seconds, now)
        .map_err(|err| Status::internal(format!("failed to generate token: {err}")))?;
    let expires = jiff::Timestamp::from_second(now + seconds)
        .map_err(|err| Status::internal(format!("failed to generate token: {err}")))?;
    let mut answer = answered(
        request,
        json!({"token": token, "expirationTimestamp": expires.to_string()}),
    );
    answer["metadata"]["name"] = json!(name);
    answer["metadata"]["namespace"] = json!(namespace);
    answer["metadata"]["creationTimestamp"] = json!(
        jiff::Timestamp::from_second(now)
            .unwrap_or_default()
            .to_string()
    );
    if let Some(fields) = answer.as_object_mut() {
        fields.entry("spec").or_insert_with(|| json!({}));
    }
    if let Some(spec) = answer["spec"].as_object_mut() {
        spec.insert("audiences".into(), json!(audiences));
        spec.insert("expirationSeconds".into(), json!(seconds));
        spec.entry("boundObjectRef").or_insert(Value::Null);
    }
    Ok(answer)
}

fn check_lifetime(seconds: i64) -> Result<(), Status> {
    let detail = if seconds < MIN_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > MAX_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let errors = vec![FieldError::invalid(
        "spec.expirationSeconds",
        seconds,
        detail,
    )];
    Err(Status::invalid(
        "authentication.k8s.io",
        "TokenRequest",
        "",
        errors,
    ))
}

fn bind(
    binding: &mut Binding,
    lookup: &dyn Lookup,
    namespace: &str,
    account: &str,
    wanted: &Value,
) -> Result<(), Status> {
    let text = |key: &str| wanted[key].as_str().unwrap_or_default();
    let (name, uid) = (text("name"), text("uid"));
    let (resource, scope) = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => ("pods", namespace),
        ("v1", "Secret") => ("secrets", namespace),
        ("v1", "Node") => ("nodes", ""),
        (version, kind) => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {}{version}, Kind={kind}",
                if version.contains('/') { "" } else { "/" }
            )));
        }
    };
    let Some(found) = lookup.get("", resource, scope, name) else {
        return Err(Status::not_found("", resource, name));
    };
    if !uid.is_empty() && meta::uid(&found) != uid {
        return Err(Status::conflict(
            "",
            resource,
            name,
            &format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    let bound = Some(reference(&found));
    match resource {
        "pods" => {
            if found["spec"]["serviceAccountName"] != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            let node = found["spec"]["nodeName"].as_str().unwrap_or_default();
            if !node.is_empty() {
                let uid = lookup
                    .get("", "nodes", "", node)
                    .map(|node| meta::uid(&node).to_owned())
                    .unwrap_or_default();
                binding.node = Some(Reference {
                    name: node.to_owned(),
                    uid,
                });
            }
            binding.pod = bound;
        }
        "secrets" => binding.secret = bound,
        _ => binding.node = bound,
    }
    Ok(())
}

fn reference(object: &Value) -> Reference {
    Reference {
        name: meta::name(object).to_owned(),
        uid: meta::uid(object).to_owned(),
    }
}
