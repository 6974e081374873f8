//! `Table` and `PartialObjectMetadata`: what kubectl prints, computed here so that it needs to know no kind.

mod cells;
mod custom;
pub mod duration;

use serde_json::{Map, Value, json};

pub use custom::CustomColumn;

use crate::registry::Resource;

/// Where a resource's columns come from.
#[derive(Clone, Debug)]
pub enum Columns {
    /// Name and age.
    Default,
    /// A built-in kind's own.
    Builtin(&'static Printer),
    /// A CRD's.
    Custom(Vec<CustomColumn>),
}

/// A column of a built-in kind; a priority above 0 shows in wide output only.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    priority: i32,
}

/// The columns of a built-in kind and how to fill them.
#[derive(Debug)]
pub struct Printer {
    columns: &'static [Column],
    row: fn(&Value) -> Vec<Value>,
}

pub use cells::of_builtin;

/// What goes along with each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Included {
    /// Nothing.
    Nothing,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The object.
    Object,
}

/// How a table was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `v1` or `v1beta1`.
    pub version: &'static str,
    /// What goes along with each row.
    pub included: Included,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "v1",
            included: Included::default(),
        }
    }
}

/// A table being made.
#[derive(Debug)]
pub struct Table(Value);

impl Table {
    /// Puts the list's revision on it.
    pub fn with_revision(mut self, revision: &str) -> Self {
        self.0["metadata"]["resourceVersion"] = revision.into();
        self
    }

    /// Later events of a watch leave the columns out.
    pub fn with_columns(mut self, has_columns: bool) -> Self {
        if !has_columns {
            self.0["columnDefinitions"] = Value::Null;
        }
        self
    }

    /// The finished table.
    pub fn into_value(self) -> Value {
        self.0
    }
}

/// A table of objects in the resource's version.
pub fn render(resource: &Resource, objects: &[Value], options: Options) -> Table {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells = match &resource.columns {
                Columns::Default => vec![name(object), age(object)],
                Columns::Builtin(printer) => (printer.row)(object),
                Columns::Custom(columns) => std::iter::once(name(object))
                    .chain(columns.iter().map(|column| column.cell(object)))
                    .collect(),
            };
            let mut row = json!({"cells": cells});
            match options.included {
                Included::Nothing => {}
                Included::Metadata => row["object"] = partial(object, options.version),
                Included::Object => row["object"] = object.clone(),
            }
            row
        })
        .collect();
    Table(json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{}", options.version),
        "metadata": {"resourceVersion": ""},
        "columnDefinitions": definitions(&resource.columns),
        "rows": rows,
    }))
}

const NAME_WORDS: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

fn definitions(columns: &Columns) -> Vec<Value> {
    let definition = |name: &str, kind: &str, format: &str, priority: i64, words: &str| json!({"name": name, "type": kind, "format": format, "description": words, "priority": priority});
    match columns {
        Columns::Default => vec![
            definition("Name", "string", "name", 0, NAME_WORDS),
            definition("Age", "date", "", 0, "Time since the object was created."),
        ],
        Columns::Builtin(printer) => printer
            .columns
            .iter()
            .map(|column| {
                definition(
                    column.name,
                    column.kind,
                    column.format,
                    column.priority.into(),
                    column.name,
                )
            })
            .collect(),
        Columns::Custom(columns) => {
            std::iter::once(definition("Name", "string", "name", 0, NAME_WORDS))
                .chain(columns.iter().map(|column| {
                    definition(
                        &column.name,
                        &column.kind,
                        &column.format,
                        column.priority,
                        &column.description,
                    )
                }))
                .collect()
        }
    }
}

fn name(object: &Value) -> Value {
    objects::meta::name(object).into()
}

fn age(object: &Value) -> Value {
    duration::since(objects::meta::creation_timestamp(object)).into()
}

/// The metadata of an object, as an object of its own.
pub fn partial(object: &Value, version: &str) -> Value {
    let mut fields = Map::new();
    fields.insert("kind".into(), "PartialObjectMetadata".into());
    fields.insert("apiVersion".into(), format!("meta.k8s.io/{version}").into());
    fields.insert("metadata".into(), object["metadata"].clone());
    Value::Object(fields)
}
