//! Webhook configurations: kept and checked. Calling them comes with admission policies.

use objects::{FieldError, names};
use serde_json::{Value, json};

use super::Strategy;
use super::fields::{at, each, fill, fill_text, is_empty, list, text};

pub(super) struct Webhooks;

impl Strategy for Webhooks {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let is_mutating = object["kind"] == "MutatingWebhookConfiguration";
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        for webhook in each(fields, "webhooks") {
            fill_text(webhook, "failurePolicy", "Fail");
            fill_text(webhook, "matchPolicy", "Equivalent");
            fill(webhook, "namespaceSelector", json!({}));
            fill(webhook, "objectSelector", json!({}));
            fill(webhook, "timeoutSeconds", 10);
            if is_mutating {
                fill_text(webhook, "reinvocationPolicy", "Never");
            }
            for rule in each(webhook, "rules") {
                fill_text(rule, "scope", "*");
            }
            if let Some(service) =
                at(webhook, "clientConfig").and_then(|config| at(config, "service"))
            {
                fill(service, "port", 443);
            }
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (index, webhook) in list(&object["webhooks"]).enumerate() {
            let path = format!("webhooks[{index}]");
            let name = text(&webhook["name"]);
            if name.is_empty() {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            } else if name.split('.').count() < 3 || !names::dns_subdomain(name).is_empty() {
                errors.push(FieldError::invalid(
                    format!("{path}.name"),
                    name,
                    "should be a domain with at least three segments separated by dots",
                ));
            }
            if is_empty(&webhook["admissionReviewVersions"]) {
                errors.push(FieldError::required(
                    format!("{path}.admissionReviewVersions"),
                    "must specify one of v1, v1beta1",
                ));
            }
            let effects = ["None", "NoneOnDryRun"];
            match text(&webhook["sideEffects"]) {
                "" => errors.push(FieldError::required(
                    format!("{path}.sideEffects"),
                    "must specify one of None, NoneOnDryRun",
                )),
                effect if !effects.contains(&effect) => {
                    let field = format!("{path}.sideEffects");
                    errors.push(FieldError::not_supported(field, effect, &effects));
                }
                _ => {}
            }
            let seconds = webhook["timeoutSeconds"].as_i64().unwrap_or(10);
            if !(1..=30).contains(&seconds) {
                errors.push(FieldError::invalid(
                    format!("{path}.timeoutSeconds"),
                    seconds,
                    "the timeout value must be between 1 and 30 seconds",
                ));
            }
            if is_empty(&webhook["clientConfig"]["url"])
                == is_empty(&webhook["clientConfig"]["service"])
            {
                errors.push(FieldError::required(
                    format!("{path}.clientConfig"),
                    "exactly one of url or service is required",
                ));
            }
        }
        errors
    }
}
