//! Roles and bindings, namespaced and not. Who may write them is `authz::escalation`'s.

use objects::{FieldError, names};
use serde_json::Value;

use super::Strategy;
use super::fields::{at, each, fill_text, is_empty, list, text};
use super::selector::validate_selector;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) struct Role;

impl Strategy for Role {
    fn check_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let is_namespaced = object["kind"] == "Role";
        let mut errors = Vec::new();
        for (index, rule) in list(&object["rules"]).enumerate() {
            validate_rule(rule, &format!("rules[{index}]"), is_namespaced, &mut errors);
        }
        if object["aggregationRule"].is_object()
            && is_empty(&object["aggregationRule"]["clusterRoleSelectors"])
        {
            errors.push(FieldError::required(
                "aggregationRule.clusterRoleSelectors",
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            ));
        }
        for (index, selector) in
            list(&object["aggregationRule"]["clusterRoleSelectors"]).enumerate()
        {
            let field = format!("aggregationRule.clusterRoleSelectors[{index}]");
            let before = errors.len();
            validate_selector(selector, &field, &mut errors);
            if errors.len() > before {
                errors.push(FieldError::invalid(
                    field,
                    selector.clone(),
                    "invalid label selector.",
                ));
            }
        }
        errors
    }
}

fn validate_rule(rule: &Value, path: &str, is_namespaced: bool, errors: &mut Vec<FieldError>) {
    if is_empty(&rule["verbs"]) {
        errors.push(FieldError::required(
            format!("{path}.verbs"),
            "verbs must contain at least one value",
        ));
    }
    let urls = &rule["nonResourceURLs"];
    if !is_empty(urls) {
        let field = format!("{path}.nonResourceURLs");
        if is_namespaced {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            errors.push(FieldError::invalid(field.clone(), urls.clone(), detail));
        }
        if !is_empty(&rule["apiGroups"])
            || !is_empty(&rule["resources"])
            || !is_empty(&rule["resourceNames"])
        {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(field, urls.clone(), detail));
        }
        return;
    }
    if is_empty(&rule["apiGroups"]) {
        errors.push(FieldError::required(
            format!("{path}.apiGroups"),
            "resource rules must supply at least one api group",
        ));
    }
    if is_empty(&rule["resources"]) {
        errors.push(FieldError::required(
            format!("{path}.resources"),
            "resource rules must supply at least one resource",
        ));
    }
}

pub(super) struct Binding;

impl Strategy for Binding {
    fn check_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        if let Some(reference) = at(fields, "roleRef") {
            fill_text(reference, "apiGroup", GROUP);
        }
        for subject in each(fields, "subjects") {
            if matches!(subject.get("kind").map(text), Some("User" | "Group")) {
                fill_text(subject, "apiGroup", GROUP);
            }
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let is_namespaced = object["kind"] == "RoleBinding";
        let reference = &object["roleRef"];
        if reference["apiGroup"] != GROUP {
            errors.push(FieldError::not_supported(
                "roleRef.apiGroup",
                text(&reference["apiGroup"]),
                &[GROUP],
            ));
        }
        let kinds: &[&str] = if is_namespaced {
            &["Role", "ClusterRole"]
        } else {
            &["ClusterRole"]
        };
        let kind = text(&reference["kind"]);
        if !kinds.contains(&kind) {
            errors.push(FieldError::not_supported("roleRef.kind", kind, kinds));
        }
        match text(&reference["name"]) {
            "" => errors.push(FieldError::required("roleRef.name", "")),
            name => errors.extend(
                names::path_segment(name)
                    .into_iter()
                    .map(|detail| FieldError::invalid("roleRef.name", name, detail)),
            ),
        }
        for (index, subject) in list(&object["subjects"]).enumerate() {
            validate_subject(
                subject,
                &format!("subjects[{index}]"),
                is_namespaced,
                &mut errors,
            );
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        if object["roleRef"] != old["roleRef"] {
            errors.push(FieldError::invalid(
                "roleRef",
                object["roleRef"].clone(),
                "cannot change roleRef",
            ));
        }
        errors
    }
}

fn validate_subject(
    subject: &Value,
    path: &str,
    is_namespaced: bool,
    errors: &mut Vec<FieldError>,
) {
    let name = text(&subject["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let group = text(&subject["apiGroup"]);
    let field = format!("{path}.apiGroup");
    match text(&subject["kind"]) {
        "ServiceAccount" => {
            if !name.is_empty() {
                for detail in names::dns_subdomain(name) {
                    errors.push(FieldError::invalid(format!("{path}.name"), name, detail));
                }
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(field, group, &[""]));
            }
            if !is_namespaced && is_empty(&subject["namespace"]) {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(field, group, &[GROUP]));
            }
        }
        kind => errors.push(FieldError::not_supported(
            format!("{path}.kind"),
            kind,
            &["ServiceAccount", "User", "Group"],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_is_for_resources_or_for_paths_and_has_verbs() {
        let role = json!({"kind": "Role", "rules": [
            {"apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"]},
            {"verbs": ["get"], "nonResourceURLs": ["/x"]},
        ]});
        assert_eq!(
            texts(&Role.validate_create(&role)),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[1].resources: Required value: resource rules must supply at least one resource",
                r#"rules[2].nonResourceURLs: Invalid value: []string{"/x"}: namespaced rules cannot apply to non-resource URLs"#,
            ]
        );
    }

    #[test]
    fn a_binding_gets_the_group_of_its_role_and_subjects() {
        let mut binding = json!({
            "kind": "ClusterRoleBinding", "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "a"}, {"kind": "ServiceAccount", "name": "b", "namespace": "c"}],
        });
        Binding.default(&mut binding);
        assert_eq!(binding["roleRef"]["apiGroup"], GROUP);
        assert_eq!(binding["subjects"][0]["apiGroup"], GROUP);
        assert!(binding["subjects"][1].get("apiGroup").is_none());
        assert_eq!(Binding.validate_create(&binding), []);
    }

    #[test]
    fn the_role_of_a_binding_never_changes_and_a_cluster_binding_takes_no_role() {
        let binding = |kind: &str, name: &str| json!({"kind": "ClusterRoleBinding", "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name}});
        let (old, new) = (
            binding("ClusterRole", "view"),
            binding("ClusterRole", "edit"),
        );
        assert!(texts(&Binding.validate_update(&new, &old))[0].ends_with("cannot change roleRef"));
        assert_eq!(
            texts(&Binding.validate_create(&binding("Role", "x"))),
            [r#"roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole""#]
        );
    }

    #[test]
    fn role_names_may_hold_colons_but_no_slash() {
        assert!(Role.check_name("system:node").is_empty());
        assert!(!Role.check_name("a/b").is_empty());
    }
}
