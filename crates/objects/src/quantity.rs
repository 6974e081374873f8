//! Quantities: exact decimal numbers with SI, binary or exponent suffixes (`500m`, `1.5Gi`, `1e3`).
//! Comparison and arithmetic are exact; printing gives the canonical form, in the notation the quantity was written in.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notation {
    /// `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`.
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`.
    BinarySi,
    /// `e3`, `E-3`.
    DecimalExponent,
}

/// An exact number of nano-units with the notation it was written in.
/// Like upstream, nothing finer than 1n is kept (rounded up, away from zero) and binary magnitudes stay below 2^63;
/// decimal ones stay below 10^28, far above what upstream's clients can read.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

const NANO: i128 = 1_000_000_000;
/// 2^63 - 1: larger numbers with binary suffixes are capped, as upstream caps them.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;
/// 10^28 units in nanos: where decimal numbers are capped, so that sums never overflow.
const MAX_DECIMAL: i128 = 10i128.pow(28) * NANO;

/// A text that is not a quantity.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct InvalidQuantity;

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self {
        nanos: 0,
        notation: Notation::DecimalSi,
    };

    /// A whole number of units.
    pub fn from_units(units: i64) -> Self {
        Self {
            nanos: i128::from(units) * NANO,
            notation: Notation::DecimalSi,
        }
    }

    /// A number of thousandths, as CPU is counted.
    pub fn from_millis(millis: i64) -> Self {
        Self {
            nanos: i128::from(millis) * (NANO / 1000),
            notation: Notation::DecimalSi,
        }
    }

    /// A number of bytes, printed with binary suffixes.
    pub fn from_bytes(bytes: u64) -> Self {
        Self {
            nanos: (i128::from(bytes) * NANO).min(MAX_BINARY),
            notation: Notation::BinarySi,
        }
    }

    /// Reads a quantity from JSON: a text or a number.
    pub fn from_json(value: &Value) -> Result<Self, InvalidQuantity> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(InvalidQuantity),
        }
    }

    /// Reads a quantity; the same as `FromStr`.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        text.parse()
    }

    /// The notation it was written in.
    pub fn notation(&self) -> Notation {
        self.notation
    }

    /// The canonical text.
    pub fn canonical(&self) -> String {
        self.to_string()
    }

    /// The nearest floating-point number.
    pub fn to_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Whole units, rounded up (away from zero), as a count of bytes.
    pub fn as_bytes(&self) -> i64 {
        self.scaled(NANO)
    }

    /// Thousandths, rounded up (away from zero), as CPU is counted.
    pub fn as_millis(&self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(&self, unit: i128) -> i64 {
        let rounded = div_away_from_zero(self.nanos, unit);
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// Whether it is exactly zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        self.nanos.signum() as i32
    }
}

#[expect(
    clippy::should_implement_trait,
    reason = "the operators are there too; these need no import"
)]
impl Quantity {
    /// The sum; the same as `+`.
    pub fn add(self, other: Self) -> Self {
        self + other
    }

    /// The difference; the same as `-`.
    pub fn sub(self, other: Self) -> Self {
        self - other
    }
}

impl std::ops::Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            nanos: -self.nanos,
            ..self
        }
    }
}

/// The sum is in the notation of the first one, unless that is zero.
impl std::ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let notation = if self.is_zero() {
            other.notation
        } else {
            self.notation
        };
        Self {
            nanos: cap(self.nanos + other.nanos),
            notation,
        }
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, |sum, quantity| sum + quantity)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

fn cap(nanos: i128) -> i128 {
    nanos.clamp(-MAX_DECIMAL, MAX_DECIMAL)
}

fn div_away_from_zero(number: i128, by: i128) -> i128 {
    let (quotient, rest) = (number / by, number % by);
    if rest == 0 {
        quotient
    } else {
        quotient + number.signum()
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let (is_negative, unsigned) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(InvalidQuantity);
        }
        let (notation, scale) = scale_of(suffix)?;
        let digits: String = [whole, fraction].concat();
        let magnitude = scaled_nanos(&digits, fraction.len(), scale);
        let nanos = magnitude.min(if notation == Notation::BinarySi {
            MAX_BINARY
        } else {
            MAX_DECIMAL
        });
        Ok(Self {
            nanos: if is_negative { -nanos } else { nanos },
            notation,
        })
    }
}

enum Scale {
    Decimal(i32),
    Binary(u32),
}

fn scale_of(suffix: &str) -> Result<(Notation, Scale), InvalidQuantity> {
    let decimal = |exponent| Ok((Notation::DecimalSi, Scale::Decimal(exponent)));
    let binary = |bits| Ok((Notation::BinarySi, Scale::Binary(bits)));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(InvalidQuantity)?;
            let exponent: i32 = exponent.parse().map_err(|_| InvalidQuantity)?;
            Ok((Notation::DecimalExponent, Scale::Decimal(exponent)))
        }
    }
}

/// `digits` with `fraction_digits` behind the point, times the scale, in nanos: rounded up, capped far above the limit.
fn scaled_nanos(digits: &str, fraction_digits: usize, scale: Scale) -> i128 {
    const HUGE: i128 = MAX_DECIMAL;
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() {
        return 0;
    }
    // The power of ten that turns the digits, read as a whole number, into nanos before any binary factor.
    let exponent = 9 - fraction_digits as i64
        + match scale {
            Scale::Decimal(exponent) => i64::from(exponent),
            Scale::Binary(_) => 0,
        };
    let factor: i128 = match scale {
        Scale::Decimal(_) => 1,
        Scale::Binary(bits) => 1 << bits,
    };
    // Digits beyond what can matter are dropped; any of them non-zero rounds up below.
    let kept = trimmed.len().min(28);
    let (head, tail) = trimmed.split_at(kept);
    let mantissa: i128 = head.parse().expect("at most 28 digits");
    let exponent = exponent + tail.len() as i64;
    let lost = tail.bytes().any(|digit| digit != b'0');
    let Some(product) = mantissa.checked_mul(factor) else {
        return HUGE;
    };
    if exponent >= 0 {
        let power = u32::try_from(exponent)
            .ok()
            .and_then(|exponent| 10i128.checked_pow(exponent));
        return power
            .and_then(|power| product.checked_mul(power))
            .map_or(HUGE, |nanos| nanos.min(HUGE));
    }
    let power = u32::try_from(-exponent)
        .ok()
        .and_then(|exponent| 10i128.checked_pow(exponent));
    match power {
        Some(power) => {
            let rounded_up = product % power != 0 || lost;
            product / power + i128::from(rounded_up)
        }
        None => 1,
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Below 1024 binary suffixes say nothing, and fractions they cannot show: decimal is used for both.
        match self.notation {
            Notation::BinarySi if self.nanos % NANO == 0 && self.nanos.abs() >= 1024 * NANO => {
                self.write_binary(f)
            }
            Notation::BinarySi | Notation::DecimalSi => {
                self.write_decimal(f, &["n", "u", "m", "", "k", "M", "G", "T", "P", "E"])
            }
            Notation::DecimalExponent => self.write_decimal(
                f,
                &[
                    "e-9", "e-6", "e-3", "", "e3", "e6", "e9", "e12", "e15", "e18",
                ],
            ),
        }
    }
}

impl Quantity {
    fn write_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = self.nanos / NANO;
        let mut suffix = "";
        for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
            if units % 1024 != 0 {
                break;
            }
            units /= 1024;
            suffix = next;
        }
        write!(f, "{units}{suffix}")
    }

    fn write_decimal(&self, f: &mut fmt::Formatter<'_>, suffixes: &[&str; 10]) -> fmt::Result {
        let mut number = self.nanos;
        let mut step = 0;
        while step + 1 < suffixes.len() && number % 1000 == 0 {
            number /= 1000;
            step += 1;
        }
        write!(f, "{number}{}", suffixes[step])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn quantities_print_in_canonical_form() {
        let cases = [
            ("0", "0"),
            ("0.000", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+5", "5"),
            ("1.5", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("100000", "100k"),
            ("1000000", "1M"),
            ("12500", "12500"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1025Mi", "1025Mi"),
            ("0.5Ki", "512"),
            ("0.1Ki", "102400m"),
            ("1Ki", "1Ki"),
            ("1.1Ki", "1126400m"),
            ("3.7Gi", "3972844748800m"),
            ("9.3E", "9300P"),
            ("1023", "1023"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e-3", "12e-3"),
            ("100e1", "1e3"),
            ("0.1m", "100u"),
            ("0.1n", "1n"),
            ("1.1n", "2n"),
            ("-1.1n", "-2n"),
            ("-100m", "-100m"),
            ("128974848", "128974848"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999999", "99999999999999999999999"),
            ("10Ei", "9223372036854775807"),
            ("1E", "1E"),
            ("1e20", "100e18"),
            ("1e-100", "1e-9"),
        ];
        for (text, canonical) in cases {
            assert_eq!(quantity(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "-", ".", "1.2.3", "1 ", " 1", "1ki", "1KI", "1mi", "1e", "1ee3", "1e3.5", "abc",
            "1K", "0x1", "1_000",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_compare_by_value_and_not_by_text() {
        assert_eq!(quantity("1Gi"), quantity("1073741824"));
        assert_eq!(quantity("1"), quantity("1000m"));
        assert!(quantity("1G") < quantity("1Gi"));
        assert!(quantity("-1") < quantity("0"));
        assert!(quantity("0.1") < quantity("101m"));
    }

    #[test]
    fn views_round_up_so_that_nothing_is_promised_too_little() {
        assert_eq!(quantity("100.5").as_bytes(), 101);
        assert_eq!(quantity("0.0001").as_millis(), 1);
        assert_eq!(quantity("2Gi").as_bytes(), 2 << 30);
        assert_eq!(quantity("1.5").as_millis(), 1500);
        assert_eq!(quantity("250m").to_f64(), 0.25);
    }

    #[test]
    fn sums_keep_the_first_notation() {
        let total: Quantity = ["512Mi", "512Mi"].map(quantity).into_iter().sum();
        assert_eq!(total.to_string(), "1Gi");
        assert_eq!((quantity("1") - quantity("1500m")).to_string(), "-500m");
        assert_eq!(
            Quantity::from_json(&serde_json::json!(2.5))
                .unwrap()
                .to_string(),
            "2500m"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_the_same_number(
            mantissa in -1_000_000_000_000i64..1_000_000_000_000,
            suffix in prop::sample::select(vec!["n", "u", "m", "", "k", "M", "Ki", "Mi", "Gi", "e2", "E-5"]),
        ) {
            let first = quantity(&format!("{mantissa}{suffix}"));
            let text = first.to_string();
            let second = quantity(&text);
            prop_assert_eq!(first, second);
            prop_assert_eq!(second.to_string(), text);
        }

        #[test]
        fn addition_and_subtraction_undo_each_other(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
            let (a, b) = (Quantity::from_millis(a), Quantity::from_millis(b));
            prop_assert_eq!(a + b - b, a);
        }
    }
}
