//! An object is serialised once, by the handler, with a gap where the writer puts the revision it hands out.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

/// Stands for the revision while a handler serialises. Random per process, so no user text can equal it.
static MARK: LazyLock<String> = LazyLock::new(|| format!("{:032x}", rand::random::<u128>()));

/// Serialised bytes around the gap for the revision.
#[derive(Clone, Debug)]
pub struct Encoded {
    before: Bytes,
    after: Bytes,
}

impl Encoded {
    /// Serialises `object`, whose `metadata.resourceVersion` is replaced by the gap.
    pub fn of(mut object: Value) -> Self {
        if let Some(root) = object.as_object_mut() {
            let metadata = root
                .entry("metadata")
                .or_insert_with(|| Value::Object(Default::default()));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("resourceVersion".into(), Value::String(MARK.clone()));
            }
        }
        let whole =
            Bytes::from(serde_json::to_vec(&object).expect("a JSON value always serialises"));
        let at = find(&whole, MARK.as_bytes()).expect("the mark was inserted above");
        Self {
            before: whole.slice(..at),
            after: whole.slice(at + MARK.len()..),
        }
    }

    /// The bytes with `revision` in the gap.
    pub fn at(&self, revision: u64) -> Bytes {
        let digits = revision.to_string();
        let mut whole =
            BytesMut::with_capacity(self.before.len() + digits.len() + self.after.len());
        whole.put_slice(&self.before);
        whole.put_slice(digits.as_bytes());
        whole.put_slice(&self.after);
        whole.freeze()
    }

    /// Opens the gap again in stored bytes of an object at `revision`.
    pub fn reopen(stored: &Bytes, revision: u64) -> Self {
        let field = format!("\"resourceVersion\":\"{revision}\"");
        // Keys are sorted and `metadata` comes before `spec` and `status`; annotations and managed fields hold
        // such text only with its quotes escaped or as another key's value, so the owner's field is looked up by parse
        // when the cheap search finds more than one.
        let mut found = stored
            .windows(field.len())
            .enumerate()
            .filter(|(_, window)| *window == field.as_bytes());
        match (found.next(), found.next()) {
            (Some((at, _)), None) => {
                let start = at + "\"resourceVersion\":\"".len();
                Self {
                    before: stored.slice(..start),
                    after: stored.slice(at + field.len() - 1..),
                }
            }
            _ => Self::of(serde_json::from_slice(stored).unwrap_or(Value::Null)),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let last = haystack.len().checked_sub(needle.len())?;
    let mut at = 0;
    while at <= last {
        match haystack[at..=last].iter().position(|byte| *byte == first) {
            Some(step) => at += step,
            None => return None,
        }
        if &haystack[at..at + needle.len()] == needle {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_lands_in_metadata_only() {
        let object = json!({"data": {"resourceVersion": "7"}, "metadata": {"name": "a", "resourceVersion": "7"}});
        let stored = Encoded::of(object).at(42);
        let read: Value = serde_json::from_slice(&stored).unwrap();
        assert_eq!(read["metadata"]["resourceVersion"], "42");
        assert_eq!(read["data"]["resourceVersion"], "7");
    }

    #[test]
    fn a_stored_object_can_be_given_a_later_revision() {
        for data in [json!({}), json!({"resourceVersion": "42"})] {
            let stored = Encoded::of(json!({"data": data, "metadata": {"name": "a"}})).at(42);
            let read: Value =
                serde_json::from_slice(&Encoded::reopen(&stored, 42).at(1000)).unwrap();
            assert_eq!(read["metadata"]["resourceVersion"], "1000");
            assert_eq!(read["data"], data);
        }
    }
}
