//! Names and values of headers as the document writes them: checked once, when it is read, so that
//! no line break can enter a message by way of the configuration (RFC 9110 section 5).

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A header's name, such as `x-api-key`; upper and lower case mean the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9A-Za-z!#$%&'*+.^_`|~-]+$"))]
pub struct FieldName(HeaderName);

impl FieldName {
    /// Takes a name that is known to be one.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        Self(HeaderName::from_static(name))
    }

    /// The name, in lower case.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.0
    }
}

impl TryFrom<String> for FieldName {
    type Error = &'static str;

    /// Parses a token (RFC 9110 section 5.1). `*` alone, which elsewhere stands for all headers, is
    /// refused: the document names each.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) if text != "*" => Ok(Self(name)),
            _ => Err("expected a header's name, such as `x-api-key`"),
        }
    }
}

impl From<FieldName> for String {
    fn from(name: FieldName) -> Self {
        name.0.as_str().to_owned()
    }
}

/// A header's value: visible ASCII, with spaces and tabs inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[!-~]([\\t -~]*[!-~])?$"))]
pub struct FieldValue(HeaderValue);

impl FieldValue {
    /// The value.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// The value as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl TryFrom<String> for FieldValue {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "expected a header's value of visible ASCII characters, \
                                with spaces and tabs only between them";
        let space = |byte: u8| byte == b' ' || byte == b'\t';
        let whole = text.bytes().all(|byte| byte.is_ascii_graphic() || space(byte));
        let ends = [text.bytes().next(), text.bytes().next_back()];
        if !whole || !ends.into_iter().all(|end| end.is_some_and(|end| !space(end))) {
            return Err(EXPECTED);
        }
        HeaderValue::try_from(text).map(Self).map_err(|_| EXPECTED)
    }
}

impl From<FieldValue> for String {
    fn from(value: FieldValue) -> Self {
        value.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_token_in_lower_case() {
        let name = FieldName::try_from("X-Api-Key".to_owned()).unwrap();
        assert_eq!(name, FieldName::from_static("x-api-key"));
        for text in ["", "*", " x", "x ", "x:", "x y", "x\r\ny", "x\0", "é", "\"x\"", "(x)"] {
            assert!(FieldName::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_value_holds_no_control_character_and_no_outer_space() {
        for text in ["x", "a b", "a\tb", "max-age=1; includeSubDomains", "{\"a\":1}"] {
            assert_eq!(String::from(FieldValue::try_from(text.to_owned()).unwrap()), text);
        }
        for text in ["", " ", " a", "a ", "\ta", "a\r\nb", "a\nb", "a\0", "a\u{7f}", "é", "\n"] {
            assert!(FieldValue::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
