//! Views: a subresource through which only a part of an object can be written.

use serde_json::Value;

/// Puts back everything of `old` that a write through `subresource` may not touch.
pub fn restrict(subresource: &str, new: &mut Value, old: &Value) {
    let part: &[&str] = match subresource {
        "finalize" => &["spec", "finalizers"],
        "ephemeralcontainers" => &["spec", "ephemeralContainers"],
        "approval" => &["status", "conditions"],
        "resize" => {
            resize(new, old);
            return;
        }
        _ => return,
    };
    let mut kept = old.clone();
    let wanted = new.pointer(&format!("/{}", part.join("/"))).cloned();
    let (field, outer) = (part[1], &mut kept[part[0]]);
    match wanted {
        Some(value) => outer[field] = value,
        None => {
            if let Some(outer) = outer.as_object_mut() {
                outer.remove(field);
            }
        }
    }
    // Who approves may say more in the metadata.
    if subresource == "approval" {
        kept["metadata"] = new["metadata"].clone();
    }
    for field in ["resourceVersion", "managedFields"] {
        if let Some(value) = new["metadata"].get(field) {
            kept["metadata"][field] = value.clone();
        }
    }
    *new = kept;
}

/// Only the resources of containers may change.
fn resize(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    if let (Some(kept), Some(wanted)) = (
        kept["spec"]["containers"].as_array_mut(),
        new["spec"]["containers"].as_array(),
    ) {
        for container in kept {
            if let Some(wanted) = wanted
                .iter()
                .find(|wanted| wanted["name"] == container["name"])
            {
                container["resources"] = wanted["resources"].clone();
            }
        }
    }
    if let Some(fields) = new["metadata"].get("managedFields") {
        kept["metadata"]["managedFields"] = fields.clone();
    }
    *new = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finalize_touches_the_finalizers_of_the_spec_alone() {
        let old = json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"finalizers": ["kubernetes"]}});
        let mut new = json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}, "status": {"phase": "Odd"}});
        restrict("finalize", &mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"finalizers": []}})
        );
    }

    #[test]
    fn an_approval_may_annotate_and_touches_nothing_else() {
        let old =
            json!({"metadata": {"name": "a"}, "spec": {"x": 1}, "status": {"certificate": "c"}});
        let mut new = json!({
            "metadata": {"name": "a", "annotations": {"why": "b"}}, "spec": {"x": 2},
            "status": {"certificate": "d", "conditions": [{"type": "Approved"}]},
        });
        restrict("approval", &mut new, &old);
        assert_eq!(
            new,
            json!({
                "metadata": {"name": "a", "annotations": {"why": "b"}}, "spec": {"x": 1},
                "status": {"certificate": "c", "conditions": [{"type": "Approved"}]},
            })
        );
    }
}
