//! The write pipeline, the same for every kind and verb: decode → default → prune → managed fields → mutate → validate →
//! no-op check. The store follows; patches come in between decoding and defaulting.
//! One file because the order of these steps is one decision, and each is a few lines beside the next.

use objects::apply::{FieldSet, Write};
use objects::field::FieldErrorKind;
use objects::{FieldError, meta};
use serde_json::{Map, Value};

use super::Call;
use super::call::FieldValidation;
use super::keep::{carry, carry_root, check_preconditions, only_status, place};
use super::patch;
use crate::admission;
use crate::error::ApiError;
use crate::http::body::Decoded;
use crate::kinds::{self, Strategy};
use crate::lookup::Lookup;
use crate::registry::{Origin, Resource, crd};

/// Under whose name, and how, fields are written.
#[derive(Clone, Debug)]
pub enum Manager {
    /// Any write but apply: what changed becomes the writer's.
    Writer(String),
    /// Server-side apply.
    Applier {
        /// The manager.
        name: String,
        /// Whether conflicting fields are taken over.
        force: bool,
    },
}

/// What an update comes to.
pub enum Outcome {
    /// Nothing would change.
    Same,
    /// Store this.
    Changed(Value),
    /// The last finalizer of a deleted object went: remove it. What it was at its end.
    Remove(Value),
}

/// The present time as objects have it.
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Whether a `PUT` must say which version it replaces.
pub fn needs_revision(resource: &Resource) -> bool {
    matches!(resource.origin, Origin::Custom(_))
}

/// Checks that a body is an object of the call's kind and has only known fields.
pub fn accept(call: &Call, decoded: Decoded) -> Result<Value, ApiError> {
    let mut object = decoded.value;
    let resource = &call.resource;
    if object.is_null() && matches!(resource.origin, Origin::Builtin(_)) {
        // Nothing said is a type's beginning, of which validation says what it lacks.
        object = Value::Object(Map::new());
    }
    let Some(root) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the request body must be an object"));
    };
    let kind = root.get("kind").and_then(Value::as_str).unwrap_or_default();
    let version = root
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if kind.is_empty() != version.is_empty()
        || (kind.is_empty() && matches!(resource.origin, Origin::Custom(_)))
    {
        let missing = if kind.is_empty() {
            "Kind"
        } else {
            "apiVersion"
        };
        return Err(ApiError::bad_request(format!(
            "Object '{missing}' is missing in the request body"
        )));
    }
    let expected = resource.api_version();
    if kind.is_empty() {
        root.insert("kind".into(), resource.kind.clone().into());
        root.insert("apiVersion".into(), expected.into());
    } else if version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    } else if kind != resource.kind && matches!(resource.origin, Origin::Custom(_)) {
        let error = FieldError::invalid("kind", kind, format!("must be {}", resource.kind));
        let (kind, name) = (kind.to_owned(), meta::name(&object).to_owned());
        return Err(objects::Status::invalid(&resource.group, &kind, &name, vec![error]).into());
    } else if kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: converting ({kind}) to ({expected}.{}): unknown conversion",
            resource.version, resource.kind, resource.kind
        )));
    }
    if root.get("metadata").is_none_or(Value::is_null) {
        root.insert("metadata".into(), Value::Object(Default::default()));
    } else if !root["metadata"].is_object() {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    let mode = call.field_validation()?;
    if mode != FieldValidation::Ignore {
        let unknown = resource.schema().unknown_fields(&object);
        report_fields(call, mode, unknown, decoded.duplicates)?;
    }
    Ok(object)
}

/// Checks that an applied configuration is one of the call's kind. Unknown fields are the merge's to refuse.
pub fn accept_applied(call: &Call, decoded: Decoded) -> Result<Value, ApiError> {
    let object = decoded.value;
    let resource = &call.resource;
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (kind, version) = (text("kind"), text("apiVersion"));
    if !object.is_object() {
        return Err(ApiError::bad_request("the request body must be an object"));
    }
    if kind != resource.kind || version != resource.api_version() {
        let group_end = if version.contains('/') { "" } else { "/" };
        return Err(ApiError::bad_request(format!(
            "invalid object type: {group_end}{version}, Kind={kind}"
        )));
    }
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    if !metadata.is_object() && !metadata.is_null() {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    if metadata
        .get("managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    report_fields(
        call,
        call.field_validation()?,
        Vec::new(),
        decoded.duplicates,
    )?;
    Ok(object)
}

/// Warns about or refuses fields that are unknown or stand twice.
pub fn report_fields(
    call: &Call,
    mode: FieldValidation,
    unknown: Vec<String>,
    duplicates: Vec<String>,
) -> Result<(), ApiError> {
    let words: Vec<String> = unknown
        .into_iter()
        .map(|path| format!("unknown field {path:?}"))
        .chain(
            duplicates
                .into_iter()
                .map(|path| format!("duplicate field {path:?}")),
        )
        .collect();
    if words.is_empty() || mode == FieldValidation::Ignore {
        return Ok(());
    }
    if mode == FieldValidation::Warn {
        words.into_iter().for_each(|word| call.warn(word));
        return Ok(());
    }
    let resource = &call.resource;
    if call.verb == "patch" && call.query.get("force").is_none() && !patch::is_apply(call) {
        return Err(patch::unusable(
            call,
            format!("strict decoding error: {}", words.join(", ")),
        ));
    }
    Err(ApiError::bad_request(format!(
        "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
        resource.version,
        words.join(", "),
        kind = resource.kind,
    )))
}

/// Says what a stored object will not do here, so that nobody waits for it.
fn warn_of_inaction(call: &Call, object: &Value) {
    let resource = &call.resource;
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("admissionregistration.k8s.io", kind) => {
            call.warn(format!("{kind} is stored, but this server does not call webhooks or evaluate admission policies"));
        }
        ("apiregistration.k8s.io", "APIService") => {
            call.warn(
                "APIService is stored, but this server passes no requests on to other API servers",
            );
        }
        (crd::GROUP, "CustomResourceDefinition")
            if object["spec"]["conversion"]["strategy"] == "Webhook" =>
        {
            call.warn(
                "conversion webhooks are not called: served versions differ in apiVersion only",
            );
        }
        _ => {}
    }
}

/// Makes a new object ready for the store.
pub fn prepare_create(
    call: &Call,
    mut object: Value,
    manager: &Manager,
) -> Result<Value, ApiError> {
    let resource = &call.resource;
    place(call, &mut object)?;
    if !meta::resource_version(&object).is_empty() {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let applied = matches!(manager, Manager::Applier { .. }).then(|| object.clone());
    let rules = kinds::strategy(&resource.group, &resource.kind);
    let time = now();
    for field in [
        "selfLink",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        meta::remove(&mut object, field);
    }
    if meta::name(&object).is_empty()
        && let Some(base) = meta::generate_name(&object).filter(|base| !base.is_empty())
    {
        let name = objects::names::generate(base, rand::random());
        meta::set(&mut object, "name", name);
    }
    meta::set(&mut object, "uid", uuid::Uuid::new_v4().to_string());
    meta::set(&mut object, "creationTimestamp", time.clone());
    if counts_generations(resource, rules) {
        meta::set(&mut object, "generation", 1);
    }
    default(resource, rules, &mut object);
    resource.schema().prune(&mut object);
    meta::omit_empty(&mut object);
    // Before admission and before what only the server sets: neither is the writer's.
    track(call, None, applied.as_ref(), &mut object, manager, &time)?;
    warn_of_inaction(call, &object);
    let lookup = call.api.lookup();
    admit(call, Pass::Mutating, &mut object, None, &lookup)?;
    // What admission added has defaults too.
    default(resource, rules, &mut object);
    match &resource.origin {
        Origin::Builtin(_) => rules.prepare_create(&mut object),
        Origin::Custom(_) if resource.has_status() => {
            object
                .as_object_mut()
                .and_then(|root| root.remove("status"));
        }
        Origin::Custom(_) => {}
    }
    meta::omit_empty(&mut object);
    let mut errors = kinds::validate_metadata(rules, &object, resource.namespaced);
    if matches!(resource.origin, Origin::Builtin(_)) && resource.group != crd::GROUP {
        errors.extend(kinds::validate_finalizers(&object));
    }
    errors.extend(by_schema_and_rules(resource, &object, None, || {
        rules.validate_create(&object)
    }));
    if errors.is_empty() {
        errors.extend(crd::validate(resource, &object, None, &call.registry));
    }
    refuse_if_any(call, &object, errors)?;
    crd::complete(resource, &mut object, &call.registry, &time);
    admit(call, Pass::Validating, &mut object, None, &lookup)?;
    Ok(object)
}

/// Makes a changed object ready for the store, or finds that nothing changes.
pub fn prepare_update(
    call: &Call,
    old: &Value,
    mut new: Value,
    manager: &Manager,
) -> Result<Outcome, ApiError> {
    let resource = &call.resource;
    let rules = kinds::strategy(&resource.group, &resource.kind);
    place(call, &mut new)?;
    check_preconditions(call, old, &new)?;
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
    ] {
        carry(&mut new, old, field);
    }
    default(resource, rules, &mut new);
    match (call.subresource.as_str(), &resource.origin) {
        ("status", Origin::Builtin(_)) => rules.prepare_status_update(&mut new, old),
        ("status", Origin::Custom(_)) => only_status(&mut new, old),
        ("", Origin::Builtin(_)) => rules.prepare_update(&mut new, old),
        ("", Origin::Custom(_)) if resource.has_status() => carry_root(&mut new, old, "status"),
        (view, _) => crate::subresources::restrict(view, &mut new, old),
    }
    resource.schema().prune(&mut new);
    meta::omit_empty(&mut new);
    let time = now();
    track(call, Some(old), None, &mut new, manager, &time)?;
    let lookup = call.api.lookup();
    admit(call, Pass::Mutating, &mut new, Some(old), &lookup)?;
    meta::omit_empty(&mut new);
    let mut errors = kinds::validate_metadata_update(rules, &new, old, resource.namespaced);
    errors.extend(by_schema_and_rules(
        resource,
        &new,
        Some(old),
        || match call.subresource.as_str() {
            "status" => rules.validate_status_update(&new, old),
            "" => rules.validate_update(&new, old),
            view => rules.validate_view_update(view, &new, old),
        },
    ));
    if errors.is_empty() && call.subresource.is_empty() {
        errors.extend(crd::validate(resource, &new, Some(old), &call.registry));
    }
    refuse_if_any(call, old, errors)?;
    crd::complete(resource, &mut new, &call.registry, &time);
    if counts_generations(resource, rules) && is_new_generation(resource, old, &new) {
        meta::set(&mut new, "generation", meta::generation(old) + 1);
    }
    carry(&mut new, old, "resourceVersion");
    admit(call, Pass::Validating, &mut new, Some(old), &lookup)?;
    if is_released(resource, &new) {
        return Ok(Outcome::Remove(new));
    }
    Ok(if is_same(old, &new) {
        Outcome::Same
    } else {
        Outcome::Changed(new)
    })
}

/// What schema and kind say is wrong. Both speak about built-in kinds: where they complain of the same, the kind has the
/// words. Entries that stand twice are the kind's to name, or to allow: keys of lists say how entries are merged, not
/// that they are unique. The kind says nothing about an object that has not even the right types.
fn by_schema_and_rules(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
    by_rules: impl FnOnce() -> Vec<FieldError>,
) -> Vec<FieldError> {
    let mut errors = resource.schema().validate(object, old);
    if !matches!(resource.origin, Origin::Builtin(_)) {
        return errors;
    }
    // What a client leaves out of a status is empty there, not missing: kubectl autoscale sends such.
    let is_left_out = |error: &FieldError| {
        error.kind == FieldErrorKind::Required && error.field.starts_with("status.")
    };
    errors.retain(|error| error.kind != FieldErrorKind::Duplicate && !is_left_out(error));
    if errors
        .iter()
        .any(|error| error.kind == FieldErrorKind::TypeInvalid)
    {
        return errors;
    }
    let by_rules = by_rules();
    errors.retain(|error| {
        !by_rules
            .iter()
            .any(|other| other.field == error.field && other.kind == error.kind)
    });
    errors.extend(by_rules);
    errors
}

/// Defaults of the schema and of the kind; harmless when run twice.
fn default(resource: &Resource, rules: &dyn Strategy, object: &mut Value) {
    resource.schema().default(object);
    rules.default(object);
}

fn counts_generations(resource: &Resource, rules: &dyn Strategy) -> bool {
    matches!(resource.origin, Origin::Custom(_)) || rules.has_generation()
}

/// Whether anything but metadata and status changed.
fn is_new_generation(resource: &Resource, old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return false;
    };
    let counts = |key: &str| {
        key != "metadata"
            && (key != "status"
                || (matches!(resource.origin, Origin::Custom(_)) && !resource.has_status()))
    };
    old.iter()
        .any(|(key, value)| counts(key) && new.get(key) != Some(value))
        || new.keys().any(|key| counts(key) && !old.contains_key(key))
}

/// Whether a deleted object has nothing left that holds it.
pub fn is_released(resource: &Resource, object: &Value) -> bool {
    meta::is_being_deleted(object)
        && meta::deletion_grace_period_seconds(object).unwrap_or(0) == 0
        && meta::finalizers(object).next().is_none()
        && !(resource.group.is_empty()
            && resource.kind == "Namespace"
            && object["spec"]["finalizers"]
                .as_array()
                .is_some_and(|held| !held.is_empty()))
}

fn refuse_if_any(call: &Call, object: &Value, mut errors: Vec<FieldError>) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    errors.dedup();
    if let Some(undecodable) = undecodable(call, &errors) {
        return Err(undecodable);
    }
    Err(call.invalid(meta::name(object), errors))
}

/// A built-in kind is decoded into types of its own before anything else is looked at. What does not fit them is a bad
/// request where the object itself was sent; a patch that leads there has been understood, and is invalid.
fn undecodable(call: &Call, errors: &[FieldError]) -> Option<ApiError> {
    let resource = &call.resource;
    if !matches!(resource.origin, Origin::Builtin(_)) || !matches!(call.verb, "create" | "update") {
        return None;
    }
    let kind = &resource.kind;
    // A definition's schemas hold values of any type; theirs are checked as what they are.
    let is_inside = |field: &str| {
        resource.group == crd::GROUP
            && ["spec.validation", "spec.versions["]
                .iter()
                .any(|schemas| field.starts_with(schemas))
    };
    let problem = errors.iter().find_map(|error| {
        if is_inside(&error.field) {
            return None;
        }
        if let Some((_, wanted)) = error.detail.split_once(" must be of type ")
            && error.kind == FieldErrorKind::TypeInvalid
        {
            let (wanted, found) = wanted.split_once(": ").unwrap_or((wanted, "value"));
            let found = match found.trim_matches('"') {
                "integer" => "number",
                "boolean" => "bool",
                found => found,
            };
            return Some(match wanted {
                "byte" => "illegal base64 data at input byte 0".to_owned(),
                _ => format!(
                    "json: cannot unmarshal {} into Go struct field {kind}.{} of type {wanted}",
                    found, error.field
                ),
            });
        }
        error
            .detail
            .starts_with("quantities must match")
            .then(|| error.detail.clone())
    })?;
    Some(ApiError::bad_request(format!(
        "{kind} in version {:?} cannot be handled as a {kind}: {problem}",
        resource.version
    )))
}

/// Records who manages which fields.
fn track(
    call: &Call,
    old: Option<&Value>,
    applied: Option<&Value>,
    new: &mut Value,
    manager: &Manager,
    time: &str,
) -> Result<(), ApiError> {
    match (manager, applied) {
        (Manager::Writer(name), _) => {
            let reset = reset_fields(call);
            // A new object differs from what its type is without being told anything.
            let before = old.or_else(|| call.resource.blank());
            writer(call, name, time, reset.as_ref()).track_update(before, new);
        }
        // What an applier set at creation is exactly what it sent; defaults are nobody's.
        (Manager::Applier { name, force }, Some(applied)) => {
            let mut merged = patch::merge(call, None, applied, name, *force)?;
            if let Some(fields) = meta::remove(&mut merged, "managedFields") {
                meta::set(new, "managedFields", fields);
            }
        }
        // A merge has already recorded it.
        (Manager::Applier { .. }, None) => {}
    }
    Ok(())
}

/// A write as the bookkeeping of field ownership sees it.
pub(super) fn writer<'a>(
    call: &'a Call,
    manager: &'a str,
    time: &'a str,
    reset: Option<&'a FieldSet>,
) -> Write<'a> {
    Write {
        manager,
        subresource: &call.subresource,
        schema: call.resource.schema(),
        now: time,
        reset,
    }
}

/// What this write cannot change, and so cannot own.
pub(super) fn reset_fields(call: &Call) -> Option<FieldSet> {
    if !call.resource.has_status() {
        return None;
    }
    match call.subresource.as_str() {
        "" => Some(FieldSet::of_fields([["status"]])),
        "status" => Some(FieldSet::of_fields([["spec"]])),
        _ => None,
    }
}

/// Whether two states differ in nothing but the times of managed fields.
fn is_same(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old == new;
    };
    let without = |fields: &Map<String, Value>, left_out: &str, other: &Map<String, Value>| {
        fields.len() == other.len()
            && fields
                .iter()
                .all(|(key, value)| key == left_out || other.get(key) == Some(value))
    };
    if !without(old, "metadata", new) {
        return false;
    }
    let (Some(old), Some(new)) = (old["metadata"].as_object(), new["metadata"].as_object()) else {
        return false;
    };
    let managed = |fields: &Map<String, Value>| {
        fields
            .get("managedFields")
            .and_then(Value::as_array)
            .cloned()
    };
    without(old, "managedFields", new)
        && match (managed(old), managed(new)) {
            (Some(old), Some(new)) => {
                old.len() == new.len()
                    && old.iter().zip(&new).all(|(old, new)| {
                        match (old.as_object(), new.as_object()) {
                            (Some(old), Some(new)) => without(old, "time", new),
                            _ => old == new,
                        }
                    })
            }
            (old, new) => old == new,
        }
}

/// Lets admission see a write: first it may change it, later it may only refuse.
fn admit(
    call: &Call,
    pass: Pass,
    object: &mut Value,
    old: Option<&Value>,
    time_of_check: &dyn Lookup,
) -> Result<(), ApiError> {
    let name = meta::name(object).to_owned();
    let mut review = admission::Review {
        operation: if old.is_some() {
            admission::Operation::Update
        } else {
            admission::Operation::Create
        },
        user: &call.user,
        group: &call.resource.group,
        kind: &call.resource.kind,
        resource: &call.resource.plural,
        subresource: &call.subresource,
        namespace: &call.namespace,
        name: &name,
        object,
        old,
        is_dry_run: call.is_dry_run()?,
        warnings: Vec::new(),
    };
    let admitted = match pass {
        Pass::Mutating => call.api.admission.mutate(&mut review, time_of_check),
        Pass::Validating => call.api.admission.validate(&mut review, time_of_check),
    };
    std::mem::take(&mut review.warnings)
        .into_iter()
        .for_each(|warning| call.warn(warning));
    Ok(admitted?)
}

#[derive(Clone, Copy, Debug)]
enum Pass {
    Mutating,
    Validating,
}

/// What is not a write of an object itself: a deletion, or a `POST` below an object.
pub struct Action<'a> {
    /// Whether something is deleted or posted.
    pub operation: admission::Operation,
    /// Where it is posted; empty for deletions.
    pub subresource: &'a str,
    /// The object it is done to.
    pub name: &'a str,
    /// What is posted; `Null` for deletions.
    pub posted: Value,
    /// The object that goes, for deletions.
    pub old: Option<&'a Value>,
}

/// Lets admission refuse an action; it changes nothing.
pub fn admit_action(call: &Call, mut action: Action<'_>) -> Result<(), ApiError> {
    let lookup = call.api.lookup();
    let mut review = admission::Review {
        operation: action.operation,
        user: &call.user,
        group: &call.resource.group,
        kind: &call.resource.kind,
        resource: &call.resource.plural,
        subresource: action.subresource,
        namespace: &call.namespace,
        name: action.name,
        object: &mut action.posted,
        old: action.old,
        is_dry_run: call.is_dry_run()?,
        warnings: Vec::new(),
    };
    call.api.admission.mutate(&mut review, &lookup)?;
    Ok(call.api.admission.validate(&mut review, &lookup)?)
}
