//! Lists: paging by key set, sorting, filtering, as the KFP API words them (predicates all ANDed; tokens freeze sort and
//! filter). Every list is one statement over one table, so every kind shares this file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::db::{Db, Given, Row};
use super::{Error, Result};

/// A value that outlives what it was read from.
type Sql = Given<'static>;

/// Page size when none is asked for.
const DEFAULT_PAGE: usize = 20;
/// Largest page.
const MAX_PAGE: usize = 200;

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// As text.
    Text,
    /// As a time.
    Time,
}

/// What a kind can be sorted and filtered by.
pub struct Kind {
    /// Table name, also used to qualify columns.
    pub table: &'static str,
    /// API key, column, comparison.
    pub keys: &'static [(&'static str, &'static str, Compare)],
    /// True when `tags.<key>` filters apply.
    pub has_tags: bool,
}

/// What a client asked for, as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Opaque.
    pub page_token: String,
    /// 0 for the default.
    pub page_size: i64,
    /// `field [asc|desc]`.
    pub sort_by: String,
    /// JSON.
    pub filter: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Token {
    sort_by: String,
    filter: String,
    after: TokenKey,
    id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum TokenKey {
    Time(i64),
    Text(String),
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// All matches.
    pub total: i64,
    /// Empty on the last page.
    pub next_page_token: String,
}

/// A condition in SQL with its values.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    sql: Vec<String>,
    values: Vec<Sql>,
}

impl Condition {
    /// `column = value`.
    #[must_use]
    pub fn equals(mut self, column: &str, value: impl Into<Sql>) -> Self {
        self.sql.push(format!("{column} = ?"));
        self.values.push(value.into());
        self
    }

    /// One number of the rows that meet it.
    pub fn number(&self, db: &Db<'_>, select: &str) -> Result<i64> {
        db.number(&format!("{select} WHERE {}", self.text()), &self.values)
    }

    fn push(&mut self, sql: String, values: impl IntoIterator<Item = Sql>) {
        self.sql.push(sql);
        self.values.extend(values);
    }

    fn text(&self) -> String {
        if self.sql.is_empty() {
            "1 = 1".to_owned()
        } else {
            self.sql.join(" AND ")
        }
    }
}

/// Reads one page of `SELECT {columns} FROM {kind.table}`. `read` turns a row into an item; `count` may answer the total
/// from a counter when the condition is a simple one.
pub fn page<T>(
    db: &Db<'_>,
    kind: &Kind,
    columns: &str,
    scope: Condition,
    request: &Request,
    count: impl FnOnce(&Db<'_>, &[Predicate]) -> Result<Option<i64>>,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Page<T>> {
    let size = match request.page_size {
        0 => DEFAULT_PAGE,
        negative if negative < 0 => {
            return Err(Error::List("page_size may not be negative".to_owned()));
        }
        wanted => MAX_PAGE.min(usize::try_from(wanted).unwrap_or(MAX_PAGE)),
    };
    let token = read_token(request)?;
    let sort_by = token
        .as_ref()
        .map_or(&request.sort_by, |token| &token.sort_by);
    let filter = token
        .as_ref()
        .map_or(&request.filter, |token| &token.filter);
    let (column, compare, direction) = sort(kind, sort_by)?;
    let predicates = parse_filter(filter)?;
    let mut condition = scope;
    for predicate in &predicates {
        predicate.apply(kind, &mut condition)?;
    }
    let total = match count(db, &predicates)? {
        Some(total) => total,
        None => condition.number(db, &format!("SELECT COUNT(*) FROM {}", kind.table))?,
    };
    if let Some(token) = &token {
        let comparison = if direction == "ASC" { ">" } else { "<" };
        let after = match &token.after {
            TokenKey::Time(micros) => Sql::from(*micros),
            TokenKey::Text(text) => Sql::from(text.clone()),
        };
        condition.push(
            format!("({column}, {}.id) {comparison} (?, ?)", kind.table),
            [after, token.id.clone().into()],
        );
    }
    let sql = format!(
        "SELECT {columns}, {column} AS list_key, {table}.id AS list_id FROM {table} WHERE {} ORDER BY {column} {direction}, {table}.id {direction} LIMIT {}",
        condition.text(),
        size + 1,
        table = kind.table,
    );
    let mut rows = db.all(&sql, &condition.values, |row| {
        let place = row.width() - 2;
        let key = match compare {
            Compare::Text => TokenKey::Text(row.text(place)?),
            Compare::Time => TokenKey::Time(row.number(place)?),
        };
        Ok((read(row)?, (key, row.text(place + 1)?)))
    })?;
    let has_more = rows.len() > size;
    rows.truncate(size);
    let (items, mut keys): (Vec<T>, Vec<(TokenKey, String)>) = rows.into_iter().unzip();
    let last = keys.pop();
    let next = last.filter(|_| has_more).map(|(after, id)| Token {
        sort_by: sort_by.clone(),
        filter: filter.clone(),
        after,
        id,
    });
    let next_page_token = next
        .map(|token| URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default()))
        .unwrap_or_default();
    Ok(Page {
        items,
        total,
        next_page_token,
    })
}

fn read_token(request: &Request) -> Result<Option<Token>> {
    if request.page_token.is_empty() {
        return Ok(None);
    }
    let decoded = URL_SAFE_NO_PAD
        .decode(&request.page_token)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
    let token = decoded
        .ok_or_else(|| Error::List("page_token is not one that this server gave out".to_owned()))?;
    for (name, asked, frozen) in [
        ("sort_by", &request.sort_by, &token.sort_by),
        ("filter", &request.filter, &token.filter),
    ] {
        if !asked.is_empty() && asked != frozen {
            return Err(Error::List(format!(
                "{name} differs from the one that page_token was made with"
            )));
        }
    }
    Ok(Some(token))
}

fn sort(kind: &Kind, sort_by: &str) -> Result<(String, Compare, &'static str)> {
    let mut words = sort_by.split_whitespace();
    let key = words.next().unwrap_or("created_at");
    let direction = match words.next().map(str::to_ascii_lowercase).as_deref() {
        None | Some("asc") => "ASC",
        Some("desc") => "DESC",
        Some(other) => {
            return Err(Error::List(format!(
                "sort_by: {other:?} is neither asc nor desc"
            )));
        }
    };
    if words.next().is_some() {
        return Err(Error::List(format!(
            "sort_by: {sort_by:?} is not of the form \"field [asc|desc]\""
        )));
    }
    let (column, compare) = column(kind, key, "sort_by")?;
    Ok((column, compare, direction))
}

fn column(kind: &Kind, key: &str, what: &str) -> Result<(String, Compare)> {
    let known = kind
        .keys
        .iter()
        .find(|(name, _, _)| name.eq_ignore_ascii_case(key));
    known
        .map(|(_, column, compare)| (format!("{}.{column}", kind.table), *compare))
        .ok_or_else(|| {
            let names: Vec<&str> = kind.keys.iter().map(|(name, _, _)| *name).collect();
            Error::List(format!(
                "{what}: unknown field {key:?}; known: {}",
                names.join(", ")
            ))
        })
}

/// One comparison of a filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// API key.
    pub key: String,
    /// What is compared how.
    pub operation: Operation,
    /// With what.
    pub operand: Operand,
}

/// Comparisons, numbered as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 1
    Equals,
    /// 2
    NotEquals,
    /// 3
    GreaterThan,
    /// 5
    GreaterThanEquals,
    /// 6
    LessThan,
    /// 7
    LessThanEquals,
    /// 8
    In,
    /// 9
    IsSubstring,
}

/// What is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// One value.
    One(Scalar),
    /// Several, for IN.
    Many(Vec<Scalar>),
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// Microseconds.
    Time(i64),
}

impl Scalar {
    fn to_sql(&self, compare: Compare) -> Result<Sql> {
        match (self, compare) {
            (Self::Text(text), Compare::Text) => Ok(text.clone().into()),
            (Self::Number(number), Compare::Text) => Ok(number.to_string().into()),
            (Self::Time(micros), Compare::Time) => Ok((*micros).into()),
            (Self::Text(text), Compare::Time) => Ok(parse_time(text)?.into()),
            (Self::Number(_), Compare::Time) => Err(Error::List(
                "filter: a time is compared with a timestamp_value".to_owned(),
            )),
            (Self::Time(_), Compare::Text) => Err(Error::List(
                "filter: text is compared with a string_value".to_owned(),
            )),
        }
    }
}

impl Predicate {
    fn apply(&self, kind: &Kind, condition: &mut Condition) -> Result<()> {
        if let Some(tag) = self.key.strip_prefix("tags.").filter(|_| kind.has_tags) {
            return match (self.operation, &self.operand) {
                (Operation::Equals, Operand::One(Scalar::Text(value))) => {
                    let sql = format!(
                        "EXISTS (SELECT 1 FROM tag WHERE owner_id = {}.id AND tag_key = ? AND tag_value = ?)",
                        kind.table
                    );
                    condition.push(sql, [tag.to_owned().into(), value.clone().into()]);
                    Ok(())
                }
                _ => Err(Error::List(
                    "filter: tags can only be compared by EQUALS with a string_value".to_owned(),
                )),
            };
        }
        let (column, compare) = column(kind, &self.key, "filter")?;
        let operator = match self.operation {
            Operation::Equals => "=",
            Operation::NotEquals => "<>",
            Operation::GreaterThan => ">",
            Operation::GreaterThanEquals => ">=",
            Operation::LessThan => "<",
            Operation::LessThanEquals => "<=",
            Operation::In | Operation::IsSubstring => "",
        };
        match (self.operation, &self.operand) {
            (Operation::In, Operand::Many(values)) => {
                let values = values
                    .iter()
                    .map(|value| value.to_sql(compare))
                    .collect::<Result<Vec<_>>>()?;
                let marks = if values.is_empty() {
                    "NULL".to_owned()
                } else {
                    vec!["?"; values.len()].join(", ")
                };
                condition.push(format!("{column} IN ({marks})"), values);
            }
            (Operation::In, Operand::One(_)) => {
                return Err(Error::List(
                    "filter: IN needs a list (string_values, int_values or long_values)".to_owned(),
                ));
            }
            (Operation::IsSubstring, Operand::One(Scalar::Text(part)))
                if compare == Compare::Text =>
            {
                let escaped = part
                    .to_lowercase()
                    .replace('\\', "\\\\")
                    .replace('%', "\\%")
                    .replace('_', "\\_");
                condition.push(
                    format!("LOWER({column}) LIKE ? ESCAPE '\\'"),
                    [format!("%{escaped}%").into()],
                );
            }
            (Operation::IsSubstring, _) => {
                return Err(Error::List(
                    "filter: IS_SUBSTRING needs a text field and a string_value".to_owned(),
                ));
            }
            (_, Operand::One(value)) => {
                condition.push(format!("{column} {operator} ?"), [value.to_sql(compare)?])
            }
            (_, Operand::Many(_)) => {
                return Err(Error::List(
                    "filter: only IN takes a list of values".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// Reads the JSON of a filter.
pub fn parse_filter(filter: &str) -> Result<Vec<Predicate>> {
    if filter.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed: Value = serde_json::from_str(filter)
        .map_err(|problem| Error::List(format!("filter is not JSON: {problem}")))?;
    match parsed.get("predicates") {
        None if parsed.as_object().is_some_and(serde_json::Map::is_empty) => Ok(Vec::new()),
        Some(Value::Array(predicates)) => predicates.iter().map(parse_predicate).collect(),
        _ => Err(Error::List(
            "filter must be {\"predicates\": […]}".to_owned(),
        )),
    }
}

fn parse_predicate(predicate: &Value) -> Result<Predicate> {
    let fields = predicate
        .as_object()
        .ok_or_else(|| Error::List("filter: a predicate is a mapping".to_owned()))?;
    let mut key = None;
    let mut operation = None;
    let mut operand = None;
    for (name, value) in fields {
        let bad = || Error::List(format!("filter: {name} has a value of the wrong type"));
        let list = |value: &Value| {
            value
                .get("values")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        match crate::ir::schema::camel_case(name).as_str() {
            "key" => key = Some(value.as_str().ok_or_else(bad)?.to_owned()),
            "operation" | "op" => operation = Some(parse_operation(value)?),
            "stringValue" => {
                operand = Some(Operand::One(Scalar::Text(
                    value.as_str().ok_or_else(bad)?.to_owned(),
                )))
            }
            "intValue" | "longValue" => {
                operand = Some(Operand::One(Scalar::Number(number(value).ok_or_else(bad)?)))
            }
            "timestampValue" => {
                operand = Some(Operand::One(Scalar::Time(match value {
                    Value::String(text) => parse_time(text)?,
                    other => other.get("seconds").and_then(number).ok_or_else(bad)? * 1_000_000,
                })))
            }
            "stringValues" => {
                operand = Some(Operand::Many(
                    list(value)
                        .iter()
                        .map(|item| {
                            item.as_str()
                                .map(|text| Scalar::Text(text.to_owned()))
                                .ok_or_else(bad)
                        })
                        .collect::<Result<_>>()?,
                ))
            }
            "intValues" | "longValues" => {
                operand = Some(Operand::Many(
                    list(value)
                        .iter()
                        .map(|item| number(item).map(Scalar::Number).ok_or_else(bad))
                        .collect::<Result<_>>()?,
                ))
            }
            _ => {
                return Err(Error::List(format!(
                    "filter: unknown field {name:?} in a predicate"
                )));
            }
        }
    }
    match (key, operation, operand) {
        (Some(key), Some(operation), Some(operand)) => Ok(Predicate {
            key,
            operation,
            operand,
        }),
        _ => Err(Error::List(
            "filter: a predicate needs key, operation and one value".to_owned(),
        )),
    }
}

fn parse_operation(value: &Value) -> Result<Operation> {
    const KNOWN: [(&str, i64, Operation); 8] = [
        ("EQUALS", 1, Operation::Equals),
        ("NOT_EQUALS", 2, Operation::NotEquals),
        ("GREATER_THAN", 3, Operation::GreaterThan),
        ("GREATER_THAN_EQUALS", 5, Operation::GreaterThanEquals),
        ("LESS_THAN", 6, Operation::LessThan),
        ("LESS_THAN_EQUALS", 7, Operation::LessThanEquals),
        ("IN", 8, Operation::In),
        ("IS_SUBSTRING", 9, Operation::IsSubstring),
    ];
    let known = KNOWN
        .iter()
        .find(|(name, code, _)| value.as_str() == Some(name) || value.as_i64() == Some(*code));
    known
        .map(|(_, _, operation)| *operation)
        .ok_or_else(|| Error::List(format!("filter: unknown operation {value}")))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn parse_time(text: &str) -> Result<i64> {
    text.parse::<jiff::Timestamp>()
        .map(|at| at.as_microsecond())
        .map_err(|_| Error::List(format!("filter: {text:?} is not an RFC 3339 time")))
}
