//! Times as text.

use std::time::Duration;

/// RFC 3339 in UTC with microseconds. The date is written anew only when the second changes.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    second: Option<u64>,
    /// As `2026-01-31T23:59:59.000001Z`.
    bytes: Vec<u8>,
}

impl Stamp {
    /// `wall` since the UNIX epoch, as `2026-01-31T23:59:59.000001Z`.
    pub(crate) fn text(&mut self, wall: Duration) -> &str {
        std::str::from_utf8(self.bytes(wall)).unwrap_or_default()
    }

    /// The same as bytes.
    pub(crate) fn bytes(&mut self, wall: Duration) -> &[u8] {
        let second = wall.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            self.bytes = format!("{}.000000Z", date(second)).into_bytes();
        }
        if let Some([micros @ .., _]) = self.bytes.last_chunk_mut::<7>() {
            let number = wall.subsec_micros();
            let digit = |place: u32| b'0' + (number / place % 10) as u8;
            let [a, b, c] = [digit(100_000), digit(10_000), digit(1_000)];
            *micros = [a, b, c, digit(100), digit(10), digit(1)];
        }
        &self.bytes
    }
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
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
