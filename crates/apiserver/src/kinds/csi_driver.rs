//! CSIDrivers: what a driver leaves unsaid.

use serde_json::{Value, json};

use super::Strategy;
use super::fields::{fill, fill_text, is_empty, spec};

pub(super) struct CsiDriver;

impl Strategy for CsiDriver {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        fill(spec, "attachRequired", true);
        for flag in [
            "podInfoOnMount",
            "storageCapacity",
            "requiresRepublish",
            "seLinuxMount",
        ] {
            fill(spec, flag, false);
        }
        fill_text(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec.get("volumeLifecycleModes").is_none_or(is_empty) {
            spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
        }
    }
}
