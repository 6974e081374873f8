//! Between versions of built-in kinds that differ by more than their name. Everything else changes `apiVersion` only.

use serde_json::{Map, Value};

use crate::registry::Conversion;

/// Turns `object` into its form in `target`.
pub fn convert(object: &mut Value, conversion: Conversion, target: &str) {
    match (conversion, target) {
        (Conversion::Events, "events.k8s.io/v1") => rename(object, &EVENT_FIELDS, false),
        (Conversion::Events, "v1") => rename(object, &EVENT_FIELDS, true),
        (Conversion::Autoscalers, "autoscaling/v1") => autoscaler_to_v1(object),
        (Conversion::Autoscalers, "autoscaling/v2") => autoscaler_to_v2(object),
        _ => {}
    }
    object["apiVersion"] = target.into();
}

/// Field of `v1`, field of `events.k8s.io/v1`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, fields: &[(&str, &str)], back: bool) {
    let Some(root) = object.as_object_mut() else {
        return;
    };
    for (core, new) in fields {
        let (from, to) = if back { (new, core) } else { (core, new) };
        if let Some(value) = root.remove(*from) {
            root.insert((*to).into(), value);
        }
    }
}

const CPU_METRIC: &str = "/spec/metrics";
const KEPT_METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

fn autoscaler_to_v1(object: &mut Value) {
    let metrics = object
        .pointer(CPU_METRIC)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let (cpu, others): (Vec<_>, Vec<_>) = metrics.into_iter().partition(is_cpu_utilization);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("metrics");
        spec.remove("behavior");
        if let Some(target) = cpu
            .first()
            .and_then(|metric| metric.pointer("/resource/target/averageUtilization"))
        {
            spec.insert("targetCPUUtilizationPercentage".into(), target.clone());
        }
    }
    if !others.is_empty() {
        annotations(object).insert(
            KEPT_METRICS.into(),
            Value::String(Value::Array(others).to_string()),
        );
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let now = status.remove("currentMetrics").unwrap_or_default();
        status.remove("conditions");
        let cpu = now.as_array().and_then(|metrics| {
            metrics
                .iter()
                .find(|metric| metric["resource"]["name"] == "cpu")
        });
        if let Some(used) =
            cpu.and_then(|metric| metric.pointer("/resource/current/averageUtilization"))
        {
            status.insert("currentCPUUtilizationPercentage".into(), used.clone());
        }
    }
}

fn autoscaler_to_v2(object: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(kept) = object
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(KEPT_METRICS))
    {
        if let Some(Ok(Value::Array(kept))) = kept.as_str().map(serde_json::from_str) {
            metrics = kept;
        }
        annotations(object).remove(KEPT_METRICS);
    }
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(target) = spec.remove("targetCPUUtilizationPercentage") {
        metrics.insert(
            0,
            serde_json::json!({
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}},
            }),
        );
    }
    if !metrics.is_empty() {
        spec.insert("metrics".into(), Value::Array(metrics));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
    }
}

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["type"] == "Utilization"
}

fn annotations(object: &mut Value) -> &mut Map<String, Value> {
    let slot = &mut object["metadata"]["annotations"];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("made an object above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_reads_the_same_after_both_conversions() {
        let stored = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "a"}, "message": "m"});
        let mut event = stored.clone();
        convert(&mut event, Conversion::Events, "events.k8s.io/v1");
        assert_eq!(event["regarding"]["name"], "a");
        assert_eq!(event["note"], "m");
        convert(&mut event, Conversion::Events, "v1");
        assert_eq!(event, stored);
    }

    #[test]
    fn a_cpu_target_becomes_a_metric_and_comes_back() {
        let old = json!({"apiVersion": "autoscaling/v1", "metadata": {}, "spec": {"targetCPUUtilizationPercentage": 80}});
        let mut scaler = old.clone();
        convert(&mut scaler, Conversion::Autoscalers, "autoscaling/v2");
        assert_eq!(
            scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            80
        );
        convert(&mut scaler, Conversion::Autoscalers, "autoscaling/v1");
        assert_eq!(scaler, old);
    }
}
