//! Label selectors: a conjunction of requirements on a map of labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde_json::{Map, Value};

use super::Error;
use super::text::{Parser, Token};
use crate::names;

/// How a label must relate to the values of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LabelOperator {
    /// The value is this one.
    Equals,
    /// The value is another one, or the label is absent.
    NotEquals,
    /// The value is one of these.
    In,
    /// The value is none of these, or the label is absent.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The value is a number greater than this one.
    GreaterThan,
    /// The value is a number less than this one.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// The condition.
    pub operator: LabelOperator,
    /// What the condition compares with.
    pub values: BTreeSet<String>,
}

/// All of these requirements. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
    selects_nothing: bool,
}

/// Anything labels can be looked up in.
pub trait Labels {
    /// The value of a label.
    fn get_label(&self, key: &str) -> Option<&str>;
}

impl Labels for Map<String, Value> {
    fn get_label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Labels for BTreeMap<String, String> {
    fn get_label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for HashMap<String, String> {
    fn get_label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl<L: Labels + ?Sized> Labels for Option<&L> {
    fn get_label(&self, key: &str) -> Option<&str> {
        self.as_ref()?.get_label(key)
    }
}

impl LabelRequirement {
    fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let found = labels.get_label(&self.key);
        let compare = |wanted: fn(i64, i64) -> bool| {
            let found = found.and_then(|text| text.parse().ok());
            let limit = self.values.first().and_then(|text| text.parse().ok());
            matches!((found, limit), (Some(found), Some(limit)) if wanted(found, limit))
        };
        match self.operator {
            LabelOperator::Equals | LabelOperator::In => {
                found.is_some_and(|value| self.values.contains(value))
            }
            LabelOperator::NotEquals | LabelOperator::NotIn => {
                found.is_none_or(|value| !self.values.contains(value))
            }
            LabelOperator::Exists => found.is_some(),
            LabelOperator::DoesNotExist => found.is_none(),
            LabelOperator::GreaterThan => compare(|found, limit| found > limit),
            LabelOperator::LessThan => compare(|found, limit| found < limit),
        }
    }
}

impl LabelSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object: what an absent selector means in most specs.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            selects_nothing: true,
        }
    }

    /// Reads the text of a `labelSelector` parameter.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser::new(text);
        let mut requirements = Vec::new();
        parser.skip_spaces();
        if parser.is_done() {
            return Ok(Self::everything());
        }
        let starts = |token: &Token<'_>| matches!(token, Token::Word(_) | Token::Not);
        let first = parser.peek();
        if !starts(&first) {
            return Err(Error::Expression(format!(
                "found '{}', expected: !, identifier, or 'end of string'",
                first.text()
            )));
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.token() {
                Token::End => break,
                Token::Comma => {
                    let next = parser.peek();
                    if !starts(&next) {
                        return Err(Error::Expression(format!(
                            "found '{}', expected: identifier after ','",
                            next.text()
                        )));
                    }
                }
                other => {
                    return Err(Error::Expression(format!(
                        "found '{}', expected: ',' or 'end of string'",
                        other.text()
                    )));
                }
            }
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            selects_nothing: false,
        })
    }

    /// Reads a `LabelSelector` object (`matchLabels`, `matchExpressions`). Null selects nothing, `{}` everything.
    pub fn from_json(selector: &Value) -> Result<Self, Error> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in selector
            .get("matchLabels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let value = value.as_str().unwrap_or_default();
            requirements.push(requirement(
                key,
                LabelOperator::Equals,
                [value.to_owned()].into(),
            )?);
        }
        for expression in selector
            .get("matchExpressions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = expression
                .get("key")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let operator = match expression
                .get("operator")
                .and_then(Value::as_str)
                .unwrap_or_default()
            {
                "In" => LabelOperator::In,
                "NotIn" => LabelOperator::NotIn,
                "Exists" => LabelOperator::Exists,
                "DoesNotExist" => LabelOperator::DoesNotExist,
                "Gt" => LabelOperator::GreaterThan,
                "Lt" => LabelOperator::LessThan,
                other => {
                    return Err(Error::Expression(format!(
                        "{} is not a valid label selector operator",
                        crate::field::quote(other)
                    )));
                }
            };
            let values = expression
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let values = values
                .filter_map(|value| Some(value.as_str()?.to_owned()))
                .collect();
            requirements.push(requirement(key, operator, values)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            selects_nothing: false,
        })
    }

    /// Reads a plain map of labels, as in a Service or a ReplicationController. Null selects nothing.
    pub fn from_map(labels: &Value) -> Self {
        let Some(labels) = labels.as_object() else {
            return Self::nothing();
        };
        let requirements = labels
            .iter()
            .map(|(key, value)| LabelRequirement {
                key: key.clone(),
                operator: LabelOperator::Equals,
                values: [value.as_str().unwrap_or_default().to_owned()].into(),
            })
            .collect();
        Self {
            requirements,
            selects_nothing: false,
        }
    }

    /// Whether these labels are selected.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        !self.selects_nothing
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(labels))
    }

    /// Whether this object's labels are selected.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(&crate::meta::labels(object))
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        !self.selects_nothing && self.requirements.is_empty()
    }

    /// Whether no object is selected.
    pub fn is_nothing(&self) -> bool {
        self.selects_nothing
    }

    /// The conditions, ordered by label.
    pub fn requirements(&self) -> &[LabelRequirement] {
        &self.requirements
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LabelRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let values = self
            .values
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(",");
        match self.operator {
            LabelOperator::Equals => write!(f, "{key}={values}"),
            LabelOperator::In => write!(f, "{key} in ({values})"),
            LabelOperator::NotEquals => write!(f, "{key}!={values}"),
            LabelOperator::NotIn => write!(f, "{key} notin ({values})"),
            LabelOperator::Exists => write!(f, "{key}"),
            LabelOperator::DoesNotExist => write!(f, "!{key}"),
            LabelOperator::GreaterThan => write!(f, "{key}>{values}"),
            LabelOperator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

pub(super) fn requirement(
    key: &str,
    operator: LabelOperator,
    values: BTreeSet<String>,
) -> Result<LabelRequirement, Error> {
    if let Some(problem) = names::qualified_name(key).into_iter().next() {
        return Err(Error::Label(format!(
            "key: Invalid value: {}: {problem}",
            crate::field::quote(key)
        )));
    }
    match operator {
        LabelOperator::In | LabelOperator::NotIn if values.is_empty() => {
            return Err(Error::Label(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                    .to_owned(),
            ));
        }
        LabelOperator::Exists | LabelOperator::DoesNotExist if !values.is_empty() => {
            return Err(Error::Label(
                "values: Invalid value: values set must be empty for exists and does not exist"
                    .to_owned(),
            ));
        }
        LabelOperator::GreaterThan | LabelOperator::LessThan
            if values.len() != 1 || values.iter().any(|value| value.parse::<i64>().is_err()) =>
        {
            return Err(Error::Label(
                "values: Invalid value: for 'Gt', 'Lt' operators, exactly one integer is required"
                    .to_owned(),
            ));
        }
        _ => {}
    }
    for value in &values {
        if let Some(problem) = names::label_value(value).into_iter().next() {
            return Err(Error::Label(format!(
                "values: Invalid value: {}: {problem}",
                crate::field::quote(value)
            )));
        }
    }
    Ok(LabelRequirement {
        key: key.to_owned(),
        operator,
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels() -> BTreeMap<String, String> {
        [("app", "web"), ("tier", "front"), ("n", "5"), ("empty", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn text_selectors_select() {
        let cases = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!gone", true),
            ("app=web", true),
            ("app == web , tier in (front,back)", true),
            ("app!=web", false),
            ("gone!=web", true),
            ("app notin (a, b)", true),
            ("gone notin (a)", true),
            ("tier in (back)", false),
            ("n>4", true),
            ("n<5", false),
            ("empty=", true),
            ("empty in (,a)", true),
            ("app=", false),
            ("in", false),
            ("kubernetes.io/os=linux", false),
        ];
        for (text, expected) in cases {
            assert_eq!(
                LabelSelector::parse(text).unwrap().matches(&labels()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for text in [
            "a=b=c", "=a", "a in b", "a in (b", "a,", ",a", "a b", "-", "a>x", "a=b c", "(a)",
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_selector_prints_in_an_order_that_does_not_depend_on_how_it_was_written() {
        let selector = LabelSelector::parse("b notin (y,x),!c, a = 1").unwrap();
        assert_eq!(selector.to_string(), "a=1,b notin (x,y),!c");
        assert_eq!(
            LabelSelector::parse(&selector.to_string()).unwrap(),
            selector
        );
    }

    #[test]
    fn json_selectors_select_and_an_absent_one_selects_nothing() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}, {"key": "gone", "operator": "DoesNotExist"}],
        });
        assert!(
            LabelSelector::from_json(&selector)
                .unwrap()
                .matches(&labels())
        );
        assert!(
            LabelSelector::from_json(&json!({}))
                .unwrap()
                .matches(&labels())
        );
        assert!(
            !LabelSelector::from_json(&Value::Null)
                .unwrap()
                .matches(&labels())
        );
        for bad in [
            json!({"matchExpressions": [{"key": "a", "operator": "in", "values": ["b"]}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
        ] {
            assert!(LabelSelector::from_json(&bad).is_err());
        }
        assert!(LabelSelector::from_map(&json!({"app": "web"})).matches(&labels()));
    }
}
