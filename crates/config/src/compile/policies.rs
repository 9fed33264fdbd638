//! Which policies a route really has: the defaults, replaced by its own where the document allows
//! it.

use std::collections::BTreeMap;

use demilune_core::chain::Part;
use demilune_core::hook::Hooks;
use demilune_core::{Env, OnFault, Place};
use demilune_policies::PolicyConfig;

use super::Compiler;
use crate::document::Document;
use crate::model::{DefaultsConfig, FaultMode, RouteConfig};
use crate::tree::{join_key, nearest};

/// One policy of a route, and where it is written.
#[derive(Debug, Clone)]
pub struct Effective<'d> {
    /// The policy.
    pub policy: &'d PolicyConfig,
    /// Where it stands, such as `defaults.policies[0].waf`.
    pub path: String,
    /// Whether it is a default.
    pub inherited: bool,
}

/// The policies of a route in the order they run within a stage: the defaults that the route does
/// not replace, then its own.
#[must_use]
pub fn effective<'d>(
    document: &'d Document,
    route: &'d RouteConfig,
    name: &str,
) -> Vec<Effective<'d>> {
    let at = |level: &str, i: usize, policy: &PolicyConfig| {
        format!("{level}.policies[{i}].{}", policy.meta().name)
    };
    let defaults = document.model.defaults.policies.iter().enumerate();
    let kept = defaults
        .filter(|(_, policy)| !route.policies.iter().any(|own| own.key() == policy.key()))
        .map(|(i, policy)| Effective { policy, path: at("defaults", i, policy), inherited: true });
    let level = format!("routes.{name}");
    let own = route.policies.iter().enumerate();
    kept.chain(own.map(|(i, policy)| Effective {
        policy,
        path: at(&level, i, policy),
        inherited: false,
    }))
    .collect()
}

/// Each default by key, built once: routes that inherit it share its hooks and its counters.
pub(crate) type BuiltDefaults = BTreeMap<String, Hooks>;

/// Whether what `key` is said of (a policy's name, or its whole key such as `rate_limit.address`)
/// is `policy`.
fn names(key: &str, policy: &PolicyConfig) -> bool {
    key == policy.meta().name || key == policy.key()
}

/// Whether no route can replace this default.
pub(crate) fn locked(defaults: &DefaultsConfig, policy: &PolicyConfig) -> bool {
    defaults.locked.iter().any(|key| names(key, policy))
}

/// Where the document lets pass what a policy of a route cannot decide about; `None` where it does
/// not. What a route says goes before what the defaults say.
pub(crate) fn opened_by(
    document: &Document,
    route: &RouteConfig,
    name: &str,
    effective: &Effective<'_>,
) -> Option<String> {
    let wide = &document.model.defaults.on_fault;
    let own = route.on_fault.iter().map(|entry| (format!("routes.{name}.on_fault"), entry));
    let wide = wide.iter().filter(|_| effective.inherited);
    let all = own.chain(wide.map(|entry| ("defaults.on_fault".to_owned(), entry)));
    let mut said = all.filter(|(_, (key, _))| names(key, effective.policy));
    let (level, (key, mode)) = said.next()?;
    (*mode == FaultMode::Open).then(|| join_key(&level, key))
}

impl Compiler<'_> {
    pub(crate) fn build_defaults(&mut self) -> BuiltDefaults {
        let defaults = &self.document.model.defaults;
        self.check_level(
            "defaults",
            &defaults.policies,
            &defaults.policies.iter().collect::<Vec<_>>(),
            &defaults.reasons,
            &defaults.on_fault,
        );
        for (i, key) in defaults.locked.iter().enumerate() {
            if !defaults.policies.iter().any(|policy| names(key, policy)) {
                let known: Vec<_> = defaults.policies.iter().map(|p| p.meta().name).collect();
                self.unresolved(&format!("defaults.locked[{i}]"), "default policy", key, known);
            }
        }
        let mut built = BTreeMap::new();
        for (i, policy) in defaults.policies.iter().enumerate() {
            let path = format!("defaults.policies[{i}].{}", policy.meta().name);
            if let Some(hooks) = self.build(policy, "defaults", &path) {
                built.insert(policy.key().into_owned(), hooks);
            }
        }
        built
    }

    /// The policies of one route, ready for its chain.
    pub(crate) fn route_parts(
        &mut self,
        name: &str,
        config: &RouteConfig,
        defaults: &BuiltDefaults,
    ) -> Vec<Part> {
        let document = self.document;
        let level = format!("routes.{name}");
        let all = effective(document, config, name);
        let reach: Vec<&PolicyConfig> = all.iter().map(|effective| effective.policy).collect();
        self.check_level(&level, &config.policies, &reach, &config.reasons, &config.on_fault);
        self.check_replaced(&level, config);
        let mut parts = Vec::new();
        for effective in all {
            let open = opened_by(document, config, name, &effective).is_some();
            let on_fault = if open { OnFault::Open } else { OnFault::Closed };
            let Effective { policy, path, inherited } = effective;
            let hooks = if inherited {
                defaults.get(&*policy.key()).cloned()
            } else {
                self.build(policy, &level, &path)
            };
            parts.extend(hooks.map(|hooks| Part { policy: policy.meta().name, hooks, on_fault }));
        }
        parts
    }

    /// The default policies alone, ready for a chain.
    pub(crate) fn default_parts(&self, defaults: &BuiltDefaults) -> Vec<Part> {
        let section = &self.document.model.defaults;
        let part = |policy: &PolicyConfig| {
            let hooks = defaults.get(&*policy.key())?.clone();
            let said = section.on_fault.iter().find(|(key, _)| names(key, policy));
            let open = said.is_some_and(|(_, mode)| *mode == FaultMode::Open);
            let on_fault = if open { OnFault::Open } else { OnFault::Closed };
            Some(Part { policy: policy.meta().name, hooks, on_fault })
        };
        section.policies.iter().filter_map(part).collect()
    }

    fn build(&mut self, policy: &PolicyConfig, level: &str, path: &str) -> Option<Hooks> {
        let place = Place { path: level.to_owned(), source: self.document.location(path).into() };
        let env = Env {
            directory: &self.directory,
            counters: &self.services.counters,
            compute: &self.services.compute,
            secrets: &self.files,
            place: &place,
        };
        policy.build(&env).map_err(|invalid| self.invalid(path, invalid)).ok()
    }

    /// What is said beside `policies` on one level must be about one of `reach`, and openings need
    /// reasons.
    fn check_level(
        &mut self,
        level: &str,
        own: &[PolicyConfig],
        reach: &[&PolicyConfig],
        reasons: &BTreeMap<String, String>,
        on_fault: &BTreeMap<String, FaultMode>,
    ) {
        for (i, policy) in own.iter().enumerate() {
            if own.iter().take(i).any(|other| other.key() == policy.key()) {
                let path = format!("{level}.policies[{i}]");
                let reason = format!("`{}` is written twice on this level", policy.key());
                self.error("config.duplicate", &path, reason);
            }
        }
        for (section, keys) in [
            ("reasons", reasons.keys().collect::<Vec<_>>()),
            ("on_fault", on_fault.keys().collect()),
        ] {
            for key in keys.iter().filter(|key| !reach.iter().any(|policy| names(key, policy))) {
                let reason = format!("there is no policy `{key}` here");
                let path = join_key(&format!("{level}.{section}"), key);
                let mut diagnostic = self.diagnostic("config.unresolved", &path, reason);
                if let Some(meant) = nearest(key, reach.iter().map(|policy| policy.meta().name)) {
                    diagnostic = diagnostic.help(format!("did you mean `{meant}`?"));
                }
                self.diagnostics.push(diagnostic);
            }
        }
        for (key, reason) in reasons {
            self.check_reason(&join_key(&format!("{level}.reasons"), key), Some(reason));
        }
        for key in on_fault.iter().filter(|(_, m)| **m == FaultMode::Open).map(|(key, _)| key) {
            if !reasons.contains_key(key) {
                let path = join_key(&format!("{level}.on_fault"), key);
                let reason = format!("`{key}` is to let pass what it cannot decide about");
                let diagnostic = self
                    .diagnostic("config.reason_missing", &path, reason)
                    .help(format!("write why: `reasons: {{ {key}: \"…\" }}`"));
                self.diagnostics.push(diagnostic);
            }
        }
    }

    /// What replaces a default: never a locked one, and a weaker one only with a reason.
    fn check_replaced(&mut self, level: &str, config: &RouteConfig) {
        let document = self.document;
        let defaults = &document.model.defaults;
        for key in config.on_fault.keys() {
            let floor = |wide: &PolicyConfig| names(key, wide) && locked(defaults, wide);
            if defaults.policies.iter().any(floor) {
                let reason = format!("`{key}` is locked: a route cannot change what it does");
                self.error("config.locked", &join_key(&format!("{level}.on_fault"), key), reason);
            }
        }
        for (i, policy) in config.policies.iter().enumerate() {
            let path = format!("{level}.policies[{i}].{}", policy.meta().name);
            let wider = defaults.policies.iter().position(|wide| wide.key() == policy.key());
            let Some((at, wider)) = wider.and_then(|at| Some((at, defaults.policies.get(at)?)))
            else {
                continue;
            };
            let first = document.span(&format!("defaults.policies[{at}]"));
            if locked(defaults, wider) {
                let reason = format!("`{}` is locked: a route cannot replace it", policy.key());
                let diagnostic =
                    self.diagnostic("config.locked", &path, reason).related(first, "the default");
                self.diagnostics.push(diagnostic);
            } else if let Some(how) = policy.weakens(wider)
                && !config.reasons.keys().any(|key| names(key, policy))
            {
                let name = policy.meta().name;
                let diagnostic = self
                    .diagnostic(
                        "config.reason_missing",
                        &path,
                        format!("weaker than the default: {how}"),
                    )
                    .related(first, "the default")
                    .help(format!("write why: `reasons: {{ {name}: \"…\" }}`"));
                self.diagnostics.push(diagnostic);
            }
        }
    }
}
