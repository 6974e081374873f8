//! Lists: paging by key set, sorting, filtering, as the KFP API words them (predicates all ANDed; tokens freeze sort and
//! filter). Every list is one statement over one table, so every kind shares this file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params_from_iter};
use serde::{Deserialize, Serialize};

use super::filter::{parse_filter, parse_time};
use super::{Error, Result};

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
    /// As whatever JSON value it is: numbers before texts, nothing before all.
    Value,
}

/// What a kind can be sorted and filtered by.
pub struct Kind {
    /// Table name, also used to qualify columns.
    pub table: &'static str,
    /// API key, column, comparison.
    pub keys: &'static [(&'static str, &'static str, Compare)],
    /// True when `tags.<key>` filters apply.
    pub has_tags: bool,
    /// What has names that users choose: prefix of the API key, and the SQL of the JSON value, in which `{name}` stands
    /// for the last step of a JSON path.
    pub values: &'static [(&'static str, &'static str)],
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
    /// A time, or a whole number.
    Time(i64),
    Text(String),
    /// Bit by bit: a decimal that is read back must be the same.
    Real {
        bits: u64,
    },
}

impl TokenKey {
    fn read(row: &Row<'_>, compare: Compare) -> Result<Self> {
        Ok(match compare {
            Compare::Text => Self::Text(row.get("list_key")?),
            Compare::Time => Self::Time(row.get("list_key")?),
            Compare::Value => match row.get("list_key")? {
                Sql::Integer(whole) => Self::Time(whole),
                Sql::Real(real) => Self::Real {
                    bits: real.to_bits(),
                },
                Sql::Text(text) => Self::Text(text),
                Sql::Null | Sql::Blob(_) => Self::Text(String::new()),
            },
        })
    }

    fn to_sql(&self) -> Sql {
        match self {
            Self::Time(micros) => (*micros).into(),
            Self::Text(text) => text.clone().into(),
            Self::Real { bits } => f64::from_bits(*bits).into(),
        }
    }
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
    db: &Connection,
    kind: &Kind,
    columns: &str,
    scope: Condition,
    request: &Request,
    count: impl FnOnce(&Connection, &[Predicate]) -> Result<Option<i64>>,
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
        None => {
            let sql = format!(
                "SELECT COUNT(*) FROM {} WHERE {}",
                kind.table,
                condition.text()
            );
            db.prepare_cached(&sql)?
                .query_row(params_from_iter(&condition.values), |row| row.get(0))?
        }
    };
    if let Some(token) = &token {
        let comparison = if direction == "ASC" { ">" } else { "<" };
        condition.push(
            format!("({column}, {}.id) {comparison} (?, ?)", kind.table),
            [token.after.to_sql(), token.id.clone().into()],
        );
    }
    let sql = format!(
        "SELECT {columns}, {column} AS list_key, {table}.id AS list_id FROM {table} WHERE {} ORDER BY {column} {direction}, {table}.id {direction} LIMIT {}",
        condition.text(),
        size + 1,
        table = kind.table,
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    let (mut items, mut last, mut has_more) = (Vec::new(), None, false);
    while let Some(row) = rows.next()? {
        if items.len() == size {
            has_more = true;
            break;
        }
        let key = TokenKey::read(row, compare)?;
        last = Some((key, row.get::<_, String>("list_id")?));
        items.push(read(row)?);
    }
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
    if let Some(value) = value(kind, key, "sort_by")? {
        // A key for paging may not be NULL; this is less than every value.
        return Ok((
            format!("COALESCE({value}, {:e})", f64::MIN),
            Compare::Value,
            direction,
        ));
    }
    let (column, compare) = column(kind, key, "sort_by")?;
    Ok((column, compare, direction))
}

/// The SQL of a value whose name users choose; none where the key is a field.
fn value(kind: &Kind, key: &str, what: &str) -> Result<Option<String>> {
    let found = kind
        .values
        .iter()
        .find_map(|(prefix, sql)| Some((key.strip_prefix(prefix)?, sql)));
    let Some((name, sql)) = found else {
        return Ok(None);
    };
    if name.is_empty() || name.contains(['"', '\\']) {
        return Err(Error::List(format!(
            "{what}: {key:?} names nothing that can be looked up"
        )));
    }
    let step = format!("\"{}\"", name.replace('\'', "''"));
    Ok(Some(sql.replace("{name}", &step)))
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
            (_, Compare::Value) => Ok(self.word()?.into()),
        }
    }

    /// As a person would type it.
    fn word(&self) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Number(number) => Ok(number.to_string()),
            Self::Time(_) => Err(Error::List(
                "filter: a parameter or metric is compared with a string_value".to_owned(),
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
        if let Some(value) = value(kind, &self.key, "filter")? {
            return self.apply_to_value(&value, condition);
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

impl Predicate {
    /// Compares a JSON value: as a number with what reads as one, else as text.
    fn apply_to_value(&self, value: &str, condition: &mut Condition) -> Result<()> {
        let Operand::One(scalar) = &self.operand else {
            return Err(Error::List(format!(
                "filter: {} is compared with one value",
                self.key
            )));
        };
        let word = scalar.word()?;
        let number = match word.as_str() {
            // SQLite shows the booleans of JSON as these.
            "true" => Some(1.0),
            "false" => Some(0.0),
            word => word.parse::<f64>().ok().filter(|number| number.is_finite()),
        };
        let is_number = format!("typeof({value}) IN ('integer', 'real')");
        let mut compared = |operator: &str| match number {
            Some(number) => {
                condition.push(
                    format!("{is_number} AND {value} {operator} ?"),
                    [number.into()],
                );
                Ok(())
            }
            None => Err(Error::List(format!(
                "filter: {} is more or less than a number only, not {word:?}",
                self.key
            ))),
        };
        let equals =
            format!("COALESCE(({is_number} AND {value} = ?) OR CAST({value} AS TEXT) = ?, 0)");
        let values = || [number.map_or(Sql::Null, Sql::from), word.clone().into()];
        match self.operation {
            Operation::GreaterThan => compared(">"),
            Operation::GreaterThanEquals => compared(">="),
            Operation::LessThan => compared("<"),
            Operation::LessThanEquals => compared("<="),
            Operation::Equals => {
                condition.push(equals, values());
                Ok(())
            }
            Operation::NotEquals => {
                condition.push(format!("NOT {equals}"), values());
                Ok(())
            }
            Operation::In | Operation::IsSubstring => Err(Error::List(format!(
                "filter: {} is compared by EQUALS, NOT_EQUALS, GREATER_THAN and LESS_THAN, with or without EQUALS",
                self.key
            ))),
        }
    }
}
