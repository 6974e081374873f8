//! Admission policies in CEL: kept and completed. Evaluating them comes with mutating and validating policies.

use serde_json::{Value, json};

use super::Strategy;
use super::fields::{at, each, fill, fill_text, spec};

pub(super) struct AdmissionPolicy;

impl Strategy for AdmissionPolicy {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        if !spec.contains_key("policyName") {
            fill_text(spec, "failurePolicy", "Fail");
        }
        for matching in ["matchConstraints", "matchResources"] {
            let Some(matching) = at(spec, matching) else {
                continue;
            };
            fill_text(matching, "matchPolicy", "Equivalent");
            fill(matching, "namespaceSelector", json!({}));
            fill(matching, "objectSelector", json!({}));
            for rules in ["resourceRules", "excludeResourceRules"] {
                for rule in each(matching, rules) {
                    fill_text(rule, "scope", "*");
                }
            }
        }
    }
}
