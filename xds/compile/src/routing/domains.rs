//! The domains of the virtual hosts of a table: each belongs to one of them, or every virtual host would be refused.
//!
//! Full names come first, since a short form of one host may be the full name of another; then who comes first by name.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::Naming;

/// The domains that each virtual host is given, by its name.
pub(crate) type Domains = HashMap<Arc<str>, Vec<Arc<str>>>;

/// A virtual host as its domains were given, told by hashes: they are many, and are hardly ever looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) name: Arc<str>,
    /// What it could have.
    wanted: u64,
    /// What it has.
    pub(crate) has: u64,
}

impl Given {
    pub(crate) fn new(naming: &Naming, domains: &[Arc<str>]) -> Self {
        let wanted = hash(naming.full.iter().chain(&naming.short).map(String::as_str));
        Self { name: naming.name.clone(), wanted, has: hash_of(domains) }
    }

    /// Whether a virtual host that wants these has nobody to yield to, as long as all others want what they did.
    pub(crate) fn is_uncontested(&self, naming: &Naming) -> bool {
        self.name == naming.name
            && self.wanted == self.has
            && self.wanted == hash(naming.full.iter().chain(&naming.short).map(String::as_str))
    }
}

/// All that a virtual host could have.
pub(crate) fn all(naming: &Naming) -> Vec<Arc<str>> {
    naming.full.iter().chain(&naming.short).map(|domain| domain.as_str().into()).collect()
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

pub(crate) fn hash_of(domains: &[Arc<str>]) -> u64 {
    hash(domains.iter().map(|domain| &**domain))
}

fn hash<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = Xxh3::new();
    texts.for_each(|text| text.hash(&mut hasher));
    hasher.finish()
}
