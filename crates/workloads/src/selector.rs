//! Label selectors as typed kinds carry them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether the selector selects these labels; an empty selector selects everything.
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(name, value)| labels.get(name) == Some(value));
    equal
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| {
                let held = labels.get(&requirement.key);
                let among = |values: &Option<Vec<String>>| {
                    held.is_some_and(|held| values.iter().flatten().any(|v| v == held))
                };
                match requirement.operator.as_str() {
                    "In" => among(&requirement.values),
                    "NotIn" => !among(&requirement.values),
                    "Exists" => held.is_some(),
                    "DoesNotExist" => held.is_none(),
                    _ => false,
                }
            })
}

/// Whether the selector asks for nothing, and so selects everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: serde_json::Value, labels: serde_json::Value) -> bool {
        matches(
            &serde_json::from_value(selector).unwrap(),
            &serde_json::from_value(labels).unwrap(),
        )
    }

    #[test]
    fn every_requirement_must_hold() {
        let selector = json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]});
        assert!(selects(selector.clone(), json!({"a": "1", "b": ""})));
        assert!(!selects(selector.clone(), json!({"a": "1"})));
        assert!(!selects(selector, json!({"a": "2", "b": ""})));
    }

    #[test]
    fn not_in_also_selects_what_lacks_the_label() {
        let selector =
            json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]});
        assert!(selects(selector.clone(), json!({})));
        assert!(!selects(selector, json!({"a": "x"})));
    }
}
