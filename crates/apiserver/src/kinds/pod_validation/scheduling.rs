//! Where a pod may run: tolerations, node affinity, spread constraints.

use std::collections::HashSet;

use objects::{FieldError, names};
use serde_json::Value;

use super::super::fields::{is_empty, list, text};
use super::super::selector::validate_selector;
use super::{invalid_all, one_of};

pub(super) fn validate(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    objects::meta::validate_labels(
        spec["nodeSelector"].as_object(),
        &format!("{path}.nodeSelector"),
        errors,
    );
    for (index, toleration) in list(&spec["tolerations"]).enumerate() {
        validate_toleration(toleration, &format!("{path}.tolerations[{index}]"), errors);
    }
    for (index, constraint) in list(&spec["topologySpreadConstraints"]).enumerate() {
        spread(
            constraint,
            &format!("{path}.topologySpreadConstraints[{index}]"),
            errors,
        );
    }
    let mut seen = HashSet::new();
    for (index, constraint) in list(&spec["topologySpreadConstraints"]).enumerate() {
        let pair = (
            text(&constraint["topologyKey"]),
            text(&constraint["whenUnsatisfiable"]),
        );
        if !seen.insert(pair) {
            // Kubernetes names the first of the two.
            errors.push(FieldError::duplicate(
                format!(
                    "{path}.topologySpreadConstraints[{}].{{topologyKey, whenUnsatisfiable}}",
                    index - 1
                ),
                format!("{{{}, {}}}", pair.0, pair.1),
            ));
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(
            &spec["affinity"][kind],
            &format!("{path}.affinity.{kind}"),
            errors,
        );
    }
    let affinity = &spec["affinity"]["nodeAffinity"];
    let path = format!("{path}.affinity.nodeAffinity");
    let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
    if required.is_object() {
        let path =
            format!("{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        if is_empty(&required["nodeSelectorTerms"]) {
            errors.push(FieldError::required(
                path.clone(),
                "must have at least one node selector term",
            ));
        }
        for (index, term) in list(&required["nodeSelectorTerms"]).enumerate() {
            node_term(term, &format!("{path}[{index}]"), errors);
        }
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(&affinity[preferred]).enumerate() {
        let path = format!("{path}.{preferred}[{index}]");
        weight(&term["weight"], &path, errors);
        node_term(&term["preference"], &format!("{path}.preference"), errors);
    }
}

fn validate_toleration(toleration: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
    if !key.is_empty() {
        invalid_all(
            names::qualified_name(key),
            &format!("{path}.key"),
            key,
            errors,
        );
    }
    let field = format!("{path}.operator");
    if key.is_empty() && operator != "Exists" {
        errors.push(FieldError::invalid(
            field.clone(),
            operator,
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ));
    }
    if !is_empty(&toleration["tolerationSeconds"]) && toleration["effect"] != "NoExecute" {
        errors.push(FieldError::invalid(
            format!("{path}.effect"),
            text(&toleration["effect"]),
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ));
    }
    match operator {
        "" | "Equal" => {
            let value = text(&toleration["value"]);
            invalid_all(names::label_value(value), &field, value, errors);
        }
        "Exists" if !is_empty(&toleration["value"]) => errors.push(FieldError::invalid(
            field,
            text(&toleration["value"]),
            "value must be empty when `operator` is 'Exists'",
        )),
        "Exists" => {}
        other => errors.push(FieldError::not_supported(
            field,
            other,
            &["Equal", "Exists"],
        )),
    }
    one_of(
        &toleration["effect"],
        &format!("{path}.effect"),
        &["NoSchedule", "PreferNoSchedule", "NoExecute"],
        errors,
    );
}

fn pod_affinity(affinity: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(&affinity[required]).enumerate() {
        pod_term(term, &format!("{path}.{required}[{index}]"), errors);
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(&affinity[preferred]).enumerate() {
        let path = format!("{path}.{preferred}[{index}]");
        weight(&term["weight"], &path, errors);
        pod_term(
            &term["podAffinityTerm"],
            &format!("{path}.podAffinityTerm"),
            errors,
        );
    }
}

fn pod_term(term: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for key in ["labelSelector", "namespaceSelector"] {
        validate_selector(&term[key], &format!("{path}.{key}"), errors);
    }
    let (key, field) = (text(&term["topologyKey"]), format!("{path}.topologyKey"));
    if key.is_empty() {
        errors.push(FieldError::required(field.clone(), "can not be empty"));
    }
    invalid_all(names::qualified_name(key), &field, key, errors);
}

fn weight(weight: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !weight
        .as_i64()
        .is_some_and(|weight| (1..=100).contains(&weight))
    {
        errors.push(FieldError::invalid(
            format!("{path}.weight"),
            weight.clone(),
            "must be in the range 1-100",
        ));
    }
}

fn spread(constraint: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let skew = &constraint["maxSkew"];
    if skew.as_i64().unwrap_or_default() <= 0 {
        let shown = if skew.is_null() {
            Value::from(0)
        } else {
            skew.clone()
        };
        errors.push(FieldError::invalid(
            format!("{path}.maxSkew"),
            shown,
            "must be greater than zero",
        ));
    }
    if is_empty(&constraint["topologyKey"]) {
        errors.push(FieldError::required(
            format!("{path}.topologyKey"),
            "can not be empty",
        ));
    }
    let policy = text(&constraint["whenUnsatisfiable"]);
    if !constraint["minDomains"].is_null() && policy != "DoNotSchedule" {
        errors.push(FieldError::invalid(
            format!("{path}.minDomains"),
            constraint["minDomains"].clone(),
            format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {policy}"),
        ));
    }
    validate_selector(
        &constraint["labelSelector"],
        &format!("{path}.labelSelector"),
        errors,
    );
    let field = format!("{path}.whenUnsatisfiable");
    if is_empty(&constraint["whenUnsatisfiable"]) {
        errors.push(FieldError::required(field, ""));
    } else {
        one_of(
            &constraint["whenUnsatisfiable"],
            &field,
            &["DoNotSchedule", "ScheduleAnyway"],
            errors,
        );
    }
}

fn node_term(term: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, wanted) in list(&term["matchExpressions"]).enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let (key, values) = (text(&wanted["key"]), list(&wanted["values"]).count());
        invalid_all(
            names::qualified_name(key),
            &format!("{path}.key"),
            key,
            errors,
        );
        let field = format!("{path}.values");
        match text(&wanted["operator"]) {
            "In" | "NotIn" if values == 0 => errors.push(FieldError::required(
                field,
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if values > 0 => errors.push(FieldError::forbidden(
                field,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values != 1 => errors.push(FieldError::required(
                field,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
    }
}
