//! Actions: a `POST` below an object that does something to it.

use http::StatusCode;
use objects::selector::LabelSelector;
use objects::status::StatusCause;
use objects::{FieldError, Status, meta};
use serde_json::{Value, json};

use crate::admission::Operation;
use crate::error::ApiError;
use crate::lookup::Lookup;
use crate::reviews;
use crate::store::{Decision, Encoded};
use crate::verbs::delete::{self, Options};
use crate::verbs::update::Failure;
use crate::verbs::write::{Action, admit_action, now};
use crate::verbs::{Call, Reply};

/// The condition of a pod that goes for no fault of its own.
const DISRUPTION: &str = "DisruptionTarget";

/// `pods/binding`: a scheduler's decision.
pub(super) async fn bind(call: &Call) -> Result<Reply, ApiError> {
    let binding = call.decode()?.value;
    bind_object(call, call.name.clone(), &binding).await
}

/// Places a pod on the node that a `Binding` names.
pub(super) async fn bind_object(
    call: &Call,
    pod: String,
    binding: &Value,
) -> Result<Reply, ApiError> {
    let target = &binding["target"];
    let node = target["name"].as_str().unwrap_or_default();
    let mut errors = Vec::new();
    if !matches!(target["kind"].as_str(), None | Some("" | "Node")) {
        errors.push(FieldError::not_supported(
            "target.kind",
            target["kind"].clone(),
            &["Node", "<empty>"],
        ));
    }
    if node.is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", "Binding", &pod, errors).into());
    }
    post(call, "binding", &pod, binding)?;
    let pods = call.api.builtin("", "pods").clone();
    let conflict = |why: &str| ApiError::from(Status::conflict("", "pods/binding", &pod, why));
    call.api
        .store
        .update::<Failure>(pods.stored(), &pods.key(&call.namespace, &pod), |entry| {
            let mut object = entry.value();
            let uid = meta::uid(binding);
            if !uid.is_empty() && uid != meta::uid(&object) {
                return Err(
                    conflict("Precondition failed: the pod is another one than was bound").into(),
                );
            }
            crate::kinds::pod::bind(&mut object, binding, &now()).map_err(|why| conflict(&why))?;
            Ok(Decision::Replace(Encoded::of(object)))
        })
        .await
        .map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Store(err) => ApiError::of_store(err, &pods, &pod),
        })?;
    let done = Status {
        status: "Success".into(),
        ..Status::failure(201, "", "")
    };
    Ok(Reply::Value(StatusCode::CREATED, done.to_value()))
}

/// What is posted below an object passes admission as a write does.
fn post(call: &Call, subresource: &str, name: &str, posted: &Value) -> Result<(), ApiError> {
    admit_action(
        call,
        Action {
            operation: Operation::Create,
            subresource,
            name,
            posted: posted.clone(),
            old: None,
        },
    )
}

/// `pods/eviction`: a deletion that disruption budgets may refuse.
pub(super) async fn evict(call: &Call) -> Result<Reply, ApiError> {
    let eviction = call.decode()?.value;
    let name = meta::name(&eviction);
    if !name.is_empty() && name != call.name {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    post(call, "eviction", &call.name, &eviction)?;
    let pod = call.current()?;
    let is_over = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed" | "Pending")
    );
    if !is_over && !meta::is_being_deleted(&pod) {
        let budgets = budgets_of(call, &pod);
        if budgets.len() > 1 {
            return Err(ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        for budget in budgets {
            if budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) <= 0 {
                return Err(too_disruptive(&budget));
            }
        }
    }
    let options = Options::from_value(call, &eviction["deleteOptions"])?;
    options.check(call, &pod)?;
    // A note would make another version of it.
    if !options.is_dry_run() && !options.names_revision() && !meta::is_being_deleted(&pod) {
        note_eviction(call).await?;
    }
    delete::delete(call, &call.key(), &options).await?;
    let done = Status {
        status: "Success".into(),
        ..Status::failure(201, "", "")
    };
    Ok(Reply::Value(StatusCode::CREATED, done.to_value()))
}

/// Writes down why the pod will go: what counts failures of pods need not count this one.
async fn note_eviction(call: &Call) -> Result<(), ApiError> {
    let pods = call.api.builtin("", "pods").clone();
    let noted = call
        .api
        .store
        .update::<Failure>(pods.stored(), &call.key(), |entry| {
            let mut pod = entry.value();
            mark_disrupted(&mut pod, &now());
            Ok(Decision::Replace(Encoded::of(pod)))
        })
        .await;
    match noted {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) => Err(refusal),
        Err(Failure::Store(err)) => Err(ApiError::of_store(err, &pods, &call.name)),
    }
}

fn mark_disrupted(pod: &mut Value, now: &str) {
    let condition = json!({
        "type": DISRUPTION, "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now,
    });
    let Some(pod) = pod.as_object_mut() else {
        return;
    };
    let status = pod.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else {
        return;
    };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|held| held["type"] != DISRUPTION);
        conditions.push(condition);
    }
}

fn budgets_of(call: &Call, pod: &Value) -> Vec<std::sync::Arc<Value>> {
    let mut budgets = call
        .api
        .lookup()
        .list("policy", "poddisruptionbudgets", &call.namespace);
    budgets.retain(|budget| {
        LabelSelector::from_json(&budget["spec"]["selector"])
            .is_ok_and(|selector| !selector.is_nothing() && selector.matches_object(pod))
    });
    budgets
}

fn too_disruptive(budget: &Value) -> ApiError {
    let mut status = Status::too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        0,
    );
    let (healthy, wanted) = (
        budget["status"]["currentHealthy"].as_i64().unwrap_or(0),
        budget["status"]["desiredHealthy"].as_i64().unwrap_or(0),
    );
    status.details_mut().causes.push(StatusCause {
        reason: "DisruptionBudget".into(),
        message: format!(
            "The disruption budget {} needs {wanted} healthy pods and has {healthy} currently",
            meta::name(budget)
        ),
        field: String::new(),
    });
    status.into()
}

/// `serviceaccounts/token`.
pub(super) async fn token(call: &Call) -> Result<Reply, ApiError> {
    let request = call.decode()?.value;
    post(call, "token", &call.name, &request)?;
    let answer = reviews::token_request(
        call.api.authenticator.signer(),
        &call.api.lookup(),
        &call.namespace,
        &call.name,
        &request,
        jiff::Timestamp::now().as_second(),
    )?;
    Ok(Reply::Value(StatusCode::CREATED, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicted_pod_says_that_it_goes_for_no_fault_of_its_own() {
        let mut pod = json!({"status": {"conditions": [{"type": "Ready"}, {"type": DISRUPTION, "status": "False"}]}});
        mark_disrupted(&mut pod, "2026-01-01T00:00:00Z");
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[1]["reason"], "EvictionByEvictionAPI");
        assert_eq!(conditions[1]["status"], "True");
        let mut bare = json!({});
        mark_disrupted(&mut bare, "2026-01-01T00:00:00Z");
        assert_eq!(bare["status"]["conditions"][0]["type"], DISRUPTION);
    }
}
