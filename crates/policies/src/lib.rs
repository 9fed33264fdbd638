//! The policies and authenticators: one file each, and here the list of them.
//!
//! A file holds everything about its policy: what it is for, its settings, its hooks, its codes,
//! its tests. From the lists below come the document's enums, its schema and the table of metas; a
//! new policy is its file, its `mod` line and its entry.

#![warn(missing_docs)]

pub mod basic_auth;
mod concealed;
pub mod cors;
pub mod header;
pub mod ip_restriction;
pub mod key_auth;
pub mod rate_limit;
pub mod request_size;
pub mod rewrite;
pub mod security_headers;

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use demilune_core::{Authentication, Authenticator, Env, Hooks, Invalid, Meta, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! policies {
    ($($module:ident::$Name:ident),* $(,)?) => {
        /// A policy as `policies:` lists it: its name, then its settings.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the settings carry the documentation")]
        pub enum PolicyConfig {
            $($Name($module::$Name),)*
        }

        impl PolicyConfig {
            /// The policy's metadata.
            #[must_use]
            pub fn meta(&self) -> &'static Meta {
                match self { $(Self::$Name(_) => &<$module::$Name as Policy>::META,)* }
            }

            /// What replaces what: see [`Policy::key`].
            #[must_use]
            pub fn key(&self) -> Cow<'static, str> {
                match self { $(Self::$Name(policy) => policy.key(),)* }
            }

            /// Checks the values and makes the hooks: see [`Policy::build`].
            ///
            /// # Errors
            /// What is wrong, and with which field.
            pub fn build(&self, env: &Env<'_>) -> Result<Hooks, Invalid> {
                match self { $(Self::$Name(policy) => policy.build(env),)* }
            }

            /// How `self` admits what `wider` would not: see [`Policy::weakens`]. `None` for two
            /// different policies.
            #[must_use]
            pub fn weakens(&self, wider: &Self) -> Option<String> {
                match (self, wider) {
                    $((Self::$Name(policy), Self::$Name(wider)) => policy.weakens(wider),)*
                    _ => None,
                }
            }
        }

        /// Every policy's metadata.
        pub const POLICIES: &[Meta] = &[$(<$module::$Name as Policy>::META),*];
        #[cfg(test)]
        const POLICY_MODULES: &[&str] = &[$(stringify!($module)),*];
    };
}

macro_rules! authenticators {
    ($($module:ident::$Name:ident),* $(,)?) => {
        /// An authenticator as `authenticators:` names it: its kind, then its settings.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the settings carry the documentation")]
        pub enum AuthenticatorConfig {
            $($Name($module::$Name),)*
        }

        impl AuthenticatorConfig {
            /// The authenticator's metadata.
            #[must_use]
            pub fn meta(&self) -> &'static Meta {
                match self { $(Self::$Name(_) => &<$module::$Name as Authentication>::META,)* }
            }

            /// Checks the values and makes the authenticator: see [`Authentication::build`].
            ///
            /// # Errors
            /// What is wrong, and with which field.
            pub fn build(&self, env: &Env<'_>) -> Result<Arc<dyn Authenticator>, Invalid> {
                match self { $(Self::$Name(authenticator) => authenticator.build(env),)* }
            }
        }

        /// Every authenticator's metadata.
        pub const AUTHENTICATORS: &[Meta] = &[$(<$module::$Name as Authentication>::META),*];
        #[cfg(test)]
        const AUTHENTICATOR_MODULES: &[&str] = &[$(stringify!($module)),*];
    };
}

macro_rules! credentials {
    ($($Kind:ident: $module:ident::$Name:ident),* $(,)?) => {
        /// A credential as a consumer lists it: its kind, then what is stored of it.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the settings carry the documentation")]
        pub enum CredentialConfig {
            $($Kind($module::$Name),)*
        }

        impl CredentialConfig {
            /// The credential in the type that its authenticator looks for in the directory.
            #[must_use]
            pub fn into_record(self) -> Arc<dyn Any + Send + Sync> {
                match self { $(Self::$Kind(credential) => Arc::new(credential),)* }
            }

            /// What no two consumers may share. To be compared, not to be shown.
            #[must_use]
            pub fn unique(&self) -> String {
                match self {
                    $(Self::$Kind(credential) => {
                        format!("{}:{}", stringify!($Kind), credential.unique())
                    })*
                }
            }
        }
    };
}

policies! {
    ip_restriction::IpRestriction,
    request_size::RequestSize,
    cors::Cors,
    security_headers::SecurityHeaders,
    rate_limit::RateLimit,
    rewrite::Rewrite,
}

authenticators! {
    key_auth::KeyAuth,
    basic_auth::BasicAuth,
}

credentials! {
    ApiKey: key_auth::ApiKeyCredential,
    Basic: basic_auth::BasicCredential,
}

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod tests {
    use schemars::{Schema, schema_for};

    use super::*;

    fn tags(schema: &Schema) -> Vec<&str> {
        let variants = schema.get("oneOf").and_then(|list| list.as_array()).unwrap();
        variants.iter().map(|variant| variant["required"][0].as_str().unwrap()).collect()
    }

    fn names(metas: &'static [Meta]) -> Vec<&'static str> {
        metas.iter().map(|meta| meta.name).collect()
    }

    #[test]
    fn a_policy_has_one_name_in_file_meta_and_document() {
        assert_eq!(names(POLICIES), POLICY_MODULES);
        assert_eq!(tags(&schema_for!(PolicyConfig)), POLICY_MODULES);
        assert_eq!(names(AUTHENTICATORS), AUTHENTICATOR_MODULES);
        assert_eq!(tags(&schema_for!(AuthenticatorConfig)), AUTHENTICATOR_MODULES);
        assert_eq!(tags(&schema_for!(CredentialConfig)), ["api_key", "basic"]);
    }

    #[test]
    fn a_code_begins_with_its_policys_name_and_stands_once() {
        for meta in POLICIES.iter().chain(AUTHENTICATORS) {
            let mut codes: Vec<&str> = meta.codes.iter().map(|code| code.code).collect();
            let prefix = format!("{}.", meta.name);
            assert!(codes.iter().all(|code| code.starts_with(&prefix)), "{codes:?}");
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), meta.codes.len(), "{}", meta.name);
        }
    }
}
