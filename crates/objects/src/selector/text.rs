//! Reading label selectors from text: `a=b,c in (d,e),!f`.

use std::collections::BTreeSet;

use super::Error;
use super::labels::{LabelOperator, LabelRequirement, requirement};

/// A selector's text and how far it has been read.
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// One token.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    End,
}

impl Token<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Token::Word(word) => word,
            Token::Comma => ",",
            Token::Open => "(",
            Token::Close => ")",
            Token::Not => "!",
            Token::Equals => "=",
            Token::NotEquals => "!=",
            Token::Greater => ">",
            Token::Less => "<",
            Token::End => "",
        }
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.text.len()
    }

    pub(super) fn peek(&mut self) -> Token<'a> {
        let at = self.at;
        let token = self.token();
        self.at = at;
        token
    }

    pub(super) fn token(&mut self) -> Token<'a> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        let (token, len) = match rest.as_bytes() {
            [] => (Token::End, 0),
            [b',', ..] => (Token::Comma, 1),
            [b'(', ..] => (Token::Open, 1),
            [b')', ..] => (Token::Close, 1),
            [b'!', b'=', ..] => (Token::NotEquals, 2),
            [b'!', ..] => (Token::Not, 1),
            [b'=', b'=', ..] => (Token::Equals, 2),
            [b'=', ..] => (Token::Equals, 1),
            [b'>', ..] => (Token::Greater, 1),
            [b'<', ..] => (Token::Less, 1),
            _ => {
                let ends = |c: char| c.is_whitespace() || ",()!=<>".contains(c);
                let len = rest.find(ends).unwrap_or(rest.len());
                (Token::Word(&rest[..len]), len)
            }
        };
        self.at += len;
        token
    }

    fn word(&mut self) -> Result<&'a str, Error> {
        match self.token() {
            Token::Word(word) => Ok(word),
            other => Err(Error::Label(format!(
                "found '{}', expected: identifier",
                other.text()
            ))),
        }
    }

    /// The one value behind `=`, `!=`, `<` or `>`; nothing before a comma or the end means the empty text.
    fn value(&mut self) -> Result<BTreeSet<String>, Error> {
        Ok(match self.peek() {
            Token::Comma | Token::End => [String::new()].into(),
            _ => [self.word()?.to_owned()].into(),
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, Error> {
        let first = self.token();
        if first != Token::Open {
            return Err(Error::Label(format!(
                "found '{}' expected: '('",
                first.text()
            )));
        }
        let mut values = BTreeSet::new();
        loop {
            match self.token() {
                Token::Word(word) => {
                    values.insert(word.to_owned());
                    match self.token() {
                        Token::Comma => {
                            if self.peek() == Token::Close {
                                values.insert(String::new());
                            }
                        }
                        Token::Close => return Ok(values),
                        other => {
                            return Err(Error::Label(format!(
                                "found '{}', expected: ',' or ')'",
                                other.text()
                            )));
                        }
                    }
                }
                Token::Comma => {
                    values.insert(String::new());
                }
                Token::Close => {
                    values.insert(String::new());
                    return Ok(values);
                }
                other => {
                    return Err(Error::Label(format!(
                        "found '{}', expected: ',', ')' or identifier",
                        other.text()
                    )));
                }
            }
        }
    }

    pub(super) fn requirement(&mut self) -> Result<LabelRequirement, Error> {
        if self.peek() == Token::Not {
            self.token();
            let key = self.word()?;
            return requirement(key, LabelOperator::DoesNotExist, BTreeSet::new());
        }
        let key = self.word()?;
        match self.peek() {
            Token::End | Token::Comma => requirement(key, LabelOperator::Exists, BTreeSet::new()),
            _ => {
                let operator = match self.token() {
                    Token::Equals => LabelOperator::Equals,
                    Token::NotEquals => LabelOperator::NotEquals,
                    Token::Greater => LabelOperator::GreaterThan,
                    Token::Less => LabelOperator::LessThan,
                    Token::Word("in") => {
                        return requirement(key, LabelOperator::In, self.values()?);
                    }
                    Token::Word("notin") => {
                        return requirement(key, LabelOperator::NotIn, self.values()?);
                    }
                    other => {
                        return Err(Error::Label(format!(
                            "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                            other.text()
                        )));
                    }
                };
                let values = self.value()?;
                requirement(key, operator, values)
            }
        }
    }
}
