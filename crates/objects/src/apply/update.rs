//! The bookkeeping of a write: who gains, who loses, who conflicts.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::compare::{Comparison, compare};
use super::conflict::Conflict;
use super::last_applied::{self, KUBECTL};
use super::managers::{Entry, Identity, Managers, Operation};
use super::merge::merge;
use super::owned::{check, collapse, to_set, with_declared_parents, without_nulls};
use super::remove::{Emptied, remove};
use super::set::FieldSet;
use super::{Error, Write};
use crate::meta;

/// Who owns what an object had before anybody applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields nobody owns: identity, and what only the server writes.
static UNOWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    let mut set = FieldSet::of_fields([["apiVersion"], ["kind"], ["metadata"]]);
    let of_metadata = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    set.extend(&FieldSet::of_fields(
        of_metadata.map(|field| ["metadata", field]),
    ));
    set
});

/// The bookkeeping itself, which is not part of what is compared.
static BOOKKEEPING: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of_fields([["metadata", "managedFields"]]));

fn version_of(object: &Value) -> &str {
    object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An object without its bookkeeping.
fn bare(object: &Value) -> Value {
    let mut bare = object.clone();
    meta::remove(&mut bare, "managedFields");
    bare
}

fn put_managers(object: &mut Value, managers: Managers) {
    match managers.encode() {
        Some(entries) => meta::set(object, "managedFields", entries),
        None => {
            meta::remove(object, "managedFields");
        }
    }
}

impl Write<'_> {
    /// Entries as the present schema has them.
    fn reconciled(&self, mut managers: Managers) -> Managers {
        for entry in &mut managers.0 {
            collapse(&self.schema.arena, Some(self.schema.id), &mut entry.set);
        }
        managers
    }

    fn compare(&self, old: &Value, new: &Value) -> Comparison {
        compare(self.schema, old, new)
            .without(Some(&BOOKKEEPING))
            .without(self.reset)
    }

    fn owned_parents(&self, set: &FieldSet) -> FieldSet {
        with_declared_parents(&self.schema.arena, Some(self.schema.id), set)
    }
}

/// Takes what changed from everybody; who changed it gets it afterwards.
fn take_from_all(managers: &mut Managers, changes: &Comparison) {
    for entry in &mut managers.0 {
        entry.set.subtract(&changes.modified);
        entry.set.subtract(&changes.added);
        entry.set.subtract(&changes.removed);
    }
    managers.0.retain(|entry| !entry.set.is_empty());
}

/// Brings `managedFields` up to date for a write that is not an apply.
pub(super) fn track(write: &Write<'_>, old: Option<&Value>, new: &mut Value) {
    let mut managers = write.reconciled(managers_of_update(write, old, new));
    let nothing = json!({});
    let changes = write.compare(old.unwrap_or(&nothing), new);
    if changes.is_empty() {
        put_managers(new, managers);
        return;
    }
    take_from_all(&mut managers, &changes);
    let mut gained = changes.modified;
    gained.extend(&changes.added);
    gained.subtract(&UNOWNED);
    if !gained.is_empty() {
        let identity = Identity::new(
            write.manager,
            Operation::Update,
            version_of(new),
            write.subresource,
        );
        let mut entry = managers.remove(&identity).unwrap_or(Entry {
            identity,
            api_version: version_of(new).to_owned(),
            time: None,
            set: FieldSet::default(),
        });
        entry.set.extend(&gained);
        entry.time = Some(write.now.to_owned());
        managers.0.push(entry);
    }
    managers.cap_updaters();
    put_managers(new, managers);
}

/// The entries an update starts from: the request's own where it sends good ones, else those of the stored object.
/// A single empty entry asks for everything to be forgotten.
fn managers_of_update(write: &Write<'_>, old: Option<&Value>, new: &Value) -> Managers {
    let stored = || old.and_then(Managers::decode).unwrap_or_default();
    if !write.subresource.is_empty() {
        return stored();
    }
    if let [only] = meta::managed_fields(new)
        && only
            .as_object()
            .is_some_and(|entry| entry.values().all(Value::is_null))
    {
        return Managers::default();
    }
    match Managers::decode(new) {
        Some(managers) if !managers.0.is_empty() => managers,
        _ => stored(),
    }
}

/// Server-side apply.
pub(super) fn apply(
    write: &Write<'_>,
    live: Option<&Value>,
    applied: &Value,
    force: bool,
) -> Result<Value, Error> {
    if !applied.is_object() {
        return Err(Error::Malformed(
            "error decoding apply patch: it must be an object".to_owned(),
        ));
    }
    if !meta::managed_fields(applied).is_empty() {
        return Err(Error::Malformed(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    if let Some(live) = live
        && version_of(live) != version_of(applied)
    {
        return Err(Error::Malformed(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            version_of(applied),
            version_of(live)
        )));
    }
    let applied = &without_nulls(&write.schema.arena, Some(write.schema.id), applied);
    check(write.schema, applied)
        .map_err(|problem| Error::Typed(format!("({}): {problem}", described(applied))))?;
    let result = attempt(write, live, applied, force);
    let (Err(Error::Conflicts(conflicts)), Some(live)) = (&result, live) else {
        return result;
    };
    if write.manager != KUBECTL {
        return result;
    }
    let allowed = last_applied::unchanged_fields(write.schema, &bare(live));
    let rest: Vec<Conflict> = conflicts
        .iter()
        .filter(|conflict| !allowed.has(&conflict.field.0))
        .cloned()
        .collect();
    if rest.is_empty() {
        attempt(write, Some(live), applied, true)
    } else {
        Err(Error::Conflicts(rest))
    }
}

/// `default/web; apps/v1, Kind=Deployment`, and `/v1` for what has no group.
fn described(object: &Value) -> String {
    let name = match (meta::namespace(object), meta::name(object)) {
        ("", name) => format!("/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let version = version_of(object);
    let group_end = if version.contains('/') { "" } else { "/" };
    format!("{name}; {group_end}{version}, Kind={kind}")
}

fn attempt(
    write: &Write<'_>,
    live: Option<&Value>,
    applied: &Value,
    force: bool,
) -> Result<Value, Error> {
    let identity = Identity::new(
        write.manager,
        Operation::Apply,
        version_of(applied),
        write.subresource,
    );
    let empty = json!({"apiVersion": applied.get("apiVersion"), "kind": applied.get("kind")});
    let live_bare = live.map_or_else(|| empty.clone(), bare);
    let mut managers = write.reconciled(live.and_then(Managers::decode).unwrap_or_default());
    if managers.0.is_empty() && live.is_some() {
        managers
            .0
            .extend(owner_before_first_apply(write, &live_bare));
    }
    let last = managers.remove(&identity);
    let mut applied_set = to_set(write.schema, applied);
    if let Some(reset) = write.reset {
        applied_set = applied_set.recursive_difference(reset);
    }
    let merged = merge(write.schema, &live_bare, applied);
    let doomed = match &last {
        Some(last) if !last.set.difference(&applied_set).is_empty() => {
            no_longer_owned(write, &merged, &managers, &applied_set, &last.set)
        }
        _ => FieldSet::default(),
    };
    // While changes are looked for, what lost its last entry stands as a null: who owns it as such keeps it.
    let changes = if doomed.is_empty() {
        write.compare(&live_bare, &merged)
    } else {
        write.compare(
            &live_bare,
            &remove(write.schema, &merged, &doomed, Emptied::Null),
        )
    };
    if !force {
        let conflicts = conflicts(&managers, &changes);
        if !conflicts.is_empty() {
            return Err(Error::Conflicts(conflicts));
        }
    }
    take_from_all(&mut managers, &changes);
    let mut set = applied_set;
    set.subtract(&UNOWNED);
    // The time is that of a change of the object; who only agrees with what is there has none.
    let time = match &last {
        last if changes.is_empty() => last.as_ref().and_then(|last| last.time.clone()),
        _ => Some(write.now.to_owned()),
    };
    managers.0.push(Entry {
        identity,
        api_version: version_of(applied).to_owned(),
        time,
        set,
    });
    managers.cap_updaters();
    let mut object = if doomed.is_empty() {
        merged
    } else {
        remove(write.schema, &merged, &doomed, Emptied::Gone)
    };
    put_managers(&mut object, managers);
    if write.manager == KUBECTL && write.subresource.is_empty() {
        last_applied::refresh(&mut object, applied);
    }
    Ok(object)
}

fn owner_before_first_apply(write: &Write<'_>, live: &Value) -> Option<Entry> {
    let set = compare(write.schema, &json!({}), live)
        .added
        .difference(&UNOWNED);
    let identity = Identity::new(BEFORE_FIRST_APPLY, Operation::Update, version_of(live), "");
    let api_version = version_of(live).to_owned();
    (!set.is_empty()).then(|| Entry {
        identity,
        api_version,
        time: Some(write.now.to_owned()),
        set,
    })
}

fn conflicts(managers: &Managers, changes: &Comparison) -> Vec<Conflict> {
    let changed = changes.modified.union(&changes.added);
    let mut conflicts = Vec::new();
    for entry in &managers.0 {
        let paths = entry.set.intersection(&changed).paths();
        conflicts.extend(paths.into_iter().map(|path| Conflict::with(entry, path)));
    }
    // By owner; the fields of one owner stay in the order of its set.
    conflicts.sort_by(|a, b| (&a.manager, &a.subresource).cmp(&(&b.manager, &b.subresource)));
    conflicts
}

/// What this manager applied last time, does not apply now, and nobody else owns.
fn no_longer_owned(
    write: &Write<'_>,
    merged: &Value,
    others: &Managers,
    applied: &FieldSet,
    last: &FieldSet,
) -> FieldSet {
    let parts = |object: &Value| write.owned_parents(&to_set(write.schema, object));
    let without = |doomed: &FieldSet| parts(&remove(write.schema, merged, doomed, Emptied::Null));
    let last = write.owned_parents(last);
    let merged_parts = parts(merged);
    // Everything last time's configuration named goes, and then what somebody owns comes back.
    let mut owned = applied.clone();
    for entry in &others.0 {
        owned.extend(&entry.set);
    }
    let kept = without(&last).union(&write.owned_parents(&owned));
    let left = without(&merged_parts.difference(&kept));
    // What went but was never this manager's, because nobody owned it, comes back too.
    merged_parts.difference(&left).intersection(&last)
}
