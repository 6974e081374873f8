//! Lists: paging by key set, sorting, filtering, as the KFP API words them (predicates all ANDed; tokens freeze sort and
//! filter). Every list is one statement over one table, so every kind shares this file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::db::{Db, Dialect, Given, Row};
use super::filter::{parse_filter, parse_time};
use super::value::{Value, Values};
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
    /// What has names that users choose.
    pub values: &'static [Values],
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
    /// A decimal that is read back must be the same, so it goes bit by bit.
    Value {
        bits: u64,
        text: String,
    },
}

/// What a list is sorted by, before the id.
enum Order {
    /// A column.
    Column(String, Compare),
    /// A JSON value: numbers before texts, nothing before all.
    Value(Value),
}

impl Order {
    /// In SQL. What pages follow each other by may not be NULL: no value is less than every number, a text is more.
    fn columns(&self) -> Vec<String> {
        match self {
            Self::Column(column, _) => vec![column.clone()],
            Self::Value(Value { number, text }) => vec![
                format!(
                    "COALESCE({number}, CASE WHEN {text} IS NULL THEN {:e} ELSE {:e} END)",
                    f64::MIN,
                    f64::MAX
                ),
                format!("COALESCE({text}, '')"),
            ],
        }
    }

    /// The key of a row, in which the columns begin at a place.
    fn read(&self, row: &Row<'_>, place: usize) -> Result<TokenKey> {
        Ok(match self {
            Self::Column(_, Compare::Text) => TokenKey::Text(row.text(place)?),
            Self::Column(_, Compare::Time) => TokenKey::Time(row.number(place)?),
            Self::Value(_) => TokenKey::Value {
                bits: row.real(place)?.to_bits(),
                text: row.text(place + 1)?,
            },
        })
    }

    /// What the columns are compared with, for the rows after one.
    fn after(&self, key: &TokenKey) -> Result<Vec<Sql>> {
        match (self, key) {
            (Self::Column(_, Compare::Text), TokenKey::Text(text)) => Ok(vec![text.clone().into()]),
            (Self::Column(_, Compare::Time), TokenKey::Time(micros)) => Ok(vec![(*micros).into()]),
            (Self::Value(_), TokenKey::Value { bits, text }) => {
                Ok(vec![f64::from_bits(*bits).into(), text.clone().into()])
            }
            _ => Err(foreign_token()),
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
    let dialect = db.dialect();
    let (order, direction) = sort(kind, dialect, sort_by)?;
    let columns_of_order = order.columns();
    let predicates = parse_filter(filter)?;
    let mut condition = scope;
    for predicate in &predicates {
        predicate.apply(kind, dialect, &mut condition)?;
    }
    let total = match count(db, &predicates)? {
        Some(total) => total,
        None => condition.number(db, &format!("SELECT COUNT(*) FROM {}", kind.table))?,
    };
    if let Some(token) = &token {
        let comparison = if direction == "ASC" { ">" } else { "<" };
        let mut after = order.after(&token.after)?;
        after.push(token.id.clone().into());
        condition.push(
            format!(
                "({}, {}.id) {comparison} ({})",
                columns_of_order.join(", "),
                kind.table,
                vec!["?"; after.len()].join(", ")
            ),
            after,
        );
    }
    let sorted: String = columns_of_order
        .iter()
        .map(|column| format!("{column} {direction}, "))
        .collect();
    let sql = format!(
        "SELECT {columns}, {}, {table}.id AS list_id FROM {table} WHERE {} ORDER BY {sorted}{table}.id {direction} LIMIT {}",
        columns_of_order.join(", "),
        condition.text(),
        size + 1,
        table = kind.table,
    );
    let mut rows = db.all(&sql, &condition.values, |row| {
        let place = row.width() - 1;
        let key = order.read(row, place - columns_of_order.len())?;
        Ok((read(row)?, (key, row.text(place)?)))
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
    let token = decoded.ok_or_else(foreign_token)?;
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

fn foreign_token() -> Error {
    Error::List("page_token is not one that this server gave out".to_owned())
}

fn sort(kind: &Kind, dialect: Dialect, sort_by: &str) -> Result<(Order, &'static str)> {
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
    let order = match value(kind, dialect, key, "sort_by")? {
        Some(value) => Order::Value(value),
        None => {
            let (column, compare) = column(kind, key, "sort_by")?;
            Order::Column(column, compare)
        }
    };
    Ok((order, direction))
}

/// The SQL of a value whose name users choose; none where the key is a field.
fn value(kind: &Kind, dialect: Dialect, key: &str, what: &str) -> Result<Option<Value>> {
    for values in kind.values {
        if let Some(found) = values.find(dialect, key, what)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
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
    fn apply(&self, kind: &Kind, dialect: Dialect, condition: &mut Condition) -> Result<()> {
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
        if let Some(value) = value(kind, dialect, &self.key, "filter")? {
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
    fn apply_to_value(&self, value: &Value, condition: &mut Condition) -> Result<()> {
        let Operand::One(scalar) = &self.operand else {
            return Err(Error::List(format!(
                "filter: {} is compared with one value",
                self.key
            )));
        };
        let word = scalar.word()?;
        let number = match word.as_str() {
            // The booleans of JSON count as these.
            "true" => Some(1.0),
            "false" => Some(0.0),
            word => word.parse::<f64>().ok().filter(|number| number.is_finite()),
        };
        let mut compared = |operator: &str| match number {
            Some(number) => {
                condition.push(format!("{} {operator} ?", value.number), [number.into()]);
                Ok(())
            }
            None => Err(Error::List(format!(
                "filter: {} is more or less than a number only, not {word:?}",
                self.key
            ))),
        };
        let equals = |not: &str| {
            let text = format!("{} = ?", value.text);
            match number {
                None => (
                    format!("{not} COALESCE({text}, FALSE)"),
                    vec![word.clone().into()],
                ),
                Some(number) => (
                    format!("{not} COALESCE({} = ? OR {text}, FALSE)", value.number),
                    vec![number.into(), word.clone().into()],
                ),
            }
        };
        match self.operation {
            Operation::GreaterThan => compared(">"),
            Operation::GreaterThanEquals => compared(">="),
            Operation::LessThan => compared("<"),
            Operation::LessThanEquals => compared("<="),
            Operation::Equals => {
                let (sql, values) = equals("");
                condition.push(sql, values);
                Ok(())
            }
            Operation::NotEquals => {
                let (sql, values) = equals("NOT");
                condition.push(sql, values);
                Ok(())
            }
            Operation::In | Operation::IsSubstring => Err(Error::List(format!(
                "filter: {} is compared by EQUALS, NOT_EQUALS, GREATER_THAN and LESS_THAN, with or without EQUALS",
                self.key
            ))),
        }
    }
}
