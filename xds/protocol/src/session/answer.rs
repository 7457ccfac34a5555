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
    let Some(sent) = subscription.sent.as_ref().filter(|sent| sent.phase != Phase::Acked) else {
        return None.into_iter().chain(None);
    };
    let answered = sent.answered(resource_type.clone());
    subscription.is_stubborn = false;
    let search = subscription.search.take().filter(|_| sent.phase != Phase::Nacked);
    if !subscription.overlay.is_empty() {
        // What it rejected before, in this response or in another, it has taken after all (H16).
        let contents = sent.contents().cloned();
        contents
            .iter()
            .flat_map(|contents| contents.iter())
            .for_each(|resource| take(subscription, resource));
    }
    if let Some(sent) = &mut subscription.sent {
        sent.accept();
    }
    let found = search.and_then(|search| go_on(subscription, search.accepted()));
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
    let sent = subscription.sent.as_mut().filter(|sent| sent.phase != Phase::Nacked)?;
    sent.phase = Phase::Nacked;
    let response = sent.answered(resource_type.clone());
    let is_named = |resource: &Resource| mentions(&rejection.message, resource.name());
    let (known, new) = suspects(subscription, is_named);
    if let Some(search) = subscription.search.take() {
        let named = new.iter().filter(|one| is_named(one)).cloned().collect();
        park(subscription, &new);
        return go_on(subscription, search.rejected(named));
    }
    let is_list = dialect == Dialect::Sotw && resource_type.is_full_state_in_sotw();
    let is_unexplained = !known.iter().chain(&new).any(is_named);
    if is_unexplained && is_list && has_unknown(subscription) {
        // A list without what the client may still have from an earlier stream would delete that, so that no probe is
        // possible: it is kept back as a whole, and sent again once anything in it changes.
        let is_news = !new.is_empty();
        let suspects: Vec<Resource> = known.into_iter().chain(new).collect();
        suspects.iter().for_each(|suspect| withhold(subscription, suspect, Held::Stale));
        let blame = if suspects.len() == 1 { Blame::Certain } else { Blame::Shared };
        return is_news.then_some(Event::Nacked { response, rejection, suspects, blame });
    }
    if is_unexplained && known.is_empty() {
        park(subscription, &new);
        if new.len() > 1 {
            let search = Search::new(response, rejection, new);
            subscription.search = Some(if subscription.is_stubborn { search.last() } else { search });
            return None;
        }
        return Some(Event::Nacked { response, rejection, suspects: new, blame: Blame::Certain });
    }
    // Without words, what the client has rejected before is the reason.
    let (old, cleared): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| is_unexplained || is_named(one));
    let (mut culprits, rest): (Vec<_>, Vec<_>) = new.into_iter().partition(is_named);
    park(subscription, &culprits);
    let stays = |one: &Resource| is_list && subscription.is_listed_nevertheless(one.name());
    if culprits.iter().chain(&old).any(stays) {
        // It is in the next list as well, which would be rejected like this one: the others count as taken.
        cleared.iter().for_each(|neighbour| take(subscription, neighbour));
    } else {
        renew(subscription, &rest);
    }
    if !cleared.is_empty() {
        // It was one suspect of several so far.
        culprits.extend(old);
    }
    let blame = Blame::Certain;
    (!culprits.is_empty()).then_some(Event::Nacked { response, rejection, suspects: culprits, blame })
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

/// What may be wrong with the latest response: what the client has rejected before and was sent all the same, and what
/// it did not have before. If it names none of these, it may name something that it was thought to have, because it did
/// not answer in time when it was sent that.
fn suspects(
    subscription: &Subscription,
    is_named: impl Fn(&Resource) -> bool,
) -> (Vec<Resource>, Vec<Resource>) {
    let Some((sent, contents)) = subscription.sent.as_ref().and_then(|sent| Some((sent, sent.contents()?)))
    else {
        return (Vec::new(), Vec::new());
    };
    let is_known = |resource: &Resource| {
        let exception = subscription.overlay.get(resource.name());
        exception.is_some_and(|exception| exception.rejected == Some(resource.version()))
    };
    let is_old = |resource: &Resource| sent.before(resource.name()).resource() == Some(resource);
    let (known, others): (Vec<_>, Vec<_>) = contents.iter().cloned().partition(is_known);
    let (old, mut new): (Vec<_>, Vec<_>) = others.into_iter().partition(is_old);
    if !known.iter().chain(&new).any(&is_named) {
        new.extend(old.into_iter().filter(is_named));
    }
    (known, new)
}

/// Whether the latest response has a name under which the client may have had anything.
fn has_unknown(subscription: &Subscription) -> bool {
    let is_unknown = |sent: &Sent, name: &str| matches!(sent.before(name), Held::Stale);
    let contents = |sent: &Sent| sent.contents().cloned();
    let sent = subscription.sent.as_ref();
    sent.is_some_and(|sent| {
        contents(sent).iter().flat_map(|contents| contents.iter()).any(|one| is_unknown(sent, one.name()))
    })
}

/// Keeps what the latest response was to replace under these names, until their content changes.
fn park(subscription: &mut Subscription, rejected: &[Resource]) {
    for resource in rejected {
        let before = subscription.sent.as_ref().map(|sent| sent.before(resource.name()));
        let held = match before {
            Some(Held::Resource(before)) if before == *resource => Held::Stale,
            before => before.unwrap_or_default(),
        };
        withhold(subscription, resource, held);
    }
}

/// Records that the client has rejected this and has `held` instead.
fn withhold(subscription: &mut Subscription, resource: &Resource, held: Held) {
    if subscription.interest.covers(resource.name()) {
        let rejected = Some(resource.version());
        subscription
            .set_exception(resource.name().clone(), Exception { held, rejected, ..Exception::default() });
    }
}

/// Has the good neighbours of a bad resource sent again: the client may have taken them, or not.
fn renew(subscription: &mut Subscription, neighbours: &[Resource]) {
    park(subscription, neighbours);
    search::release(subscription, neighbours);
}

/// Takes a rejection back: the client has this.
fn take(subscription: &mut Subscription, resource: &Resource) {
    let name = resource.name();
    if subscription.overlay.get(name).and_then(|exception| exception.rejected) != Some(resource.version()) {
        return;
    }
    match subscription.base.clone() {
        Some(base) if base.get(name) == Some(resource) => subscription.settle(name, &base),
        _ => {
            let held = Held::Resource(resource.clone());
            subscription.set_exception(name.clone(), Exception { held, ..Exception::default() });
        }
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
