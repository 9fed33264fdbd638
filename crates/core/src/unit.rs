//! Quantities of the document: `30s`, `1MiB`, `600/min`. Never bare numbers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time: `250ms`, `30s`, `5min`, `2h`, `7d`. At most 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

/// A number of bytes: `512B`, `16KiB`, `1MiB`, `2GiB`. At most 1 TiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// So many in a span of time: `10/s`, `600/min`, `5000/h`, `100000/d`. At least one, at most a
/// billion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub period: Duration,
}

/// A share of a whole: `20%`. At most `100%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u8);

/// What is wrong with a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct UnitInvalid {
    expected: &'static str,
    found: String,
}

impl UnitInvalid {
    fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.chars().take(40).collect() }
    }
}

const PERIOD: &str = "a length of time such as `250ms`, `30s`, `5min`, `2h` or `7d`";
const SIZE: &str = "a size such as `512B`, `16KiB`, `1MiB` or `2GiB`";
const PERCENT: &str = "a share such as `20%`, `100%` at most";
const RATE: &str = "a rate such as `10/s`, `600/min`, `5000/h` or `100000/d`";

impl FromStr for Period {
    type Err = UnitInvalid;

    fn from_str(text: &str) -> Result<Self, UnitInvalid> {
        let invalid = || UnitInvalid::new(PERIOD, text);
        let (number, unit) = split_number(text).ok_or_else(invalid)?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "min" | "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(invalid()),
        };
        let total = number.checked_mul(milliseconds).filter(|ms| *ms <= 366 * 86_400_000);
        total.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(invalid)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
        match units.iter().find(|(_, size)| ms > 0 && ms.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", ms / size),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for ByteSize {
    type Err = UnitInvalid;

    fn from_str(text: &str) -> Result<Self, UnitInvalid> {
        let invalid = || UnitInvalid::new(SIZE, text);
        let (number, unit) = split_number(text).ok_or_else(invalid)?;
        let factor: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(invalid()),
        };
        number.checked_mul(factor).filter(|n| *n <= 1 << 40).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for Percent {
    type Err = UnitInvalid;

    fn from_str(text: &str) -> Result<Self, UnitInvalid> {
        let invalid = || UnitInvalid::new(PERCENT, text);
        match split_number(text).ok_or_else(invalid)? {
            (number @ 0..=100, "%") => u8::try_from(number).map(Self).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Rate {
    /// Units a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        f64::from(self.count) / self.period.as_secs_f64()
    }
}

impl FromStr for Rate {
    type Err = UnitInvalid;

    fn from_str(text: &str) -> Result<Self, UnitInvalid> {
        let invalid = || UnitInvalid::new(RATE, text);
        let (count, unit) = text.split_once('/').ok_or_else(invalid)?;
        let (count, rest) = split_number(count).ok_or_else(invalid)?;
        let seconds = match unit {
            "s" => 1,
            "min" | "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(invalid()),
        };
        let count = u32::try_from(count).ok().filter(|n| (1..=1_000_000_000).contains(n));
        match count {
            Some(count) if rest.is_empty() => {
                Ok(Self { count, period: Duration::from_secs(seconds) })
            }
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period.as_secs() {
            1 => "s",
            60 => "min",
            3_600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Digits (no sign, no leading zero) and what follows them.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if leading_zero || digits.len() > 15 {
        return None;
    }
    digits.parse().ok().map(|number| (number, unit))
}

macro_rules! textual {
    ($type:ty, $name:literal, $expected:expr, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expected, "pattern": $pattern })
            }
        }
    };
}

textual!(Period, "Period", PERIOD, "^(0|[1-9][0-9]*)(ms|s|m|min|h|d)$");
textual!(ByteSize, "ByteSize", SIZE, "^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$");
textual!(Percent, "Percent", PERCENT, "^(100|[1-9]?[0-9])%$");
textual!(Rate, "Rate", RATE, "^[1-9][0-9]*/(s|m|min|h|d)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_as_they_are_written() {
        for text in ["250ms", "30s", "5min", "2h", "7d", "90s", "0ms"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for text in ["512B", "16KiB", "1MiB", "2GiB", "0B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["0%", "20%", "100%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        for text in ["10/s", "600/min", "5000/h", "100000/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "30", "s", "-1s", "1.5s", "30 s", "01s", "9999999999999999d", "367d", "1y"]
        {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        for text in ["1", "1MB", "1mib", "-1B", "9999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["20", "101%", "-1%", "2.5%", "%", "020%", "20 %"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        for text in ["0/s", "1/", "1", "1/s/s", "9999999999/s", "1x/s", "1/week"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
