//! Which type a scalar has. Mirrors the resolver of go-yaml v2, which kubectl uses.

use serde_json::{Number, Value};

/// The value of a scalar; `tag` is the part of an explicit tag behind its handle.
pub(super) fn resolve(text: &str, is_plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        None | Some("") if is_plain => plain(text),
        Some("binary") => {
            decoded(text).ok_or_else(|| "!!binary value contains invalid base64 data".to_owned())
        }
        Some(tag @ ("int" | "float" | "bool" | "null")) => {
            let value = plain(text)?;
            let fits = match tag {
                "int" => value.is_i64() || value.is_u64(),
                "float" => value.is_number(),
                "bool" => value.is_boolean(),
                _ => value.is_null(),
            };
            if fits {
                Ok(value)
            } else {
                Err(format!(
                    "cannot decode {} as a !!{tag}",
                    crate::field::quote(text)
                ))
            }
        }
        // Texts, times (kept as they are written) and tags that mean nothing here.
        _ => Ok(text.into()),
    }
}

/// A scalar as a key of a JSON map; `None` for null, lists and maps.
pub(super) fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text behind base64, if it is one.
fn decoded(text: &str) -> Option<Value> {
    use base64::Engine;
    let compact: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .ok()?;
    String::from_utf8(bytes).ok().map(Value::String)
}

fn plain(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            true.into()
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            false.into()
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return Err(format!("unsupported value: {text}")),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => {
            number(text).map_or_else(|| text.into(), Value::Number)
        }
        _ => text.into(),
    })
}

fn number(text: &str) -> Option<Number> {
    let compact = text.replace('_', "");
    if let Some(number) = integer(&compact) {
        return Some(number);
    }
    if is_float(&compact) {
        return compact.parse::<f64>().ok().and_then(Number::from_f64);
    }
    None
}

fn integer(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.as_str() {
        hex if hex.starts_with("0x") => (&hex[2..], 16),
        binary if binary.starts_with("0b") => (&binary[2..], 2),
        octal if octal.starts_with("0o") => (&octal[2..], 8),
        octal if octal.len() > 1 && octal.starts_with('0') => (&octal[1..], 8),
        decimal => (decimal, 10),
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if is_negative {
        let number = i128::from(magnitude);
        return i64::try_from(-number).ok().map(Number::from);
    }
    Some(Number::from(magnitude))
}

/// Digits with at most one point and an optional exponent.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    let is_exponent_good = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    has_digits && all_digits(whole) && all_digits(fraction) && is_exponent_good
}
