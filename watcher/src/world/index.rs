//! Which slices name what: one flat set, since most of what is named is named once.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdSet;

use super::NamespacedName;
use crate::resources::{EndpointSlice, WithMeta};

/// What a slice names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// The Service that it is of.
    Service(NamespacedName),
    /// The Pod of an endpoint.
    Pod(NamespacedName),
    /// The Node of an endpoint.
    Node(Arc<str>),
}

/// What is named, and the slices that name it.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(OrdSet<(Named, NamespacedName)>);

impl Index {
    /// A slice has changed, is new or is gone.
    pub(super) fn update(
        &mut self,
        id: &NamespacedName,
        old: Option<&WithMeta<EndpointSlice>>,
        new: Option<&WithMeta<EndpointSlice>>,
    ) {
        let named = |slice: Option<&WithMeta<EndpointSlice>>| {
            slice.into_iter().flat_map(|slice| named(&id.0, &slice.spec)).collect::<BTreeSet<_>>()
        };
        let (old, new) = (named(old), named(new));
        for gone in old.difference(&new) {
            self.0.remove(&(gone.clone(), id.clone()));
        }
        for added in new.difference(&old) {
            self.0.insert((added.clone(), id.clone()));
        }
    }

    /// The slices that name this, in order.
    pub(super) fn slices_naming(&self, named: &Named) -> impl Iterator<Item = &NamespacedName> {
        let nothing = Arc::<str>::from("");
        let from = (named.clone(), (nothing.clone(), nothing));
        self.0.range(from..).take_while(move |(other, _)| other == named).map(|(_, slice)| slice)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn named(namespace: &Arc<str>, slice: &EndpointSlice) -> impl Iterator<Item = Named> {
    let of_endpoints = slice.endpoints.iter().flat_map(|endpoint| {
        let pod = endpoint.pod.as_ref().map(|pod| Named::Pod((namespace.clone(), pod.clone())));
        pod.into_iter().chain(endpoint.node.clone().map(Named::Node))
    });
    std::iter::once(Named::Service((namespace.clone(), slice.service.clone()))).chain(of_endpoints)
}
