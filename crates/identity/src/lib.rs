//! Proofs as a library: what a client shows to say who it is, and how that is checked.
//!
//! Three kinds so far: API keys ([`ApiKey`], looked up by [`KeyDigest`] under a [`Pepper`]),
//! passwords ([`PasswordHash`]) and the `Authorization: Basic` value that carries them
//! ([`BasicCredentials`]).
//!
//! Invariants: no input or output except the operating system's randomness when a key or a salt is
//! made; no clock; none of our other crates. Every parser takes hostile bytes and answers with an
//! error that tells what was expected and never repeats what was found. What holds a secret wipes
//! it when dropped and shows nothing of it in `Debug`.

#![warn(missing_docs)]

mod api_key;
mod basic;
mod constant_time;
mod decimal;
mod key_digest;
mod new_password;
mod password;

pub use api_key::{ApiKey, KeyCreation, KeyFormat};
pub use basic::{BasicCredentials, BasicFormat, MAX_USER_LEN};
pub use constant_time::constant_time_eq;
pub use key_digest::{DigestFormat, KeyDigest, MIN_PEPPER_LEN, Pepper, PepperFormat};
pub use new_password::{MIN_PASSWORD_CHARS, PasswordCreation};
pub use password::{HashFormat, MAX_PASSWORD_LEN, PasswordHash};
