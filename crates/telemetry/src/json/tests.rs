use serde_json::Value;

use super::*;
use crate::scan::Joined;

/// What a parser reads from a line of this one value.
#[track_caller]
fn read(write: impl FnOnce(&mut Json<'_>)) -> Value {
    let line = written(|line| {
        line.raw(b"{");
        write(line);
        line.raw(b"}");
    });
    assert!(!line.iter().any(|byte| *byte < b' '), "{line:?}");
    serde_json::from_slice::<Value>(&line).unwrap()["x"].take()
}

fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        "\\",
        "\"",
        "\\\"",
        "\\u0000",
        "a\"b",
        "\r\n\r\n{}",
        "\u{2028}\u{2029}",
        "🌒🏴‍☠️",
        "\u{feff}",
    ]
    .map(str::to_owned)
    .into();
    texts.extend((0..0x2_00).filter_map(char::from_u32).map(String::from));
    texts.extend((0..0x80_u8).map(|byte| format!("é{}é{0}{0}", char::from(byte))));
    texts.push((0..0x80_u8).map(char::from).collect());
    for length in [7, 8, 31, 32, 33, 1_000, 70_000] {
        texts.push("x".repeat(length));
        texts.push(format!("{}\"", "x".repeat(length)));
        texts.push(format!("\u{1}{}", "é".repeat(length)));
        texts.push("\"".repeat(length));
    }
    texts
}

#[test]
fn every_text_is_read_as_it_was_written() {
    for text in hostile() {
        assert_eq!(read(|line| line.text(br#""x":""#, &Text::name(&text))), *text);
    }
}

#[test]
fn what_needs_no_closer_look_is_read_as_it_was_written() {
    for text in hostile() {
        let mut joined = Joined::default();
        joined.clear();
        joined.push(&text);
        if !joined.any(closer) {
            assert_eq!(read(|line| line.text(br#""x":""#, &Text::plain(&text))), *text);
        }
    }
}

#[test]
fn texts_from_outside_are_redacted_and_escaped() {
    let text = "said \"Bearer s3cr3t\"\n";
    let expected = "said \"Bearer [redacted]\"\n";
    assert_eq!(read(|line| line.known(br#""x":""#, &Text::outside(text))), expected);
    assert_eq!(read(|line| line.known(br#""x":""#, &Text::outside(""))), Value::Null);
}

#[test]
fn escapes_are_those_that_serde_json_writes() {
    for text in hostile() {
        let line = written(|line| line.text(b"\"", &Text::name(&text)));
        assert_eq!(line, serde_json::to_vec(&text).unwrap());
    }
}

#[test]
fn numbers_are_read_as_they_were_written() {
    let powers = (0..20).map(|power| 10_u64.pow(power));
    let near = powers.flat_map(|power| [power - 1, power, power + 1]);
    for number in (0..12_000).chain(near).chain([u64::MAX, u64::MAX - 1]) {
        let line = written(|line| line.number(b"", number));
        assert_eq!(line, number.to_string().as_bytes());
    }
}

#[test]
fn ids_are_written_as_their_display_writes_them() {
    for id in [0, 1, 0xab, u128::MAX, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, 0x9a << 64] {
        let id = RequestId(id);
        assert_eq!(read(|line| line.id(br#""x":""#, id)), id.to_string());
    }
}
