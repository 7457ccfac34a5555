//! What the clients are told: clusters with one assignment each, one listener, one route configuration.
//!
//! The bodies have the sizes of real ones, with ten endpoints a cluster; the server never looks into them.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Error, bail};
use pilotage_server::protocol::{Collection, Reference, Resource, ResourceType, Revision, Snapshot};

/// Bytes of one cluster, one assignment, and one virtual host of the route configuration.
const CLUSTER: usize = 511;
const ASSIGNMENT: usize = 168;
const VIRTUAL_HOST: usize = 438;
const LISTENER: usize = 1500;

pub(crate) const ROUTES: &str = "routes";

#[derive(Clone, Copy)]
pub(crate) struct Fixture {
    pub(crate) clusters: usize,
}

/// Which server, and which dialect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    FloorDelta,
    Delta,
    FloorSotw,
    Sotw,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FloorDelta => "floor-delta",
            Self::Delta => "delta",
            Self::FloorSotw => "floor-sotw",
            Self::Sotw => "sotw",
        }
    }

    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::FloorDelta | Self::FloorSotw)
    }

    pub(crate) fn is_delta(self) -> bool {
        matches!(self, Self::FloorDelta | Self::Delta)
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let modes = [Self::FloorDelta, Self::Delta, Self::FloorSotw, Self::Sotw];
        match modes.into_iter().find(|mode| mode.name() == name) {
            Some(mode) => Ok(mode),
            None => bail!("{name} is no mode"),
        }
    }
}

fn body(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + seed * 17) as u8).collect()
}

impl Fixture {
    pub(crate) fn name(self, index: usize) -> String {
        format!("outbound|8080||service-{index:05}.default.svc.cluster.local")
    }

    pub(crate) fn names(self) -> impl Iterator<Item = String> {
        (0..self.clusters).map(move |index| self.name(index))
    }

    pub(crate) fn sizes(self) -> String {
        let (clusters, kib) = (self.clusters, |bytes: usize| bytes / 1000);
        format!(
            "clusters {} KB, assignments {} KB, routes {} KB",
            kib(CLUSTER * clusters),
            kib(ASSIGNMENT * clusters),
            kib(VIRTUAL_HOST * clusters)
        )
    }

    pub(crate) fn snapshot(self) -> Snapshot {
        let clusters: Collection = self
            .names()
            .enumerate()
            .map(|(index, name)| {
                let reference = Reference::new(ResourceType::Endpoint, name.as_str());
                Resource::new(name, body(CLUSTER, index)).with_references([reference])
            })
            .collect();
        let assignments: Collection = self
            .names()
            .enumerate()
            .map(|(index, name)| Resource::new(name, body(ASSIGNMENT, index)))
            .collect();
        let listener = Resource::new("egress", body(LISTENER, 0))
            .with_references([Reference::new(ResourceType::Route, ROUTES)]);
        let routes = Resource::new(ROUTES, body(VIRTUAL_HOST * self.clusters, 0))
            .with_references(self.names().map(|name| Reference::new(ResourceType::Cluster, name)));
        Snapshot::new(Revision(1))
            .with(ResourceType::Cluster, Arc::new(clusters))
            .with(ResourceType::Endpoint, Arc::new(assignments))
            .with(ResourceType::Listener, Arc::new([listener].into_iter().collect()))
            .with(ResourceType::Route, Arc::new([routes].into_iter().collect()))
    }

    /// The same with one endpoint of one cluster changed.
    pub(crate) fn changed(self, snapshot: &Snapshot) -> Snapshot {
        let revision = Revision(snapshot.revision().0 + 1);
        let changed = Resource::new(self.name(self.clusters / 2), body(ASSIGNMENT, 7 + revision.0 as usize));
        let assignments = snapshot.collection(&ResourceType::Endpoint).cloned().unwrap_or_default();
        let assignments = Arc::new(assignments.with_changes([changed], []));
        snapshot.clone().at(revision).with(ResourceType::Endpoint, assignments)
    }
}
