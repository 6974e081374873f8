//! Field selectors: a conjunction of `path=value` and `path!=value`.
//! Which fields a kind offers, and their values, is for the caller to say.

use std::fmt;

use super::Error;

/// How a field must relate to the value of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldOperator {
    /// Same value.
    Equals,
    /// Another value.
    NotEquals,
}

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// For example `metadata.name`.
    pub field: String,
    /// The condition.
    pub operator: FieldOperator,
    /// What the condition compares with.
    pub value: String,
}

/// All of these requirements. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads the text of a `fieldSelector` parameter. Backslash escapes `\`, `,` and `=` in values.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            requirements.push(parse_term(term)?);
        }
        Ok(Self { requirements })
    }

    /// The conditions as they were written.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value a field must have, where the selector fixes one: lets a list by name become a read.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|requirement| {
                requirement.field == field && requirement.operator == FieldOperator::Equals
            })
            .map(|requirement| requirement.value.as_str())
    }

    /// Whether an object is selected whose fields `read` tells; an unknown field reads as the empty text.
    pub fn matches(&self, read: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let is_equal = read(&requirement.field).unwrap_or_default() == requirement.value;
            match requirement.operator {
                FieldOperator::Equals => is_equal,
                FieldOperator::NotEquals => !is_equal,
            }
        })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let operator = match requirement.operator {
                FieldOperator::Equals => "=",
                FieldOperator::NotEquals => "!=",
            };
            write!(
                f,
                "{}{operator}{}",
                requirement.field,
                escape(&requirement.value)
            )?;
        }
        Ok(())
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace(',', "\\,")
        .replace('=', "\\=")
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut is_escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_term(term: &str) -> Result<FieldRequirement, Error> {
    let at = term.find(['=', '!']).ok_or_else(|| malformed(term))?;
    let (field, rest) = term.split_at(at);
    let (operator, value) = if let Some(value) = rest.strip_prefix("!=") {
        (FieldOperator::NotEquals, value)
    } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        (FieldOperator::Equals, value)
    } else {
        return Err(malformed(term));
    };
    Ok(FieldRequirement {
        field: field.to_owned(),
        operator,
        value: unescape(value)?,
    })
}

fn malformed(term: &str) -> Error {
    Error::Field(format!("'{term}'; can't understand '{term}'"))
}

fn unescape(value: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                other => {
                    let sequence: String = ['\\'].into_iter().chain(other).collect();
                    return Err(Error::Field(format!("invalid escape sequence: {sequence}")));
                }
            },
            ',' | '=' => return Err(Error::Field(format!("unescaped '{c}' in value {value}"))),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Option<String> {
        match field {
            "metadata.name" => Some("a,b".to_owned()),
            "status.phase" => Some("Running".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn selectors_select_by_value_and_unknown_fields_are_empty() {
        let cases = [
            ("", true),
            ("status.phase=Running", true),
            ("status.phase==Running,metadata.name=a\\,b", true),
            ("status.phase!=Running", false),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
        ];
        for (text, expected) in cases {
            assert_eq!(
                FieldSelector::parse(text).unwrap().matches(read),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for text in ["a", "a!b", "a=b=c", "a=\\x", "a=b\\"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_selector_reads_back_what_it_prints_and_tells_fixed_values() {
        let selector = FieldSelector::parse("metadata.name=a\\,b,x!=\\=").unwrap();
        assert_eq!(
            FieldSelector::parse(&selector.to_string()).unwrap(),
            selector
        );
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert_eq!(selector.exact("x"), None);
    }
}
