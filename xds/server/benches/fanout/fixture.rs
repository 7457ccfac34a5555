//! What the clients are told: clusters with one assignment each, one listener, one route configuration.
//!
//! The bodies have the sizes of real ones, with ten endpoints a cluster; the server never looks into them. A fixture
//! has a text form, by which the server's process is told of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use pilotage_server::protocol::{Collection, Reference, Resource, ResourceType, Revision, Snapshot};

/// Bytes of one cluster, one assignment, and one virtual host of the route configuration.
const CLUSTER: usize = 511;
const ASSIGNMENT: usize = 168;
const VIRTUAL_HOST: usize = 438;
const LISTENER: usize = 1500;
/// A route configuration whose virtual hosts come by VHDS.
const ROUTES_WITHOUT_HOSTS: usize = 300;

pub(crate) const ROUTES: &str = "routes";

#[derive(Clone, Copy)]
pub(crate) struct Fixture {
    pub(crate) mode: Mode,
    pub(crate) clusters: usize,
    pub(crate) hosts: usize,
    pub(crate) groups: usize,
    pub(crate) edit: Edit,
    pub(crate) transport: Transport,
}

/// Which server, and how it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    FloorDelta,
    Delta,
    FloorSotw,
    Sotw,
    /// Delta, with virtual hosts one by one.
    FloorVhds,
    Vhds,
    /// A floor that answers only the last request.
    FloorSilent,
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Endpoint,
    VirtualHost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl Mode {
    const ALL: [Self; 7] = [
        Self::FloorDelta,
        Self::Delta,
        Self::FloorSotw,
        Self::Sotw,
        Self::FloorVhds,
        Self::Vhds,
        Self::FloorSilent,
    ];

    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::FloorDelta | Self::FloorSotw | Self::FloorVhds | Self::FloorSilent)
    }

    pub(crate) fn is_delta(self) -> bool {
        !matches!(self, Self::FloorSotw | Self::Sotw)
    }

    fn has_vhds(self) -> bool {
        matches!(self, Self::FloorVhds | Self::Vhds)
    }

    /// The order in which a client asks.
    pub(crate) fn types(self) -> &'static [ResourceType] {
        const TYPES: [ResourceType; 5] = [
            ResourceType::Cluster,
            ResourceType::Endpoint,
            ResourceType::Listener,
            ResourceType::Route,
            ResourceType::VirtualHost,
        ];
        if self.has_vhds() { &TYPES } else { &TYPES[..4] }
    }
}

impl fmt::Display for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, clusters, hosts, groups, edit, transport } = self;
        write!(f, "{mode:?} {clusters} {hosts} {groups} {edit:?} {transport:?}")
    }
}

impl FromStr for Fixture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [mode, clusters, hosts, groups, edit, transport] = words[..] else {
            bail!("{text:?} is no fixture");
        };
        let is_mode = |known: &Mode| format!("{known:?}") == mode;
        Ok(Self {
            mode: Mode::ALL.into_iter().find(is_mode).with_context(|| format!("{mode} is no mode"))?,
            clusters: clusters.parse()?,
            hosts: hosts.parse()?,
            groups: groups.parse()?,
            edit: if edit == "Endpoint" { Edit::Endpoint } else { Edit::VirtualHost },
            transport: if transport == "Tls" { Transport::Tls } else { Transport::Plain },
        })
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

    /// The cluster whose endpoint changes.
    pub(crate) fn changing(self) -> String {
        self.name(self.clusters / 2)
    }

    pub(crate) fn sizes(self) -> String {
        let kib = |bytes: usize| bytes / 1000;
        format!(
            "clusters {} KB, assignments {} KB, routes {} KB",
            kib(CLUSTER * self.clusters),
            kib(ASSIGNMENT * self.clusters),
            kib(VIRTUAL_HOST * self.hosts)
        )
    }

    fn virtual_host(self, index: usize, seed: usize) -> Resource {
        Resource::new(format!("{ROUTES}/host-{index:05}.example"), body(VIRTUAL_HOST, seed))
    }

    fn routes(self, seed: usize) -> Resource {
        let len = if self.mode.has_vhds() { ROUTES_WITHOUT_HOSTS } else { VIRTUAL_HOST * self.hosts };
        Resource::new(ROUTES, body(len, seed))
            .with_references(self.names().map(|name| Reference::new(ResourceType::Cluster, name)))
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
        let snapshot = Snapshot::new(Revision(1))
            .with(ResourceType::Cluster, Arc::new(clusters))
            .with(ResourceType::Endpoint, Arc::new(assignments))
            .with(ResourceType::Listener, Arc::new([listener].into_iter().collect()))
            .with(ResourceType::Route, Arc::new([self.routes(0)].into_iter().collect()));
        if !self.mode.has_vhds() {
            return snapshot;
        }
        let hosts = (0..self.hosts).map(|index| self.virtual_host(index, index)).collect();
        snapshot.with(ResourceType::VirtualHost, Arc::new(hosts))
    }

    /// The same after an edit, and what it edited.
    pub(crate) fn changed(self, snapshot: &Snapshot) -> (Snapshot, ResourceType, Resource) {
        let revision = Revision(snapshot.revision().0 + 1);
        let seed = 7 + revision.0 as usize;
        let (of, changed) = match self.edit {
            Edit::Endpoint => {
                (ResourceType::Endpoint, Resource::new(self.changing(), body(ASSIGNMENT, seed)))
            }
            Edit::VirtualHost if self.mode.has_vhds() => {
                (ResourceType::VirtualHost, self.virtual_host(self.hosts / 2, seed))
            }
            Edit::VirtualHost => (ResourceType::Route, self.routes(seed)),
        };
        let collection = snapshot.collection(&of).cloned().unwrap_or_default();
        let collection = Arc::new(collection.with_changes([changed.clone()], []));
        (snapshot.clone().at(revision).with(of.clone(), collection), of, changed)
    }
}
