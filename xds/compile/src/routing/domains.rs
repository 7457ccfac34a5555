//! The domains of the virtual hosts of a table: each belongs to one of them, or every virtual host would be refused.
//!
//! Full names come first, since a short form of one host may be the full name of another; then who comes first by name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use pilotage_protocol::Name;
use xxhash_rust::xxh3::Xxh3;

use super::Naming;

/// The domains that each virtual host is given, by its name.
pub(crate) type Domains = HashMap<Arc<str>, Vec<Arc<str>>>;

/// A table of virtual hosts of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MeshTable {
    /// Of a sidecar that its workload names: requests for all ports.
    AllPorts,
    /// Of redirected requests: those that were meant for this port.
    Port(u16),
}

impl MeshTable {
    /// The name of the route table.
    pub(crate) fn name(self) -> Name {
        match self {
            Self::AllPorts => "egress".into(),
            Self::Port(port) => port.to_string().into(),
        }
    }

    /// The port, of a table of one.
    pub(crate) fn port(self) -> Option<u16> {
        match self {
            Self::AllPorts => None,
            Self::Port(port) => Some(port),
        }
    }
}

impl Naming {
    /// What those have in common that could want one of its domains in a table: a hash of a domain without its port.
    pub(crate) fn contests(&self, table: MeshTable) -> BTreeSet<u64> {
        let port = format!(":{}", self.port);
        let contest = |domain: &String| {
            let domain = domain.strip_suffix(&port).unwrap_or(domain);
            let mut hasher = Xxh3::new();
            (table, domain.strip_suffix('.').unwrap_or(domain)).hash(&mut hasher);
            hasher.finish()
        };
        self.full.iter().chain(&self.short).map(contest).collect()
    }
}

/// Gives out the domains of a table, whose virtual hosts come in the order of precedence.
pub(crate) fn give_out<'a>(namings: impl Iterator<Item = &'a Naming>) -> Domains {
    let namings: Vec<&Naming> = namings.collect();
    let mut taken: HashSet<&str> = HashSet::with_capacity(namings.len() * 12);
    let mut given: Vec<Vec<Arc<str>>> = Vec::with_capacity(namings.len());
    for naming in &namings {
        let free = naming.full.iter().filter(|domain| taken.insert(domain));
        given.push(free.map(|domain| domain.as_str().into()).collect());
    }
    for (naming, given) in namings.iter().zip(&mut given) {
        let free = naming.short.iter().filter(|domain| taken.insert(domain));
        given.extend(free.map(|domain| Arc::from(domain.as_str())));
    }
    namings.iter().map(|naming| naming.name.clone()).zip(given).collect()
}

/// Equal for equal domains.
pub(crate) fn hash_of(domains: &[Arc<str>]) -> u64 {
    let mut hasher = Xxh3::new();
    domains.hash(&mut hasher);
    hasher.finish()
}
