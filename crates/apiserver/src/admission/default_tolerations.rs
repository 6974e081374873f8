//! Pods stay five minutes on a node that stops answering, unless they say otherwise.

use serde_json::{Value, json};

use super::{Operation, Review};
use crate::kinds::fields::{fill, list, spec};

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

pub(super) fn admit(review: &mut Review<'_>) {
    if !review.is(Operation::Create, "", "pods") {
        return;
    }
    let missing: Vec<Value> = TAINTS
        .into_iter()
        .filter(|taint| !list(&review.object["spec"]["tolerations"]).any(|own| tolerates(own, taint)))
        .map(|taint| {
            json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS})
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    let Some(spec) = spec(review.object) else {
        return;
    };
    fill(spec, "tolerations", json!([]));
    if let Some(tolerations) = spec["tolerations"].as_array_mut() {
        tolerations.extend(missing);
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let (key, effect) = (
        toleration["key"].as_str().unwrap_or_default(),
        toleration["effect"].as_str().unwrap_or_default(),
    );
    (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;

    fn admitted(tolerations: Value) -> Value {
        let pod = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": {"tolerations": tolerations}});
        let mut write = Write::create("", "pods", pod);
        write.pass(admit);
        write.object["spec"]["tolerations"].clone()
    }

    #[test]
    fn a_pod_stays_five_minutes_unless_it_says_otherwise() {
        let tolerations = admitted(Value::Null);
        assert_eq!(
            tolerations[0],
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
        );
        assert_eq!(tolerations.as_array().unwrap().len(), 2);
        let forever = json!([{"operator": "Exists"}]);
        assert_eq!(admitted(forever.clone()), forever);
    }
}
