//! The conditions of an object, out of what is wrong with it and what all replicas say of their clients.

use std::collections::BTreeMap;

use pilotage_watcher::{Code, Kind, ObjectKey, Problem, Severity};

use super::outcome::{Outcome, Outcomes};
use super::peers::Others;
use crate::pipeline::{Entry, Ledger};

/// A condition: `type`, `status`, `reason` and `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) name: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
}

/// What an object's status is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) generation: Option<i64>,
    pub(super) conditions: Vec<Condition>,
    pub(super) problems: Vec<Problem>,
}

/// Problems that are about something else that is named and is not there, or not as it should be.
const REFERENCES: [Code; 9] = [
    Code::UnknownHost,
    Code::UnknownPort,
    Code::UnknownSubset,
    Code::UnknownGateway,
    Code::UnknownDelegate,
    Code::UnknownSecret,
    Code::InvalidSecret,
    Code::PortRequired,
    Code::Forbidden,
];

/// The conditions of every object.
pub(super) fn of(ledger: &Ledger, own: &Outcomes, others: &Others) -> BTreeMap<ObjectKey, Conditions> {
    let of_object = |(key, entry): (&ObjectKey, &Entry)| {
        let name = key.to_string();
        let mut conditions = vec![accepted(entry), resolved(entry)];
        conditions.extend(is_followed(key.kind).then(|| programmed(&name, entry, own, others)));
        let generation = entry.generation;
        (key.clone(), Conditions { generation, conditions, problems: entry.problems.clone() })
    };
    ledger.objects.iter().map(of_object).collect()
}

/// Whether resources say that they were made from an object of this kind.
fn is_followed(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::VirtualService
            | Kind::DestinationRule
            | Kind::Gateway
            | Kind::ServiceEntry
            | Kind::EnvoyResources
    )
}

fn accepted(entry: &Entry) -> Condition {
    let is_own = |code: Code| !REFERENCES.contains(&code) && code != Code::RejectedByClient;
    condition("Accepted", errors(entry, is_own), "Accepted", "it is served as it is written")
}

fn resolved(entry: &Entry) -> Condition {
    let errors = errors(entry, |code| REFERENCES.contains(&code));
    condition("ResolvedRefs", errors, "ResolvedRefs", "all that it refers to is there")
}

fn errors(entry: &Entry, is_one: impl Fn(Code) -> bool) -> Vec<&Problem> {
    let errors = entry.problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.filter(|problem| is_one(problem.code)).collect()
}

fn condition(name: &'static str, errors: Vec<&Problem>, good: &str, words: &str) -> Condition {
    match errors.first() {
        None => Condition { name, status: "True", reason: good.to_owned(), message: words.to_owned() },
        Some(first) => {
            let path = if first.path.is_empty() { String::new() } else { format!("{}: ", first.path) };
            let more = match errors.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let message = format!("{path}{}{more}", first.message);
            Condition { name, status: "False", reason: camel_case(first.code.name()), message }
        }
    }
}

/// Whether every client that is told of it has it, at every replica.
fn programmed(name: &str, entry: &Entry, own: &Outcomes, others: &Others) -> Condition {
    let condition = |status, reason: &str, message: String| Condition {
        name: "Programmed",
        status,
        reason: reason.to_owned(),
        message,
    };
    if !others.unheard.is_empty() {
        let unheard = others.unheard.join(", ");
        return condition("Unknown", "ReplicaUnheard", format!("nothing is heard from {unheard}"));
    }
    let none = Outcome::default();
    let mut sum = Outcome { generation: entry.generation, ..Outcome::default() };
    let mut behind = 0;
    for outcomes in std::iter::once(own).chain(&others.outcomes) {
        let outcome = outcomes.objects.get(name).unwrap_or(&none);
        sum.selected += outcome.selected;
        sum.rejected += outcome.rejected;
        if outcome.generation == entry.generation {
            sum.programmed += outcome.programmed;
        } else {
            behind += 1;
        }
    }
    let counts = format!("{} of {} proxies have it", sum.programmed, sum.selected);
    if behind > 0 {
        condition(
            "Unknown",
            "ReplicaBehind",
            format!("{behind} replicas have not read it as it is now; {counts}"),
        )
    } else if sum.rejected > 0 {
        condition("False", "Rejected", format!("{counts}, and {} rejected it", sum.rejected))
    } else if sum.selected == 0 {
        condition("False", "NoProxies", "no proxy that is connected is told of it".to_owned())
    } else if sum.programmed < sum.selected {
        condition("False", "Pending", counts)
    } else {
        condition("True", "Programmed", counts)
    }
}

/// `unknown-host` as `UnknownHost`, for reasons have no dashes.
pub(super) fn camel_case(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(problems: &[(Code, Severity)]) -> Entry {
        let problem = |(code, severity): &(Code, Severity)| Problem::new(*code, "words").severity(*severity);
        Entry { generation: Some(3), problems: problems.iter().map(problem).collect(), ..Entry::default() }
    }

    fn outcomes(generation: i64, selected: usize, programmed: usize, rejected: usize) -> Outcomes {
        let outcome = Outcome { generation: Some(generation), selected, programmed, rejected };
        Outcomes { objects: [("it".to_owned(), outcome)].into() }
    }

    fn told(own: &Outcomes, outcomes: Vec<Outcomes>, unheard: &[&str]) -> (&'static str, String) {
        let unheard = unheard.iter().map(ToString::to_string).collect();
        let condition = programmed("it", &entry(&[]), own, &Others { outcomes, unheard });
        (condition.status, condition.reason)
    }

    #[test]
    fn programmed_only_when_every_proxy_of_every_replica_has_it() {
        let is = |status, reason: &str| (status, reason.to_owned());
        assert_eq!(told(&outcomes(3, 2, 2, 0), vec![], &[]), is("True", "Programmed"));
        assert_eq!(told(&outcomes(3, 2, 2, 0), vec![outcomes(3, 1, 0, 0)], &[]), is("False", "Pending"));
        assert_eq!(told(&outcomes(3, 2, 2, 0), vec![outcomes(3, 0, 0, 0)], &[]), is("True", "Programmed"));
        assert_eq!(told(&outcomes(3, 2, 1, 1), vec![], &[]), is("False", "Rejected"));
        assert_eq!(told(&outcomes(3, 0, 0, 0), vec![], &[]), is("False", "NoProxies"));
    }

    #[test]
    fn who_is_not_heard_or_is_behind_makes_it_unknown() {
        let all = outcomes(3, 2, 2, 0);
        assert_eq!(told(&all, vec![], &["b"]), ("Unknown", "ReplicaUnheard".to_owned()));
        assert_eq!(told(&all, vec![outcomes(2, 1, 1, 0)], &[]), ("Unknown", "ReplicaBehind".to_owned()));
        assert_eq!(told(&all, vec![Outcomes::default()], &[]), ("Unknown", "ReplicaBehind".to_owned()));
    }

    #[test]
    fn what_is_wrong_with_it_is_told_apart_from_what_it_refers_to() {
        let status = |problems: &[(Code, Severity)]| {
            let entry = entry(problems);
            (accepted(&entry).status, resolved(&entry).status)
        };
        assert_eq!(status(&[(Code::UndeclaredPort, Severity::Info)]), ("True", "True"));
        assert_eq!(status(&[(Code::WrongType, Severity::Error)]), ("False", "True"));
        assert_eq!(status(&[(Code::UnknownHost, Severity::Error)]), ("True", "False"));
        assert_eq!(status(&[(Code::RejectedByClient, Severity::Error)]), ("True", "True"));
        assert_eq!(accepted(&entry(&[(Code::WrongType, Severity::Error)])).reason, "WrongType");
    }
}
