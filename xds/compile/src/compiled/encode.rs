//! Resources out of plain data, each with the names that it refers to and the objects that it comes from.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilotage_protocol::{Reference, Resource, ResourceType, Version};
use prost::Message;

use super::assignments::Assigned;
use crate::ir::{Cluster, Discovery, Listener, RouteTable, Secret};
use crate::rope::{self, Fragment};
use crate::sources::Sources;
use crate::{envoy, ir};

pub(super) fn cluster(cluster: Cluster, version: Version) -> Resource {
    let endpoints = (cluster.discovery == Discovery::Assigned)
        .then(|| Reference::new(ResourceType::Endpoint, cluster.name.clone()));
    let secrets =
        cluster.tls.iter().flat_map(|tls| ir::secrets(tls.identity.as_slice(), tls.verification.as_ref()));
    let secrets = secrets.map(|name| Reference::new(ResourceType::Secret, name.clone()));
    Resource::versioned(cluster.name.clone(), version, envoy::cluster(&cluster).encode_to_vec())
        .with_references(endpoints.into_iter().chain(secrets))
        .with_origin(Arc::new(Sources::listed(cluster.source.into_iter().chain(cluster.rule))))
}

pub(super) fn assignment(assigned: Assigned, version: Version) -> Resource {
    let body = envoy::assignment(&assigned.assignment).encode_to_vec();
    Resource::versioned(assigned.assignment.cluster, version, body)
        .with_origin(Arc::new(Sources::listed([assigned.source])))
}

pub(super) fn listener(listener: Listener, version: Version) -> Resource {
    let entry = &listener.entry;
    let tables = entry.route_tables().map(|name| Reference::new(ResourceType::Route, name.clone()));
    let clusters = entry.clusters().map(|name| Reference::new(ResourceType::Cluster, name.clone()));
    let secrets = entry.secrets().map(|name| Reference::new(ResourceType::Secret, name.clone()));
    let references: Vec<Reference> = tables.chain(clusters).chain(secrets).collect();
    Resource::versioned(listener.name.clone(), version, envoy::listener(&listener).encode_to_vec())
        .with_references(references)
        .with_origin(Arc::new(Sources::listed(listener.source)))
}

pub(super) fn secret(secret: Secret, version: Version) -> Resource {
    Resource::versioned(secret.name.clone(), version, envoy::secret(&secret).encode_to_vec())
        .with_origin(Arc::new(Sources::listed([secret.source])))
}

/// A route table of few virtual hosts.
pub(super) fn table(table: &RouteTable, fragments: &[Arc<Fragment>]) -> Resource {
    let clusters: BTreeSet<_> = fragments.iter().flat_map(|fragment| fragment.clusters()).collect();
    let sources: BTreeSet<_> = fragments.iter().flat_map(|fragment| fragment.sources()).collect();
    let all: Vec<_> = fragments.iter().collect();
    rope::table(&table.name, table.ignore_port, &all)
        .with_references(clusters.into_iter().map(|name| Reference::new(ResourceType::Cluster, name.clone())))
        .with_origin(Arc::new(Sources::listed(sources.into_iter().cloned())))
}
