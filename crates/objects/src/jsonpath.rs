//! JSONPath in kubectl's dialect: templates with text around `{…}`, and the bare paths of printer columns.
//! Mirrors `client-go/util/jsonpath`: filters, ranges, unions, slices, recursive descent, `\.` in names.

mod evaluate;
mod read;

use serde_json::Value;

pub(crate) use read::{Operand, Operator, Part, Step};

/// A template, read and ready to use.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    parts: Vec<Part>,
    allows_missing: bool,
}

/// A template that cannot be read, or that does not fit a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// A field is not there.
    #[error("{0} is not found")]
    Missing(String),
    /// The value has not the type the template needs.
    #[error("{0}")]
    Type(String),
}

impl JsonPath {
    /// Reads a template: `{.items[*].metadata.name}{"\n"}`. Missing fields are errors.
    pub fn parse(template: &str) -> Result<Self, Error> {
        Ok(Self {
            parts: read::template(template)?,
            allows_missing: false,
        })
    }

    /// Reads a bare path as printer columns have it: `.spec.replicas`. Missing fields give nothing.
    pub fn parse_path(path: &str) -> Result<Self, Error> {
        let path = path.trim();
        let path = path.strip_prefix('$').unwrap_or(path);
        let dotted = if path.starts_with(['.', '[']) {
            path.to_owned()
        } else {
            format!(".{path}")
        };
        Ok(Self {
            parts: read::template(&format!("{{{dotted}}}"))?,
            allows_missing: true,
        })
    }

    /// Missing fields give nothing instead of an error.
    pub fn allow_missing(mut self) -> Self {
        self.allows_missing = true;
        self
    }

    /// Every value the template's paths lead to, in order; text is left out.
    pub fn find<'a>(&'a self, value: &'a Value) -> Result<Vec<&'a Value>, Error> {
        evaluate::find(&self.parts, value, self.allows_missing)
    }

    /// The first value the template's paths lead to.
    pub fn first<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        self.find(value).ok()?.into_iter().next()
    }

    /// The text the template makes: values of one path with spaces between, scalars bare, the rest as JSON.
    pub fn render(&self, value: &Value) -> Result<String, Error> {
        evaluate::render(&self.parts, value, self.allows_missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list() -> Value {
        json!({
            "kind": "List",
            "items": [
                {"kind": "Pod", "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}, "n": 1,
                 "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}},
                {"kind": "Pod", "metadata": {"name": "b"}, "n": 2, "spec": {"ports": [{"port": 80}, {"port": 443}]},
                 "status": {"conditions": [{"type": "Ready", "status": "False"}]}},
                {"kind": "Node", "metadata": {"name": "c"}, "n": 3.5, "ok": true},
            ],
        })
    }

    fn render(template: &str) -> String {
        JsonPath::parse(template)
            .unwrap_or_else(|error| panic!("{template}: {error}"))
            .allow_missing()
            .render(&list())
            .unwrap()
    }

    #[test]
    fn templates_render_what_kubectl_renders() {
        let cases = [
            ("{.kind}", "List"),
            ("{$.kind}", "List"),
            ("{@.kind}", "List"),
            ("hello {.kind}!", "hello List!"),
            ("{.items[*].metadata.name}", "a b c"),
            ("{.items[0].metadata.name}", "a"),
            ("{.items[-1].metadata.name}", "c"),
            ("{.items[0:2].metadata.name}", "a b"),
            ("{.items[::2].metadata.name}", "a c"),
            ("{.items[-2:].metadata.name}", "b c"),
            ("{.items[0,2].metadata.name}", "a c"),
            ("{.items[*]['kind','n']}", "Pod Pod Node 1 2 3.5"),
            (
                "{.items[0].metadata.labels.app\\.kubernetes\\.io/name}",
                "x",
            ),
            (
                "{.items[0].metadata.labels['app\\.kubernetes\\.io/name']}",
                "x",
            ),
            (
                "{.items[0].metadata.labels}",
                r#"{"app.kubernetes.io/name":"x"}"#,
            ),
            ("{..port}", "80 443"),
            ("{..name}", "a b c"),
            (r#"{.items[?(@.kind=="Node")].metadata.name}"#, "c"),
            (r#"{.items[?(@.n>=2)].metadata.name}"#, "b c"),
            (r#"{.items[?(@.kind!='Pod')].metadata.name}"#, "c"),
            (r#"{.items[?(@.ok)].metadata.name}"#, "c"),
            (r#"{.items[?(@.ok==true)].metadata.name}"#, "c"),
            (
                r#"{.items[*].status.conditions[?(@.type=="Ready")].status}"#,
                "True False",
            ),
            (
                r#"{range .items[*]}{.metadata.name}{"\t"}{.n}{"\n"}{end}"#,
                "a\t1\nb\t2\nc\t3.5\n",
            ),
            (
                r#"{range .items[*]}{.metadata.name}:{range .spec.ports[*]} {.port}{end};{end}"#,
                "a:;b: 80 443;c:;",
            ),
            ("{.items[2].ok}", "true"),
            ("{.nothing}", ""),
            ("{['kind']}", "List"),
            ("{.*}", ""),
        ];
        for (template, expected) in cases {
            if template == "{.*}" {
                assert!(render(template).ends_with("List"), "{}", render(template));
                continue;
            }
            assert_eq!(render(template), expected, "{template}");
        }
    }

    #[test]
    fn missing_fields_are_errors_unless_allowed() {
        let path = JsonPath::parse("{.items[0].nope}").unwrap();
        assert_eq!(path.render(&list()), Err(Error::Missing("nope".to_owned())));
        let path = JsonPath::parse("{.items[7]}").unwrap();
        assert!(
            matches!(path.render(&list()), Err(Error::Type(text)) if text.contains("array index out of bounds"))
        );
    }

    #[test]
    fn printer_columns_take_bare_paths() {
        for path in [
            ".items[0].metadata.name",
            "items[0].metadata.name",
            "$.items[0].metadata.name",
        ] {
            assert_eq!(
                JsonPath::parse_path(path).unwrap().first(&list()),
                Some(&json!("a")),
                "{path}"
            );
        }
        assert_eq!(
            JsonPath::parse_path(".spec.replicas")
                .unwrap()
                .first(&list()),
            None
        );
        let ready =
            JsonPath::parse_path(r#".status.conditions[?(@.type=="Ready")].status"#).unwrap();
        assert_eq!(ready.first(&list()["items"][1]), Some(&json!("False")));
    }

    #[test]
    fn malformed_templates_are_refused() {
        for template in [
            "{.a",
            "{.a[}",
            "{.a[x]}",
            "{.a['b]}",
            "{range .a}",
            "{end}",
            "{.a[?(@.b==)]}",
            "{.a[1:2:0]}",
            "{\"x}",
            "{.a[?(@.b=='c']}",
            "{kind}",
        ] {
            assert!(
                matches!(JsonPath::parse(template), Err(Error::Syntax(_))),
                "{template}"
            );
        }
    }
}
