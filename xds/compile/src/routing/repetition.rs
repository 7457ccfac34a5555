//! Retries that may do twice what must be done once: kept from methods that are known not to bear it.
//!
//! A rule for methods of several kinds becomes two: first one for those that are the exception, by an expression over
//! their names, then the rule as it stands for the rest.

use std::sync::Arc;

use pilotage_watcher::Code;

use super::Scope;
use super::retries::cannot_have_been_processed;
use crate::ir::{Action, Condition, PathMatch, RetryPolicy, Rule};
use crate::methods::{Class, Declared};
use crate::report::{Place, Report};
use crate::settings::UnknownMethods;

/// The longest expression over names; RE2 could do more, and Envoy takes no more by default.
const LONGEST: usize = 900;

/// A rule of gRPC calls as the rules that retry each method no more than it bears; `place` is that of its retries.
pub(super) fn guarded(
    rule: Rule,
    declared: &Declared,
    place: &Place,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Vec<Rule> {
    let Action::Forward(forward) = &rule.action else { return vec![rule] };
    let Some(policy) = &forward.retries else { return vec![rule] };
    let risky: Vec<&str> =
        policy.on.iter().map(|on| &**on).filter(|on| !cannot_have_been_processed(on)).collect();
    if risky.is_empty() {
        return vec![rule];
    }
    let risky = risky.join(",");
    let methods = scope.methods;
    let careful = Rule { action: restricted(&rule.action), ..rule.clone() };
    let condition = &rule.condition;
    let prefix = match &condition.path {
        _ if condition.ignore_path_case => None,
        PathMatch::Any => Some("/"),
        PathMatch::Prefix(prefix) => Some(&**prefix),
        PathMatch::Exact(path) => {
            return match methods.class(path, declared) {
                Class::Repeatable => vec![rule],
                Class::Once => {
                    report.add(once(path, &risky, place));
                    vec![careful]
                }
                Class::Unknown => vec![of_unknown(rule.clone(), careful, &risky, place, scope, report)],
            };
        }
        // A method is no segment of its own, so that segments name no one method.
        PathMatch::Segments(_) | PathMatch::Regex(_) => None,
    };
    let Some(prefix) = prefix else {
        return vec![of_unknown(rule.clone(), careful, &risky, place, scope, report)];
    };
    let rest = match methods.describe_all(prefix, declared) {
        true => rule.clone(),
        false => of_unknown(rule.clone(), careful.clone(), &risky, place, scope, report),
    };
    // The exception is whichever class the rule for the rest does not serve as it should be.
    let (exception, class) = match rest == careful {
        true => (&rule, Class::Repeatable),
        false => (&careful, Class::Once),
    };
    let mut named = methods.below(prefix, class, declared);
    if class == Class::Repeatable {
        for (service, method) in declared.below(prefix) {
            let known = named.entry(service).or_default();
            if !known.contains(&method) {
                known.push(method);
            }
        }
    }
    let expressions = named.iter().flat_map(|(service, methods)| expressions(service, methods));
    let with_path = |expression: String| Rule {
        condition: Condition { path: PathMatch::Regex(expression.into()), ..condition.clone() },
        ..exception.clone()
    };
    let mut rules: Vec<Rule> = expressions.map(with_path).collect();
    rules.push(rest);
    rules
}

/// What is done for methods that nothing describes, as the settings say.
fn of_unknown(
    rule: Rule,
    careful: Rule,
    risky: &str,
    place: &Place,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Rule {
    let hint = "describe the methods: put a descriptor set beside the manifests (pilotage descriptors fetch), or name \
                idempotent ones in the annotation pilotage.dev/idempotent-methods";
    match scope.settings.retries.unknown_methods {
        UnknownMethods::Allow => rule,
        UnknownMethods::Warn => {
            let message = format!(
                "a call that a server has begun may be made again on {risky}, and nothing says which methods bear \
                 that"
            );
            report.add(place.field("retryOn").problem(Code::RetryMayRepeat, message).hint(hint));
            rule
        }
        UnknownMethods::Restrict => {
            let message = format!("methods that nothing describes are not retried on {risky}");
            let problem = place.field("retryOn").problem(Code::RetryMayRepeat, message);
            report.add(problem.severity(pilotage_watcher::Severity::Info).hint(hint));
            careful
        }
    }
}

fn once(path: &str, risky: &str, place: &Place) -> pilotage_watcher::Problem {
    let message = format!("{path} is not idempotent by its descriptor: it is not retried on {risky}");
    let problem = place.field("retryOn").problem(Code::RetryMayRepeat, message);
    problem.hint("set option idempotency_level in its definition if it may run twice")
}

/// The same action, retried only where a request cannot have been processed.
fn restricted(action: &Action) -> Action {
    let mut action = action.clone();
    if let Action::Forward(forward) = &mut action {
        forward.retries = forward.retries.take().and_then(|policy| {
            let on: Vec<Arc<str>> =
                policy.on.iter().filter(|on| cannot_have_been_processed(on)).cloned().collect();
            (!on.is_empty()).then_some(RetryPolicy { on, status_codes: Vec::new(), ..policy })
        });
    }
    action
}

/// Expressions for the paths of some methods of a service, each short enough.
fn expressions(service: &str, methods: &[&str]) -> Vec<String> {
    let beginning = format!("/{}/", regex_syntax::escape(service));
    let mut found = Vec::new();
    let mut names = String::new();
    for method in methods {
        if !names.is_empty() && beginning.len() + names.len() + method.len() > LONGEST {
            found.push(format!("{beginning}({names})"));
            names.clear();
        }
        if !names.is_empty() {
            names.push('|');
        }
        match *method {
            "*" => names.push_str("[^/]+"),
            method => names.push_str(&regex_syntax::escape(method)),
        }
    }
    if !names.is_empty() {
        found.push(format!("{beginning}({names})"));
    }
    found
}
