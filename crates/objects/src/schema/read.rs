//! Reading schemas from OpenAPI JSON: CRD schemas, and definitions with `$ref`s as schemars writes them.
//! Structural rules are checked only where no `$ref` is possible; see `structural`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use super::cel::Rule;
use super::node::{Limits, ListType, MapType, PatchStrategy, Type};
use super::{Additional, Arena, Node, NodeId, Schema, metadata, structural};
use crate::field::{self, FieldError};

/// Schemas that refer to each other by name and share one arena.
#[derive(Clone)]
pub struct Definitions {
    arena: Arc<Arena>,
    names: Arc<BTreeMap<String, NodeId>>,
}

impl Definitions {
    /// Reads a map from names to schemas; `$ref`s end in these names.
    pub fn from_openapi(definitions: &Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut reader = Reader::new(Some(definitions));
        for name in definitions.keys() {
            reader.definition(name);
        }
        let names = reader
            .named
            .iter()
            .map(|(name, id)| ((*name).to_owned(), *id))
            .collect();
        let arena = reader.finish()?;
        Ok(Self {
            arena: Arc::new(arena),
            names: Arc::new(names),
        })
    }

    /// The schema of this name.
    pub fn schema(&self, name: &str) -> Option<Schema> {
        let id = *self.names.get(name)?;
        Some(Schema {
            arena: Arc::clone(&self.arena),
            id,
        })
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}

impl Schema {
    /// Reads a schema. With definitions beside it (`$defs`, `definitions` or `components.schemas`) `$ref`s are followed
    /// and anything schemars writes is accepted; without, the schema must be structural.
    pub fn from_openapi(document: &Value) -> Result<Schema, Vec<FieldError>> {
        let definitions = ["/$defs", "/definitions", "/components/schemas"]
            .iter()
            .find_map(|pointer| document.pointer(pointer).and_then(Value::as_object));
        if definitions.is_none() {
            let errors = structural::check(document, "");
            if !errors.is_empty() {
                return Err(errors);
            }
        }
        let mut reader = Reader::new(definitions);
        let id = reader.schema(document, "");
        Ok(Schema {
            arena: Arc::new(reader.finish()?),
            id,
        })
    }

    /// Reads the schema of a custom resource: structural, and with `apiVersion`, `kind` and whole `metadata` at its root.
    pub fn custom_resource(document: &Value) -> Result<Schema, Vec<FieldError>> {
        let errors = structural::check(document, "");
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut reader = Reader::new(None);
        let id = reader.schema(document, "");
        reader.complete_resource(id);
        Ok(Schema {
            arena: Arc::new(reader.finish()?),
            id,
        })
    }
}

/// Reads a schema that somebody else has checked or is checking.
pub(super) fn read_unchecked(document: &Map<String, Value>) -> Result<Schema, Vec<FieldError>> {
    let document = Value::Object(document.clone());
    let mut reader = Reader::new(None);
    let id = reader.schema(&document, "");
    Ok(Schema {
        arena: Arc::new(reader.finish()?),
        id,
    })
}

struct Reader<'a> {
    arena: Arena,
    definitions: Option<&'a Map<String, Value>>,
    named: HashMap<&'a str, NodeId>,
    /// Nodes that say only some things themselves and take the rest from another node.
    references: Vec<(NodeId, NodeId)>,
    object_meta: Option<NodeId>,
    errors: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    fn new(definitions: Option<&'a Map<String, Value>>) -> Self {
        let mut arena = Arena::default();
        arena.checks_integer_formats = definitions.is_some();
        Self {
            arena,
            definitions,
            named: HashMap::new(),
            references: Vec::new(),
            object_meta: None,
            errors: Vec::new(),
        }
    }

    fn definition(&mut self, name: &'a str) -> Option<NodeId> {
        if let Some(id) = self.named.get(name) {
            return Some(*id);
        }
        let document = self.definitions?.get(name)?;
        let id = self.arena.push(Node::default());
        self.named.insert(name, id);
        let mut node = self.node(document, name, id);
        node.definition = Some(name.into());
        *self.arena.node_mut(id) = node;
        Some(id)
    }

    /// Reads a schema into a node of its own, unless it is nothing but a reference.
    fn schema(&mut self, document: &'a Value, path: &str) -> NodeId {
        if let Some(Value::String(reference)) = document.get("$ref")
            && document.as_object().is_some_and(|map| map.len() == 1)
        {
            return self.follow(reference, path);
        }
        let id = self.arena.push(Node::default());
        let node = self.node(document, path, id);
        *self.arena.node_mut(id) = node;
        id
    }

    fn follow(&mut self, reference: &'a str, path: &str) -> NodeId {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        match self.definition(name) {
            Some(id) => id,
            None => {
                self.errors
                    .push(FieldError::not_found(field::join(path, "$ref"), reference));
                self.arena.push(Node {
                    preserve_unknown: true,
                    ..Node::default()
                })
            }
        }
    }

    fn node(&mut self, document: &'a Value, path: &str, id: NodeId) -> Node {
        let mut node = Node::default();
        let Some(map) = document.as_object() else {
            // `true` accepts everything, as schemars writes for a bare JSON value.
            node.preserve_unknown = document.as_bool() == Some(true);
            return node;
        };
        self.read_words(map, &mut node, path);
        self.read_type(map, &mut node);
        self.read_extensions(map, &mut node, path);
        self.read_children(map, &mut node, path);
        self.read_limits(map, &mut node, path);
        if let Some(Value::String(reference)) = map.get("$ref") {
            let target = self.follow(reference, path);
            self.references.push((id, target));
        } else if let Some(target) = self.union_target(map, &mut node, path) {
            self.references.push((id, target));
        }
        if node.embedded_resource {
            self.complete_node(&mut node);
        }
        node
    }

    /// schemars wraps a reference with siblings in `allOf` with one entry, an optional one in `anyOf` with `null`, and
    /// k8s-openapi writes unions (object or list, object or bool) as `oneOf`. Structural schemas never look like these.
    fn union_target(
        &mut self,
        map: &'a Map<String, Value>,
        node: &mut Node,
        path: &str,
    ) -> Option<NodeId> {
        self.definitions?;
        if map.contains_key("properties") || map.contains_key("type") {
            return None;
        }
        let branches = ["allOf", "anyOf", "oneOf"]
            .iter()
            .find_map(|word| map.get(*word)?.as_array())?;
        let mut target = None;
        for branch in branches {
            if let Some(Value::String(reference)) = branch.get("$ref") {
                target = target.or(Some(self.follow(reference, path)));
            } else if branch.get("type").and_then(Value::as_str) == Some("null") {
                node.nullable = true;
            } else if let Some(items) = branch.get("items") {
                node.items = Some(self.schema(items, &field::index(path, 0)));
            }
        }
        node.limits = None;
        if branches
            .iter()
            .filter(|branch| branch.get("type").and_then(Value::as_str) != Some("null"))
            .count()
            > 1
        {
            // Any of several types: the object's properties serve objects, the items serve lists.
            node.int_or_string = false;
            node.definition = None;
            node.title.get_or_insert_with(|| UNION.into());
        }
        target
    }

    fn read_words(&mut self, map: &'a Map<String, Value>, node: &mut Node, _path: &str) {
        let text = |word: &str| map.get(word).and_then(Value::as_str).map(Box::from);
        node.title = text("title");
        node.description = text("description");
        node.format = text("format");
        node.default = map.get("default").cloned();
        node.example = map.get("example").cloned();
        node.external_docs = map.get("externalDocs").cloned();
    }

    fn read_type(&mut self, map: &'a Map<String, Value>, node: &mut Node) {
        node.nullable = map
            .get("nullable")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        match map.get("type") {
            Some(Value::String(name)) => node.kind = Type::from_name(name).unwrap_or_default(),
            Some(Value::Array(names)) => {
                for name in names.iter().filter_map(Value::as_str) {
                    match Type::from_name(name) {
                        Some(kind) if node.kind == Type::Any => node.kind = kind,
                        Some(_) => {}
                        None => node.nullable |= name == "null",
                    }
                }
            }
            _ => {}
        }
    }

    fn read_extensions(&mut self, map: &'a Map<String, Value>, node: &mut Node, path: &str) {
        let flag = |word: &str| map.get(word).and_then(Value::as_bool).unwrap_or_default();
        let text = |word: &str| map.get(word).and_then(Value::as_str);
        node.preserve_unknown = flag("x-kubernetes-preserve-unknown-fields");
        node.embedded_resource = flag("x-kubernetes-embedded-resource");
        node.int_or_string = flag("x-kubernetes-int-or-string");
        if let Some(list_type) = text("x-kubernetes-list-type") {
            node.has_list_type = true;
            node.list_type = match list_type {
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => ListType::Atomic,
            };
        }
        node.list_map_keys = texts(map.get("x-kubernetes-list-map-keys"));
        node.has_map_type = map.contains_key("x-kubernetes-map-type");
        if text("x-kubernetes-map-type") == Some("atomic") {
            node.map_type = MapType::Atomic;
        }
        if let Some(strategy) = text("x-kubernetes-patch-strategy") {
            let has = |word| strategy.split(',').any(|part| part.trim() == word);
            node.patch_strategy = PatchStrategy {
                merge: has("merge"),
                retain_keys: has("retainKeys"),
                replace: has("replace"),
            };
        }
        node.patch_merge_key = text("x-kubernetes-patch-merge-key").map(Box::from);
        if let Some(Value::Array(rules)) = map.get("x-kubernetes-validations") {
            let at = field::join(path, "x-kubernetes-validations");
            let mut compiled = Vec::with_capacity(rules.len());
            for (index, rule) in rules.iter().enumerate() {
                match Rule::compile(rule) {
                    Ok(rule) => compiled.push(rule),
                    Err(error) => self.errors.push(error.under(&field::index(&at, index))),
                }
            }
            node.rules = compiled.into();
        }
    }

    fn read_children(&mut self, map: &'a Map<String, Value>, node: &mut Node, path: &str) {
        if let Some(Value::Object(properties)) = map.get("properties") {
            let base = field::join(path, "properties");
            let read = properties
                .iter()
                .map(|(name, document)| {
                    (
                        Box::from(name.as_str()),
                        self.schema(document, &field::key(&base, name)),
                    )
                })
                .collect();
            node.properties = Arc::new(read);
        }
        node.required = texts(map.get("required"));
        node.additional = match map.get("additionalProperties") {
            None => Additional::Unsaid,
            Some(Value::Bool(false)) => Additional::Denied,
            Some(Value::Bool(true)) => Additional::Any,
            Some(document) => Additional::Schema(
                self.schema(document, &field::join(path, "additionalProperties")),
            ),
        };
        if let Some(items) = map.get("items") {
            node.items = Some(self.schema(items, &field::join(path, "items")));
        }
    }

    fn read_limits(&mut self, map: &'a Map<String, Value>, node: &mut Node, path: &str) {
        const WORDS: [&str; 20] = [
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "uniqueItems",
            "pattern",
            "enum",
            "const",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
            "patternProperties",
        ];
        if !WORDS.iter().any(|word| map.contains_key(*word)) {
            return;
        }
        let number = |word: &str| map.get(word).and_then(Value::as_number).cloned();
        let count = |word: &str| map.get(word).and_then(Value::as_u64);
        let flag = |word: &str| map.get(word).and_then(Value::as_bool).unwrap_or_default();
        let mut limits = Limits {
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            unique_items: flag("uniqueItems"),
            ..Limits::default()
        };
        // JSON schema 2020-12 has exclusive limits as numbers.
        if let Some(exclusive) = number("exclusiveMinimum") {
            (limits.minimum, limits.exclusive_minimum) = (Some(exclusive), true);
        }
        if let Some(exclusive) = number("exclusiveMaximum") {
            (limits.maximum, limits.exclusive_maximum) = (Some(exclusive), true);
        }
        if let Some(Value::String(pattern)) = map.get("pattern") {
            match Regex::new(pattern) {
                Ok(regex) => limits.pattern = Some(regex),
                Err(_) => {
                    let detail = "must be a valid regular expression, but isn't".to_owned();
                    self.errors.push(FieldError::invalid(
                        field::join(path, "pattern"),
                        pattern.as_str(),
                        detail,
                    ));
                }
            }
        }
        if let Some(Value::Array(values)) = map.get("enum") {
            limits.enumeration = values.clone();
        } else if let Some(value) = map.get("const") {
            limits.enumeration = vec![value.clone()];
        }
        limits.all_of = self.branches(map.get("allOf"), path, "allOf");
        limits.any_of = self.branches(map.get("anyOf"), path, "anyOf");
        limits.one_of = self.branches(map.get("oneOf"), path, "oneOf");
        limits.not = map
            .get("not")
            .map(|document| self.schema(document, &field::join(path, "not")));
        node.limits = Some(Arc::new(limits));
    }

    fn branches(&mut self, documents: Option<&'a Value>, path: &str, word: &str) -> Vec<NodeId> {
        let at = field::join(path, word);
        let documents = documents
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate();
        documents
            .map(|(index, document)| self.schema(document, &field::index(&at, index)))
            .collect()
    }

    /// Gives the root of a custom resource what every object has.
    fn complete_resource(&mut self, id: NodeId) {
        let mut node = self.arena.node(id).clone();
        self.complete_node(&mut node);
        *self.arena.node_mut(id) = node;
    }

    fn complete_node(&mut self, node: &mut Node) {
        let meta = match self.object_meta {
            Some(id) => id,
            None => {
                let id = metadata::object_meta(&mut self.arena);
                self.object_meta = Some(id);
                id
            }
        };
        let mut properties = (*node.properties).clone();
        for name in ["apiVersion", "kind"] {
            if !properties.contains_key(name) {
                let id = self.arena.push(Node {
                    kind: Type::String,
                    ..Node::default()
                });
                properties.insert(name.into(), id);
            }
        }
        match properties.get("metadata").copied() {
            None => {
                properties.insert("metadata".into(), meta);
            }
            // What the schema says about metadata (limits on the name) is kept beside what metadata always is.
            Some(own) => {
                let own_node = self.arena.node(own).clone();
                let meta_node = self.arena.node(meta).clone();
                let mut merged = (*meta_node.properties).clone();
                for (name, id) in own_node.properties.iter() {
                    if matches!(
                        &**name,
                        "name" | "generateName" | "labels" | "annotations" | "finalizers"
                    ) {
                        let limits = self.arena.node(*id).limits.clone();
                        let mut field = self.arena.node(merged[name]).clone();
                        field.limits = limits;
                        let id = self.arena.push(field);
                        merged.insert(name.clone(), id);
                    }
                }
                let id = self.arena.push(Node {
                    properties: Arc::new(merged),
                    limits: own_node.limits,
                    required: own_node.required,
                    rules: own_node.rules,
                    ..meta_node
                });
                properties.insert("metadata".into(), id);
            }
        }
        node.properties = Arc::new(properties);
    }

    /// Resolves references and marks which parts hold defaults and rules.
    fn finish(mut self) -> Result<Arena, Vec<FieldError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let targets: HashMap<NodeId, NodeId> = self.references.iter().copied().collect();
        for (id, first) in self.references {
            // A chain of references ends at the first node that is not one; a cycle of nothing but references is cut.
            let mut target = first;
            let mut steps = 0;
            while let Some(next) = targets.get(&target).filter(|_| steps < targets.len()) {
                target = *next;
                steps += 1;
            }
            let base = self.arena.node(target).clone();
            let own = self.arena.node_mut(id);
            overlay(own, base);
        }
        mark(&mut self.arena);
        Ok(self.arena)
    }
}

/// Title of nodes that accept more than one JSON type.
const UNION: &str = "union";

/// Fills what `own` leaves unsaid from the node it refers to.
fn overlay(own: &mut Node, base: Node) {
    let said = std::mem::take(own);
    let is_union = said.title.as_deref() == Some(UNION);
    *own = Node {
        title: said.title.filter(|_| !is_union).or(base.title),
        description: said.description.or(base.description),
        definition: said.definition.or(base.definition).filter(|_| !is_union),
        kind: if is_union { Type::Any } else { base.kind },
        nullable: said.nullable || base.nullable,
        default: said.default.or(base.default),
        items: said.items.or(base.items),
        list_type: if said.has_list_type {
            said.list_type
        } else {
            base.list_type
        },
        has_list_type: said.has_list_type || base.has_list_type,
        map_type: if said.has_map_type {
            said.map_type
        } else {
            base.map_type
        },
        has_map_type: said.has_map_type || base.has_map_type,
        patch_strategy: if said.patch_strategy == PatchStrategy::default() {
            base.patch_strategy
        } else {
            said.patch_strategy
        },
        patch_merge_key: said.patch_merge_key.or(base.patch_merge_key),
        rules: if said.rules.is_empty() {
            base.rules
        } else {
            said.rules
        },
        limits: said.limits.or(base.limits),
        preserve_unknown: said.preserve_unknown || base.preserve_unknown,
        ..base
    };
}

/// Marks every node above a default or a rule, by repeating until nothing changes: schemas may contain themselves.
fn mark(arena: &mut Arena) {
    loop {
        let mut has_changed = false;
        for id in arena.ids() {
            let node = arena.node(id);
            let below =
                |test: fn(&Node) -> bool| node.children().any(|child| test(arena.node(child)));
            let has_defaults = node.default.is_some() || below(|child| child.has_defaults);
            let has_rules = !node.rules.is_empty() || below(|child| child.has_rules);
            if (has_defaults, has_rules) != (node.has_defaults, node.has_rules) {
                let node = arena.node_mut(id);
                (node.has_defaults, node.has_rules) = (has_defaults, has_rules);
                has_changed = true;
            }
        }
        if !has_changed {
            return;
        }
    }
}

fn texts(value: Option<&Value>) -> Arc<[Box<str>]> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Box::from)
        .collect()
}
