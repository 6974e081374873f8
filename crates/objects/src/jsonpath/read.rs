//! Reading templates into steps.

use serde_json::Value;

use super::Error;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// Text to be printed as it is.
    Text(String),
    /// A path to be followed.
    Path(Vec<Step>),
    /// Parts to be rendered for each value of a path.
    Range(Vec<Step>, Vec<Part>),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Back to the root.
    Root,
    /// A field by name.
    Field(String),
    /// Every field, or every item.
    Wildcard,
    /// The value and everything below it.
    Recursive,
    /// Items by start, end and stride.
    Slice(Option<i64>, Option<i64>, Option<i64>),
    /// What several paths lead to.
    Union(Vec<Vec<Step>>),
    /// Items that fulfil a condition.
    Filter(Operand, Operator, Operand),
}

/// One side of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// A path from the item, or from the root.
    Path(Vec<Step>),
    /// A fixed value.
    Literal(Value),
    /// Nothing: the condition asks only whether the other side is there.
    None,
}

/// How the sides of a condition must relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Exists,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

fn syntax(problem: impl Into<String>) -> Error {
    Error::Syntax(problem.into())
}

pub(super) fn template(text: &str) -> Result<Vec<Part>, Error> {
    let mut rest = text;
    let mut stack: Vec<(Vec<Step>, Vec<Part>)> = Vec::new();
    let mut parts = Vec::new();
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        let body = &rest[open + 1..];
        let close = end_of_action(body).ok_or_else(|| syntax("unclosed action"))?;
        let mut cursor = Cursor {
            text: &body[..close],
            at: 0,
        };
        rest = &body[close + 1..];
        loop {
            cursor.skip_spaces();
            if cursor.is_done() {
                break;
            }
            if cursor.eat_word("range") {
                cursor.skip_spaces();
                let path = cursor.path()?;
                stack.push((path, std::mem::take(&mut parts)));
            } else if cursor.eat_word("end") {
                let (path, outer) = stack
                    .pop()
                    .ok_or_else(|| syntax("unexpected end: not in range"))?;
                let body = std::mem::replace(&mut parts, outer);
                parts.push(Part::Range(path, body));
            } else if matches!(cursor.peek(), Some('"' | '\'')) {
                let quote = cursor.peek().expect("just seen");
                parts.push(Part::Text(cursor.quoted(quote)?));
            } else {
                parts.push(Part::Path(cursor.path()?));
            }
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    if stack.is_empty() {
        Ok(parts)
    } else {
        Err(syntax("range without end"))
    }
}

/// Where the `}` of an action is; those in quotes do not count.
fn end_of_action(body: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in body.char_indices() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (_, '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn is_done(&self) -> bool {
        self.rest().is_empty()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let is_word = self
            .rest()
            .strip_prefix(word)
            .is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_whitespace()));
        is_word && self.eat(word)
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn path(&mut self) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        let start = self.at;
        loop {
            match self.peek() {
                Some('$') => {
                    self.bump();
                    steps.push(Step::Root);
                }
                Some('@') => {
                    self.bump();
                }
                Some('.') => {
                    self.bump();
                    if self.eat(".") {
                        steps.push(Step::Recursive);
                    }
                    if self.eat("*") {
                        steps.push(Step::Wildcard);
                        continue;
                    }
                    let name = self.name();
                    if !name.is_empty() {
                        steps.push(Step::Field(name));
                    } else if !matches!(self.peek(), None | Some('['))
                        && !self.peek().is_some_and(ends_path)
                    {
                        return Err(syntax(format!(
                            "unexpected character {:?} in path",
                            self.peek()
                        )));
                    }
                }
                Some('[') => {
                    self.bump();
                    let inside = self.bracketed()?;
                    steps.extend(bracket(&inside)?);
                }
                Some(c) if self.at == start && !ends_path(c) => {
                    return Err(syntax(format!("unrecognized identifier {}", self.name())));
                }
                _ if self.at == start => return Err(syntax("expected a path")),
                _ => return Ok(steps),
            }
        }
    }

    /// A field name up to the next separator; a backslash takes the next character as it is.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.bump();
                    name.extend(self.bump());
                }
                '.' | '[' | ']' => break,
                c if ends_path(c) => break,
                c => {
                    name.push(c);
                    self.bump();
                }
            }
        }
        name
    }

    /// What stands between `[` and its `]`, quotes and nested brackets respected.
    fn bracketed(&mut self) -> Result<String, Error> {
        let start = self.at;
        let (mut depth, mut quote, mut is_escaped) = (0, None, false);
        while let Some(c) = self.bump() {
            match (quote, c) {
                _ if is_escaped => is_escaped = false,
                (_, '\\') => is_escaped = true,
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '[') => depth += 1,
                (None, ']') if depth == 0 => return Ok(self.text[start..self.at - 1].to_owned()),
                (None, ']') => depth -= 1,
                (None, _) => {}
            }
        }
        Err(syntax("unterminated array"))
    }

    fn quoted(&mut self, quote: char) -> Result<String, Error> {
        self.bump();
        let mut out = String::new();
        while let Some(c) = self.bump() {
            match c {
                c if c == quote => return Ok(out),
                '\\' => match self.bump() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(other) => out.push(other),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(syntax("unterminated quoted string"))
    }
}

fn ends_path(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            ',' | '(' | ')' | '=' | '!' | '<' | '>' | '"' | '\'' | '}'
        )
}

fn bracket(inside: &str) -> Result<Vec<Step>, Error> {
    let inside = inside.trim();
    if inside == "*" {
        return Ok(vec![Step::Wildcard]);
    }
    if let Some(condition) = inside.strip_prefix("?(") {
        let condition = condition
            .strip_suffix(')')
            .ok_or_else(|| syntax("unterminated filter"))?;
        return Ok(vec![filter(condition)?]);
    }
    let members = split_unquoted(inside, ',');
    if members.len() > 1 {
        let paths = members.into_iter().map(|member| single(member.trim()));
        return Ok(vec![Step::Union(paths.collect::<Result<_, Error>>()?)]);
    }
    single(inside)
}

/// One entry of a bracket. A quoted name is a path of its own: its dots separate unless a backslash keeps them.
fn single(text: &str) -> Result<Vec<Step>, Error> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let inner = text[1..]
            .strip_suffix(quote)
            .filter(|inner| !inner.contains(quote));
        let inner = inner.ok_or_else(|| syntax(format!("invalid array index {text}")))?;
        let mut names = vec![String::new()];
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '.' => names.push(String::new()),
                '\\' => names.last_mut().expect("never empty").extend(chars.next()),
                c => names.last_mut().expect("never empty").push(c),
            }
        }
        return Ok(names.into_iter().map(Step::Field).collect());
    }
    let number = |part: &str| -> Result<Option<i64>, Error> {
        if part.trim().is_empty() {
            return Ok(None);
        }
        part.trim()
            .parse()
            .map(Some)
            .map_err(|_| syntax(format!("invalid array index {text}")))
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [only] => {
            let index =
                number(only)?.ok_or_else(|| syntax(format!("invalid array index {text}")))?;
            // The end behind -1 is the end of the list.
            let end = index.checked_add(1).filter(|end| *end != 0);
            Ok(vec![Step::Slice(Some(index), end, Some(0))])
        }
        [start, end] => Ok(vec![Step::Slice(number(start)?, number(end)?, None)]),
        [start, end, stride] => {
            let stride = number(stride)?;
            if stride.is_some_and(|stride| stride <= 0) {
                return Err(syntax("step must be > 0"));
            }
            Ok(vec![Step::Slice(number(start)?, number(end)?, stride)])
        }
        _ => Err(syntax(format!("invalid array index {text}"))),
    }
}

fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c == separator => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

fn filter(condition: &str) -> Result<Step, Error> {
    let mut quote = None;
    for (at, c) in condition.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, _) => {
                let rest = &condition[at..];
                if let Some((text, operator)) =
                    OPERATORS.iter().find(|(text, _)| rest.starts_with(text))
                {
                    let left = operand(condition[..at].trim())?;
                    let right = operand(rest[text.len()..].trim())?;
                    return Ok(Step::Filter(left, *operator, right));
                }
            }
        }
    }
    if quote.is_some() {
        return Err(syntax("unterminated quoted string"));
    }
    Ok(Step::Filter(
        operand(condition.trim())?,
        Operator::Exists,
        Operand::None,
    ))
}

fn operand(text: &str) -> Result<Operand, Error> {
    let mut cursor = Cursor { text, at: 0 };
    match cursor.peek() {
        None => Err(syntax("filter with an empty side")),
        Some(quote @ ('"' | '\'')) => {
            let literal = cursor.quoted(quote)?;
            if cursor.is_done() {
                Ok(Operand::Literal(literal.into()))
            } else {
                Err(syntax(format!("malformed filter side {text}")))
            }
        }
        Some('@' | '$' | '.') => {
            let path = cursor.path()?;
            if cursor.is_done() {
                Ok(Operand::Path(path))
            } else {
                Err(syntax(format!("malformed filter side {text}")))
            }
        }
        Some(_) => match serde_json::from_str::<Value>(text) {
            Ok(value) if !value.is_array() && !value.is_object() => Ok(Operand::Literal(value)),
            _ => Err(syntax(format!("malformed filter side {text}"))),
        },
    }
}
