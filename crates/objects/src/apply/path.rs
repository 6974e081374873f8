//! Paths to fields as `managedFields` knows them: list items are found by key or by value, never by position.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathElement {
    /// A field of a map.
    Field(String),
    /// An item of a list map, by its keys.
    Key(Map<String, Value>),
    /// An item of a set, by its value.
    Value(Value),
    /// An item of a list, by its position; only read, never made.
    Index(i64),
}

/// A whole path, from the root of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl PathElement {
    /// A field of a map.
    pub fn field(name: impl Into<String>) -> Self {
        Self::Field(name.into())
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_maps(a, b),
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

fn compare_maps(a: &Map<String, Value>, b: &Map<String, Value>) -> Ordering {
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((name_a, value_a)), Some((name_b, value_b))) => {
                let order = name_a.cmp(name_b).then_with(|| compare(value_a, value_b));
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}

/// A total order on JSON values; equal exactly where `==` says so, except that all NaN-like oddities cannot occur in JSON.
fn compare(a: &Value, b: &Value) -> Ordering {
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => {
                let by_size = x
                    .as_f64()
                    .unwrap_or_default()
                    .total_cmp(&y.as_f64().unwrap_or_default());
                by_size.then_with(|| x.to_string().cmp(&y.to_string()))
            }
        },
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => {
            let by_items = x
                .iter()
                .zip(y)
                .map(|(x, y)| compare(x, y))
                .find(|order| *order != Ordering::Equal);
            by_items.unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (Value::Object(x), Value::Object(y)) => compare_maps(x, y),
        _ => rank(a).cmp(&rank(b)),
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (index, (name, value)) in keys.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{name}={value}")?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| write!(f, "{element}"))
    }
}

impl Path {
    /// A path of field names: `["spec", "replicas"]`.
    pub fn of_fields<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(PathElement::field).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_print_as_conflicts_show_them() {
        let Value::Object(key) = json!({"name": "web", "port": 80}) else {
            unreachable!()
        };
        let path = Path(vec![
            PathElement::field("spec"),
            PathElement::Key(key),
            PathElement::Value(json!("a")),
            PathElement::Index(3),
        ]);
        assert_eq!(path.to_string(), r#".spec[name="web",port=80][="a"][3]"#);
    }

    #[test]
    fn elements_are_ordered_by_sort_then_content() {
        let mut elements = vec![
            PathElement::Index(0),
            PathElement::Value(json!(2)),
            PathElement::field("b"),
            PathElement::field("a"),
            PathElement::Value(json!(1)),
        ];
        elements.sort();
        assert_eq!(
            elements,
            vec![
                PathElement::field("a"),
                PathElement::field("b"),
                PathElement::Value(json!(1)),
                PathElement::Value(json!(2)),
                PathElement::Index(0)
            ]
        );
    }
}
