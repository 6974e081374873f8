//! The SQL of JSON values whose names users choose: a parameter of a run, a metric. The databases differ in their functions for
//! JSON; what stands here makes of a value a number and a text, of which at least one is NULL, that both compare alike.

use super::db::Dialect;
use super::{Error, Result};

/// The values of a mapping in a JSON document.
pub struct Values {
    /// What the API key begins with; the name follows.
    pub prefix: &'static str,
    /// The column with the document.
    pub document: &'static str,
    /// The field of the document that holds the mapping; empty where it is the document itself.
    pub field: &'static str,
    /// `FROM … WHERE …` and `ORDER BY …` where the documents stand in other rows; the first one with the value is the one.
    pub rows: Option<(&'static str, &'static str)>,
}

/// One value in SQL.
#[derive(Debug, PartialEq, Eq)]
pub struct Value {
    /// A double: of a number itself, of `true` and `false` one and zero; NULL of everything else.
    pub number: String,
    /// Of a text itself, of a list or a mapping its JSON; NULL of everything else. Compared by its bytes.
    pub text: String,
}

impl Values {
    /// The SQL of a key; none where it is not one of these. `what` asked for it.
    pub fn find(&self, dialect: Dialect, key: &str, what: &str) -> Result<Option<Value>> {
        let Some(name) = key.strip_prefix(self.prefix) else {
            return Ok(None);
        };
        if name.is_empty() || name.contains(['"', '\\', '\0']) {
            return Err(Error::List(format!(
                "{what}: {key:?} names nothing that can be looked up"
            )));
        }
        let (found, is_there) = match dialect {
            Dialect::Sqlite => self.in_sqlite(name),
            Dialect::Postgresql => self.in_postgresql(name),
        };
        let found = match self.rows {
            None => found,
            Some((rows, order)) => {
                format!("(SELECT {found} {rows} AND {is_there} {order} LIMIT 1)")
            }
        };
        let of_found = |sql: &str| format!("(SELECT {sql} FROM (SELECT {found} AS v) AS found)");
        Ok(Some(match dialect {
            Dialect::Sqlite => Value {
                number: of_found("CASE WHEN typeof(v) <> 'text' THEN CAST(v AS REAL) END"),
                text: of_found("CASE WHEN typeof(v) = 'text' THEN v END"),
            },
            Dialect::Postgresql => Value {
                number: of_found(
                    "CASE json_typeof(v) WHEN 'number' THEN CAST(v #>> '{}' AS DOUBLE PRECISION) WHEN 'boolean' THEN CASE v #>> '{}' WHEN 'true' THEN 1.0 ELSE 0.0 END END",
                ),
                text: of_found(
                    "CASE WHEN json_typeof(v) IN ('string', 'array', 'object') THEN (v #>> '{}') COLLATE \"C\" END",
                ),
            },
        }))
    }

    /// The value, and that it is there and not null.
    fn in_sqlite(&self, name: &str) -> (String, String) {
        let field = match self.field {
            "" => String::new(),
            field => format!(".{field}"),
        };
        let name = name.replace('\'', "''");
        let found = format!("json_extract({}, '${field}.\"{name}\"')", self.document);
        let is_there = format!("{found} IS NOT NULL");
        (found, is_there)
    }

    /// The same. A question mark would be taken for the place of a value. The server reads no JSON with a NUL in it, so that
    /// becomes another control character; backslashes are written otherwise first, for not every `\\u0000` is one.
    fn in_postgresql(&self, name: &str) -> (String, String) {
        let field = match self.field {
            "" => String::new(),
            field => format!(" -> '{field}'"),
        };
        let name = name.replace('\'', "''").replace('?', r"\x3f");
        let found = format!(
            r"(CAST(replace(replace({}, '\\', '\u005c'), '\u0000', '\u001a') AS JSON){field} -> E'{name}')",
            self.document
        );
        let is_there = format!("json_typeof({found}) <> 'null'");
        (found, is_there)
    }
}
