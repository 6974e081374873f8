//! A pod body from a template and its controlling owner.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

/// The pod that `owner` makes from `template`: labels, annotations, finalizers and spec are the template's. Its name is
/// generated from the owner's unless one is set afterwards.
pub fn pod_from_template(template: &Value, owner: &OwnerReference) -> Value {
    let mut metadata = json!({
        "generateName": format!("{}-", owner.name),
        "ownerReferences": [owner],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = &template["metadata"][field];
        if !value.is_null() {
            metadata[field] = value.clone();
        }
    }
    json!({"metadata": metadata, "spec": template["spec"]})
}

/// A short code for a hash: digits spelled with letters that form no words.
pub fn hash_code(hash: u32) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string()
        .bytes()
        .map(|digit| LETTERS[usize::from(digit) % LETTERS.len()] as char)
        .collect()
}

/// The code that tells one template from another, and from itself after `collisions` name clashes.
pub fn template_hash(template: &Value, collisions: Option<i32>) -> String {
    // FNV-1a, 32 bits.
    let mut hash: u32 = 0x811c_9dc5;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    feed(template.to_string().as_bytes());
    if let Some(collisions) = collisions {
        feed(&collisions.to_le_bytes());
    }
    hash_code(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_takes_its_templates_metadata_and_spec() {
        let owner = OwnerReference {
            name: "web-5".into(),
            uid: "u".into(),
            ..Default::default()
        };
        let template =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"new": 1}]}});
        let pod = pod_from_template(&template, &owner);
        assert_eq!(pod["metadata"]["generateName"], "web-5-");
        assert_eq!(pod["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(pod["spec"]["containers"][0]["new"], 1);
        assert!(pod["metadata"].get("annotations").is_none());
    }

    #[test]
    fn a_hash_depends_on_template_and_collisions_and_is_a_valid_label() {
        let template = json!({"spec": {"a": 1}});
        let hash = template_hash(&template, None);
        assert_eq!(hash, template_hash(&template.clone(), None));
        assert_ne!(hash, template_hash(&template, Some(1)));
        assert_ne!(hash, template_hash(&json!({"spec": {"a": 2}}), None));
        assert!(hash.len() <= 10 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
