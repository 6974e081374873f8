//! What a pod's runtime class adds to it: what the runtime itself takes, and where the pod can run. A pod of a class that
//! nobody defined is refused. Mirrors Kubernetes v1.33 `RuntimeClass` admission.

use objects::Status;
use serde_json::{Value, json};

use super::{Operation, Review};
use crate::kinds::fields::{fill, is_empty, is_same, spec};
use crate::lookup::Lookup;

const OTHER_OVERHEAD: &str =
    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

pub(super) fn admit(review: &mut Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    if !review.is(Operation::Create, "", "pods") {
        return Ok(());
    }
    let class = match review.object["spec"]["runtimeClassName"].as_str() {
        None | Some("") => return Ok(()),
        Some(name) => lookup
            .get("node.k8s.io", "runtimeclasses", "", name)
            .ok_or_else(|| {
                review.forbid(&format!("pod rejected: RuntimeClass {name:?} not found"))
            })?,
    };
    let overhead = &class["overhead"]["podFixed"];
    let own = &review.object["spec"]["overhead"];
    if !is_empty(overhead) && !is_empty(own) && !is_same(overhead, own) {
        return Err(review.forbid(OTHER_OVERHEAD));
    }
    let labels = class["scheduling"]["nodeSelector"].as_object();
    for (label, value) in labels.into_iter().flatten() {
        let own = &review.object["spec"]["nodeSelector"][label];
        if !own.is_null() && own != value {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(review.forbid(&format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{label}] = {}; pod.spec.nodeSelector[{label}] = {}",
                text(value),
                text(own)
            )));
        }
    }
    let Some(spec) = spec(review.object) else {
        return Ok(());
    };
    if !is_empty(overhead) {
        spec.insert("overhead".into(), overhead.clone());
    }
    for (label, value) in labels.into_iter().flatten() {
        fill(spec, "nodeSelector", json!({}));
        spec["nodeSelector"][label] = value.clone();
    }
    let tolerations = class["scheduling"]["tolerations"].as_array();
    for toleration in tolerations.into_iter().flatten() {
        fill(spec, "tolerations", json!([]));
        if let Some(own) = spec["tolerations"].as_array_mut()
            && !own.contains(toleration)
        {
            own.push(toleration.clone());
        }
    }
    Ok(())
}

/// What a runtime takes is for its class to say.
pub(super) fn validate(review: &Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    if !review.is(Operation::Create, "", "pods") {
        return Ok(());
    }
    let own = &review.object["spec"]["overhead"];
    let class = review.object["spec"]["runtimeClassName"]
        .as_str()
        .and_then(|name| lookup.get("node.k8s.io", "runtimeclasses", "", name));
    let overhead = class.map(|class| class["overhead"]["podFixed"].clone());
    match overhead.filter(|overhead| !is_empty(overhead)) {
        Some(overhead) if !is_same(&overhead, own) => Err(review.forbid(OTHER_OVERHEAD)),
        None if !is_empty(own) => Err(review.forbid(
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;

    fn admitted(spec: Value) -> Result<Value, Status> {
        let classes = Fixed::default().with(
            "node.k8s.io",
            "runtimeclasses",
            json!({
                "metadata": {"name": "deep"}, "handler": "runc",
                "overhead": {"podFixed": {"cpu": "10m"}},
                "scheduling": {"nodeSelector": {"deep": "yes"}, "tolerations": [{"key": "deep", "operator": "Exists"}]},
            }),
        );
        let pod = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": spec});
        let mut write = Write::create("", "pods", pod);
        write.pass(|review| {
            admit(review, &classes)?;
            validate(review, &classes)
        })?;
        Ok(write.object["spec"].clone())
    }

    #[test]
    fn a_pod_takes_what_its_class_says_its_runtime_needs() {
        assert_eq!(
            admitted(json!({"runtimeClassName": "deep", "nodeSelector": {"own": "1"}})).unwrap(),
            json!({
                "runtimeClassName": "deep", "overhead": {"cpu": "10m"},
                "nodeSelector": {"own": "1", "deep": "yes"},
                "tolerations": [{"key": "deep", "operator": "Exists"}],
            })
        );
        assert_eq!(admitted(json!({})).unwrap(), json!({}));
    }

    #[test]
    fn a_class_that_nobody_defined_and_an_overhead_of_ones_own_are_refused() {
        let refused = |spec| admitted(spec).unwrap_err().message;
        assert_eq!(
            refused(json!({"runtimeClassName": "gone"})),
            "pods \"p\" is forbidden: pod rejected: RuntimeClass \"gone\" not found"
        );
        assert!(refused(json!({"overhead": {"cpu": "1"}})).contains("without corresponding"));
        let other = json!({"runtimeClassName": "deep", "overhead": {"cpu": "1"}});
        assert!(refused(other).contains("doesn't match"));
        let elsewhere = json!({"runtimeClassName": "deep", "nodeSelector": {"deep": "no"}});
        assert!(refused(elsewhere).contains("conflict"));
    }
}
