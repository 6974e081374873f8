//! ClusterRoles made of other ClusterRoles: whoever carries a wanted label adds its rules.

use std::collections::HashSet;

use objects::meta;
use objects::selector::LabelSelector;
use serde_json::Value;

/// The rules a ClusterRole has by aggregation, in order of the names of those it is made of and
/// without repetitions; none when it does not aggregate. What aggregates is itself aggregated first.
pub fn aggregated_rules<'a>(
    role: &'a Value,
    all: impl IntoIterator<Item = &'a Value> + Clone,
) -> Option<Vec<Value>> {
    let mut by_name: Vec<&Value> = all.into_iter().collect();
    by_name.sort_by_key(|source| meta::name(source));
    collect(role, &by_name, &mut HashSet::new())
}

fn collect<'a>(
    role: &'a Value,
    all: &[&'a Value],
    seen: &mut HashSet<&'a str>,
) -> Option<Vec<Value>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    seen.insert(meta::name(role));
    let selectors: Vec<LabelSelector> = selectors
        .iter()
        .filter_map(|selector| LabelSelector::from_json(selector).ok())
        .collect();
    let mut rules: Vec<Value> = Vec::new();
    for source in all {
        let is_wanted = selectors
            .iter()
            .any(|selector| selector.matches(&meta::owned_labels(source)));
        if !is_wanted || seen.contains(meta::name(source)) {
            continue;
        }
        let of_source = collect(source, all, seen)
            .or_else(|| source["rules"].as_array().cloned())
            .unwrap_or_default();
        for rule in of_source {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(resource: &str) -> Value {
        json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]})
    }

    fn aggregate(name: &str, wanted: &str, labels: Value) -> Value {
        json!({
            "metadata": {"name": name, "labels": labels},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {wanted: "true"}}]},
            "rules": [rule("stale")],
        })
    }

    #[test]
    fn a_role_that_aggregates_has_the_rules_of_all_that_carry_its_label_and_none_of_its_own() {
        let edit = aggregate("edit", "to-edit", json!({}));
        let ours = json!({"metadata": {"name": "ours", "labels": {"to-edit": "true"}}, "rules": [rule("jobs"), rule("pods")]});
        let other = json!({"metadata": {"name": "other"}, "rules": [rule("secrets")]});
        assert_eq!(
            aggregated_rules(&edit, [&edit, &ours, &other]),
            Some(vec![rule("jobs"), rule("pods")])
        );
        assert_eq!(aggregated_rules(&other, [&edit, &ours, &other]), None);
    }

    #[test]
    fn aggregation_goes_through_roles_that_aggregate_and_ends_at_a_circle() {
        let admin = aggregate("admin", "to-admin", json!({"to-edit": "true"}));
        let edit = aggregate("edit", "to-edit", json!({"to-admin": "true"}));
        let part = json!({"metadata": {"name": "part", "labels": {"to-edit": "true"}}, "rules": [rule("pods")]});
        assert_eq!(
            aggregated_rules(&admin, [&admin, &edit, &part]),
            Some(vec![rule("pods")])
        );
    }
}
