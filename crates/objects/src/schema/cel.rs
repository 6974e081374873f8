//! CEL rules (`x-kubernetes-validations`): compiled once with the schema, run against values seen through the schema.
//! Which old value belongs to which new one follows the schema: by field, by map key, by the keys of a list map.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::IdedExpr;
use kube_cel::cel::objects::{Key, Map, OptionalValue, Value as Cel};
use kube_cel::cel::{Context, ExecutionError, Program};
use serde::Deserialize;
use serde_json::Value;

use super::node::Type;
use super::{Additional, Arena, Node, NodeId};
use crate::field::{self, FieldError, FieldErrorKind};

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    rule: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    message_expression: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    field_path: String,
    #[serde(default)]
    optional_old_self: bool,
}

/// The reasons a rule may give.
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// One rule, ready to run.
pub(crate) struct Rule {
    source: Source,
    raw: Value,
    program: Program,
    message: Option<Program>,
    needs_old: bool,
    kind: FieldErrorKind,
}

impl Rule {
    /// Compiles one entry of `x-kubernetes-validations`.
    pub(super) fn compile(raw: &Value) -> Result<Self, FieldError> {
        let source: Source = serde_json::from_value(raw.clone())
            .map_err(|error| FieldError::invalid("", raw.clone(), error.to_string()))?;
        if source.rule.trim().is_empty() {
            return Err(FieldError::required("rule", "rule is not specified"));
        }
        if source.message.contains(['\n', '\r']) {
            let detail = "message must not contain line breaks";
            return Err(FieldError::invalid("message", source.message, detail));
        }
        if source.rule.trim().contains(['\n', '\r']) && source.message.is_empty() {
            return Err(FieldError::required(
                "message",
                "message must be specified if rule contains line breaks",
            ));
        }
        let kind = match source.reason.as_str() {
            "" => FieldErrorKind::Invalid,
            reason => FieldErrorKind::from_reason(reason)
                .ok_or_else(|| FieldError::not_supported("reason", reason, &REASONS))?,
        };
        let compile = |field: &str, text: &str| {
            Program::compile(text).map_err(|error| {
                FieldError::invalid(field, text, format!("compilation failed: {error}"))
            })
        };
        let program = compile("rule", &source.rule)?;
        let message = match source.message_expression.trim() {
            "" => None,
            text => Some(compile("messageExpression", text)?),
        };
        let needs_old = program.references().has_variable("oldSelf");
        Ok(Self {
            source,
            raw: raw.clone(),
            program,
            message,
            needs_old,
            kind,
        })
    }

    /// The rule as it was parsed.
    pub(super) fn expression(&self) -> &IdedExpr {
        self.program.expression()
    }

    /// The rule's own text.
    pub(super) fn text(&self) -> &str {
        &self.source.rule
    }

    /// Where failures are reported, below the node; empty for the node itself.
    pub(super) fn field_path(&self) -> &str {
        &self.source.field_path
    }

    /// The entry as it was written.
    pub(super) fn to_openapi(&self) -> Value {
        self.raw.clone()
    }

    pub(super) fn needs_old(&self) -> bool {
        self.needs_old
    }

    pub(super) fn old_is_optional(&self) -> bool {
        self.source.optional_old_self
    }

    fn words(&self, context: &Context<'_>) -> String {
        if let Some(program) = &self.message
            && let Ok(Cel::String(text)) = program.execute(context)
        {
            let text = text.trim();
            if !text.is_empty() && !text.contains('\n') {
                return text.to_owned();
            }
        }
        match self.source.message.trim() {
            "" => format!("failed rule: {}", self.source.rule.trim()),
            message => message.to_owned(),
        }
    }

    /// Why the rule could not be run.
    fn breakdown(&self, error: &ExecutionError) -> String {
        let cause = match error {
            ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
            ExecutionError::NoSuchOverload => "no such overload".to_owned(),
            ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
            ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
            ExecutionError::IndexOutOfBounds(Cel::Int(index)) => {
                format!("index out of bounds: {index}")
            }
            ExecutionError::FunctionError { message, .. } => message.clone(),
            other => other.to_string(),
        };
        let words = match self.source.message.trim() {
            "" => self.source.rule.trim(),
            message => message,
        };
        format!("{cause} evaluating rule: {words}")
    }

    fn error(&self, path: &str, kind_of_value: &str, detail: String) -> FieldError {
        let at = self.source.field_path.replace("['", ".").replace("']", "");
        let field = field::join(path, at.strip_prefix('.').unwrap_or(&at));
        // A duplicate speaks for itself.
        let detail = if self.kind == FieldErrorKind::Duplicate {
            String::new()
        } else {
            detail
        };
        let value = match self.kind {
            FieldErrorKind::Required | FieldErrorKind::Forbidden => Value::Null,
            _ => kind_of_value.into(),
        };
        FieldError::new(self.kind, field, value, detail)
    }
}

/// What every rule can use: the libraries, and types as values, which the engine does not know by itself.
fn functions() -> Context<'static> {
    let mut context = Context::default().with_all();
    context.add_function("type", |value: Cel| -> Result<Cel, ExecutionError> {
        Ok(Cel::String(Arc::new(type_name(&value).to_owned())))
    });
    for name in [
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
    ] {
        context.add_variable_from_value(name, name);
    }
    context
}

fn type_name(value: &Cel) -> &'static str {
    match value {
        Cel::Int(_) => "int",
        Cel::UInt(_) => "uint",
        Cel::Float(_) => "double",
        Cel::Bool(_) => "bool",
        Cel::String(_) => "string",
        Cel::Bytes(_) => "bytes",
        Cel::List(_) => "list",
        Cel::Map(_) => "map",
        Cel::Null => "null_type",
        Cel::Timestamp(_) => "google.protobuf.Timestamp",
        Cel::Duration(_) => "google.protobuf.Duration",
        _ => "dyn",
    }
}

thread_local! {
    /// The functions of Kubernetes' CEL libraries, registered once per thread.
    static FUNCTIONS: RefCell<Context<'static>> = RefCell::new(functions());
    static TIMESTAMP: Option<Program> = Program::compile("timestamp(x)").ok();
    static DURATION: Option<Program> = Program::compile("duration(x)").ok();
}

/// Runs the rules of one node.
pub(super) fn run(
    arena: &Arena,
    id: NodeId,
    value: &Value,
    old: Option<&Value>,
    is_unchanged: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let node = arena.node(id);
    let wanted = |rule: &&Rule| {
        if rule.needs_old() {
            old.is_some() || rule.old_is_optional()
        } else {
            !is_unchanged
        }
    };
    if !node.rules.iter().any(|rule| wanted(&rule)) {
        return;
    }
    FUNCTIONS.with_borrow(|functions| {
        let mut context = functions.new_inner_scope();
        context.add_variable_from_value("self", seen(arena, Some(node), value));
        let old = old.map(|old| seen(arena, Some(node), old));
        for rule in node.rules.iter().filter(wanted) {
            let mut scope = context.new_inner_scope();
            if rule.old_is_optional() {
                let optional = old
                    .clone()
                    .map_or_else(OptionalValue::none, OptionalValue::of);
                scope.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(optional)));
            } else if let Some(old) = &old {
                scope.add_variable_from_value("oldSelf", old.clone());
            }
            match rule.program.execute(&scope) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => {
                    errors.push(rule.error(path, node.kind.name(), rule.words(&scope)))
                }
                Ok(_) => {
                    let detail =
                        format!("rule must evaluate to a bool: {}", rule.source.rule.trim());
                    errors.push(FieldError::invalid(path, node.kind.name(), detail));
                }
                Err(error) => {
                    errors.push(FieldError::invalid(
                        path,
                        node.kind.name(),
                        rule.breakdown(&error),
                    ));
                }
            }
        }
    });
}

/// A JSON value as CEL sees it through its schema: field names escaped, times and durations typed.
fn seen(arena: &Arena, node: Option<&Node>, value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => {
            let as_float = || Cel::Float(number.as_f64().unwrap_or_default());
            match node.map(|node| node.kind) {
                Some(Type::Number) => as_float(),
                _ => number.as_i64().map_or_else(as_float, Cel::Int),
            }
        }
        Value::String(text) => seen_text(node, text),
        Value::Array(items) => {
            let child = node.and_then(|node| node.items).map(|id| arena.node(id));
            Cel::List(Arc::new(
                items.iter().map(|item| seen(arena, child, item)).collect(),
            ))
        }
        Value::Object(fields) => {
            let mut map = HashMap::with_capacity(fields.len());
            let is_map = node.is_some_and(|node| {
                matches!(node.additional, Additional::Schema(_) | Additional::Any)
            });
            for (name, value) in fields {
                let child = node
                    .and_then(|node| node.field(name))
                    .map(|id| arena.node(id));
                let value = seen(arena, child, value);
                if is_map {
                    map.insert(Key::from(name.clone()), value);
                    continue;
                }
                // A reserved word can be read by its plain name too.
                if RESERVED.contains(&name.as_str()) {
                    map.insert(Key::from(name.clone()), value.clone());
                }
                map.insert(Key::from(escape(name)), value);
            }
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

fn seen_text(node: Option<&Node>, text: &str) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    let convert = |program: &Option<Program>, text: &str| {
        let program = program.as_ref()?;
        FUNCTIONS.with_borrow(|functions| {
            let mut scope = functions.new_inner_scope();
            scope.add_variable_from_value("x", text);
            program.execute(&scope).ok()
        })
    };
    match node.and_then(|node| node.format.as_deref()) {
        Some("date-time") => TIMESTAMP
            .with(|program| convert(program, text))
            .unwrap_or_else(plain),
        Some("date") => TIMESTAMP
            .with(|program| convert(program, &format!("{text}T00:00:00Z")))
            .unwrap_or_else(plain),
        Some("duration") => DURATION
            .with(|program| convert(program, text))
            .unwrap_or_else(plain),
        Some("byte") => {
            use base64::Engine;
            match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(bytes) => Cel::Bytes(Arc::new(bytes)),
                Err(_) => plain(),
            }
        }
        _ => plain(),
    }
}

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A field name as a CEL identifier.
pub(super) fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
