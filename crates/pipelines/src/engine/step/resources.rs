//! Requests and limits of a step, in Kubernetes' words.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ir::spec::Container;
use crate::ir::{numbers, placeholder};

/// Limits and requests; the strings may hold placeholders.
pub(super) fn resources(
    container: &Container,
    scope: placeholder::Scope<'_>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let settings = &container.resources;
    let text = |key: &str| {
        settings
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(|text| placeholder::resolve(text, scope))
            .filter(|text| !text.is_empty())
    };
    let number = |key: &str| {
        settings
            .get(key)
            .and_then(Value::as_f64)
            .filter(|number| *number > 0.0)
    };
    // The deprecated doubles count cores and gigabytes.
    let cores = |key: &str| {
        number(key)
            .and_then(serde_json::Number::from_f64)
            .map(|cores| numbers::plain(&cores))
    };
    let bytes = |key: &str| {
        number(key)
            .and_then(|gigabytes| serde_json::Number::from_f64((gigabytes * 1e9).round()))
            .map(|bytes| numbers::plain(&bytes))
    };
    let mut limits = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (name, limit, request) in [
        (
            "cpu",
            text("resourceCpuLimit").or_else(|| cores("cpuLimit")),
            text("resourceCpuRequest").or_else(|| cores("cpuRequest")),
        ),
        (
            "memory",
            text("resourceMemoryLimit").or_else(|| bytes("memoryLimit")),
            text("resourceMemoryRequest").or_else(|| bytes("memoryRequest")),
        ),
    ] {
        limits.extend(limit.map(|limit| (name.to_owned(), limit)));
        requests.extend(request.map(|request| (name.to_owned(), request)));
    }
    if let Some(accelerator) = settings.get("accelerator") {
        let field = |new: &str, old: &str| {
            let found = accelerator
                .get(new)
                .filter(|value| !value.is_null() && *value != "")
                .or_else(|| accelerator.get(old))?;
            let text = placeholder::resolve(&crate::ir::parameter::text(found), scope);
            (!text.is_empty()).then_some(text)
        };
        if let Some(count) = field("resourceCount", "count").filter(|count| count != "0") {
            let kind = field("resourceType", "type").unwrap_or_else(|| "nvidia.com/gpu".to_owned());
            // Names of card models are not names of resources.
            let kind = if kind.contains('/') {
                kind
            } else {
                "nvidia.com/gpu".to_owned()
            };
            limits.insert(kind, count);
        }
    }
    (limits, requests)
}
