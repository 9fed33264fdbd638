//! What a new password must be: long, and not one that attackers try first.
//!
//! No rules about kinds of characters, which make passwords worse (NIST SP 800-63B, section
//! 5.1.1.2): a length, a list of common ones, and the patterns that such lists are full of.

use zeroize::Zeroizing;

use crate::password::MAX_PASSWORD_LEN;

/// The least number of characters (Unicode scalar values) of a new password.
pub const MIN_PASSWORD_CHARS: usize = 12;

/// Passwords of 12 characters and more that stand high in guessing lists, in lower case.
const COMMON: &str = include_str!("common_passwords.txt");

/// A common password's letters are its core; a shorter core (`abc`) is no evidence.
const MIN_CORE_LEN: usize = 6;

/// Rows that hands run along, forwards and backwards.
const ROWS: [&str; 9] = [
    "abcdefghijklmnopqrstuvwxyzabcdefghijklm",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,./",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1q2w3e4r5t6y7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "!@#$%^&*()_+",
];

/// Why no hash of a password was made. Repeats nothing of the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordCreation {
    /// Too few characters.
    #[error("expected a password of at least {MIN_PASSWORD_CHARS} characters, found {found}")]
    TooShort {
        /// The number of characters found.
        found: usize,
    },
    /// Too many bytes.
    #[error("expected a password of at most {MAX_PASSWORD_LEN} bytes, found {found}")]
    TooLong {
        /// The number of bytes found.
        found: usize,
    },
    /// A control character, which `Authorization: Basic` could never carry (RFC 7617, section 2).
    #[error("expected a password without control characters, such as a line feed at its end")]
    ControlCharacter,
    /// One of the passwords that are tried first, or such a one among digits and signs.
    #[error("expected a password that nobody else would choose, found a common one")]
    Common,
    /// Something shorter than 12 characters, repeated.
    #[error("expected a password that does not repeat one short part, found a repetition")]
    Repeated,
    /// A run along the alphabet, the digits or a keyboard.
    #[error("expected a password that is no run along the alphabet or keyboard, found one")]
    Sequence,
    /// The operating system gave no randomness for a salt.
    #[error("the operating system gave no randomness: {0}")]
    Randomness(getrandom::Error),
    /// The hash could not be computed.
    #[error("the password's hash could not be computed")]
    Hashing,
}

/// Tells whether `password` may be chosen.
pub(crate) fn check_new_password(password: &str) -> Result<(), PasswordCreation> {
    if password.len() > MAX_PASSWORD_LEN {
        return Err(PasswordCreation::TooLong { found: password.len() });
    }
    let found = password.chars().count();
    if found < MIN_PASSWORD_CHARS {
        return Err(PasswordCreation::TooShort { found });
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordCreation::ControlCharacter);
    }
    let lower = Zeroizing::new(password.to_ascii_lowercase());
    if is_common(&lower) {
        return Err(PasswordCreation::Common);
    }
    if is_repeated(&lower, found) {
        return Err(PasswordCreation::Repeated);
    }
    if is_sequence(&lower) {
        return Err(PasswordCreation::Sequence);
    }
    Ok(())
}

fn is_common(lower: &str) -> bool {
    let own_core = core(lower);
    COMMON.lines().any(|common| {
        let core = core(common);
        lower == common || (core.len() >= MIN_CORE_LEN && own_core == core)
    })
}

/// What is left without the digits and signs around it: people add those when told to.
fn core(text: &str) -> &str {
    text.trim_matches(|each: char| !each.is_alphabetic())
}

/// Whether it is a part of fewer than 12 characters, twice or more: no better than the part, which
/// would be too short.
fn is_repeated(lower: &str, chars: usize) -> bool {
    (1..MIN_PASSWORD_CHARS)
        .take_while(|period| period * 2 <= chars)
        .any(|period| lower.chars().zip(lower.chars().skip(period)).all(|(a, b)| a == b))
}

fn is_sequence(lower: &str) -> bool {
    // With its capacity from the start, so that no copy is left behind by growing.
    let mut reversed = Zeroizing::new(String::with_capacity(lower.len()));
    reversed.extend(lower.chars().rev());
    ROWS.iter().any(|row| row.contains(lower) || row.contains(reversed.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(password: &str) -> PasswordCreation {
        check_new_password(password).expect_err(password)
    }

    #[test]
    fn a_password_of_ones_own_is_admitted() {
        for password in [
            "correct horse battery staple",
            "nine7lives%of",
            "Xk29fjQpW0aX",
            "Xk29fjQpW0aZXk29fjQpW0aZ",
            "zwölf Zeichen",
            "двенадцать слов",
            "🔑🗝🚪🏰🛡⚔🌙🌘🌗🌖🌕🌔",
            &"lorem ipsum dolor sit amet, ".repeat(36),
        ] {
            assert_eq!(check_new_password(password), Ok(()), "{password}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_and_bounded_in_bytes() {
        assert_eq!(refusal(""), PasswordCreation::TooShort { found: 0 });
        assert_eq!(refusal("nine7lives%"), PasswordCreation::TooShort { found: 11 });
        assert_eq!(refusal("éèêëàâäïîôö"), PasswordCreation::TooShort { found: 11 });
        let long = "nine lives of a cat. ".repeat(49);
        assert_eq!(refusal(&long), PasswordCreation::TooLong { found: 1029 });
    }

    #[test]
    fn control_characters_are_refused() {
        for control in ['\0', '\n', '\r', '\t', '\u{7f}', '\u{85}'] {
            let password = format!("nine7lives%of{control}");
            assert_eq!(refusal(&password), PasswordCreation::ControlCharacter);
        }
    }

    #[test]
    fn common_passwords_are_refused_in_any_case_and_however_decorated() {
        for password in COMMON.lines() {
            assert_eq!(refusal(password), PasswordCreation::Common, "{password}");
            let upper = password.to_ascii_uppercase();
            assert_eq!(refusal(&upper), PasswordCreation::Common, "{password}");
        }
        for password in
            ["Password2024!!", "**ADMINISTRATOR**", "2025-Changeme-2025", "Qwerty!99999"]
        {
            assert_eq!(refusal(password), PasswordCreation::Common, "{password}");
        }
    }

    #[test]
    fn the_list_of_common_passwords_is_sound() {
        let list: Vec<&str> = COMMON.lines().collect();
        assert!(list.len() >= 100, "{}", list.len());
        for (at, password) in list.iter().enumerate() {
            assert!(password.len() >= MIN_PASSWORD_CHARS, "too short to matter: {password}");
            assert_eq!(**password, password.to_ascii_lowercase());
            assert_eq!(*password, password.trim());
            assert!(!list[..at].contains(password), "twice: {password}");
        }
    }

    #[test]
    fn repetitions_are_refused() {
        for password in
            ["aaaaaaaaaaaa", "abababababab", "Xk29fjXk29fj", "hunter2hunter2hun", "éàéàéàéàéàéà"]
        {
            assert_eq!(refusal(password), PasswordCreation::Repeated, "{password}");
        }
    }

    #[test]
    fn runs_are_refused() {
        for password in
            ["bcdefghijklmn", "NMLKJIHGFEDCBA", "wertyuiopasd", "345678901234", "lkjhgfdsapoi"]
        {
            assert_eq!(refusal(password), PasswordCreation::Sequence, "{password}");
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_the_password() {
        for password in ["hunter2", "hunter2hunter2", "hunter2hunter\n"] {
            let refused = refusal(password);
            assert!(!format!("{refused} {refused:?}").contains("hunter"));
        }
    }
}
