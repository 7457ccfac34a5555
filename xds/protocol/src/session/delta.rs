//! Delta: how additions and removals of names become an interest (R27, R43–R51).

use std::collections::HashMap;

use super::sotw::LegacyWildcard;
use super::subscription::{Added, Claim, Subscription};
use crate::interest::is_plain;
use crate::name::normalised;
use crate::{Interest, Name, Version, Wildcard};

/// Applies a request's names. On the first request of a type an empty `subscribe` may mean everything. Returns the
/// names that are newly asked for.
pub(super) fn apply(
    subscription: &mut Subscription,
    (subscribe, unsubscribe): (&[String], &[String]),
    legacy: LegacyWildcard,
    intern: impl Fn(&str) -> Name,
) -> Added {
    let mut wildcard = subscription.wildcard();
    if subscribe.iter().any(|name| name == "*") {
        wildcard = Wildcard::Explicit;
    } else if subscribe.is_empty() && legacy == LegacyWildcard::Allowed {
        wildcard = Wildcard::Legacy;
    }
    if unsubscribe.iter().any(|name| name == "*") {
        wildcard = Wildcard::None;
    }

    let subscribed = sorted(subscribe, &intern);
    let unsubscribed = sorted(unsubscribe, &intern);
    let leaves = |name: &Name| unsubscribed.binary_search(name).is_ok();
    // With the wildcard held, giving up a name is answered with what the wildcard makes of it (R48). A name that was
    // never asked for and does not exist is a phantom, which is ignored (R47).
    let answered: Vec<Name> = unsubscribed
        .iter()
        .filter(|name| {
            wildcard != Wildcard::None
                && (subscription.interest.names(name)
                    || subscribed.binary_search(name).is_ok()
                    || subscription.base.as_ref().is_some_and(|base| base.contains(name)))
        })
        .cloned()
        .collect();

    let newly_wildcard = wildcard != Wildcard::None && !subscription.interest.is_wildcard();
    let mut added = Added::nothing();
    if wildcard != subscription.wildcard() || !subscribed.is_empty() || !unsubscribed.is_empty() {
        let names =
            subscription.interest.named().iter().chain(&subscribed).filter(|name| !leaves(name)).cloned();
        let interest = Interest::new(wildcard, names);
        added = subscription.change_interest(interest);
    }
    for name in subscribed.iter().filter(|name| !leaves(name)).chain(&answered) {
        subscription.ask(name);
    }
    if newly_wildcard {
        subscription.answer_due = true;
    }
    added
}

/// Adds names that other streams ask for as well; returns those that are newly asked for.
pub(super) fn add(subscription: &mut Subscription, interest: Interest) -> Added {
    if subscription.interest.is_empty() {
        return subscription.change_interest(interest);
    }
    let former = subscription.interest.clone();
    let names = former.named().iter().chain(interest.named()).cloned();
    let added = subscription.change_interest(Interest::new(former.wildcard(), names));
    interest.named().iter().filter(|name| former.names(name)).for_each(|name| subscription.ask(name));
    added
}

/// What a first request says that the client holds; versions that this server never wrote match nothing.
pub(super) fn claim(initial_versions: HashMap<String, String>) -> Claim {
    if initial_versions.is_empty() {
        return Claim::Nothing;
    }
    let resources = initial_versions
        .into_iter()
        .map(|(name, version)| (Name::from(normalised(&name).as_ref()), version.parse::<Version>().ok()));
    Claim::Resources(resources.collect())
}

fn sorted(names: &[String], intern: impl Fn(&str) -> Name) -> Vec<Name> {
    let mut names: Vec<Name> = names.iter().filter(|name| is_plain(name)).map(|name| intern(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}
