//! SotW: how a complete list of names becomes an interest (R23–R30).

use super::subscription::{Added, Claim, Subscription};
use crate::interest::is_plain;
use crate::{Interest, Name, Wildcard};

/// Applies a request's names; `legacy` says whether an empty list may mean everything, and `intern` shares a name
/// with the snapshot. Returns the names that are newly asked for.
pub(super) fn apply(
    subscription: &mut Subscription,
    names: &[String],
    legacy: LegacyWildcard,
    intern: impl Fn(&str) -> Name,
) -> Added {
    subscription.named_before |= !names.is_empty();
    let wildcard = if names.iter().any(|name| name == "*") {
        Wildcard::Explicit
    } else if !subscription.named_before && legacy == LegacyWildcard::Allowed {
        Wildcard::Legacy
    } else {
        Wildcard::None
    };
    let plain = || names.iter().filter(|name| is_plain(name));
    if wildcard == subscription.wildcard() && is_same(subscription.interest.named(), plain()) {
        // The usual acknowledgement repeats the names; nothing is allocated for it.
        return Added::nothing();
    }
    change(subscription, Interest::new(wildcard, plain().map(|name| intern(name))))
}

/// Applies a complete set of names that other streams have as well; returns those that are newly asked for.
pub(super) fn replace(subscription: &mut Subscription, interest: Interest) -> Added {
    subscription.named_before |= !interest.is_empty();
    if interest == subscription.interest { Added::nothing() } else { change(subscription, interest) }
}

fn change(subscription: &mut Subscription, interest: Interest) -> Added {
    let newly_wildcard = interest.is_wildcard() && !subscription.interest.is_wildcard();
    let added = subscription.change_interest(interest);
    if newly_wildcard {
        subscription.answer_due = true;
    }
    added
}

/// Whether an empty first request means everything, which depends on the type and on the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegacyWildcard {
    Allowed,
    Denied,
}

/// What the version of a first request says: the client holds all of a wildcard, if the version is the current one.
/// It does not say which names the client holds, so that named interests claim nothing (R12).
pub(super) fn claim(subscription: &Subscription, version: String) -> Claim {
    if version.is_empty() || !subscription.interest.named().is_empty() {
        Claim::Nothing
    } else {
        Claim::Version(version)
    }
}

fn is_same<'a>(known: &[Name], said: impl Iterator<Item = &'a String>) -> bool {
    // Clients send their names sorted or in a stable order; only the sorted order is recognised without work.
    let mut known = known.iter();
    let mut said = said;
    loop {
        match (known.next(), said.next()) {
            (None, None) => return true,
            (Some(ours), Some(theirs)) if ours.as_ref() == theirs.as_str() => {}
            _ => return false,
        }
    }
}
