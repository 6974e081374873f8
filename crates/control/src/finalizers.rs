//! Adds and removes one finalizer by a JSON patch that names the position it was seen at, so that a concurrent edit of
//! the list is refused instead of overwritten.

use serde_json::{Value, json};

/// The patch that adds `finalizer`, or `None` if it is there.
pub fn add(finalizers: &[String], finalizer: &str) -> Option<Value> {
    if finalizers.iter().any(|held| held == finalizer) {
        return None;
    }
    Some(if finalizers.is_empty() {
        json!([{"op": "add", "path": "/metadata/finalizers", "value": [finalizer]}])
    } else {
        json!([{"op": "add", "path": "/metadata/finalizers/-", "value": finalizer}])
    })
}

/// The patch that removes `finalizer`, or `None` if it is not there.
pub fn remove(finalizers: &[String], finalizer: &str) -> Option<Value> {
    let position = finalizers.iter().position(|held| held == finalizer)?;
    let path = format!("/metadata/finalizers/{position}");
    Some(json!([{"op": "test", "path": path, "value": finalizer}, {"op": "remove", "path": path}]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_names_the_position_and_checks_it() {
        let held = vec!["a".to_owned(), "b".to_owned()];
        let patch = remove(&held, "b").unwrap();
        assert_eq!(
            patch[0],
            json!({"op": "test", "path": "/metadata/finalizers/1", "value": "b"})
        );
        assert_eq!(patch[1]["op"], "remove");
        assert_eq!(remove(&held, "c"), None);
    }

    #[test]
    fn adding_twice_is_adding_once() {
        assert!(add(&[], "a").is_some());
        assert_eq!(add(&["a".to_owned()], "a"), None);
    }
}
