//! VirtualServices filed by the hosts that they name, each read once, whoever asks.
//!
//! One is read anew when it changes, and when something does that its rules hand over to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilotage_watcher::resources::{VirtualService, WithMeta};
use pilotage_watcher::{NamespacedName, Problem, World};

use super::claim::Claim;
use super::delegate;
use crate::Settings;
use crate::report::Report;

/// Every VirtualService; a clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimIndex {
    /// Those with hosts.
    claims: OrdMap<NamespacedName, Arc<Claim>>,
    by_host: OrdMap<Arc<str>, Arc<[Named]>>,
    /// Those without hosts, and what is wrong with each.
    delegates: OrdMap<NamespacedName, Judged>,
    /// The VirtualServices that hand over to each, which need not exist.
    roots: OrdMap<NamespacedName, OrdSet<NamespacedName>>,
    /// Those that hand over to what is not there: what they are told of it depends on all that there is.
    broken: OrdSet<NamespacedName>,
}

/// A VirtualService without hosts, and what is wrong with it.
type Judged = (Arc<WithMeta<VirtualService>>, Arc<[Problem]>);

/// A VirtualService under one of the hosts that it names.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) claim: Arc<Claim>,
    /// Of the host, among those written.
    pub(crate) position: usize,
}

/// A VirtualService is read anew when anything changes of what it says.
impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.claim, &other.claim)
    }
}

impl ClaimIndex {
    pub(crate) fn of(world: &World, settings: &Settings) -> Self {
        let all: BTreeSet<NamespacedName> = world
            .virtual_services()
            .map(|service| (service.meta.namespace.clone(), service.meta.name.clone()))
            .collect();
        Self::default().updated(world, settings, all)
    }

    /// The index with these objects as they are now.
    pub(crate) fn updated(
        &self,
        world: &World,
        settings: &Settings,
        touched: BTreeSet<NamespacedName>,
    ) -> Self {
        let mut next = self.clone();
        let mut stale = touched.clone();
        for id in &touched {
            let new = world.virtual_service(&id.0, &id.1);
            let old = self.claims.get(id).map(|claim| &claim.service);
            let old = old.or_else(|| self.delegates.get(id).map(|(service, _)| service));
            let before: BTreeSet<_> = old.into_iter().flat_map(|service| delegate::named(service)).collect();
            let after: BTreeSet<_> = new.into_iter().flat_map(|service| delegate::named(service)).collect();
            for named in before.difference(&after) {
                next.unroot(named, id);
            }
            for named in after.difference(&before) {
                next.roots.entry(named.clone()).or_default().insert(id.clone());
            }
            // Whether a delegate is named is told of the delegate.
            stale.extend(before.into_iter().chain(after));
            let is_delegate = |service: &&Arc<WithMeta<VirtualService>>| service.spec.hosts.is_empty();
            if old.is_some_and(|old| is_delegate(&old)) || new.is_some_and(|new| is_delegate(&new)) {
                stale.extend(self.broken.iter().cloned());
            }
        }
        for id in &touched {
            stale.extend(next.roots.get(id).into_iter().flatten().cloned());
        }
        let mut moves: BTreeMap<Arc<str>, Vec<Named>> = BTreeMap::new();
        for id in &stale {
            next.read(id, world, settings, &mut moves);
        }
        for (host, come) in moves {
            let before = next.by_host.get(&host);
            let stays = before.into_iter().flat_map(|claims| claims.iter());
            let stays = stays.filter(|named| !stale.contains(&id(&named.claim))).cloned();
            let mut claims: Vec<_> = stays.chain(come).collect();
            claims
                .sort_by(|one, other| one.claim.service.precedence().cmp(&other.claim.service.precedence()));
            match claims.is_empty() {
                true => next.by_host.remove(&host),
                false => next.by_host.insert(host, claims.into()),
            };
        }
        next
    }

    /// Reads one object as it is now; `moves` are the hosts whose claims change, and the new ones.
    fn read(
        &mut self,
        id: &NamespacedName,
        world: &World,
        settings: &Settings,
        moves: &mut BTreeMap<Arc<str>, Vec<Named>>,
    ) {
        self.delegates.remove(id);
        self.broken.remove(id);
        if let Some(before) = self.claims.remove(id) {
            for (_, host) in &before.hosts {
                moves.entry(host.as_str().into()).or_default();
            }
        }
        let Some(service) = world.virtual_service(&id.0, &id.1) else { return };
        if service.spec.hosts.is_empty() {
            let mut report = Report::default();
            delegate::check(service, self.roots.contains_key(id), &mut report);
            let problems = report.into_problems().into();
            self.delegates.insert(id.clone(), (service.clone(), problems));
            return;
        }
        let claim = Arc::new(Claim::of(service, world, settings));
        if claim.is_broken() {
            self.broken.insert(id.clone());
        }
        for (position, host) in &claim.hosts {
            let named = Named { claim: claim.clone(), position: *position };
            moves.entry(host.as_str().into()).or_default().push(named);
        }
        self.claims.insert(id.clone(), claim);
    }

    fn unroot(&mut self, named: &NamespacedName, root: &NamespacedName) {
        if let Some(roots) = self.roots.get_mut(named) {
            roots.remove(root);
            if roots.is_empty() {
                self.roots.remove(named);
            }
        }
    }

    pub(crate) fn by_host(&self) -> &OrdMap<Arc<str>, Arc<[Named]>> {
        &self.by_host
    }

    /// Every VirtualService that has hosts.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.values().map(|claim| &**claim)
    }

    /// What is wrong with VirtualServices without hosts.
    pub(crate) fn problems_of_delegates(&self) -> impl Iterator<Item = &Problem> {
        self.delegates.values().flat_map(|(_, problems)| problems.iter())
    }
}

fn id(claim: &Claim) -> NamespacedName {
    (claim.service.meta.namespace.clone(), claim.service.meta.name.clone())
}
