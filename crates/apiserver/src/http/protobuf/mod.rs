//! Protobuf bodies of built-in kinds, read into JSON by a table of field numbers. kubectl from 1.32 on and Go operators
//! send them; answers are always JSON, which all of them accept.
//!
//! On this wire plain fields are sent even when they are empty, so an empty text, `false` or 0 counts as absent except
//! where Kubernetes tells the two apart ([`POINTERS`]).

mod special;
mod wire;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use wire::{Payload, Reader};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The four bytes that begin every such body are missing.
    #[error("the body does not begin as a Kubernetes protobuf message does")]
    NotKubernetes,
    /// The bytes end in the middle of something, or are no protobuf.
    #[error("the body is not valid protobuf")]
    Malformed,
    /// We have no table for this kind.
    #[error("{0} cannot be sent as protobuf here; send it as JSON")]
    UnknownKind(String),
}

/// Fields whose empty value says something, because they are pointers in Kubernetes' own types, or must be there.
const POINTERS: &[&str] = &[
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "allowVolumeExpansion",
    "attachRequired",
    "automountServiceAccountToken",
    "averageUtilization",
    "backoffLimit",
    "backoffLimitPerIndex",
    "blockOwnerDeletion",
    "borrowingLimitPercent",
    "collisionCount",
    "completions",
    "controller",
    "currentAverageUtilization",
    "currentCPUUtilizationPercentage",
    "currentHealthy",
    "currentNumberScheduled",
    "currentReplicas",
    "defaultMode",
    "deletionGracePeriodSeconds",
    "deprecationWarning",
    "desiredHealthy",
    "desiredNumberScheduled",
    "desiredReplicas",
    "disruptionsAllowed",
    "enableServiceLinks",
    "endPort",
    "errorCode",
    "exitCode",
    "expectedPods",
    "expirationSeconds",
    "failedJobsHistoryLimit",
    "fsGroup",
    "gracePeriodSeconds",
    "hostProcess",
    "hostUsers",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "immutable",
    "ingressClassName",
    "leaseDurationSeconds",
    "leaseTransitions",
    "lendablePercent",
    "manualSelector",
    "matchingPrecedence",
    "maxFailedIndexes",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maxReplicas",
    "maximum",
    "minDomains",
    "minItems",
    "minLength",
    "minProperties",
    "minReplicas",
    "minimum",
    "mode",
    "multipleOf",
    "nodeAllocatableUpdatePeriodSeconds",
    "nominalConcurrencyShares",
    "numberMisscheduled",
    "numberReady",
    "optional",
    "optionalOldSelf",
    "orphanDependents",
    "parallelism",
    "partition",
    "podInfoOnMount",
    "priority",
    "privileged",
    "procMount",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "ready",
    "replicas",
    "requiresRepublish",
    "restartCount",
    "revision",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seLinuxMount",
    "seconds",
    "served",
    "service",
    "serving",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "stabilizationWindowSeconds",
    "started",
    "startingDeadlineSeconds",
    "storage",
    "storageCapacity",
    "storageClassName",
    "succeededCount",
    "successfulJobsHistoryLimit",
    "suspend",
    "targetAverageUtilization",
    "targetCPUUtilizationPercentage",
    "terminating",
    "terminatingReplicas",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
    "volumeAttributesClassName",
    "weight",
    "x-kubernetes-preserve-unknown-fields",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    shape: Shape,
    kind: &'static str,
    keeps_empty: bool,
}

type Message = HashMap<u64, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let mut messages: HashMap<&str, Message> = HashMap::new();
    let mut current = "";
    for line in include_str!("messages.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let Some(row) = line.strip_prefix(' ') else {
            current = line;
            messages.entry(current).or_default();
            continue;
        };
        let mut parts = row.split(' ');
        let (Some(number), Some(name), Some(kind)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (shape, kind) = match (kind.strip_prefix('*'), kind.strip_prefix('%')) {
            (Some(kind), _) => (Shape::List, kind),
            (_, Some(kind)) => (Shape::Map, kind),
            _ => (Shape::One, kind),
        };
        if let (Ok(number), Some(message)) = (number.parse(), messages.get_mut(current)) {
            message.insert(
                number,
                Field {
                    name,
                    shape,
                    kind,
                    keeps_empty: POINTERS.contains(&name),
                },
            );
        }
    }
    messages
});

/// Reads an object with its `apiVersion` and `kind`.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    let unknown = body.strip_prefix(b"k8s\0").ok_or(Error::NotKubernetes)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(unknown) {
        match field? {
            (1, Payload::Bytes(type_meta)) => {
                for field in Reader::new(type_meta) {
                    match field? {
                        (1, Payload::Bytes(text)) => api_version = wire::text(text)?,
                        (2, Payload::Bytes(text)) => kind = wire::text(text)?,
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let message = MESSAGES
        .get(name.as_str())
        .ok_or_else(|| Error::UnknownKind(format!("{api_version} {kind}")))?;
    let mut fields = Map::new();
    read(message, raw, &mut fields)?;
    fields.insert("apiVersion".into(), api_version.into());
    fields.insert("kind".into(), kind.into());
    Ok(Value::Object(fields))
}

/// `apps.v1.Deployment`; groups lose what follows their first dot, as in the names of the published types.
fn message_name(api_version: &str, kind: &str) -> String {
    if matches!(kind, "DeleteOptions") {
        return "meta.v1.DeleteOptions".into();
    }
    match api_version.split_once('/') {
        None => format!("core.{api_version}.{kind}"),
        Some(("rbac.authorization.k8s.io", version)) => format!("rbac.{version}.{kind}"),
        Some(("flowcontrol.apiserver.k8s.io", version)) => format!("flowcontrol.{version}.{kind}"),
        Some((group, version)) => format!(
            "{}.{version}.{kind}",
            group.split('.').next().unwrap_or(group)
        ),
    }
}

fn read(message: &Message, bytes: &[u8], into: &mut Map<String, Value>) -> Result<(), Error> {
    for field in Reader::new(bytes) {
        let (number, payload) = field?;
        let Some(field) = message.get(&number) else {
            continue;
        };
        if field.name == "." {
            let Payload::Bytes(bytes) = payload else {
                return Err(Error::Malformed);
            };
            let inner = MESSAGES.get(field.kind).ok_or(Error::Malformed)?;
            read(inner, bytes, into)?;
            continue;
        }
        match field.shape {
            Shape::One => {
                let value = value(field.kind, &payload)?;
                // A message that is there says something, even where it comes to a plain `false`.
                let is_message = MESSAGES.contains_key(field.kind);
                if field.keeps_empty || is_message || !is_empty(&value) {
                    into.insert(field.name.into(), value);
                }
            }
            Shape::List => {
                let slot = into
                    .entry(field.name)
                    .or_insert_with(|| Value::Array(Vec::new()));
                let Some(list) = slot.as_array_mut() else {
                    return Err(Error::Malformed);
                };
                match (field.kind, &payload) {
                    ("i" | "b", Payload::Bytes(packed)) => {
                        for number in wire::packed(packed)? {
                            list.push(value(field.kind, &Payload::Number(number))?);
                        }
                    }
                    _ => list.push(value(field.kind, &payload)?),
                }
            }
            Shape::Map => {
                let Payload::Bytes(entry) = payload else {
                    return Err(Error::Malformed);
                };
                let (mut key, mut held) = (String::new(), None);
                for part in Reader::new(entry) {
                    match part? {
                        (1, Payload::Bytes(text)) => key = wire::text(text)?,
                        (2, payload) => held = Some(value(field.kind, &payload)?),
                        _ => {}
                    }
                }
                let held = match held {
                    Some(held) => held,
                    None => value(field.kind, &Payload::Bytes(&[]))?,
                };
                let slot = into
                    .entry(field.name)
                    .or_insert_with(|| Value::Object(Map::new()));
                slot.as_object_mut()
                    .ok_or(Error::Malformed)?
                    .insert(key, held);
            }
        }
    }
    Ok(())
}

/// What counts as absent where Kubernetes makes no difference. Empty messages say that something is there.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn value(kind: &str, payload: &Payload<'_>) -> Result<Value, Error> {
    Ok(match (kind, payload) {
        ("s", Payload::Bytes(bytes)) => wire::text(bytes)?.into(),
        ("b", Payload::Number(number)) => (*number != 0).into(),
        ("i", Payload::Number(number)) => (*number as i64).into(),
        ("d", Payload::Fixed(bits)) => special::double(f64::from_bits(*bits)),
        ("y", Payload::Bytes(bytes)) => special::base64(bytes),
        ("quantity", Payload::Bytes(bytes)) => special::quantity(bytes)?,
        ("intorstring", Payload::Bytes(bytes)) => special::int_or_string(bytes)?,
        ("time", Payload::Bytes(bytes)) => special::time(bytes, false)?,
        ("microtime", Payload::Bytes(bytes)) => special::time(bytes, true)?,
        ("raw", Payload::Bytes(bytes)) => special::raw(bytes)?,
        ("texts", Payload::Bytes(bytes)) => special::texts(bytes)?,
        ("duration", Payload::Bytes(bytes)) => special::duration(bytes)?,
        (message, Payload::Bytes(bytes)) => {
            let fields_of = MESSAGES.get(message).ok_or(Error::Malformed)?;
            let mut fields = Map::new();
            read(fields_of, bytes, &mut fields)?;
            special::either(message, fields)
        }
        _ => return Err(Error::Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 & 0x7f | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
        [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
    }

    fn flag(number: usize, is_set: bool) -> Vec<u8> {
        [varint(number << 3), vec![is_set.into()]].concat()
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &type_meta), field(2, raw)].concat()
    }

    #[test]
    fn a_config_map_reads_like_its_json() {
        let metadata = [field(1, b"cm"), field(3, b""), field(8, b"")].concat();
        let entry = [field(1, b"key"), field(2, b"value")].concat();
        let body = envelope(
            "v1",
            "ConfigMap",
            &[field(1, &metadata), field(2, &entry)].concat(),
        );
        assert_eq!(
            decode(&body).unwrap(),
            serde_json::json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"key": "value"}})
        );
    }

    #[test]
    fn embedded_messages_stand_where_they_are_embedded() {
        let volume = [field(1, b"tmp"), field(2, &field(2, b""))].concat();
        let body = envelope("v1", "Pod", &field(2, &field(1, &volume)));
        assert_eq!(
            decode(&body).unwrap()["spec"]["volumes"][0],
            serde_json::json!({"name": "tmp", "emptyDir": {}})
        );
    }

    #[test]
    fn broken_bytes_are_refused_wherever_they_break() {
        let raw = field(1, &field(1, b"cm"));
        let whole = envelope("v1", "ConfigMap", &raw);
        // From the first byte of the last field on, whatever is missing is missed.
        for end in whole.len() - raw.len() - 1..whole.len() {
            assert!(
                decode(&whole[..end]).is_err(),
                "{end} bytes of {}",
                whole.len()
            );
        }
        assert_eq!(decode(b"{}"), Err(Error::NotKubernetes));
    }

    #[test]
    fn every_type_in_the_table_is_in_the_table() {
        let special = [
            "s",
            "b",
            "i",
            "d",
            "y",
            "quantity",
            "intorstring",
            "time",
            "microtime",
            "raw",
            "texts",
            "duration",
        ];
        for (name, message) in MESSAGES.iter() {
            for field in message.values() {
                let known = special.contains(&field.kind) || MESSAGES.contains_key(field.kind);
                assert!(known, "{name}.{}: {}", field.name, field.kind);
            }
        }
    }

    #[test]
    fn a_definition_keeps_what_is_a_schema_or_something_simpler() {
        let text = field(5, b"string");
        let lowest = [varint(11 << 3 | 1), 0_f64.to_le_bytes().to_vec()].concat();
        let replicas = [field(5, b"integer"), lowest, field(8, &field(1, b"1"))].concat();
        let property =
            |name: &[u8], schema: &[u8]| field(29, &[field(1, name), field(2, schema)].concat());
        let object = || field(5, b"object");
        let closed = field(30, &flag(1, false));
        let spec = [object(), closed, property(b"replicas", &replicas)].concat();
        let list = [field(5, b"array"), field(24, &field(1, &text))].concat();
        let open = [
            object(),
            field(30, &[flag(1, true), field(2, &text)].concat()),
        ]
        .concat();
        let schema = [
            object(),
            property(b"spec", &spec),
            property(b"list", &list),
            property(b"open", &open),
            flag(38, false),
        ]
        .concat();
        let schema = field(4, &field(1, &schema));
        let version = [field(1, b"v1"), flag(2, true), flag(3, false), schema].concat();
        let body = envelope(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &field(2, &field(7, &version)),
        );
        assert_eq!(
            decode(&body).unwrap()["spec"]["versions"][0],
            serde_json::json!({"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": false,
                "properties": {
                    "spec": {
                        "type": "object",
                        "additionalProperties": false,
                        "properties": {"replicas": {"type": "integer", "minimum": 0, "default": 1}},
                    },
                    "list": {"type": "array", "items": {"type": "string"}},
                    "open": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            }}})
        );
    }

    #[test]
    fn every_stored_builtin_kind_can_be_read() {
        for builtin in crate::registry::builtin::BUILTINS {
            let version = objects::GroupVersion::new(builtin.group, builtin.version).to_string();
            let known = MESSAGES.contains_key(message_name(&version, builtin.kind).as_str());
            assert!(known, "{}", builtin.kind);
        }
    }
}
