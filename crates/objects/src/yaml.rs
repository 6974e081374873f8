//! YAML as kubectl reads it: YAML 1.1 scalars (`yes` is true, `010` is 8, dates stay text), converted to JSON.
//! Duplicate keys, aliases that explode and keys that are not scalars are errors with a position.

mod scalar;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 200;
/// Most nodes of one document, aliases counted each time they are used.
const MAX_NODES: usize = 1_000_000;

/// A text that is not YAML, or YAML that is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("yaml: line {line}, column {column}: {problem}")]
pub struct Error {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
}

/// One document of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Line on which it starts, from 1.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// Reads a text with one document. Empty documents do not count; an empty text is null.
pub fn parse(text: &str) -> Result<Value, Error> {
    let mut documents = documents(text)?.into_iter();
    let first = documents.next();
    if let Some(second) = documents.next() {
        return Err(Error {
            line: second.line,
            column: 1,
            problem: "expected a single document".to_owned(),
        });
    }
    Ok(first.map_or(Value::Null, |document| document.value))
}

/// Reads every document of a text; empty ones are passed over.
pub fn parse_all(text: &str) -> Result<Vec<Value>, Error> {
    Ok(documents(text)?
        .into_iter()
        .map(|document| document.value)
        .collect())
}

/// Reads every document of a text with the line it starts on; empty ones are passed over.
pub fn documents(text: &str) -> Result<Vec<Document>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|error| at(error.marker().line(), error.marker().col(), error.info()))?;
        if let Event::DocumentStart(..) = event {
            let mut reader = Reader {
                parser: &mut parser,
                anchors: Vec::new(),
                nodes: 0,
            };
            let value = reader.document()?;
            if !value.is_null() {
                documents.push(Document {
                    line: span.start.line(),
                    value,
                });
            }
        }
    }
    Ok(documents)
}

/// Writes a value as YAML, keys in order.
pub fn write(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("JSON values are always YAML")
}

fn at(line: usize, column: usize, problem: impl Into<String>) -> Error {
    Error {
        line,
        column: column + 1,
        problem: problem.into(),
    }
}

fn at_span(span: &Span, problem: impl Into<String>) -> Error {
    at(span.start.line(), span.start.col(), problem)
}

struct Reader<'r, 'input> {
    parser: &'r mut Parser<'input, StrInput<'input>>,
    /// Value and size of each anchored node, by anchor number.
    anchors: Vec<(usize, Value, usize)>,
    nodes: usize,
}

impl<'input> Reader<'_, 'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), Error> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let place = error.marker();
                Err(at(place.line(), place.col(), error.info()))
            }
            None => Err(at(1, 0, "the document ends too early")),
        }
    }

    fn document(&mut self) -> Result<Value, Error> {
        let mut value = Value::Null;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentEnd | Event::StreamEnd => return Ok(value),
                event => value = self.node(event, span, 0)?,
            }
        }
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), Error> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(at_span(span, "the document contains excessive aliasing"));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(at_span(
                &span,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.count(1, &span)?;
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_ref().map(|tag| tag.suffix());
                let value = scalar::resolve(&text, style == ScalarStyle::Plain, tag)
                    .map_err(|problem| at_span(&span, problem))?;
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(id) => {
                let found = self.anchors.iter().find(|(known, _, _)| *known == id);
                let Some((_, value, size)) = found.cloned() else {
                    return Err(at_span(
                        &span,
                        "an alias may not stand inside what it names",
                    ));
                };
                self.count(size, &span)?;
                return Ok(value);
            }
            _ => return Err(at_span(&span, "expected a value")),
        };
        if anchor != 0 {
            self.anchors.retain(|(known, _, _)| *known != anchor);
            self.anchors
                .push((anchor, value.clone(), self.nodes - before + 1));
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                event => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Error> {
        let mut map = Map::new();
        let mut merged = Map::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if is_merge {
                merge_into(&mut merged, value).map_err(|problem| at_span(&value_span, problem))?;
                continue;
            }
            let key = scalar::key(&key)
                .ok_or_else(|| at_span(&span, "a key must be a text, a number or a bool"))?;
            if map.contains_key(&key) {
                return Err(at_span(
                    &span,
                    format!("key {} already set in map", crate::field::quote(&key)),
                ));
            }
            map.insert(key, value);
        }
        for (key, value) in merged {
            map.entry(key).or_insert(value);
        }
        Ok(Value::Object(map))
    }
}

/// What `<<` brings: earlier maps win over later ones.
fn merge_into(merged: &mut Map<String, Value>, value: Value) -> Result<(), &'static str> {
    const PROBLEM: &str = "map merge requires map or sequence of maps as the value";
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                merged.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(items) if items.iter().all(Value::is_object) => items
            .into_iter()
            .try_for_each(|item| merge_into(merged, item)),
        _ => Err(PROBLEM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_passed_over_wherever_they_stand() {
        let text = "# a\na: 1 # b\n# c\nb:\n  # d\n  c: 2\n  # e\nlist:\n# f\n- x\n# g\n";
        assert_eq!(
            parse(text).unwrap(),
            serde_json::json!({"a": 1, "b": {"c": 2}, "list": ["x"]})
        );
    }
    use serde_json::json;

    #[test]
    fn plain_scalars_have_the_types_of_yaml_1_1() {
        let cases = [
            ("yes", json!(true)),
            ("On", json!(true)),
            ("y", json!(true)),
            ("TRUE", json!(true)),
            ("no", json!(false)),
            ("off", json!(false)),
            ("N", json!(false)),
            ("yEs", json!("yEs")),
            ("~", json!(null)),
            ("null", json!(null)),
            ("Null", json!(null)),
            ("nULL", json!("nULL")),
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("+3", json!(3)),
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("1_000", json!(1000)),
            ("09", json!(9.0)),
            ("18446744073709551615", json!(18446744073709551615u64)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1.", json!(1.0)),
            ("1e", json!("1e")),
            ("1.2.3", json!("1.2.3")),
            ("10Gi", json!("10Gi")),
            ("1:30", json!("1:30")),
            ("2001-01-01", json!("2001-01-01")),
            ("2001-01-01T00:00:00Z", json!("2001-01-01T00:00:00Z")),
            ("'yes'", json!("yes")),
            ("\"12\"", json!("12")),
            ("!!str 12", json!("12")),
            ("!!int \"12\"", json!(12)),
            ("hello world", json!("hello world")),
            ("=", json!("=")),
            ("-", json!([null])),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn keys_become_text_and_twice_the_same_is_an_error() {
        assert_eq!(
            parse("1: a\ntrue: b\n1.5: c\n"),
            Ok(json!({"1": "a", "true": "b", "1.5": "c"}))
        );
        assert_eq!(parse("on: push"), Ok(json!({"true": "push"})));
        let error = parse("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err();
        assert_eq!((error.line, error.column), (4, 3));
        assert_eq!(
            error.to_string(),
            r#"yaml: line 4, column 3: key "c" already set in map"#
        );
        for bad in ["[a]: 1", "null: 1", "a: .inf", "a: .NaN", "a: !!int x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse("a: !!binary aGk=\nb: !mine 12"),
            Ok(json!({"a": "hi", "b": "12"}))
        );
    }

    #[test]
    fn streams_hold_many_documents_and_empty_ones_do_not_count() {
        let text = "---\n# nothing\n---\na: 1\n---\n---\nb: 2\n...\n---\n";
        assert_eq!(parse_all(text), Ok(vec![json!({"a": 1}), json!({"b": 2})]));
        assert_eq!(documents(text).unwrap()[1].line, 6);
        assert_eq!(parse_all(""), Ok(vec![]));
        assert_eq!(parse(""), Ok(Value::Null));
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
        assert_eq!(
            parse(r#"{"a": [1, "x", null, true], "b": {"c": 1.0}}"#),
            Ok(json!({"a": [1, "x", null, true], "b": {"c": 1.0}}))
        );
    }

    #[test]
    fn block_scalars_anchors_and_merges_are_read() {
        let text = "base: &base {a: 1, b: 2}\nlist: [*base, *base]\nover:\n  <<: *base\n  b: 3\ntext: |\n  x\n  y\nfold: >-\n  x\n  y\n";
        assert_eq!(
            parse(text),
            Ok(json!({
                "base": {"a": 1, "b": 2}, "list": [{"a": 1, "b": 2}, {"a": 1, "b": 2}], "over": {"a": 1, "b": 3},
                "text": "x\ny\n", "fold": "x y",
            }))
        );
    }

    #[test]
    fn errors_say_where() {
        for (text, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a:\n\t- b\n", 2),
            ("a: 1\n b: 2\n", 2),
            ("a: *nobody\n", 1),
            ("a: 'x\n", 2),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.line.abs_diff(line) <= 1, "{text:?}: {error}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let last = level - 1;
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{last}"); 10].join(", ")
            ));
        }
        assert!(
            parse(&text)
                .unwrap_err()
                .problem
                .contains("excessive aliasing")
        );
        assert!(parse(&"[".repeat(5000)).is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({"a": "yes", "b": ["12", "", "null", "x: y", "- z", "1e3", "0x1", "~"], "c": {"d": null, "e": 1.5, "f": true}, "t": "l1\nl2\n"});
        assert_eq!(parse(&write(&value)), Ok(value));
    }
}
