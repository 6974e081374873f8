//! The schema of `metadata`, the one part of a custom resource that its own schema does not describe.
//! Mirrors `ObjectMeta` of apimachinery 1.33, with its list types.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::node::{ListType, MapType, PatchStrategy, Type};
use super::{Additional, Arena, Node, NodeId};

/// Adds the schema of `ObjectMeta` to an arena.
pub(super) fn object_meta(arena: &mut Arena) -> NodeId {
    let text = arena.push(Node {
        kind: Type::String,
        ..Node::default()
    });
    let time = arena.push(Node {
        kind: Type::String,
        format: Some("date-time".into()),
        nullable: true,
        ..Node::default()
    });
    let number = arena.push(Node {
        kind: Type::Integer,
        format: Some("int64".into()),
        ..Node::default()
    });
    let flag = arena.push(Node {
        kind: Type::Boolean,
        ..Node::default()
    });
    let texts = arena.push(Node {
        kind: Type::Object,
        additional: Additional::Schema(text),
        ..Node::default()
    });
    let finalizers = arena.push(Node {
        kind: Type::Array,
        items: Some(text),
        has_list_type: true,
        list_type: ListType::Set,
        patch_strategy: PatchStrategy {
            merge: true,
            ..PatchStrategy::default()
        },
        ..Node::default()
    });
    let owners = owner_references(arena, text, flag);
    let managers = managed_fields(arena, text, time);
    arena.push(object([
        ("annotations", texts),
        ("creationTimestamp", time),
        ("deletionGracePeriodSeconds", number),
        ("deletionTimestamp", time),
        ("finalizers", finalizers),
        ("generateName", text),
        ("generation", number),
        ("labels", texts),
        ("managedFields", managers),
        ("name", text),
        ("namespace", text),
        ("ownerReferences", owners),
        ("resourceVersion", text),
        ("selfLink", text),
        ("uid", text),
    ]))
}

fn owner_references(arena: &mut Arena, text: NodeId, flag: NodeId) -> NodeId {
    let fields = [
        ("apiVersion", text),
        ("blockOwnerDeletion", flag),
        ("controller", flag),
        ("kind", text),
        ("name", text),
        ("uid", text),
    ];
    let item = Node {
        has_map_type: true,
        map_type: MapType::Atomic,
        required: ["apiVersion", "kind", "name", "uid"].map(Box::from).into(),
        ..object(fields)
    };
    let item = arena.push(item);
    arena.push(Node {
        kind: Type::Array,
        items: Some(item),
        has_list_type: true,
        list_type: ListType::Map,
        list_map_keys: [Box::from("uid")].into(),
        patch_strategy: PatchStrategy {
            merge: true,
            ..PatchStrategy::default()
        },
        patch_merge_key: Some("uid".into()),
        ..Node::default()
    })
}

fn managed_fields(arena: &mut Arena, text: NodeId, time: NodeId) -> NodeId {
    let fields = arena.push(Node {
        kind: Type::Object,
        preserve_unknown: true,
        ..Node::default()
    });
    let item = arena.push(object([
        ("apiVersion", text),
        ("fieldsType", text),
        ("fieldsV1", fields),
        ("manager", text),
        ("operation", text),
        ("subresource", text),
        ("time", time),
    ]));
    arena.push(Node {
        kind: Type::Array,
        items: Some(item),
        has_list_type: true,
        ..Node::default()
    })
}

fn object<const N: usize>(fields: [(&str, NodeId); N]) -> Node {
    let properties: BTreeMap<Box<str>, NodeId> = fields
        .into_iter()
        .map(|(name, id)| (name.into(), id))
        .collect();
    Node {
        kind: Type::Object,
        properties: Arc::new(properties),
        ..Node::default()
    }
}
