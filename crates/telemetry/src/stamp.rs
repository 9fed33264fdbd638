//! Times as text.

use std::time::Duration;

/// RFC 3339 in UTC with microseconds. The date is written anew only when the second changes.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    second: Option<u64>,
    /// As `2026-01-31T23:59:59`.
    date: String,
    text: String,
}

impl Stamp {
    /// `wall` since the UNIX epoch, as `2026-01-31T23:59:59.000001Z`.
    pub(crate) fn text(&mut self, wall: Duration) -> &str {
        let second = wall.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            self.date = date(second);
        }
        self.text.clear();
        self.text.push_str(&self.date);
        self.text.push('.');
        let micros = wall.subsec_micros();
        for place in [100_000, 10_000, 1_000, 100, 10, 1] {
            self.text.push(char::from_digit(micros / place % 10, 10).unwrap_or('0'));
        }
        self.text.push('Z');
        &self.text
    }
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn date(second: u64) -> String {
    // A clock beyond the year 9999 is not worth an error: it shows as the epoch.
    let timestamp = i64::try_from(second).ok().and_then(|it| jiff::Timestamp::from_second(it).ok());
    let mut text = timestamp.unwrap_or_default().to_string();
    text.truncate(text.trim_end_matches('Z').len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_microseconds() {
        let mut stamp = Stamp::default();
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1_000, "2000-02-29T00:00:00.000001Z"),
            (1_800_000_000, 120_000_000, "2027-01-15T08:00:00.120000Z"),
            (1_800_000_000, 34_000, "2027-01-15T08:00:00.000034Z"),
            (u64::MAX, 0, "1970-01-01T00:00:00.000000Z"),
        ];
        for (seconds, nanos, text) in cases {
            assert_eq!(stamp.text(Duration::new(seconds, nanos)), text);
        }
    }
}
