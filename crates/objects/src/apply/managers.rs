//! `metadata.managedFields`: reading it, writing it in its order, and keeping its length in bounds.

use serde_json::{Map, Value, json};

use super::fields_v1;
use super::set::FieldSet;
use crate::meta;

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// By applying.
    Apply,
    /// By any other write.
    Update,
}

/// Who owns fields. An applier is one manager whatever version it applies; updaters count per version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for appliers.
    pub(super) version: String,
    pub(super) subresource: String,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) set: FieldSet,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers(pub(super) Vec<Entry>);

/// Most entries that come from updates; the oldest are merged beyond that.
const MAX_UPDATERS: usize = 10;
const OLD_UPDATES: &str = "ancient-changes";

impl Identity {
    pub(super) fn new(
        manager: &str,
        operation: Operation,
        api_version: &str,
        subresource: &str,
    ) -> Self {
        let version = if operation == Operation::Apply {
            String::new()
        } else {
            api_version.to_owned()
        };
        Self {
            manager: manager.to_owned(),
            operation,
            version,
            subresource: subresource.to_owned(),
        }
    }
}

impl Managers {
    /// Reads the entries of an object; `None` if any of them is malformed.
    pub(super) fn decode(object: &Value) -> Option<Self> {
        let mut managers = Self::default();
        for entry in meta::managed_fields(object) {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            if text("fieldsType") != "FieldsV1" || text("apiVersion").is_empty() {
                return None;
            }
            let set = match entry.get("fieldsV1") {
                Some(fields) => fields_v1::decode(fields)?,
                None => FieldSet::default(),
            };
            let identity = Identity::new(
                text("manager"),
                operation,
                text("apiVersion"),
                text("subresource"),
            );
            let time = Some(text("time"))
                .filter(|time| !time.is_empty())
                .map(str::to_owned);
            match managers.get_mut(&identity) {
                Some(present) => present.set.extend(&set),
                None => managers.0.push(Entry {
                    identity,
                    api_version: text("apiVersion").to_owned(),
                    time,
                    set,
                }),
            }
        }
        Some(managers)
    }

    /// The value of `managedFields`, in its canonical order; `None` without entries.
    pub(super) fn encode(mut self) -> Option<Value> {
        self.0.retain(|entry| !entry.set.is_empty());
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|a, b| order(a).cmp(&order(b)));
        Some(self.0.iter().map(write).collect())
    }

    pub(super) fn get_mut(&mut self, identity: &Identity) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.identity == *identity)
    }

    pub(super) fn remove(&mut self, identity: &Identity) -> Option<Entry> {
        let index = self
            .0
            .iter()
            .position(|entry| entry.identity == *identity)?;
        Some(self.0.remove(index))
    }

    /// Merges the oldest updates of the same version until few enough are left.
    pub(super) fn cap_updaters(&mut self) {
        let mut updaters: Vec<usize> = (0..self.0.len())
            .filter(|index| self.0[*index].identity.operation == Operation::Update)
            .collect();
        let mut excess = updaters.len().saturating_sub(MAX_UPDATERS);
        if excess == 0 {
            return;
        }
        updaters.sort_by(|a, b| {
            let key = |index: usize| (self.0[index].time.clone(), self.0[index].identity.clone());
            key(*a).cmp(&key(*b))
        });
        // Index of the first entry of a version, which becomes the bucket as soon as a second one joins it.
        let mut buckets: Vec<(String, usize)> = Vec::new();
        let mut merged = Vec::new();
        for index in updaters {
            if excess == 0 {
                break;
            }
            let version = self.0[index].api_version.clone();
            match buckets.iter().find(|(known, _)| *known == version) {
                None => buckets.push((version, index)),
                Some((_, bucket)) => {
                    let (set, time) = (self.0[index].set.clone(), self.0[index].time.clone());
                    let target = &mut self.0[*bucket];
                    target.identity = Identity::new(OLD_UPDATES, Operation::Update, &version, "");
                    target.set.extend(&set);
                    target.time = time;
                    merged.push(index);
                    excess -= 1;
                }
            }
        }
        let mut index = 0;
        self.0.retain(|_| {
            index += 1;
            !merged.contains(&(index - 1))
        });
    }
}

fn order(entry: &Entry) -> impl Ord + use<'_> {
    let identity = &entry.identity;
    (
        identity.operation,
        seconds(entry.time.as_deref()),
        &identity.manager,
        &entry.api_version,
        &identity.subresource,
    )
}

fn seconds(time: Option<&str>) -> i64 {
    time.and_then(|time| time.parse::<jiff::Timestamp>().ok())
        .map_or(0, |time| time.as_second())
}

fn write(entry: &Entry) -> Value {
    let operation = match entry.identity.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut out = Map::new();
    out.insert("manager".to_owned(), entry.identity.manager.as_str().into());
    out.insert("operation".to_owned(), operation.into());
    out.insert("apiVersion".to_owned(), entry.api_version.as_str().into());
    out.insert("fieldsType".to_owned(), "FieldsV1".into());
    out.insert("fieldsV1".to_owned(), fields_v1::encode(&entry.set));
    if let Some(time) = &entry.time {
        out.insert("time".to_owned(), time.as_str().into());
    }
    if !entry.identity.subresource.is_empty() {
        out.insert("subresource".to_owned(), json!(entry.identity.subresource));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: Operation, time: &str, field: &str) -> Entry {
        Entry {
            identity: Identity::new(manager, operation, "v1", ""),
            api_version: "v1".to_owned(),
            time: Some(time.to_owned()),
            set: FieldSet::of_fields([[field]]),
        }
    }

    #[test]
    fn entries_stand_appliers_first_then_by_time_and_name() {
        let managers = Managers(vec![
            entry("z", Operation::Update, "2026-01-01T00:00:00Z", "a"),
            entry("b", Operation::Apply, "2026-01-02T00:00:00Z", "a"),
            entry("a", Operation::Apply, "2026-01-02T00:00:00Z", "a"),
            entry("c", Operation::Apply, "2026-01-01T00:00:00Z", "a"),
        ]);
        let written = managers.encode().unwrap();
        let names: Vec<&str> = written
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["manager"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["c", "a", "b", "z"]);
    }

    #[test]
    fn what_is_written_reads_back_and_empty_entries_vanish() {
        let mut managers = Managers(vec![entry(
            "a",
            Operation::Apply,
            "2026-01-01T00:00:00Z",
            "x",
        )]);
        managers.0.push(Entry {
            set: FieldSet::default(),
            ..entry("b", Operation::Update, "2026-01-01T00:00:00Z", "x")
        });
        let object = json!({"metadata": {"managedFields": managers.clone().encode().unwrap()}});
        managers.0.pop();
        assert_eq!(Managers::decode(&object), Some(managers));
        assert_eq!(
            Managers::decode(&json!({"metadata": {"managedFields": [{"operation": "Guess"}]}})),
            None
        );
    }

    #[test]
    fn more_than_ten_updaters_shrink_to_ten_and_lose_no_field() {
        let fields: Vec<String> = (0..14).map(|index| format!("f{index}")).collect();
        let mut managers = Managers(
            fields
                .iter()
                .enumerate()
                .map(|(index, field)| {
                    entry(
                        field,
                        Operation::Update,
                        &format!("2026-01-{:02}T00:00:00Z", index + 1),
                        field,
                    )
                })
                .collect(),
        );
        managers.cap_updaters();
        assert_eq!(managers.0.len(), 10);
        let bucket = managers
            .0
            .iter()
            .find(|entry| entry.identity.manager == OLD_UPDATES)
            .unwrap();
        assert_eq!(
            bucket.set,
            FieldSet::of_fields(fields[..5].iter().map(|field| [field.as_str()]))
        );
        assert_eq!(bucket.time.as_deref(), Some("2026-01-05T00:00:00Z"));
    }
}
