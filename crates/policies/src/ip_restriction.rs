//! `ip_restriction`: allow or deny clients by address.
//!
//! Runs at the edge, before any credential is looked at, so that a refused network cannot probe
//! credentials. The address is the client's as the listener knows it: that of the connection, where
//! the listener trusts no proxy; headers such as `X-Forwarded-For` are not believed here.

use std::sync::Arc;

use demilune_core::policy::Code;
use demilune_core::{
    Denial, Env, Fault, Guard, Hooks, Invalid, Meta, Network, Networks, Policy, Request, Slot,
    Stage, Verdict,
};
use http::StatusCode;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Allows or denies clients by the address they connect from.
///
/// Deny wins over allow. An empty `allow` admits every address that is not denied. At least one of
/// the two lists must hold something.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IpRestriction {
    /// Networks or single addresses admitted, such as `10.0.0.0/8`, `2001:db8::/32` or `192.0.2.7`.
    /// Default: none, which admits all that are not denied.
    #[serde(default)]
    pub allow: Vec<Network>,
    /// Networks or single addresses refused, written alike. Default: none.
    #[serde(default)]
    pub deny: Vec<Network>,
}

impl Policy for IpRestriction {
    const META: Meta = Meta {
        name: "ip_restriction",
        since: "0.1",
        codes: &[Code {
            code: "ip_restriction.address",
            status: 403,
            meaning: "The client's address is denied, or stands in no allowed network.",
        }],
    };

    fn build(&self, _: &Env<'_>) -> Result<Hooks, Invalid> {
        if self.allow.is_empty() && self.deny.is_empty() {
            return Err(Invalid::new(
                "",
                "`allow` and `deny` are both empty: nothing is restricted",
            )
            .help("name the networks to admit under `allow`, or those to refuse under `deny`"));
        }
        let lists = Lists { allow: self.allowed(), deny: Networks::new(&self.deny) };
        Ok(Hooks::new().guard(Stage::Edge, &Arc::new(lists)))
    }

    fn weakens(&self, wider: &Self) -> Option<String> {
        let (mine, denied) = (self.allowed(), Networks::new(&self.deny));
        let admits = |net: &IpNet| {
            // Where two networks meet, one holds the other: what both allow is the smaller one.
            let met = |allowed: &IpNet| if allowed.contains(net) { *net } else { *allowed };
            match &mine {
                None => !denied.covers(net),
                Some(mine) => mine.meeting(net).any(|allowed| !denied.covers(&met(allowed))),
            }
        };
        if let Some(net) = wider.deny.iter().find(|net| admits(net.as_ref())) {
            return Some(format!("`{}` is no longer denied", net.as_ref()));
        }
        let theirs = wider.allowed()?;
        let Some(mine) = &mine else {
            return Some("any address that is not denied is admitted, not only a list".to_owned());
        };
        let added = mine.iter().find(|net| !theirs.covers(net) && !denied.covers(net))?;
        Some(format!("`{added}` is admitted too"))
    }
}

impl IpRestriction {
    /// `None` where there is no such list: then everybody is allowed.
    fn allowed(&self) -> Option<Networks> {
        (!self.allow.is_empty()).then(|| Networks::new(&self.allow))
    }
}

struct Lists {
    allow: Option<Networks>,
    deny: Networks,
}

impl Guard for Lists {
    fn check(&self, request: &Request<'_>, _: &mut Slot) -> Result<Verdict, Fault> {
        let address = request.downstream.address();
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(address));
        if allowed && !self.deny.contains(address) {
            return Ok(Verdict::Continue);
        }
        let public = "requests from this address are not admitted";
        let denial = Denial::new(StatusCode::FORBIDDEN, "ip_restriction.address", public);
        Ok(Verdict::deny(denial.log(address.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use demilune_testkit::check;
    use serde_json::{from_value, json};

    use super::*;
    use crate::fixture::refused;

    fn lists(allow: &[&str], deny: &[&str]) -> IpRestriction {
        from_value(json!({ "allow": allow, "deny": deny })).unwrap()
    }

    #[test]
    fn a_denied_address_is_refused_and_others_are_not() {
        let policies = "policies: [{ip_restriction: {deny: [192.0.2.0/24]}}]";
        let denied = "403 | ip_restriction: deny 403 ip_restriction.address (192.0.2.7)";
        check(policies, "GET / from 192.0.2.7", denied);
        check(policies, "GET / from 192.0.3.7", "200 | ip_restriction: continue");
        check(policies, "GET / from 2001:db8::1", "200 | ip_restriction: continue");
    }

    #[test]
    fn only_what_is_allowed_is_admitted_and_deny_wins() {
        let policies =
            "policies: [{ip_restriction: {allow: [10.0.0.0/8, '2001:db8::7'], deny: [10.9.9.9]}}]";
        check(policies, "GET / from 10.1.2.3", "200 | ip_restriction: continue");
        check(policies, "GET / from 2001:db8::7", "200 | ip_restriction: continue");
        for address in ["10.9.9.9", "11.0.0.1", "2001:db8::8"] {
            let denied =
                format!("403 | ip_restriction: deny 403 ip_restriction.address ({address})");
            check(policies, &format!("GET / from {address}"), &denied);
        }
    }

    #[test]
    fn runs_before_authentication_whatever_the_written_order() {
        check(
            "authenticate: keys\npolicies: [{ip_restriction: {deny: [192.0.2.0/24]}}]",
            "GET / from 192.0.2.7\nx-api-key: wrong",
            "403 | ip_restriction: deny 403 ip_restriction.address (192.0.2.7)",
        );
    }

    #[test]
    fn an_ipv4_client_cannot_hide_in_ipv6() {
        check(
            "policies: [{ip_restriction: {deny: [192.0.2.7]}}]",
            "GET / from ::ffff:192.0.2.7",
            "403 | ip_restriction: deny 403 ip_restriction.address (192.0.2.7)",
        );
    }

    #[test]
    fn headers_about_the_address_are_not_believed() {
        check(
            "policies: [{ip_restriction: {allow: [10.0.0.0/8]}}]",
            "GET / from 192.0.2.7\nx-forwarded-for: 10.0.0.1\nforwarded: for=10.0.0.1",
            "403 | ip_restriction: deny 403 ip_restriction.address (192.0.2.7)",
        );
    }

    #[test]
    fn two_empty_lists_restrict_nothing_and_are_refused() {
        assert_eq!(refused(&lists(&[], &[])).field, "");
    }

    #[test]
    fn a_narrower_list_is_weaker_where_it_admits_more() {
        let weaker = |mine: IpRestriction, wider: &IpRestriction| mine.weakens(wider).is_some();
        let wider = lists(&["10.0.0.0/8"], &["10.9.0.0/16"]);
        for (allow, deny, expected) in [
            (&["10.0.0.0/8"][..], &["10.9.0.0/16"][..], false),
            (&["10.0.0.0/8"], &["10.8.0.0/15"], false),
            (&["10.1.0.0/16"], &[], false),
            (&["10.0.0.0/9", "10.128.0.0/9"], &["10.9.0.0/16"], false),
            (&["10.0.0.0/8"], &[], true),
            (&["10.0.0.0/8"], &["10.9.0.0/17"], true),
            (&["10.9.1.0/24"], &[], true),
            (&["10.9.1.0/24"], &["10.9.1.0/24"], false),
            (&["10.0.0.0/7"], &["10.9.0.0/16"], true),
            (&["10.0.0.0/7"], &["10.9.0.0/16", "11.0.0.0/8"], true),
            (&[], &["10.9.0.0/16"], true),
            (&["192.0.2.7"], &[], true),
        ] {
            assert_eq!(weaker(lists(allow, deny), &wider), expected, "{allow:?} {deny:?}");
        }
        let deny_only = lists(&[], &["192.0.2.0/24"]);
        assert!(!weaker(lists(&["10.0.0.0/8"], &[]), &deny_only));
        assert!(weaker(lists(&[], &["192.0.2.7"]), &deny_only));
        assert!(!weaker(lists(&[], &["192.0.0.0/16"]), &deny_only));
    }
}
