//! `rate_limit`: how many requests an address, a consumer, a route or everybody may make.
//!
//! Each limit is a bucket that refills steadily (the generic cell rate algorithm): there is no
//! window at whose border twice as much passes. Limits by consumer run at the quota stage; all
//! others run at the edge, before any credential is looked at, so that guessing credentials is
//! limited too.
//!
//! A policy that two routes inherit has one bucket for both; written on each of them, each has its
//! own.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use demilune_core::env::CounterKey;
use demilune_core::policy::Code;
use demilune_core::{
    Counters, Denial, Env, Fault, Gate, Hooks, Invalid, Meta, Moment, Outcome, Policy, Rate,
    Request, ResponseHead, ResponseRewriter, Slot, Spent, Stage, Verdict,
};
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMITS_MOST: usize = 4;
const BURST_MOST: u32 = 1_000_000_000;

/// Limits how often requests may come.
///
/// A route can have one such policy for each `per`. Answers tell what is left in the `RateLimit`
/// and `RateLimit-Policy` headers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Whose requests are counted together.
    pub per: Per,
    /// How many in which time: `600/min`, or a list of up to four with different spans of time,
    /// such as `[10/s, 5000/h]`, all of which must hold. They are asked in this order, and a
    /// request counts for those before the one that refuses it.
    pub limit: Limits,
    /// How many may come at once after a pause, from 1 to a billion. Only where `limit` is a single
    /// one. Default: as many as the limit's number.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<u32>,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Those from one IPv4 address, or from one IPv6 network of 64 bits, which is what one customer
    /// of a provider gets.
    Address,
    /// Those of one consumer or subject; callers without an identity, where the route admits them,
    /// are counted by address.
    Consumer,
    /// Those to one route, whoever sends them.
    Route,
    /// All that this policy sees, on every route that it stands for.
    Global,
}

/// One rate, or several that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits(Vec<Rate>);

impl Limits {
    fn new(rates: Vec<Rate>) -> Result<Self, &'static str> {
        if rates.is_empty() || rates.len() > LIMITS_MOST {
            return Err("expected one to four rates");
        }
        let spans = |(index, rate): (usize, &Rate)| {
            rates.iter().skip(index + 1).all(|other| other.period != rate.period)
        };
        if !rates.iter().enumerate().all(spans) {
            return Err("expected rates over different spans of time: of two over the same, \
                        only the lower one would matter");
        }
        Ok(Self(rates))
    }
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Limits;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate such as `600/min`, or a list of up to four")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Limits, E> {
        text.parse().map_err(E::custom).map(|rate| Limits(vec![rate]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Limits, A::Error> {
        let mut rates = Vec::new();
        while let Some(rate) = seq.next_element()? {
            rates.push(rate);
        }
        Limits::new(rates).map_err(de::Error::custom)
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [rate] => rate.serialize(serializer),
            rates => rates.serialize(serializer),
        }
    }
}

impl JsonSchema for Limits {
    fn schema_name() -> Cow<'static, str> {
        "Limits".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rate = generator.subschema_for::<Rate>();
        json_schema!({
            "description": "One rate, or several that must all hold.",
            "anyOf": [
                rate,
                { "type": "array", "items": rate, "minItems": 1, "maxItems": LIMITS_MOST },
            ],
        })
    }
}

impl Per {
    const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Consumer => "consumer",
            Self::Route => "route",
            Self::Global => "global",
        }
    }

    /// The end of "the limit is 600 a minute …".
    const fn phrase(self) -> &'static str {
        match self {
            Self::Address => "per address",
            Self::Consumer => "per consumer",
            Self::Route => "for this route",
            Self::Global => "for all callers together",
        }
    }
}

impl Policy for RateLimit {
    const META: Meta = Meta {
        name: "rate_limit",
        since: "0.1",
        codes: &[Code {
            code: "rate_limit.exceeded",
            status: 429,
            meaning: "More requests than the limit admits. `Retry-After` tells when there is room.",
        }],
    };

    fn key(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self.per {
            Per::Address => "rate_limit.address",
            Per::Consumer => "rate_limit.consumer",
            Per::Route => "rate_limit.route",
            Per::Global => "rate_limit.global",
        })
    }

    fn build(&self, env: &Env<'_>) -> Result<Hooks, Invalid> {
        match self.burst {
            Some(_) if self.limit.0.len() > 1 => {
                return Err(Invalid::new("burst", "a burst belongs to a single limit")
                    .help("leave it out: each limit of a list admits its own number at once"));
            }
            Some(burst) if !(1..=BURST_MOST).contains(&burst) => {
                let reason = format!("expected a number from 1 to {BURST_MOST}, found {burst}");
                return Err(Invalid::new("burst", reason));
            }
            _ => {}
        }
        let per = self.per;
        let limits: Vec<Limit> = self
            .limit
            .0
            .iter()
            .map(|rate| {
                let key = format!("{}/rate_limit.{}/{rate}", env.place.path, per.name());
                Limit {
                    rate: *rate,
                    burst: self.burst(rate),
                    anonymous: format!("{key}/anonymous"),
                    key,
                    label: format!("\"{}-{rate}\"", per.name()),
                }
            })
            .collect();
        let policies: Vec<String> = limits
            .iter()
            .map(|l| format!("{};q={};w={}", l.label, l.rate.count, l.rate.period.as_secs()))
            .collect();
        let header = HeaderValue::from_str(&policies.join(", "))
            .map_err(|_| Invalid::new("limit", "expected rates that fit in a header"))?;
        let limiter = Arc::new(Limiter { per, limits, header, counters: env.counters.clone() });
        let stage = if per == Per::Consumer { Stage::Quota } else { Stage::Edge };
        let hooks = Hooks::new().gate(stage, &limiter).response_rewriter(&limiter);
        Ok(if per == Per::Address { hooks.limits_by_address() } else { hooks })
    }

    fn weakens(&self, wider: &Self) -> Option<String> {
        // A limit holds another where neither its pace nor its burst admits more.
        let holds = |mine: &Rate, theirs: &Rate| {
            let pace = |a: &Rate, b: &Rate| u128::from(a.count) * b.period.as_nanos();
            pace(mine, theirs) <= pace(theirs, mine) && self.burst(mine) <= wider.burst(theirs)
        };
        let held = |theirs: &&Rate| !self.limit.0.iter().any(|mine| holds(mine, theirs));
        let rate = wider.limit.0.iter().find(held)?;
        Some(match self.limit.0.as_slice() {
            [mine] if mine == rate => {
                format!("`burst` is raised from {} to {}", wider.burst(rate), self.burst(mine))
            }
            mine => {
                let mine: Vec<String> = mine.iter().map(Rate::to_string).collect();
                format!("`{}` admits more than `{rate}`", mine.join(", "))
            }
        })
    }
}

impl RateLimit {
    fn burst(&self, rate: &Rate) -> u32 {
        self.burst.unwrap_or(rate.count)
    }
}

struct Limiter {
    per: Per,
    limits: Vec<Limit>,
    /// The value of `RateLimit-Policy`.
    header: HeaderValue,
    counters: Arc<dyn Counters>,
}

struct Limit {
    rate: Rate,
    burst: u32,
    /// Its name among the counters.
    key: String,
    /// As `key`, for callers without an identity: no subject can be chosen to look like an address.
    anonymous: String,
    /// Its name in headers, as a structured string (RFC 9651 section 3.3.3).
    label: String,
}

/// What the gate leaves for the response, and where the subject's text lives while it is counted.
struct Tally {
    address: String,
    /// The limit with the least room left, and what was left.
    tightest: Option<(usize, Spent)>,
}

/// Whom a request is counted for.
#[derive(Clone, Copy)]
struct Subject<'a> {
    text: &'a str,
    anonymous: bool,
}

impl Gate for Limiter {
    fn check<'a>(
        &'a self,
        request: Request<'a>,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>> {
        slot.set(Tally { address: String::new(), tightest: None });
        let Some(Tally { address, tightest }) = slot.get_mut::<Tally>() else {
            return Outcome::Now(Err(Fault::new("the slot does not keep what it is given")));
        };
        let subject = self.subject(request, address);
        let mut limits = self.limits.iter().enumerate();
        while let Some(limit) = limits.next() {
            let spent = match self.spend(limit.1, subject, request.now) {
                Outcome::Now(spent) => spent,
                Outcome::Later(spent) => {
                    return Outcome::later(async move {
                        if let Some(end) = self.settle(limit, spent.await, subject, tightest) {
                            return end;
                        }
                        for limit in limits {
                            let spent = self.spend(limit.1, subject, request.now).wait().await;
                            if let Some(end) = self.settle(limit, spent, subject, tightest) {
                                return end;
                            }
                        }
                        Ok(Verdict::Continue)
                    });
                }
            };
            if let Some(end) = self.settle(limit, spent, subject, tightest) {
                return Outcome::Now(end);
            }
        }
        Outcome::Now(Ok(Verdict::Continue))
    }
}

impl Limiter {
    fn subject<'a>(&self, request: Request<'a>, address: &'a mut String) -> Subject<'a> {
        let text = match (self.per, request.identity) {
            (Per::Consumer, Some(identity)) => &*identity.subject,
            (Per::Address | Per::Consumer, _) => match request.downstream.address() {
                IpAddr::V4(_) => request.downstream.address_text(),
                IpAddr::V6(whole) => {
                    *address = network(whole);
                    address
                }
            },
            (Per::Route, _) => &*request.route.name,
            (Per::Global, _) => "",
        };
        Subject { text, anonymous: self.per == Per::Consumer && request.identity.is_none() }
    }

    fn spend<'a>(
        &'a self,
        limit: &'a Limit,
        subject: Subject<'a>,
        now: Moment,
    ) -> Outcome<'a, Result<Spent, Fault>> {
        let name = if subject.anonymous { &limit.anonymous } else { &limit.key };
        let key = CounterKey { limit: name, subject: subject.text };
        self.counters.spend(key, limit.rate, limit.burst, now)
    }

    /// Takes one limit's answer in; `Some` where it is the last word.
    fn settle(
        &self,
        (index, limit): (usize, &Limit),
        spent: Result<Spent, Fault>,
        subject: Subject<'_>,
        tightest: &mut Option<(usize, Spent)>,
    ) -> Option<Result<Verdict, Fault>> {
        let spent = match spent {
            Ok(spent) => spent,
            Err(fault) => return Some(Err(fault)),
        };
        if !spent.admitted {
            *tightest = Some((index, Spent { remaining: 0, ..spent }));
            return Some(Ok(Verdict::deny(self.denial(limit, &spent, subject))));
        }
        let room = |index: usize, spent: &Spent| {
            let burst = self.limits.get(index).map_or(1, |limit| limit.burst.max(1));
            f64::from(spent.remaining) / f64::from(burst)
        };
        if tightest.as_ref().is_none_or(|(other, left)| room(index, &spent) < room(*other, left)) {
            *tightest = Some((index, spent));
        }
        None
    }

    fn denial(&self, limit: &Limit, spent: &Spent, subject: Subject<'_>) -> Denial {
        let span = match limit.rate.period.as_secs() {
            1 => "second",
            60 => "minute",
            3_600 => "hour",
            _ => "day",
        };
        let (count, phrase) = (limit.rate.count, self.per.phrase());
        let public = format!("too many requests: the limit is {count} a {span} {phrase}");
        let log = match subject.text {
            "" => format!("over {}", limit.rate),
            text => format!("{text} over {}", limit.rate),
        };
        Denial::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit.exceeded", public)
            .log(log)
            .retry_after(spent.retry_after)
    }
}

/// Tells what is left (draft-ietf-httpapi-ratelimit-headers-10), on refusals too. What is there
/// already, of another such policy or of the upstream, stays: both headers are lists.
impl ResponseRewriter for Limiter {
    fn rewrite(&self, _: &Request<'_>, response: &mut ResponseHead, slot: &mut Slot) {
        let Some(Tally { tightest: Some((index, spent)), .. }) = slot.get() else { return };
        let Some(limit) = self.limits.get(*index) else { return };
        let until = if spent.remaining == 0 { spent.retry_after } else { spent.reset_after };
        let seconds = until.as_secs() + u64::from(until.subsec_nanos() > 0);
        let mut digits = itoa::Buffer::new();
        let mut left = String::with_capacity(limit.label.len() + 32);
        left.push_str(&limit.label);
        left.push_str(";r=");
        left.push_str(digits.format(spent.remaining));
        left.push_str(";t=");
        left.push_str(digits.format(seconds));
        let Ok(left) = HeaderValue::try_from(left) else { return };
        response.headers.append(RATELIMIT_POLICY, self.header.clone());
        response.headers.append(RATELIMIT, left);
    }
}

/// The text of the first 64 bits of an IPv6 address: whoever has one of those has them all.
fn network(address: Ipv6Addr) -> String {
    let [a, b, c, d, ..] = address.segments();
    format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use demilune_core::{Hook, Identity, RequestId};
    use demilune_testkit::{ALICE_KEY, BOB_KEY, Harness, check};
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::fixture::{downstream, head, refused, route, with_env};

    fn policy(settings: Value) -> RateLimit {
        from_value(settings).unwrap()
    }

    /// Admits as many as `room` says, and writes down what it was asked.
    #[derive(Default)]
    struct Scripted {
        room: Mutex<Vec<Result<Spent, Fault>>>,
        asked: Mutex<Vec<String>>,
        later: bool,
    }

    impl Counters for Scripted {
        fn spend<'a>(
            &'a self,
            key: CounterKey<'a>,
            rate: Rate,
            burst: u32,
            _: Moment,
        ) -> Outcome<'a, Result<Spent, Fault>> {
            let asked = format!("{} [{}] {rate} {burst}", key.limit, key.subject);
            self.asked.lock().unwrap().push(asked);
            let spent = self.room.lock().unwrap().remove(0);
            if self.later { Outcome::later(async move { spent }) } else { Outcome::Now(spent) }
        }
    }

    fn left(remaining: u32) -> Result<Spent, Fault> {
        let [retry_after, reset_after] = [Duration::ZERO, Duration::from_millis(6_500)];
        Ok(Spent { admitted: true, remaining, retry_after, reset_after })
    }

    fn none() -> Result<Spent, Fault> {
        let [retry_after, reset_after] = [Duration::from_millis(1_100), Duration::from_secs(60)];
        Ok(Spent { admitted: false, remaining: 0, retry_after, reset_after })
    }

    /// What a request ran into: verdict, keys asked for, headers of the answer.
    struct Seen {
        verdict: String,
        asked: Vec<String>,
        headers: Vec<String>,
    }

    fn run(
        settings: Value,
        room: Vec<Result<Spent, Fault>>,
        address: &str,
        who: Option<&str>,
    ) -> Seen {
        let [now, later] = [false, true].map(|later| {
            let room = Mutex::new(room.clone());
            let scripted = Arc::new(Scripted { room, later, ..Scripted::default() });
            run_with(&policy(settings.clone()), &scripted, address, who)
        });
        assert_eq!((&now.verdict, &now.asked), (&later.verdict, &later.asked), "the same, later");
        assert_eq!(now.headers, later.headers);
        now
    }

    fn run_with(
        policy: &RateLimit,
        scripted: &Arc<Scripted>,
        address: &str,
        who: Option<&str>,
    ) -> Seen {
        let counters: Arc<dyn Counters> = scripted.clone();
        let hooks = with_env(|env| policy.build(&Env { counters: &counters, ..*env })).unwrap();
        let (head, downstream, route) = (head(), downstream(address), route("/**"));
        let identity = who.map(|subject| Identity {
            subject: subject.into(),
            consumer: None,
            proved_by: Default::default(),
        });
        let request = Request {
            id: RequestId(1),
            now: Moment::default(),
            downstream: &downstream,
            head: &head,
            route: &route,
            identity: identity.as_ref(),
        };
        let [(stage, Hook::Gate(gate)), (_, Hook::ResponseRewriter(rewriter))] = hooks.list()
        else {
            panic!("a gate and a response hook")
        };
        let consumer = policy.per == Per::Consumer;
        assert_eq!(*stage, if consumer { Stage::Quota } else { Stage::Edge });
        assert_eq!(hooks.does_limit_by_address(), policy.per == Per::Address);
        let mut slot = Slot::default();
        let verdict = ready(gate.check(request, &mut slot).wait());
        let mut response = ResponseHead { status: StatusCode::OK, headers: Default::default() };
        response.headers.insert(RATELIMIT, HeaderValue::from_static("\"theirs\";r=1"));
        rewriter.rewrite(&request, &mut response, &mut slot);
        let verdict = match verdict {
            Ok(Verdict::Continue) => "continue".to_owned(),
            Ok(Verdict::Deny(denial)) => format!(
                "{} {} ({}) {} {:?}",
                denial.status.as_u16(),
                denial.code,
                denial.log,
                denial.public,
                denial.retry_after.unwrap()
            ),
            Ok(Verdict::Answer(_)) => "answer".to_owned(),
            Err(fault) => format!("fault {}", fault.reason),
        };
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        Seen {
            verdict,
            asked: scripted.asked.lock().unwrap().clone(),
            headers: response.headers.iter().map(header).collect(),
        }
    }

    /// Polls a future that has nothing to wait for.
    fn ready<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("nothing to wait for"),
        }
    }

    #[test]
    fn requests_within_the_limit_are_admitted_and_told_what_is_left() {
        check(
            "policies: [{rate_limit: {per: address, limit: 600/min}}]",
            "GET /",
            "200 | rate_limit: continue\n\
             < ratelimit-policy: \"address-600/min\";q=600;w=60\n\
             < ratelimit: \"address-600/min\";r=599;t=1",
        );
    }

    #[test]
    fn the_request_over_the_limit_is_refused_until_there_is_room_again() {
        let harness = Harness::new("policies: [{rate_limit: {per: address, limit: 2/min}}]");
        let (request, admitted) = ("GET / from 192.0.2.7", "200 | rate_limit: continue");
        harness.check(request, admitted);
        harness.check(request, admitted);
        harness.check(
            request,
            "429 | rate_limit: deny 429 rate_limit.exceeded (192.0.2.7 over 2/min)\n\
             < retry-after: 30\n\
             < ratelimit-policy: \"address-2/min\";q=2;w=60\n\
             < ratelimit: \"address-2/min\";r=0;t=30",
        );
        harness.check("GET / from 192.0.2.8", admitted);
        harness.advance(Duration::from_secs(30));
        harness.check(request, admitted);
        harness.check(request, "429 | …");
    }

    #[test]
    fn consumers_have_their_own_room_wherever_they_call_from() {
        let harness = Harness::new(
            "authenticate: keys\npolicies: [{rate_limit: {per: consumer, limit: 1/h}}]",
        );
        let from = |key: &str, address: &str| format!("GET / from {address}\nx-api-key: {key}");
        let (alice, bob) = ("keys: proved alice", "keys: proved bob");
        harness
            .check(&from(ALICE_KEY, "192.0.2.7"), &format!("200 | {alice}; rate_limit: continue"));
        harness.check(
            &from(ALICE_KEY, "192.0.2.8"),
            &format!("429 | {alice}; rate_limit: deny 429 rate_limit.exceeded (alice over 1/h)"),
        );
        harness.check(&from(BOB_KEY, "192.0.2.7"), &format!("200 | {bob}; rate_limit: continue"));
    }

    #[test]
    fn a_refusal_tells_the_limit_and_adds_to_what_the_upstream_tells() {
        let seen =
            run(json!({ "per": "address", "limit": "600/min" }), vec![none()], "192.0.2.7", None);
        assert_eq!(
            seen.verdict,
            "429 rate_limit.exceeded (192.0.2.7 over 600/min) \
             too many requests: the limit is 600 a minute per address 1.1s"
        );
        assert_eq!(
            seen.headers,
            [
                "ratelimit: \"theirs\";r=1",
                "ratelimit: \"address-600/min\";r=0;t=2",
                "ratelimit-policy: \"address-600/min\";q=600;w=60",
            ]
        );
    }

    #[test]
    fn limits_by_address_run_before_authentication_and_by_consumer_after_it() {
        check(
            "authenticate: keys\npolicies: [{rate_limit: {per: consumer, limit: 9/s}}, \
             {rate_limit: {per: address, limit: 9/s}}]",
            "GET /",
            "401 | rate_limit: continue; keys: absent; \
             authenticate: deny 401 authentication.required",
        );
    }

    #[test]
    fn each_per_counts_its_own() {
        for (per, address, who, asked) in [
            ("address", "192.0.2.7", Some("alice"), "address/9/s [192.0.2.7] 9/s 9"),
            ("address", "::ffff:192.0.2.7", None, "address/9/s [192.0.2.7] 9/s 9"),
            ("address", "2001:db8:1:2:3:4:5:6", None, "address/9/s [2001:db8:1:2::/64] 9/s 9"),
            ("address", "2001:db8:1:2:ffff::", None, "address/9/s [2001:db8:1:2::/64] 9/s 9"),
            ("consumer", "192.0.2.7", Some("alice"), "consumer/9/s [alice] 9/s 9"),
            ("consumer", "192.0.2.7", Some("192.0.2.7"), "consumer/9/s [192.0.2.7] 9/s 9"),
            ("consumer", "192.0.2.7", None, "consumer/9/s/anonymous [192.0.2.7] 9/s 9"),
            ("route", "192.0.2.7", None, "route/9/s [shop] 9/s 9"),
            ("global", "192.0.2.7", Some("alice"), "global/9/s [] 9/s 9"),
        ] {
            let seen = run(json!({ "per": per, "limit": "9/s" }), vec![left(8)], address, who);
            assert_eq!(seen.asked, [format!("defaults/rate_limit.{asked}")]);
            assert_eq!(seen.verdict, "continue");
        }
    }

    #[test]
    fn all_limits_of_a_list_must_hold_and_the_tightest_is_told() {
        let settings = json!({ "per": "route", "limit": ["10/s", "100/h"] });
        let seen = run(settings.clone(), vec![left(5), left(10)], "192.0.2.7", None);
        assert_eq!(seen.verdict, "continue");
        assert_eq!(
            seen.headers[1..],
            [
                "ratelimit: \"route-100/h\";r=10;t=7",
                "ratelimit-policy: \"route-10/s\";q=10;w=1, \"route-100/h\";q=100;w=3600",
            ]
        );
        let seen = run(settings.clone(), vec![left(5), none()], "192.0.2.7", None);
        assert!(seen.verdict.starts_with("429 rate_limit.exceeded (shop over 100/h)"));
        let seen = run(settings, vec![none(), left(9)], "192.0.2.7", None);
        assert_eq!(seen.asked.len(), 1, "the first that refuses wins");
        assert!(seen.verdict.starts_with("429 rate_limit.exceeded (shop over 10/s)"));
    }

    #[test]
    fn a_counter_that_cannot_count_is_a_fault() {
        let room = vec![left(1), Err(Fault::new("unreachable"))];
        let settings = json!({ "per": "global", "limit": ["10/s", "100/h"] });
        assert_eq!(run(settings, room, "192.0.2.7", None).verdict, "fault unreachable");
    }

    #[test]
    fn a_burst_belongs_to_one_limit_and_admits_at_least_one() {
        let seen = run(
            json!({ "per": "global", "limit": "10/s", "burst": 3 }),
            vec![left(1)],
            "192.0.2.7",
            None,
        );
        assert_eq!(seen.asked, ["defaults/rate_limit.global/10/s [] 10/s 3"]);
        for settings in [
            json!({ "per": "global", "limit": "10/s", "burst": 0 }),
            json!({ "per": "global", "limit": "10/s", "burst": 1_000_000_001 }),
            json!({ "per": "global", "limit": ["10/s", "100/h"], "burst": 3 }),
        ] {
            assert_eq!(refused(&policy(settings)).field, "burst");
        }
    }

    #[test]
    fn limits_are_one_to_four_over_different_spans() {
        for limit in [json!("10/s"), json!(["10/s", "20/min", "30/h", "40/d"])] {
            let read: Limits = from_value(limit.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), limit);
        }
        for limit in [
            json!([]),
            json!(["10/s", "20/s"]),
            json!(["1/s", "1/min", "1/h", "1/d", "1/s"]),
            json!("10"),
            json!(10),
            json!(["10/s", 10]),
            json!({ "rate": "10/s" }),
            json!(null),
        ] {
            assert!(from_value::<Limits>(limit.clone()).is_err(), "{limit}");
        }
    }

    #[test]
    fn more_at_once_or_in_the_long_run_is_weaker() {
        let weakens = |mine: (Value, Value), wider: (Value, Value)| {
            let make = |(limit, burst): (Value, Value)| {
                policy(json!({ "per": "address", "limit": limit, "burst": burst }))
            };
            make(mine).weakens(&make(wider)).is_some()
        };
        for (mine, wider, expected) in [
            ((json!("600/min"), json!(null)), (json!("600/min"), json!(null)), false),
            ((json!("601/min"), json!(null)), (json!("600/min"), json!(null)), true),
            ((json!("10/s"), json!(null)), (json!("600/min"), json!(null)), false),
            ((json!("600/min"), json!(null)), (json!("10/s"), json!(null)), true),
            ((json!("600/min"), json!(10)), (json!("10/s"), json!(null)), false),
            ((json!("9/s"), json!(11)), (json!("10/s"), json!(null)), true),
            ((json!(["10/s", "100/h"]), json!(null)), (json!("10/s"), json!(null)), false),
            ((json!("10/s"), json!(null)), (json!(["10/s", "100/h"]), json!(null)), true),
            ((json!("100/h"), json!(9)), (json!(["10/s", "100/h"]), json!(null)), false),
        ] {
            assert_eq!(weakens(mine.clone(), wider.clone()), expected, "{mine:?} {wider:?}");
        }
    }
}
