//! Numbers and booleans as they must be written.

use serde::de::Visitor;

use crate::tree::Scalar;

use super::error::{Error, cut};

/// A number type that reads canonical decimal and nothing else.
pub(super) trait Number: Sized {
    /// What a message says was expected.
    fn expected() -> String;
    /// The number, if it is written canonically and fits.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! integers {
    ($($integer:ty),+) => {$(
        impl Number for $integer {
            fn expected() -> String {
                format!("a whole number from {} to {}", Self::MIN, Self::MAX)
            }

            fn read(text: &str) -> Option<Self> {
                is_integer(text).then(|| text.parse().ok()).flatten()
            }
        }
    )+};
}

integers!(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128);

macro_rules! floats {
    ($($float:ty),+) => {$(
        impl Number for $float {
            fn expected() -> String {
                "a decimal number".into()
            }

            fn read(text: &str) -> Option<Self> {
                let number: Self = is_number(text).then(|| text.parse().ok()).flatten()?;
                number.is_finite().then_some(number)
            }
        }
    )+};
}

floats!(f32, f64);

/// `0`, `42`, `-7`; not `007`, `+1`, `-0`, `0x10`, `1_000` or `1e3`, which people read differently
/// from machines, and machines from each other.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text != "-0" && whole(digits).is_some_and(str::is_empty)
}

/// A number in JSON's grammar (RFC 8259, section 6).
pub(super) fn is_number(text: &str) -> bool {
    number(text).is_some_and(str::is_empty)
}

fn number(text: &str) -> Option<&str> {
    let mut rest = whole(text.strip_prefix('-').unwrap_or(text))?;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = digits(fraction)?;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        rest = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?;
    }
    Some(rest)
}

/// What follows the whole part.
fn whole(text: &str) -> Option<&str> {
    text.strip_prefix('0').or_else(|| digits(text))
}

/// What follows at least one digit.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|char: char| char.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// For a visitor that did not say what it wants.
pub(super) fn visit_any<'de, V>(scalar: &'de Scalar, visitor: V) -> Result<V::Value, Error>
where
    V: Visitor<'de>,
{
    let text = scalar.text.as_str();
    match text {
        _ if !scalar.plain => visitor.visit_borrowed_str(text),
        "true" => visitor.visit_bool(true),
        "false" => visitor.visit_bool(false),
        _ if is_integer(text) => {
            if let Some(number) = u64::read(text) {
                visitor.visit_u64(number)
            } else if let Some(number) = i64::read(text) {
                visitor.visit_i64(number)
            } else {
                Err(Error::plain(format!("the number `{}` is too large", cut(text))))
            }
        }
        _ if is_number(text) => match f64::read(text) {
            Some(number) => visitor.visit_f64(number),
            None => Err(Error::plain(format!("the number `{}` is too large", cut(text)))),
        },
        _ => visitor.visit_borrowed_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_written_one_way() {
        for text in ["0", "7", "-7", "65535", "1000000000000000000000"] {
            assert!(is_integer(text), "{text}");
        }
        for text in
            ["", "-", "00", "010", "-0", "+1", "0x10", "0o17", "1_000", "1e3", "1.0", " 1", "١"]
        {
            assert!(!is_integer(text), "{text}");
        }
    }

    #[test]
    fn a_number_is_written_as_in_json() {
        for text in ["0", "-0", "0.5", "-1.25", "1e3", "1E-3", "10.0e+2"] {
            assert!(is_number(text), "{text}");
        }
        for text in
            ["", ".5", "1.", "01", "+1", ".inf", ".nan", "inf", "NaN", "1e", "1e+", "0x1", "1_0"]
        {
            assert!(!is_number(text), "{text}");
        }
        assert_eq!(f64::read("1e999"), None);
        assert_eq!(u8::read("256"), None);
        assert_eq!(i8::read("-128"), Some(-128));
    }
}
