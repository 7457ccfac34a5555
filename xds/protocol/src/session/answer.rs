//! What a client's ACK or NACK does to a subscription (R13–R16, R22).
//!
//! A NACK may leave the client with all, some or none of the response's good resources, so that what is not to blame
//! is sent again without the bad one. Who is to blame is told by the client's words, or else found in
//! [`super::search`].

use super::search::{self, Search, Step};
use super::sent::{Phase, Sent};
use super::subscription::{Exception, Held, Subscription};
use crate::{Blame, Dialect, Event, Rejection, Resource, ResourceType};

/// Hears an acceptance of the latest response; the nonce decides, whatever version the client quotes (H14).
pub(super) fn accept(
    subscription: &mut Subscription,
    resource_type: &ResourceType,
) -> impl Iterator<Item = Event> {
    let Some(sent) = subscription.sent.as_mut().filter(|sent| sent.phase != Phase::Acked) else {
        return None.into_iter().chain(None);
    };
    let answered = sent.answered(resource_type.clone());
    subscription.is_stubborn = false;
    let mut found = None;
    if sent.phase == Phase::Nacked {
        subscription.search = None;
        restore(subscription);
    } else {
        sent.accept();
        if let Some(search) = subscription.search.take() {
            found = go_on(subscription, search.accepted());
        }
    }
    let refused = subscription.overlay.values().filter(|exception| exception.rejected.is_some()).count();
    Some(Event::Acked { response: answered, refused }).into_iter().chain(found)
}

/// Hears a rejection of the latest response; a repetition is none (R15). Nothing is reported while it is not known
/// who is to blame.
pub(super) fn reject(
    subscription: &mut Subscription,
    resource_type: &ResourceType,
    dialect: Dialect,
    rejection: Rejection,
) -> Option<Event> {
    let sent = subscription.sent.as_mut()?;
    if sent.phase == Phase::Nacked {
        return None;
    }
    sent.phase = Phase::Nacked;
    let response = sent.answered(resource_type.clone());
    let new = new_resources(subscription);
    let is_named = |resource: &&Resource| mentions(&rejection.message, resource.name());
    let named: Vec<Resource> = new.iter().filter(is_named).cloned().collect();
    if let Some(search) = subscription.search.take() {
        park(subscription, &new);
        return go_on(subscription, search.rejected(named));
    }
    if named.is_empty() && names_an_old_acquaintance(subscription, &rejection.message) {
        // It was reported already, and its neighbours have been taken.
        return None;
    }
    if named.is_empty() && names_what_it_rejected_late(subscription, &rejection.message) {
        renew(subscription, &new);
        return None;
    }
    if !named.is_empty() {
        let (culprits, rest): (Vec<_>, Vec<_>) = new.into_iter().partition(|one| named.contains(one));
        park(subscription, &culprits);
        if !is_continued(subscription, &culprits) {
            renew(subscription, &rest);
        }
        return Some(Event::Nacked { response, rejection, suspects: culprits, blame: Blame::Certain });
    }
    let is_list = dialect == Dialect::Sotw && resource_type.is_full_state_in_sotw();
    // A full list without what the client may still have from an earlier stream would delete that: such a list is only
    // kept back as a whole, and sent again once anything in it changes.
    if is_list && new.len() > 1 && is_continued(subscription, &new) {
        // What is to be taken away may be what is wrong with it, and would be in every list while it waits.
        subscription.unknown_until = None;
        return Some(Event::Nacked { response, rejection, suspects: new, blame: Blame::Shared });
    }
    park(subscription, &new);
    if new.len() > 1 {
        let search = Search::new(response, rejection, new);
        subscription.search = Some(if subscription.is_stubborn { search.last() } else { search });
        return None;
    }
    Some(Event::Nacked { response, rejection, suspects: new, blame: Blame::Certain })
}

/// Goes on with a search after the answer to a probe.
fn go_on(subscription: &mut Subscription, step: Step) -> Option<Event> {
    match step {
        Step::Probe(search) => {
            subscription.search = Some(search);
            None
        }
        Step::Found { culprits, rest, search } => {
            subscription.is_stubborn = !search.has_accepted();
            search::release(subscription, &rest);
            let (response, rejection) = (search.response, search.rejection);
            Some(Event::Nacked { response, rejection, suspects: culprits, blame: Blame::Certain })
        }
        Step::Hopeless { suspects, search } => {
            subscription.is_stubborn = true;
            // Two that were rejected one by one are both bad.
            let blame = if suspects.len() == 2 { Blame::Certain } else { Blame::Shared };
            let (response, rejection) = (search.response, search.rejection);
            Some(Event::Nacked { response, rejection, suspects, blame })
        }
    }
}

/// The resources of the latest response that the client did not have before it.
fn new_resources(subscription: &Subscription) -> Vec<Resource> {
    let Some((sent, contents)) = subscription.sent.as_ref().and_then(|sent| Some((sent, sent.contents()?)))
    else {
        return Vec::new();
    };
    let is_new = |resource: &&Resource| {
        let name = resource.name();
        sent.before(name).resource() != Some(resource) && !is_listed_nevertheless(subscription, name)
    };
    contents.iter().filter(is_new).cloned().collect()
}

/// Keeps what the latest response was to replace under these names, until their content changes.
fn park(subscription: &mut Subscription, rejected: &[Resource]) {
    let Some(sent) = &subscription.sent else {
        return;
    };
    let nonce = sent.nonce;
    let parked: Vec<(&Resource, Held)> =
        rejected.iter().map(|resource| (resource, sent.before(resource.name()))).collect();
    for (resource, held) in parked {
        if subscription.interest.covers(resource.name()) {
            let rejected = Some((nonce, resource.version()));
            subscription
                .set_exception(resource.name().clone(), Exception { held, rejected, ..Exception::default() });
        }
    }
}

/// Has the good neighbours of a bad resource sent again: the client may have taken them, or not.
fn renew(subscription: &mut Subscription, neighbours: &[Resource]) {
    park(subscription, neighbours);
    search::release(subscription, neighbours);
}

/// Whether the client may have some of these from an earlier stream, so that nobody knows what it keeps.
fn is_continued(subscription: &Subscription, resources: &[Resource]) -> bool {
    let is_stale = |sent: &Sent, resource: &Resource| matches!(sent.before(resource.name()), Held::Stale);
    subscription.sent.as_ref().is_some_and(|sent| resources.iter().any(|resource| is_stale(sent, resource)))
}

/// Whether a full list has this name though the client rejected it, because its absence would delete what the client
/// keeps from an earlier stream.
fn is_listed_nevertheless(subscription: &Subscription, name: &str) -> bool {
    subscription.overlay.get(name).is_some_and(Exception::is_listed_nevertheless)
}

fn names_an_old_acquaintance(subscription: &Subscription, message: &str) -> bool {
    let mut known = subscription.overlay.iter().filter(|(_, exception)| exception.is_listed_nevertheless());
    known.any(|(name, _)| mentions(message, name))
}

/// Whether the words are about something that this response repeats and that an answer has rejected which came late.
fn names_what_it_rejected_late(subscription: &Subscription, message: &str) -> bool {
    let contents = subscription.sent.as_ref().and_then(Sent::contents);
    contents.into_iter().flat_map(|contents| contents.iter()).any(|resource| {
        let exception = subscription.overlay.get(resource.name());
        let rejected = exception.and_then(|exception| exception.rejected);
        rejected.is_some_and(|(_, version)| version == resource.version())
            && mentions(message, resource.name())
    })
}

/// Takes a rejection back: the client has accepted the response after all (H16).
fn restore(subscription: &mut Subscription) {
    let Some((nonce, contents)) =
        subscription.sent.as_ref().and_then(|sent| Some((sent.nonce, sent.contents()?.clone())))
    else {
        return;
    };
    let base = subscription.base.clone();
    for resource in contents.iter() {
        let name = resource.name();
        let rejected = subscription.overlay.get(name).and_then(|exception| exception.rejected);
        if rejected != Some((nonce, resource.version())) {
            continue;
        }
        match &base {
            Some(base) if base.get(name) == Some(resource) => subscription.settle(name, base),
            _ => {
                let held = Held::Resource(resource.clone());
                subscription.set_exception(name.clone(), Exception { held, ..Exception::default() });
            }
        }
    }
    if let Some(sent) = &mut subscription.sent {
        sent.accept();
    }
}

/// Whether a message contains a name as a word of its own, and not as a part of a longer name.
pub(super) fn mentions(message: &str, name: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '|' | '/');
    message.match_indices(name).any(|(start, _)| {
        let (before, after) = (&message[..start], &message[start + name.len()..]);
        let mut preceding = before.chars().rev();
        let mut following = after.chars();
        let joined_before = match preceding.next() {
            // Punctuation is a part of a longer name only where that name goes on behind it.
            Some('.' | ':') => preceding.next().is_some_and(continues),
            Some(c) => continues(c),
            None => false,
        };
        let joined_after = match following.next() {
            Some('.' | ':') => following.next().is_some_and(continues),
            Some(c) => continues(c),
            None => false,
        };
        !joined_before && !joined_after
    })
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_name_is_mentioned_only_as_a_whole() {
        assert!(mentions("Error adding/updating cluster(s) outbound|80||a.b: no type", "outbound|80||a.b"));
        assert!(mentions("bad: 'a'", "a"));
        assert!(mentions("a", "a"));
        assert!(!mentions("Error adding/updating cluster(s) a.b: no type", "a"));
        assert!(!mentions("cluster ab", "a"));
        assert!(!mentions("x:a", "a"));
        assert!(!mentions("nothing", "a"));
    }
}
