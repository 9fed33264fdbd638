//! Host patterns and path templates.

use std::fmt;

use crate::head::Host;
use crate::path::canonical_path;

/// A host that a route matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name or address, in lower case.
    Exact(String),
    /// Any name of one or more labels below this suffix: `*.example.com` holds `example.com`.
    Below(String),
}

/// Why a pattern cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternInvalid(pub String);

impl HostPattern {
    /// Parses `api.example.com` or `*.example.com`.
    ///
    /// # Errors
    /// For ports, schemes, wildcards elsewhere and anything that is no host name.
    pub fn parse(text: &str) -> Result<Self, PatternInvalid> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let host = Host::parse(name).ok().filter(|host| host.port().is_none());
        let Some(host) = host else {
            return Err(PatternInvalid(format!(
                "expected a host such as `api.example.com` or `*.example.com`, found `{text}`"
            )));
        };
        let name = host.name().to_owned();
        Ok(if wildcard { Self::Below(name) } else { Self::Exact(name) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// One segment of a path template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// This text, in canonical form.
    Literal(String),
    /// Any one segment that is not empty.
    Parameter(String),
    /// Any number of segments, none included. Only at the end.
    Rest,
}

/// A path as a route writes it: `/v1/customers/{customer}/orders/**`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    segments: Vec<Segment>,
}

impl Default for Template {
    /// Every path.
    fn default() -> Self {
        Self { segments: vec![Segment::Rest] }
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// Where it does not start with a slash, is not canonical, names a parameter twice, or has `**`
    /// anywhere but as the last segment.
    pub fn parse(text: &str) -> Result<Self, PatternInvalid> {
        let invalid = |reason: &str| PatternInvalid(format!("path `{text}`: {reason}"));
        let Some(rest) = text.strip_prefix('/') else {
            return Err(invalid("must start with a slash"));
        };
        let mut segments = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let count = rest.split('/').count();
        for (i, part) in rest.split('/').enumerate() {
            let last = i + 1 == count;
            let segment = if part == "**" {
                if !last {
                    return Err(invalid("`**` may only stand at the end"));
                }
                Segment::Rest
            } else if let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                let valid = !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                if !valid {
                    return Err(invalid(
                        "a parameter is written `{name}`, of letters, digits, `_`, `-`",
                    ));
                }
                if names.contains(&name) {
                    return Err(invalid("a parameter is named twice"));
                }
                names.push(name);
                Segment::Parameter(name.to_owned())
            } else if part.contains(['{', '}', '*']) {
                return Err(invalid("`{name}` and `**` stand for whole segments"));
            } else if part.is_empty() && !last {
                return Err(invalid("empty segments are merged before matching"));
            } else {
                let whole = format!("/{part}");
                match canonical_path(&whole) {
                    Ok(canonical) if *canonical == *whole => Segment::Literal(part.to_owned()),
                    Ok(canonical) => {
                        return Err(PatternInvalid(format!(
                            "path `{text}`: requests are matched in canonical form, \
                             in which `{part}` is `{}`",
                            canonical.trim_start_matches('/')
                        )));
                    }
                    Err(refusal) => return Err(invalid(&refusal.to_string())),
                }
            };
            segments.push(segment);
        }
        Ok(Self { segments })
    }

    /// The segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of its parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) | Segment::Rest => None,
        })
    }

    /// The segment of `path` (which matches) that `{name}` stands for.
    #[must_use]
    pub fn parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let at = self
            .segments
            .iter()
            .position(|segment| matches!(segment, Segment::Parameter(n) if n == name))?;
        path.split('/').nth(at + 1)
    }

    /// Whether both match the same paths (parameter names apart).
    #[must_use]
    pub fn same_shape(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Parameter(_), Segment::Parameter(_)) => true,
                (mine, theirs) => mine == theirs,
            })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter(name) => write!(f, "/{{{name}}}")?,
                Segment::Rest => f.write_str("/**")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_print_as_they_are_written() {
        for text in ["/", "/**", "/v1/{id}/x", "/v1/customers/{customer}/orders/**", "/a/"] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for text in [
            "", "v1", "/a//b", "/**/x", "/a*", "/{a}/{a}", "/{}", "/x{a}", "/a%2fb", "/%61",
            "/a;b", "/../a", "/{a b}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn host_patterns_are_names_without_ports() {
        assert_eq!(
            HostPattern::parse("*.Example.com"),
            Ok(HostPattern::Below("example.com".into()))
        );
        for text in ["", "*", "*.", "a.*.b", "https://a", "a:80", "*a.b"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
