//! What a request changes: who is answered, and what is asked for. The rules of each dialect are in [`super::sotw`] and
//! [`super::delta`], those of an answer in [`super::answer`].

use std::time::Instant;

use super::sotw::LegacyWildcard;
use super::subscription::{Added, Claim, Subscription};
use super::{Phase, Session, answer, delta, overdue, sotw};
use crate::name::normalised;
use crate::{Dialect, Interest, Inventory, Name, Names, Request, RequestError, ResourceType, Wildcard};

impl Session {
    /// Takes in a request.
    ///
    /// # Errors
    ///
    /// When the client asks for more than the [`crate::Limits`] allow, or in the wrong dialect; the stream should be
    /// closed.
    pub fn handle_request(&mut self, now: Instant, request: Request) -> Result<(), RequestError> {
        self.advance(now);
        let Request { resource_type, nonce, error, names } = request;
        self.check(&resource_type, &names)?;
        if self.is_outdated(&resource_type, &nonce) {
            // It says nothing that the answer to the newer response will not repeat.
            return Ok(());
        }
        if let Some(subscription) = self.subscriptions.get_mut(&resource_type)
            && overdue::is_of(subscription, &nonce)
        {
            self.events.extend(overdue::hear(subscription, &resource_type, error.clone()));
            if self.dialect == Dialect::Sotw {
                // Of the names, the answer to the newer response will tell.
                return Ok(());
            }
        }
        let is_first = !self.subscriptions.contains_key(&resource_type);
        let subscription = self.subscriptions.entry(resource_type.clone()).or_default();
        if subscription.sent.as_ref().is_some_and(|sent| sent.nonce.is(&nonce)) {
            match error {
                Some(rejection) => {
                    let event = answer::reject(subscription, &resource_type, self.dialect, rejection);
                    self.events.extend(event);
                }
                None if is_acceptance(subscription, &names, self.dialect) => {
                    self.events.extend(answer::accept(subscription, &resource_type));
                }
                None => {}
            }
        }
        let added = self.change_names(&resource_type, names, is_first)?;
        if !added.is_empty() {
            self.check_size(&resource_type)?;
        }
        let all = self.interest(&resource_type).cloned().unwrap_or_default();
        self.report_missing(&resource_type, added.names(&all), is_first);
        Ok(())
    }

    /// Applies the names of a request, and returns those that are newly asked for.
    fn change_names(
        &mut self,
        resource_type: &ResourceType,
        names: Names,
        is_first: bool,
    ) -> Result<Added, RequestError> {
        let collection = self.snapshot.as_ref().and_then(|snapshot| snapshot.collection(resource_type));
        let intern = |name: &str| {
            let name = normalised(name);
            match collection.and_then(|collection| collection.get(&name)) {
                Some(resource) => resource.name().clone(),
                None => Name::from(name.as_ref()),
            }
        };
        let legacy = if resource_type.has_legacy_wildcard() && self.profile.has_legacy_wildcard() {
            LegacyWildcard::Allowed
        } else {
            LegacyWildcard::Denied
        };
        let unknown_until = self.now + self.config.reference_wait;
        let subscription = self.subscriptions.entry(resource_type.clone()).or_default();
        Ok(match (names, self.dialect) {
            (Names::Change { subscribe, unsubscribe, initial_versions }, _) => {
                let legacy = if is_first { legacy } else { LegacyWildcard::Denied };
                let added = delta::apply(subscription, (&subscribe, &unsubscribe), legacy, intern);
                if is_first {
                    subscription.claim = delta::claim(initial_versions);
                    let is_returning = !matches!(subscription.claim, Claim::Nothing);
                    subscription.unknown_until = is_returning.then_some(unknown_until);
                    // A client that lists what it holds is not waiting to be initialised.
                    subscription.answer_due &= !is_returning;
                }
                added
            }
            (Names::Shared { interest, .. }, Dialect::Delta) => delta::add(subscription, interest),
            (Names::Repeated { .. }, _) if !is_first => Added::nothing(),
            (names, _) => {
                let (added, version) = match names {
                    Names::Exactly { names, version } => {
                        (sotw::apply(subscription, &names, legacy, intern), version)
                    }
                    Names::Shared { interest, version } => (sotw::replace(subscription, interest), version),
                    Names::Repeated { version } => (sotw::apply(subscription, &[], legacy, intern), version),
                    Names::Change { .. } => return Err(RequestError::WrongDialect(self.dialect)),
                };
                if is_first {
                    subscription.is_returning = !version.is_empty();
                    subscription.unknown_until = subscription.is_returning.then_some(unknown_until);
                    subscription.claim = sotw::claim(subscription, version);
                }
                subscription.answer_due |= resource_type.is_full_state_in_sotw() && !added.is_empty();
                added
            }
        })
    }

    /// Takes in the first delta request of a type, if it lists as held just what it asks for: then there is nothing to
    /// say, and no name needs a look. Otherwise returns `false` and takes in nothing; see [`Session::handle_request`].
    ///
    /// `named` are the names asked for: none where the request names nothing.
    pub fn resume(
        &mut self,
        now: Instant,
        resource_type: &ResourceType,
        named: Interest,
        held: &Inventory,
    ) -> bool {
        self.advance(now);
        let limits = &self.config.limits;
        let collection = self.snapshot.as_ref().and_then(|snapshot| snapshot.collection(resource_type));
        let may_be_wild = resource_type.has_legacy_wildcard() && self.profile.has_legacy_wildcard();
        let (Some(collection), false) = (collection, named.is_empty() && !may_be_wild) else {
            return false;
        };
        let bytes = self.subscriptions.values().map(|one| one.interest.name_bytes()).sum::<usize>();
        let interest = if named.is_empty() { Interest::new(Wildcard::Legacy, []) } else { named };
        if self.dialect != Dialect::Delta
            || self.subscriptions.contains_key(resource_type)
            || self.subscriptions.len() >= limits.types
            || interest.named().len() > limits.names_per_type
            || bytes + interest.name_bytes() > limits.name_bytes
            || held.is_empty()
            || !self.spared.is_empty_of(resource_type)
            || !held.is_all_of(collection, &interest)
        {
            return false;
        }
        let subscription = Subscription {
            interest,
            base: Some(collection.clone()),
            told: held.hash(),
            // What else it holds may still refer to what is taken away next.
            unknown_until: Some(self.now + self.config.reference_wait),
            ..Subscription::default()
        };
        self.subscriptions.insert(resource_type.clone(), Box::new(subscription));
        true
    }

    /// Whether a request with this nonce would go unheard: in SotW, one that answers an earlier response (R17).
    pub fn is_outdated(&self, resource_type: &ResourceType, nonce: &str) -> bool {
        let is_other = |subscription: &Subscription| {
            subscription.sent.as_ref().is_some_and(|latest| !latest.nonce.is(nonce))
                && !overdue::is_of(subscription, nonce)
        };
        self.dialect == Dialect::Sotw
            && !nonce.is_empty()
            && self.subscriptions.get(resource_type).is_some_and(|subscription| is_other(subscription))
    }

    /// Replaces the interest in a type by an equal one that `share` finds elsewhere, so that many streams need only
    /// one; worth a call after a request.
    pub fn share_interest(
        &mut self,
        resource_type: &ResourceType,
        share: impl FnOnce(&Interest) -> Option<Interest>,
    ) {
        if let Some(subscription) = self.subscriptions.get_mut(resource_type)
            && let Some(shared) =
                share(&subscription.interest).filter(|shared| *shared == subscription.interest)
        {
            subscription.interest = shared;
        }
    }

    /// Refuses a request before it is applied.
    fn check(&self, resource_type: &ResourceType, names: &Names) -> Result<(), RequestError> {
        let limits = &self.config.limits;
        let listed = match (self.dialect, names) {
            (Dialect::Sotw, Names::Exactly { names, .. }) => names.len(),
            (Dialect::Sotw, Names::Repeated { .. }) => 0,
            (_, Names::Shared { interest, .. }) => interest.named().len(),
            (Dialect::Delta, Names::Change { subscribe, unsubscribe, initial_versions }) => {
                subscribe.len().max(unsubscribe.len()).max(initial_versions.len())
            }
            _ => return Err(RequestError::WrongDialect(self.dialect)),
        };
        if !self.subscriptions.contains_key(resource_type) && self.subscriptions.len() >= limits.types {
            return Err(RequestError::TooManyTypes { limit: limits.types });
        }
        if listed > limits.names_per_type {
            let (resource_type, limit) = (resource_type.clone(), limits.names_per_type);
            return Err(RequestError::TooManyNames { resource_type, limit });
        }
        Ok(())
    }

    /// Refuses subscriptions that have grown too large.
    fn check_size(&self, resource_type: &ResourceType) -> Result<(), RequestError> {
        let limits = &self.config.limits;
        let interest = self.interest(resource_type);
        if interest.is_some_and(|interest| interest.named().len() > limits.names_per_type) {
            let (resource_type, limit) = (resource_type.clone(), limits.names_per_type);
            return Err(RequestError::TooManyNames { resource_type, limit });
        }
        let interests = self.subscriptions.values().map(|subscription| &subscription.interest);
        if interests.map(Interest::name_bytes).sum::<usize>() > limits.name_bytes {
            return Err(RequestError::NamesTooLong { limit: limits.name_bytes });
        }
        Ok(())
    }
}

/// Whether a request that quotes the latest response without an error accepts it. After a rejection it may be a mere
/// change of the subscription, which in SotW still quotes the version from before (H16).
fn is_acceptance(subscription: &Subscription, names: &Names, dialect: Dialect) -> bool {
    match (&subscription.sent, names) {
        (
            Some(sent),
            Names::Exactly { version, .. } | Names::Repeated { version } | Names::Shared { version, .. },
        ) if sent.phase == Phase::Nacked && dialect == Dialect::Sotw => *version == sent.version.to_string(),
        _ => true,
    }
}
