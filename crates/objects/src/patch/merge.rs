//! Merge patch, RFC 7396: maps merge, null removes, everything else replaces.

use serde_json::Value;

use super::Error;

/// Applies a merge patch to an object.
pub fn merge(object: &mut Value, patch: &Value) -> Result<(), Error> {
    if !patch.is_object() {
        return Err(Error::Malformed(
            "error decoding patch: a merge patch must be a JSON object".to_owned(),
        ));
    }
    json_patch::merge(object, patch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_merge_null_removes_and_lists_are_replaced() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2], "x": 1});
        merge(
            &mut object,
            &json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "l": [3], "y": 2}),
        )
        .unwrap();
        assert_eq!(
            object,
            json!({"a": {"c": 2, "d": {"f": 1}}, "l": [3], "x": 1, "y": 2})
        );
        assert!(matches!(
            merge(&mut object, &json!([1])),
            Err(Error::Malformed(_))
        ));
    }
}
