//! OCSP responses that are stapled: no more is asked of them than that they are responses and say
//! something. What they say is between the authority and the client.

/// Whether `response` is a successful OCSP response in DER (RFC 6960 section 4.2.1): a sequence
/// that begins with the status 0.
///
/// # Errors
/// What it is instead.
pub(super) fn check(response: &[u8]) -> Result<(), String> {
    if response.starts_with(b"-----BEGIN") {
        return Err("the OCSP response is PEM: it must be DER".to_owned());
    }
    let body = sequence(response)
        .ok_or_else(|| "the OCSP response is not a response in DER".to_owned())?;
    match body {
        [0x0a, 1, 0, _, ..] => Ok(()),
        [0x0a, 1, status, ..] => Err(format!("the OCSP response says no more than error {status}")),
        _ => Err("the OCSP response is not a response in DER".to_owned()),
    }
}

/// What is in a sequence that is all there is.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let (0x30, rest) = bytes.split_first()? else { return None };
    let (first, rest) = rest.split_first()?;
    let count = usize::from(first & 0x7f);
    let (length, body) = if first & 0x80 == 0 {
        (count, rest)
    } else {
        let (digits, body) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), body)
    };
    (body.len() == length).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_response_that_says_something_is_taken() {
        assert_eq!(check(&[0x30, 5, 0x0a, 1, 0, 0xa0, 0]), Ok(()));
        assert_eq!(check(&[0x30, 0x81, 5, 0x0a, 1, 0, 0xa0, 0]), Ok(()));
        for bytes in [
            &b""[..],
            b"-----BEGIN OCSP RESPONSE-----",
            b"<html>",
            &[0x30, 3, 0x0a, 1, 6],
            &[0x30, 3, 0x0a, 1, 0],
            &[0x30, 6, 0x0a, 1, 0, 0xa0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 5, 0x0a, 1, 0, 0xa0, 0],
            &[0x30, 0x80, 0x0a, 1, 0, 0xa0, 0],
            &[0x31, 5, 0x0a, 1, 0, 0xa0, 0],
        ] {
            assert!(check(bytes).is_err(), "{bytes:?}");
        }
    }
}
