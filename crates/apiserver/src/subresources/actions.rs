//! Actions: a `POST` below an object that does something to it.

use http::StatusCode;
use objects::selector::LabelSelector;
use objects::status::StatusCause;
use objects::{FieldError, Status, meta};
use serde_json::Value;

use crate::admission::Operation;
use crate::error::ApiError;
use crate::lookup::Lookup;
use crate::reviews;
use crate::store::{Decision, Encoded};
use crate::verbs::delete::{self, Options};
use crate::verbs::update::Failure;
use crate::verbs::write::{Action, admit_action, now};
use crate::verbs::{Call, Reply};

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
        return Err(ApiError::bad_request(format!(
            "name in URL does not match name in Eviction object: {name}"
        )));
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
    delete::delete(call, &call.key(), &options).await?;
    let done = Status {
        status: "Success".into(),
        ..Status::failure(201, "", "")
    };
    Ok(Reply::Value(StatusCode::CREATED, done.to_value()))
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
