//! A route table of many virtual hosts, each encoded by itself: an edit of one encodes that one and joins the bytes of
//! its neighbours, and all others are shared with the table before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use imbl::OrdMap;
use pilotage_protocol::{Name, Reference, Resource, ResourceType, Version};
use pilotage_watcher::ObjectKey;
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

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
    /// The encoded fragments in pieces of some dozens, each by the name that it begins with: see [`begins`].
    pieces: OrdMap<Name, Bytes>,
    /// The wrapping sum of the versions of all fragments, by which the version of the whole follows an edit of one.
    sum: u64,
    /// The one that answers what no other does.
    last: Option<Arc<Fragment>>,
    /// How many fragments lead to each cluster.
    uses: OrdMap<Name, usize>,
    /// Whose references are those of the whole, while all fragments lead to the same clusters.
    predecessor: Option<Resource>,
}

/// About how many fragments there are in a piece.
const PIECE: u64 = 64;

/// Whether a piece begins with the fragment of this name. Told by the name alone, so that the others' pieces stay as
/// they are when a fragment comes or goes, and a table is cut the same whatever its history.
fn begins(name: &str) -> bool {
    xxh3_64(name.as_bytes()).is_multiple_of(PIECE)
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
    let mut body = BytesMut::from(&envoy::route_configuration(name, ignore_port)[..]);
    fragments.iter().for_each(|fragment| envoy::add_virtual_host(&fragment.body, &mut body));
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
        let mut changed = BTreeSet::new();
        for (name, host) in hosts {
            let old = self.fragments.get(&name);
            let new = host.map(|host| Fragment::successor(same(old), &host));
            if version_of(old) == version_of(new.as_ref()) {
                continue;
            }
            next.count(old, new.as_ref());
            match new {
                Some(new) => drop(next.fragments.insert(name.clone(), new)),
                None => drop(next.fragments.remove(&name)),
            }
            changed.insert(name);
        }
        let new = last.map(|host| Fragment::successor(same(self.last.as_ref()), host));
        let is_last_same = version_of(self.last.as_ref()) == version_of(new.as_ref());
        if changed.is_empty() && is_last_same {
            return None;
        }
        if !is_last_same {
            next.count(self.last.as_ref(), new.as_ref());
            next.last = new;
        }
        next.join(&changed);
        Some(next)
    }

    /// Counts one fragment in the place of another.
    fn count(&mut self, old: Option<&Arc<Fragment>>, new: Option<&Arc<Fragment>>) {
        let sum = |of: Option<&Arc<Fragment>>| of.map_or(0, |fragment| fragment.version.0);
        self.sum = self.sum.wrapping_sub(sum(old)).wrapping_add(sum(new));
        let clusters =
            |of: Option<&Arc<Fragment>>| of.map_or(&[][..], |fragment| &fragment.clusters).to_vec();
        let mut leads_elsewhere = false;
        for name in clusters(new) {
            let uses = self.uses.entry(name).or_insert(0);
            *uses += 1;
            leads_elsewhere |= *uses == 1;
        }
        for name in clusters(old) {
            let left = self.uses.get(&name).map_or(0, |uses| uses.saturating_sub(1));
            match left {
                0 => self.uses.remove(&name),
                left => self.uses.insert(name, left),
            };
            leads_elsewhere |= left == 0;
        }
        if leads_elsewhere {
            self.predecessor = None;
        }
    }

    /// Joins the pieces anew that these fragments are, or were, in.
    fn join(&mut self, changed: &BTreeSet<Name>) {
        let mut stale = BTreeSet::new();
        for name in changed {
            let is_first = begins(name);
            if is_first {
                self.pieces.remove(name);
            }
            if is_first && self.fragments.contains_key(name) {
                stale.insert(name.clone());
            }
            // What begins a piece ends, or no longer ends, the one before.
            let mut before =
                self.fragments.range::<_, str>((Bound::Unbounded, Bound::Excluded(&**name))).rev();
            let first = before.find(|(before, _)| begins(before)).map(|(before, _)| before.clone());
            stale.insert(first.unwrap_or_default());
        }
        for first in stale {
            let from = self.fragments.range::<_, str>((Bound::Included(&*first), Bound::Unbounded));
            let mut piece = BytesMut::new();
            for (_, fragment) in from.take_while(|(name, _)| **name == first || !begins(name)) {
                envoy::add_virtual_host(&fragment.body, &mut piece);
            }
            match piece.is_empty() {
                true => self.pieces.remove(&first),
                false => self.pieces.insert(first, piece.freeze()),
            };
        }
    }

    /// The virtual hosts joined to a RouteConfiguration.
    pub(crate) fn resource(&mut self, name: &Name) -> Resource {
        let mut last = BytesMut::new();
        self.last.iter().for_each(|fragment| envoy::add_virtual_host(&fragment.body, &mut last));
        let head = envoy::route_configuration(name, false);
        let pieces = std::iter::once(head).chain(self.pieces.values().cloned()).chain([last.freeze()]);
        let version = version(&(name, self.fragments.len(), self.sum));
        let rope = Self { predecessor: None, ..self.clone() };
        let resource = Resource::in_pieces(name.clone(), version, pieces.collect::<Arc<[Bytes]>>())
            .with_origin(Arc::new(Sources::gathered(move || rope.sources())));
        let resource = match &self.predecessor {
            Some(predecessor) => resource.with_references_of(predecessor),
            None => resource.with_references(
                self.uses.keys().map(|name| Reference::new(ResourceType::Cluster, name.clone())),
            ),
        };
        self.predecessor = Some(resource.clone());
        resource
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

fn version_of(fragment: Option<&Arc<Fragment>>) -> Option<Version> {
    fragment.map(|fragment| fragment.version)
}
