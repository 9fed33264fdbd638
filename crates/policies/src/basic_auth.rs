//! `basic_auth`: callers prove themselves by user and password (RFC 7617).
//!
//! Passwords are verified against argon2id hashes on the bounded pool; where its queue is full the
//! request faults instead of waiting. An unknown user costs as much as a wrong password and reads
//! the same, so that nobody learns who exists. Each attempt costs tens of milliseconds of one core:
//! limit such routes by address.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use demilune_core::policy::{Code, REASON_HELP, check_reason};
use demilune_core::{
    Authentication, Authenticator, Carrier, Compute, Consumer, Denial, Env, Fault, Identity,
    Invalid, Meta, Outcome, Proof, Request, Scheme,
};
use demilune_identity::{BasicCredentials, BasicFormat, HashFormat, MAX_USER_LEN, PasswordHash};
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use crate::concealed;

const REALM_LONGEST: usize = 64;

/// Proves consumers by user and password.
///
/// Over plain HTTP a password can be read on the way: it is refused there unless `plain_text` says
/// why not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// What the browser's dialogue says that the password is for: 1 to 64 visible ASCII characters
    /// and spaces, without `"` and `\`. Default: `demilune`.
    #[serde(default = "realm")]
    pub realm: String,
    /// Why passwords are accepted over plain HTTP. Default: they are not.
    #[serde(default)]
    pub plain_text: Option<String>,
}

fn realm() -> String {
    "demilune".to_owned()
}

/// A user name and password of a consumer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicCredential {
    /// The user name: 1 to 1024 bytes without colon and control characters. Upper and lower case
    /// differ.
    pub user: UserName,
    /// The password's argon2id hash: `$argon2id$v=19$m=19456,t=2,p=1$…`.
    pub password_hash: StoredHash,
}

impl BasicCredential {
    /// What no two consumers may share: the user name.
    #[must_use]
    pub fn unique(&self) -> String {
        self.user.0.clone()
    }
}

/// A user name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[^:\\u0000-\\u001f\\u007f-\\u009f]{1,1024}$"))]
pub struct UserName(String);

impl TryFrom<String> for UserName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = (1..=MAX_USER_LEN).contains(&text.len());
        if !fits || text.chars().any(|c| c == ':' || c.is_control()) {
            return Err(format!(
                "expected a user name of 1 to {MAX_USER_LEN} bytes without colon and control \
                 characters"
            ));
        }
        Ok(Self(text))
    }
}

impl From<UserName> for String {
    fn from(user: UserName) -> Self {
        user.0
    }
}

/// An argon2id hash of a password.
#[derive(Clone, JsonSchema)]
#[schemars(with = "String", extend("pattern" = HASH_PATTERN))]
pub struct StoredHash {
    hash: Arc<PasswordHash>,
    /// As it is written in the document.
    text: Arc<str>,
}

const HASH_PATTERN: &str =
    r"^\$argon2id\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[0-9A-Za-z+/]+\$[0-9A-Za-z+/]+$";

impl FromStr for StoredHash {
    type Err = HashFormat;

    fn from_str(text: &str) -> Result<Self, HashFormat> {
        Ok(Self { hash: Arc::new(text.parse()?), text: text.into() })
    }
}

impl<'de> Deserialize<'de> for StoredHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        concealed::deserialize(deserializer)
    }
}

impl Serialize for StoredHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash(concealed)")
    }
}

impl Authentication for BasicAuth {
    const META: Meta = Meta {
        name: "basic_auth",
        since: "0.1",
        codes: &[
            Code {
                code: "basic_auth.malformed",
                status: 401,
                meaning: "The credential is broken, or `Authorization` is given more than once.",
            },
            Code {
                code: "basic_auth.rejected",
                status: 401,
                meaning: "There is no such user, or the password is another.",
            },
            Code {
                code: "basic_auth.plain_text",
                status: 403,
                meaning: "The password came over plain HTTP. It is no secret any more: change it.",
            },
        ],
    };

    fn build(&self, env: &Env<'_>) -> Result<Arc<dyn Authenticator>, Invalid> {
        let inside = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
        let fits = (1..=REALM_LONGEST).contains(&self.realm.len());
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.realm);
        let challenge = match HeaderValue::try_from(challenge) {
            Ok(challenge) if fits && self.realm.bytes().all(inside) => challenge,
            _ => {
                let expected = "expected 1 to 64 visible ASCII characters without `\"` and `\\`";
                return Err(Invalid::new("realm", expected));
            }
        };
        if let Some(Err(found)) = self.plain_text.as_deref().map(check_reason) {
            return Err(Invalid::new("plain_text", found).help(REASON_HELP));
        }
        let mut users = HashMap::new();
        for (consumer, credential) in env.directory.credentials::<BasicCredential>() {
            let user = User {
                consumer: Arc::clone(consumer),
                hash: Arc::clone(&credential.password_hash.hash),
            };
            if users.insert(credential.user.0.clone(), user).is_some() {
                let reason = format!("a user name of `{}` is another's too", consumer.name);
                return Err(Invalid::new("", reason));
            }
        }
        let nobody = PasswordHash::dummy_for(users.values().map(|user: &User| &*user.hash));
        Ok(Arc::new(Passwords {
            challenge,
            plain_text: self.plain_text.is_some(),
            users,
            nobody: Arc::new(nobody),
            compute: Arc::clone(env.compute),
        }))
    }
}

struct Passwords {
    challenge: HeaderValue,
    /// Whether passwords are accepted over plain HTTP.
    plain_text: bool,
    users: HashMap<String, User>,
    /// What the passwords of unknown users are verified against, for the time that it takes.
    nobody: Arc<PasswordHash>,
    compute: Arc<dyn Compute>,
}

struct User {
    consumer: Arc<Consumer>,
    hash: Arc<PasswordHash>,
}

impl Authenticator for Passwords {
    fn authenticate<'a>(&'a self, request: Request<'a>) -> Outcome<'a, Result<Proof, Fault>> {
        let value = match request.head.single(&AUTHORIZATION) {
            Ok(None) => return Outcome::Now(Ok(Proof::Absent)),
            Ok(Some(value)) => value,
            Err(_) => return malformed("Authorization occurs more than once"),
        };
        let parsed = BasicCredentials::parse(value.as_bytes());
        if matches!(parsed, Err(BasicFormat::OtherScheme)) {
            return Outcome::Now(Ok(Proof::Absent));
        }
        if request.head.scheme == Scheme::Http && !self.plain_text {
            let public = "passwords are accepted over HTTPS only";
            return refused(Denial::new(StatusCode::FORBIDDEN, "basic_auth.plain_text", public));
        }
        match parsed {
            Ok(credentials) => self.verify(credentials),
            Err(format) => malformed(format.to_string()),
        }
    }

    fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    fn carriers(&self) -> Vec<Carrier> {
        vec![Carrier::Header(AUTHORIZATION)]
    }
}

impl Passwords {
    /// Verifies on the pool. The password is wiped there, whether it is verified or not.
    fn verify(&self, credentials: BasicCredentials) -> Outcome<'_, Result<Proof, Fault>> {
        let BasicCredentials { user, password } = credentials;
        let user = self.users.get(&user);
        let hash = Arc::clone(user.map_or(&self.nobody, |user| &user.hash));
        let (send, receive) = oneshot::channel();
        let job = move || {
            // Nobody waits where the client has left.
            let _ = send.send(hash.verify(password.as_bytes()));
        };
        if let Err(saturated) = self.compute.run(Box::new(job)) {
            return Outcome::Now(Err(Fault::new(saturated.to_string())));
        }
        Outcome::later(async move {
            let verified = receive
                .await
                .map_err(|_| Fault::new("the pool for heavy work dropped a password"))?;
            Ok(match (user, verified) {
                (Some(user), true) => Proof::Proved(Identity::of(Arc::clone(&user.consumer))),
                (Some(user), false) => {
                    rejected(format!("wrong password of {}", user.consumer.name))
                }
                (None, _) => rejected("unknown user"),
            })
        })
    }
}

type Log = std::borrow::Cow<'static, str>;

fn rejected(log: impl Into<Log>) -> Proof {
    let public = "user or password is not valid";
    let denial = Denial::new(StatusCode::UNAUTHORIZED, "basic_auth.rejected", public);
    Proof::Refused(denial.log(log))
}

fn malformed<'a>(log: impl Into<Log>) -> Outcome<'a, Result<Proof, Fault>> {
    let public = "the Basic credential is malformed";
    let denial = Denial::new(StatusCode::UNAUTHORIZED, "basic_auth.malformed", public);
    refused(denial.log(log))
}

fn refused<'a>(denial: Denial) -> Outcome<'a, Result<Proof, Fault>> {
    Outcome::Now(Ok(Proof::Refused(denial)))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use demilune_core::{Directory, Saturated};
    use demilune_testkit::{ALICE_PASSWORD, check};
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::fixture::{downstream, head, route, with_env};

    const PASSWORD: &str = "correct horse battery staple";
    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw\
                        $gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU";

    fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }

    /// Runs jobs at once, drops them, or has no room.
    enum Pool {
        AtOnce,
        Drops,
        Full,
    }

    impl Compute for Pool {
        fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Saturated> {
            match self {
                Self::AtOnce => job(),
                Self::Drops => drop(job),
                Self::Full => return Err(Saturated),
            }
            Ok(())
        }
    }

    /// The authenticator, where `alice` has [`PASSWORD`].
    fn passwords(settings: Value, pool: Pool) -> Result<Arc<dyn Authenticator>, Invalid> {
        let config: BasicAuth = from_value(settings).unwrap();
        let credential: BasicCredential =
            from_value(json!({ "user": "alice", "password_hash": HASH })).unwrap();
        let (name, groups, attributes) = ("acme".into(), Vec::new(), Default::default());
        let mut directory = Directory::default();
        let acme = Arc::new(Consumer { name, groups, attributes });
        directory.insert(acme, Arc::new(credential));
        let compute: Arc<dyn Compute> = Arc::new(pool);
        with_env(|env| config.build(&Env { directory: &directory, compute: &compute, ..*env }))
    }

    fn proof_by(pool: Pool, values: &[&str]) -> String {
        let passwords = passwords(json!({}), pool).unwrap();
        let (mut head, downstream, route) = (head(), downstream("192.0.2.7"), route("/**"));
        for value in values {
            head.headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        let request = Request {
            id: demilune_core::RequestId(1),
            now: demilune_core::Moment::default(),
            downstream: &downstream,
            head: &head,
            route: &route,
            identity: None,
        };
        let mut future = Box::pin(passwords.authenticate(request).wait());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(proof) = future.as_mut().poll(&mut context) else {
            panic!("the job has run")
        };
        match proof {
            Ok(Proof::Absent) => "absent".to_owned(),
            Ok(Proof::Proved(identity)) => format!("proved {}", identity.subject),
            Ok(Proof::Refused(denial)) => {
                let text = format!("{} {}", denial.public, denial.log);
                assert!(!text.contains("horse") && !text.contains("alice"), "{text}");
                format!("{} {} ({})", denial.status.as_u16(), denial.code, denial.log)
            }
            Err(fault) => format!("fault {}", fault.reason),
        }
    }

    fn proof(value: &str) -> String {
        proof_by(Pool::AtOnce, &[value])
    }

    #[test]
    fn a_consumer_is_admitted_by_its_password_and_the_upstream_does_not_see_it() {
        check(
            "authenticate: passwords",
            &format!("GET /\nauthorization: {}", basic("alice", ALICE_PASSWORD)),
            "200 | passwords: proved alice\n> authorization:\n> x-consumer-name: alice",
        );
    }

    #[test]
    fn a_request_without_a_password_is_refused_with_a_challenge() {
        check(
            "authenticate: passwords",
            "GET /",
            "401 | passwords: absent; authenticate: deny 401 authentication.required\n\
             < www-authenticate: Basic realm=\"demilune\", charset=\"UTF-8\"",
        );
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_read_the_same() {
        for (user, log) in [("alice", "wrong password of alice"), ("mallory", "unknown user")] {
            check(
                "authenticate: passwords",
                &format!("GET /\nauthorization: {}", basic(user, "not the password")),
                &format!("401 | passwords: deny 401 basic_auth.rejected ({log})"),
            );
        }
    }

    #[test]
    fn a_password_over_plain_http_is_refused_even_if_it_is_right() {
        check(
            "authenticate: passwords",
            &format!(
                "GET http://api.example.com/\nauthorization: {}",
                basic("alice", ALICE_PASSWORD)
            ),
            "403 | passwords: deny 403 basic_auth.plain_text",
        );
    }

    #[test]
    fn only_the_right_password_proves() {
        assert_eq!(proof(&basic("alice", PASSWORD)), "proved acme");
        for password in ["", "Correct horse battery staple", &format!("{PASSWORD} ")] {
            let refused = "401 basic_auth.rejected (wrong password of acme)";
            assert_eq!(proof(&basic("alice", password)), refused);
        }
        for user in ["Alice", "acme", "alice ", "nobody"] {
            let refused = "401 basic_auth.rejected (unknown user)";
            assert_eq!(proof(&basic(user, PASSWORD)), refused);
        }
    }

    #[test]
    fn another_scheme_is_absent_and_a_broken_credential_is_refused() {
        for value in ["Bearer x", "ApiKey x", "Basically x", "", "x"] {
            assert_eq!(proof(value), "absent", "{value}");
        }
        for value in ["Basic", "Basic ", "Basic !!!!", "Basic YWxpY2U=", "Basic OmE=", "basic YQ"] {
            assert!(proof(value).starts_with("401 basic_auth.malformed ("), "{value}");
        }
        let right = basic("alice", PASSWORD);
        for other in [right.as_str(), "Bearer x"] {
            assert_eq!(
                proof_by(Pool::AtOnce, &[&right, other]),
                "401 basic_auth.malformed (Authorization occurs more than once)"
            );
        }
    }

    #[test]
    fn a_pool_that_is_full_or_gone_is_a_fault() {
        let right = basic("alice", PASSWORD);
        let full = "fault the pool for heavy work is full";
        assert_eq!(proof_by(Pool::Full, &[&right]), full);
        let gone = "fault the pool for heavy work dropped a password";
        assert_eq!(proof_by(Pool::Drops, &[&right]), gone);
    }

    #[test]
    fn settings_that_break_the_challenge_or_give_no_reason_are_refused() {
        for (settings, field) in [
            (json!({ "realm": "" }), "realm"),
            (json!({ "realm": "a\"b" }), "realm"),
            (json!({ "realm": "a\\" }), "realm"),
            (json!({ "realm": "a\r\nb" }), "realm"),
            (json!({ "realm": "é" }), "realm"),
            (json!({ "realm": "x".repeat(65) }), "realm"),
            (json!({ "plain_text": " " }), "plain_text"),
            (json!({ "plain_text": "false" }), "plain_text"),
        ] {
            assert_eq!(passwords(settings, Pool::Full).err().unwrap().field, field);
        }
        let challenge = passwords(json!({ "realm": "my shop" }), Pool::Full).unwrap().challenge();
        assert_eq!(challenge, "Basic realm=\"my shop\", charset=\"UTF-8\"");
    }

    #[test]
    fn what_is_no_hash_is_refused_and_not_repeated() {
        let read = |user: &str, hash: Value| {
            from_value::<BasicCredential>(json!({ "user": user, "password_hash": hash }))
        };
        let stored = read("alice", json!(HASH)).unwrap();
        assert_eq!(stored.unique(), "alice");
        assert_eq!(serde_json::to_value(&stored).unwrap()["password_hash"], HASH);
        assert!(!format!("{stored:?}").contains("AAEC"));
        for hash in ["hunter2hunter2", "$2y$10$hunter2"] {
            let why = read("alice", json!(hash)).unwrap_err().to_string();
            assert!(!why.contains("hunter2"), "{why}");
        }
        for user in ["", "a:b", "a\nb", "a\u{85}", &"x".repeat(1025)] {
            assert!(read(user, json!(HASH)).is_err(), "{user:?}");
        }
    }
}
