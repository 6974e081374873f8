//! The number behind a pod's priority class.

use objects::{Status, meta};
use serde_json::{Value, json};

use super::{Operation, Review};
use crate::kinds::fields::{fill_text, is_absent, spec};
use crate::lookup::Lookup;

/// The two classes that are there even when their objects are not.
const SYSTEM: [(&str, i64); 2] = [
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

pub(super) fn admit(review: &mut Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    if !review.is(Operation::Create, "", "pods") {
        return Ok(());
    }
    let wanted = review.object["spec"]["priorityClassName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let class = if wanted.is_empty() {
        default_class(lookup)
    } else {
        let found = named_class(lookup, &wanted);
        if found.is_none() {
            return Err(review.forbid(&format!("no PriorityClass with name {wanted} was found")));
        }
        found
    };
    let priority = class
        .as_ref()
        .map_or(0, |class| class["value"].as_i64().unwrap_or_default());
    let policy = class
        .as_ref()
        .and_then(|class| class["preemptionPolicy"].as_str())
        .unwrap_or("PreemptLowerPriority")
        .to_owned();
    let given = review.object["spec"]["priority"].as_i64();
    if given.is_some_and(|given| given != priority) {
        return Err(review.forbid(&format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name",
            given.unwrap_or_default()
        )));
    }
    let Some(spec) = spec(review.object) else {
        return Ok(());
    };
    if let Some(class) = class.filter(|_| wanted.is_empty()) {
        spec.insert("priorityClassName".into(), meta::name(&class).into());
    }
    spec.insert("priority".into(), priority.into());
    if is_absent(spec, "preemptionPolicy") {
        fill_text(spec, "preemptionPolicy", &policy);
    }
    Ok(())
}

fn named_class(lookup: &dyn Lookup, name: &str) -> Option<Value> {
    if let Some((name, value)) = SYSTEM.into_iter().find(|(system, _)| *system == name) {
        return Some(json!({"metadata": {"name": name}, "value": value}));
    }
    lookup
        .get("scheduling.k8s.io", "priorityclasses", "", name)
        .map(|class| (*class).clone())
}

/// The class that says it is everybody's; of several, the lowest.
fn default_class(lookup: &dyn Lookup) -> Option<Value> {
    lookup
        .list("scheduling.k8s.io", "priorityclasses", "")
        .into_iter()
        .filter(|class| class["globalDefault"] == true)
        .min_by_key(|class| class["value"].as_i64())
        .map(|class| (*class).clone())
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;

    fn classes() -> Fixed {
        Fixed::default().with(
            "scheduling.k8s.io",
            "priorityclasses",
            json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"}),
        )
    }

    fn admitted(spec: Value, classes: &Fixed) -> Result<Value, Status> {
        let pod = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": spec});
        let mut write = Write::create("", "pods", pod);
        write.pass(|review| admit(review, classes))?;
        Ok(write.object["spec"].clone())
    }

    #[test]
    fn a_pod_has_the_number_of_its_class_or_none_at_all() {
        let plain = admitted(json!({}), &classes()).unwrap();
        assert_eq!(
            plain,
            json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"})
        );
        let high = admitted(json!({"priorityClassName": "high"}), &classes()).unwrap();
        assert_eq!(
            (&high["priority"], &high["preemptionPolicy"]),
            (&json!(1000), &json!("Never"))
        );
        let system = admitted(
            json!({"priorityClassName": "system-node-critical"}),
            &classes(),
        )
        .unwrap();
        assert_eq!(system["priority"], 2_000_001_000);
    }

    #[test]
    fn a_default_class_is_everybodys() {
        let classes = classes().with(
            "scheduling.k8s.io",
            "priorityclasses",
            json!({"metadata": {"name": "usual"}, "value": 5, "globalDefault": true}),
        );
        let pod = admitted(json!({}), &classes).unwrap();
        assert_eq!(
            (&pod["priority"], &pod["priorityClassName"]),
            (&json!(5), &json!("usual"))
        );
    }

    #[test]
    fn an_unknown_class_and_a_number_of_ones_own_are_refused() {
        let unknown = admitted(json!({"priorityClassName": "gone"}), &classes()).unwrap_err();
        assert_eq!(
            unknown.message,
            "pods \"p\" is forbidden: no PriorityClass with name gone was found"
        );
        assert!(admitted(json!({"priority": 7}), &classes()).is_err());
    }
}
