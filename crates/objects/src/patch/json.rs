//! JSON patch, RFC 6902, with the limits of the API server on operations and on copied bytes.

use json_patch::{Patch, PatchErrorKind, PatchOperation};
use serde_json::Value;

use super::Error;

/// Most operations in one patch.
pub const MAX_OPERATIONS: usize = 10_000;
/// Most bytes that `copy` operations of one patch may add.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Applies a JSON patch. On error the object is as it was.
pub fn json(object: &mut Value, patch: &Value) -> Result<(), Error> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        return Err(Error::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    if !patch.is_array() {
        return Err(Error::Malformed(
            "error decoding patch: a JSON patch must be a list of operations".to_owned(),
        ));
    }
    // A list of something else than operations is read, and then refused.
    let patch: Patch = serde_json::from_value(patch.clone()).map_err(|error| {
        Error::Unprocessable(format!(
            "the server rejected our request due to an error in our request: {error}"
        ))
    })?;
    let is_one_by_one = |operation: &PatchOperation| {
        matches!(
            operation,
            PatchOperation::Copy(_) | PatchOperation::Replace(_)
        )
    };
    if !patch.0.iter().any(is_one_by_one) {
        return json_patch::patch(object, &patch).map_err(refused);
    }
    // Copies can double the document with each operation: they are counted one by one.
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in &patch.0 {
        if let PatchOperation::Copy(copy) = operation
            && let Ok(source) = copy.from.resolve(&patched)
        {
            copied += source.to_string().len();
            if copied > MAX_COPIED_BYTES {
                return Err(Error::TooLarge(format!(
                    "Unable to complete the copy operation: the accumulated size increase of copies is {copied}, \
                     exceeding the limit {MAX_COPIED_BYTES}"
                )));
            }
        }
        let added;
        let operation = match operation {
            // Clients replace what may not be there, and the API server lets them.
            PatchOperation::Replace(replace) if is_absent_field(&patched, &replace.path) => {
                added = PatchOperation::Add(json_patch::AddOperation {
                    path: replace.path.clone(),
                    value: replace.value.clone(),
                });
                &added
            }
            operation => operation,
        };
        json_patch::patch(&mut patched, std::slice::from_ref(operation)).map_err(refused)?;
    }
    *object = patched;
    Ok(())
}

/// Whether the path names a field that an object, which is there, does not have.
fn is_absent_field(object: &Value, path: &json_patch::jsonptr::Pointer) -> bool {
    path.resolve(object).is_err()
        && path
            .parent()
            .and_then(|parent| parent.resolve(object).ok())
            .is_some_and(Value::is_object)
}

fn refused(error: json_patch::PatchError) -> Error {
    let path = &error.path;
    Error::Unprocessable(match error.kind {
        PatchErrorKind::TestFailed => format!("testing value {path} failed: test failed"),
        _ => format!(
            "the server rejected our request due to an error in our request: {path}: {}",
            error.kind
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_apply_in_order_and_all_or_none() {
        let mut object = json!({"a": [1, 2], "b": {"c/d": 1}});
        json(
            &mut object,
            &json!([
                {"op": "test", "path": "/b/c~1d", "value": 1},
                {"op": "add", "path": "/a/-", "value": 3},
                {"op": "replace", "path": "/a/0", "value": 0},
                {"op": "move", "from": "/b/c~1d", "path": "/e"},
                {"op": "copy", "from": "/a", "path": "/f"},
                {"op": "remove", "path": "/b"},
            ]),
        )
        .unwrap();
        assert_eq!(object, json!({"a": [0, 2, 3], "e": 1, "f": [0, 2, 3]}));
        let before = object.clone();
        let error = json(
            &mut object,
            &json!([{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/missing"}]),
        );
        assert!(matches!(error, Err(Error::Unprocessable(_))));
        assert_eq!(object, before);
    }

    #[test]
    fn replacing_what_is_not_there_adds_it_where_it_can_be() {
        let mut object = json!({"data": {}});
        let replace = |path: &str| json!([{"op": "replace", "path": path, "value": 1}]);
        json(&mut object, &replace("/data/a")).unwrap();
        assert_eq!(object, json!({"data": {"a": 1}}));
        assert!(json(&mut object, &replace("/nothing/a")).is_err());
    }

    #[test]
    fn a_malformed_patch_and_a_failing_test_are_told_apart() {
        let bad = json(&mut json!({}), &json!({"op": "add"}));
        assert!(matches!(bad, Err(Error::Malformed(_))));
        for bad in [
            json!([{"op": "nope", "path": "/a"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "add", "value": 1}]),
        ] {
            assert!(
                matches!(json(&mut json!({}), &bad), Err(Error::Unprocessable(_))),
                "{bad}"
            );
        }
        let failing = json!([{"op": "test", "path": "/a", "value": 2}]);
        assert!(matches!(
            json(&mut json!({"a": 1}), &failing),
            Err(Error::Unprocessable(_))
        ));
    }

    #[test]
    fn a_patch_that_doubles_itself_is_stopped() {
        let mut operations = vec![json!({"op": "add", "path": "/a", "value": ["x".repeat(1000)]})];
        operations.extend((0..30).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"})));
        assert!(matches!(
            json(&mut json!({}), &Value::Array(operations)),
            Err(Error::TooLarge(_))
        ));
        let many = vec![json!({"op": "test", "path": "", "value": {}}); MAX_OPERATIONS + 1];
        assert!(matches!(
            json(&mut json!({}), &Value::Array(many)),
            Err(Error::TooLarge(_))
        ));
    }
}
