//! A route table of many virtual hosts, each encoded by itself: an edit of one encodes that one and joins the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use pilotage_protocol::{Name, Reference, Resource, ResourceType, Version};
use pilotage_watcher::ObjectKey;
use prost::Message;

use crate::envoy;
use crate::ir::VirtualHost;
use crate::sources::Sources;
use crate::table::version;

/// A virtual host as it is encoded.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    body: Bytes,
    version: Version,
    clusters: Box<[Name]>,
    sources: Box<[ObjectKey]>,
}

/// The virtual hosts of one table by name; a clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rope {
    fragments: OrdMap<Name, Arc<Fragment>>,
    /// The one that answers what no other does.
    last: Option<Arc<Fragment>>,
    /// How many fragments lead to each cluster.
    uses: OrdMap<Name, usize>,
    references: Arc<[Reference]>,
}

impl Fragment {
    fn at(host: &VirtualHost, version: Version) -> Self {
        let mut sources: Vec<ObjectKey> = host.source.iter().cloned().collect();
        sources.extend(host.rules.iter().filter_map(|rule| rule.source.clone()));
        sources.sort_unstable();
        sources.dedup();
        let mut clusters: Vec<Name> = host.rules.iter().flat_map(|rule| rule.clusters().cloned()).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let body = envoy::virtual_host(host).encode_to_vec().into();
        Self { body, version, clusters: clusters.into(), sources: sources.into() }
    }

    /// The fragment of a virtual host, which is the one that `known` has of this version, if any.
    pub(crate) fn successor(
        known: impl FnOnce(Version) -> Option<Arc<Self>>,
        host: &VirtualHost,
    ) -> Arc<Self> {
        let version = version(host);
        known(version).unwrap_or_else(|| Arc::new(Self::at(host, version)))
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn clusters(&self) -> &[Name] {
        &self.clusters
    }

    pub(crate) fn sources(&self) -> &[ObjectKey] {
        &self.sources
    }
}

/// The fragment itself, if it is of a version.
fn same(known: Option<&Arc<Fragment>>) -> impl FnOnce(Version) -> Option<Arc<Fragment>> {
    move |version| known.filter(|known| known.version == version).cloned()
}

/// The RouteConfiguration of these fragments, still without its references.
pub(crate) fn table(name: &Name, ignore_port: bool, fragments: &[&Arc<Fragment>]) -> Resource {
    let versions: Vec<Version> = fragments.iter().map(|fragment| fragment.version).collect();
    let bodies = fragments.iter().map(|fragment| &fragment.body);
    let body = envoy::route_configuration(name, ignore_port, bodies);
    Resource::versioned(name.clone(), version(&(name, ignore_port, versions)), body)
}

impl Rope {
    /// The successor with these virtual hosts added, replaced or, where there is none, taken away; nothing if it would
    /// be the same.
    pub(crate) fn updated(
        &self,
        hosts: BTreeMap<Name, Option<VirtualHost>>,
        last: Option<&VirtualHost>,
    ) -> Option<Self> {
        let mut next = self.clone();
        let mut has_changed = false;
        let mut leads_elsewhere = false;
        let mut replace = |next: &mut Self, old: Option<&Fragment>, new: Option<&Fragment>| {
            has_changed = true;
            for name in new.into_iter().flat_map(|new| &new.clusters) {
                let uses = next.uses.entry(name.clone()).or_insert(0);
                *uses += 1;
                leads_elsewhere |= *uses == 1;
            }
            for name in old.into_iter().flat_map(|old| &old.clusters) {
                let left = next.uses.get(name).map_or(0, |uses| uses.saturating_sub(1));
                match left {
                    0 => next.uses.remove(name),
                    left => next.uses.insert(name.clone(), left),
                };
                leads_elsewhere |= left == 0;
            }
        };
        for (name, host) in hosts {
            let old = self.fragments.get(&name);
            let Some(host) = host else {
                if let Some(old) = next.fragments.remove(&name) {
                    replace(&mut next, Some(&old), None);
                }
                continue;
            };
            let new = Fragment::successor(same(old), &host);
            if old.is_none_or(|old| !Arc::ptr_eq(old, &new)) {
                replace(&mut next, old.map(|old| &**old), Some(&new));
                next.fragments.insert(name, new);
            }
        }
        let new = last.map(|host| Fragment::successor(same(self.last.as_ref()), host));
        if new.as_ref().map(|new| new.version) != self.last.as_ref().map(|old| old.version) {
            replace(&mut next, self.last.as_deref(), new.as_deref());
            next.last = new;
        }
        if leads_elsewhere {
            let clusters = next.uses.keys();
            next.references =
                clusters.map(|name| Reference::new(ResourceType::Cluster, name.clone())).collect();
        }
        has_changed.then_some(next)
    }

    /// The virtual hosts joined to a RouteConfiguration.
    pub(crate) fn resource(&self, name: &Name) -> Resource {
        let fragments: Vec<_> = self.fragments.values().chain(&self.last).collect();
        let rope = self.clone();
        table(name, false, &fragments)
            .with_shared_references(&self.references)
            .with_origin(Arc::new(Sources::gathered(move || rope.sources())))
    }

    /// The objects that the virtual hosts come from, sorted.
    fn sources(&self) -> Vec<ObjectKey> {
        let fragments = self.fragments.values().chain(&self.last);
        let mut sources: Vec<_> = fragments.flat_map(|fragment| fragment.sources().iter().cloned()).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }
}
