//! Following steps through a value.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Error, Operand, Operator, Part, Step};

struct Context<'a> {
    root: &'a Value,
    allows_missing: bool,
}

pub(super) fn find<'a>(
    parts: &'a [Part],
    value: &'a Value,
    allows_missing: bool,
) -> Result<Vec<&'a Value>, Error> {
    let context = Context {
        root: value,
        allows_missing,
    };
    let mut found = Vec::new();
    collect(&context, parts, value, &mut found)?;
    Ok(found)
}

fn collect<'a>(
    context: &Context<'a>,
    parts: &'a [Part],
    value: &'a Value,
    found: &mut Vec<&'a Value>,
) -> Result<(), Error> {
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Path(steps) => found.extend(context.follow(steps, vec![value])?),
            Part::Range(steps, body) => {
                for item in context.follow(steps, vec![value])? {
                    collect(context, body, item, found)?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn render(parts: &[Part], value: &Value, allows_missing: bool) -> Result<String, Error> {
    let context = Context {
        root: value,
        allows_missing,
    };
    let mut out = String::new();
    write(&context, parts, value, &mut out)?;
    Ok(out)
}

fn write<'a>(
    context: &Context<'a>,
    parts: &'a [Part],
    value: &'a Value,
    out: &mut String,
) -> Result<(), Error> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(steps) => {
                for (index, found) in context.follow(steps, vec![value])?.into_iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    match found {
                        Value::String(text) => out.push_str(text),
                        other => out.push_str(&other.to_string()),
                    }
                }
            }
            Part::Range(steps, body) => {
                for item in context.follow(steps, vec![value])? {
                    write(context, body, item, out)?;
                }
            }
        }
    }
    Ok(())
}

impl<'a> Context<'a> {
    fn follow(&self, steps: &'a [Step], start: Vec<&'a Value>) -> Result<Vec<&'a Value>, Error> {
        let mut here = start;
        for step in steps {
            here = self.step(step, here)?;
        }
        Ok(here)
    }

    fn step(&self, step: &'a Step, here: Vec<&'a Value>) -> Result<Vec<&'a Value>, Error> {
        let mut next = Vec::new();
        match step {
            Step::Root => return Ok(vec![self.root]),
            Step::Field(name) => {
                for value in &here {
                    next.extend(value.get(name));
                }
                if next.is_empty() && !here.is_empty() && !self.allows_missing {
                    return Err(Error::Missing(name.clone()));
                }
            }
            Step::Wildcard => {
                for value in here {
                    next.extend(children(value));
                }
            }
            Step::Recursive => {
                for value in here {
                    descendants(value, &mut next);
                }
            }
            Step::Slice(start, end, stride) => {
                for value in here {
                    self.slice(value, *start, *end, *stride, &mut next)?;
                }
            }
            Step::Union(paths) => {
                for path in paths {
                    next.extend(self.follow(path, here.clone())?);
                }
            }
            Step::Filter(left, operator, right) => {
                for value in here {
                    let Value::Array(items) = value else {
                        if self.allows_missing {
                            continue;
                        }
                        return Err(Error::Type("a filter needs a list".to_owned()));
                    };
                    for item in items {
                        if self.fulfils(item, left, *operator, right) {
                            next.push(item);
                        }
                    }
                }
            }
        }
        Ok(next)
    }

    fn slice(
        &self,
        value: &'a Value,
        start: Option<i64>,
        end: Option<i64>,
        stride: Option<i64>,
        next: &mut Vec<&'a Value>,
    ) -> Result<(), Error> {
        let Value::Array(items) = value else {
            if self.allows_missing || value.is_null() {
                return Ok(());
            }
            return Err(Error::Type(format!("{value} is not array or slice")));
        };
        let len = items.len() as i64;
        if len == 0 {
            return Ok(());
        }
        let resolve = |index: i64| if index < 0 { index + len } else { index };
        let first = start.map_or(0, resolve);
        let last = end.map_or(len, resolve);
        for index in [first, last - 1] {
            let is_empty_end = index == -1 && last == 0;
            if !is_empty_end && !(0..len).contains(&index) {
                return Err(Error::Type(format!(
                    "array index out of bounds: index {index}, length {len}"
                )));
            }
        }
        if first > last {
            return Err(Error::Type(format!(
                "starting index {first} is greater than ending index {last}"
            )));
        }
        let stride = stride.filter(|stride| *stride > 0).unwrap_or(1) as usize;
        next.extend(items[first as usize..last as usize].iter().step_by(stride));
        Ok(())
    }

    fn side(&self, item: &'a Value, operand: &'a Operand) -> Option<&'a Value> {
        match operand {
            Operand::Literal(value) => Some(value),
            Operand::None => None,
            Operand::Path(steps) => {
                let lenient = Context {
                    root: self.root,
                    allows_missing: true,
                };
                lenient.follow(steps, vec![item]).ok()?.into_iter().next()
            }
        }
    }

    fn fulfils(
        &self,
        item: &'a Value,
        left: &'a Operand,
        operator: Operator,
        right: &'a Operand,
    ) -> bool {
        let left = self.side(item, left);
        if operator == Operator::Exists {
            return left.is_some();
        }
        let (Some(left), Some(right)) = (left, self.side(item, right)) else {
            return false;
        };
        let order = compare(left, right);
        match operator {
            Operator::Exists => true,
            Operator::Equal => order == Some(Ordering::Equal) || left == right,
            Operator::NotEqual => order != Some(Ordering::Equal) && left != right,
            Operator::Less => order == Some(Ordering::Less),
            Operator::LessOrEqual => order.is_some_and(Ordering::is_le),
            Operator::Greater => order == Some(Ordering::Greater),
            Operator::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn descendants<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(value);
    for child in children(value) {
        if child.is_array() || child.is_object() {
            descendants(child, found);
        }
    }
}
