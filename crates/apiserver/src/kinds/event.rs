//! Events, under both of their groups: one stored object, two spellings of its fields.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::fields::text;

pub(super) struct Event;

impl Strategy for Event {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let namespace = objects::meta::namespace(object);
        let about = text(&about(object)["namespace"]);
        // Events about cluster-wide objects stand in `default`.
        let is_right = about == namespace
            || (about.is_empty() && matches!(namespace, "default" | "kube-system"));
        if is_right {
            return Vec::new();
        }
        vec![FieldError::invalid(
            "involvedObject.namespace",
            about,
            "does not match event.namespace",
        )]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        ]
    }

    fn selectable_field(&self, object: &Value, field: &str) -> String {
        match field {
            "source" => {
                let component = text(&object["source"]["component"]);
                if component.is_empty() {
                    reporter(object)
                } else {
                    component.to_owned()
                }
            }
            "reportingComponent" | "reportingController" => reporter(object),
            _ => match field.split_once('.') {
                Some(("involvedObject" | "regarding", key)) => super::read_path(about(object), key),
                _ => super::read_path(object, field),
            },
        }
    }
}

fn about(event: &Value) -> &Value {
    if event["involvedObject"].is_object() {
        &event["involvedObject"]
    } else {
        &event["regarding"]
    }
}

fn reporter(event: &Value) -> String {
    let of = |key: &str| text(&event[key]).to_owned();
    Some(of("reportingComponent"))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| of("reportingController"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_stands_beside_the_object_it_is_about() {
        let event = |namespace: &str, about: Value| json!({"metadata": {"name": "e", "namespace": namespace}, "involvedObject": {"namespace": about}});
        assert_eq!(Event.validate_create(&event("a", json!("a"))), []);
        assert_eq!(Event.validate_create(&event("default", Value::Null)), []);
        assert_eq!(
            Event.validate_create(&event("a", json!("b")))[0].to_string(),
            r#"involvedObject.namespace: Invalid value: "b": does not match event.namespace"#
        );
    }

    #[test]
    fn both_spellings_of_an_event_can_be_selected_by_object() {
        let event =
            json!({"regarding": {"name": "p", "kind": "Pod"}, "reportingController": "kubelet"});
        assert_eq!(Event.selectable_field(&event, "involvedObject.name"), "p");
        assert_eq!(Event.selectable_field(&event, "source"), "kubelet");
    }
}
