//! Integral numbers without a fraction. The compiler passes integers through a protobuf double and writes `3.0`; user
//! code must see `3`, so every integral number in a document or a value is made an integer, exact up to 2^53.

use serde_json::Value;

/// 2^53: the largest magnitude up to which every integer is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Makes integral doubles integers, everywhere below `value`.
pub fn normalise(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let double = number.as_f64().unwrap_or_default();
            if double.fract() == 0.0 && double.abs() <= EXACT {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "checked to be integral and within 2^53"
                )]
                let integer = double as i64;
                *value = integer.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        Value::Object(fields) => fields.values_mut().for_each(normalise),
        _ => {}
    }
}

/// A number as text, never with an exponent.
pub fn plain(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(double) if number.is_f64() => {
            if double.fract() == 0.0 && double.abs() < 1e21 {
                format!("{double:.0}")
            } else {
                format!("{double}")
            }
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn integral_doubles_lose_their_fraction_at_any_depth() {
        let mut value =
            json!({"a": 3.0, "b": [1.5, 2.0, {"c": -0.0}], "d": "3.0", "e": 9007199254740992.0});
        normalise(&mut value);
        assert_eq!(
            value.to_string(),
            r#"{"a":3,"b":[1.5,2,{"c":0}],"d":"3.0","e":9007199254740992}"#
        );
    }

    #[test]
    fn substituted_numbers_have_no_exponent() {
        let text = |value: Value| plain(value.as_number().unwrap());
        assert_eq!(text(json!(1e-7)), "0.0000001");
        assert_eq!(text(json!(1e20)), "100000000000000000000");
        assert_eq!(text(json!(0.1)), "0.1");
        assert_eq!(text(json!(42)), "42");
    }
}
