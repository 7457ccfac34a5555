//! What a client's ACK or NACK does to a subscription (R13–R16, R22).

use super::sent::Phase;
use super::subscription::{Exception, Held, Subscription};
use crate::{Dialect, Event, Rejection, Resource, ResourceType};

/// Hears an acceptance of the latest response; the nonce decides, whatever version the client quotes (H14).
pub(super) fn accept(subscription: &mut Subscription, resource_type: &ResourceType) -> Option<Event> {
    let sent = subscription.sent.as_mut()?;
    match sent.phase {
        Phase::Acked => return None,
        Phase::Awaiting(_) | Phase::Unanswered => sent.accept(),
        Phase::Nacked => restore(subscription),
    }
    let sent = subscription.sent.as_ref()?;
    Some(Event::Acked(sent.answered(resource_type.clone())))
}

/// Hears a rejection of the latest response; a repetition is none (R15).
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
    let sent = subscription.sent.as_ref()?;
    let new = new_resources(subscription);
    let named: Vec<Resource> =
        new.iter().filter(|resource| mentions(&rejection.message, resource.name())).cloned().collect();
    // Where the client names none, any of them may be to blame.
    let is_list = dialect == Dialect::Sotw && resource_type.is_full_state_in_sotw();
    let is_told_apart = !named.is_empty();
    let suspects = if is_told_apart { named } else { new };
    let (nonce, response) = (sent.nonce, sent.answered(resource_type.clone()));
    // A full list from which all suspects are missing would delete those that the client has taken after all, so that
    // a list is only kept back as a whole: it is sent again once anything in it changes.
    if is_told_apart || !is_list {
        let parked: Vec<(Resource, Held)> =
            suspects.iter().map(|suspect| (suspect.clone(), sent.before(suspect.name()))).collect();
        for (suspect, held) in parked {
            if subscription.interest.covers(suspect.name()) {
                let rejected = Some((nonce, suspect.version()));
                let exception = Exception { held, rejected, ..Exception::default() };
                subscription.set_exception(suspect.name().clone(), exception);
            }
        }
    }
    Some(Event::Nacked { response, rejection, suspects })
}

/// The resources of the latest response that the client did not have before it.
fn new_resources(subscription: &Subscription) -> Vec<Resource> {
    let Some((sent, contents)) = subscription.sent.as_ref().and_then(|sent| Some((sent, sent.contents()?)))
    else {
        return Vec::new();
    };
    let is_new = |resource: &&Resource| sent.before(resource.name()).resource() != Some(resource);
    contents.iter().filter(is_new).cloned().collect()
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
fn mentions(message: &str, name: &str) -> bool {
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
