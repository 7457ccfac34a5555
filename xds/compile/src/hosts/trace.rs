//! Which names a translation looks at: what comes of it holds for as long as what they stand for does.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the part that is being made has looked at.
#[derive(Debug, Default)]
pub(crate) struct Trace(RefCell<(Arc<str>, Reads)>);

/// What a part has looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Names other than the part's own.
    pub(crate) names: BTreeSet<Arc<str>>,
    /// Whether it mattered which names there are at all.
    pub(crate) all: bool,
    /// Whether it mattered which VirtualServices bind to Gateways.
    pub(crate) claims: bool,
    /// Whether it mattered which names VirtualServices own at all.
    pub(crate) owners: bool,
    /// Whether it looked into Secrets.
    pub(crate) secrets: bool,
}

/// What is another thing than before.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Hosts and wildcards of which the host, the routes or the rules changed.
    pub(crate) names: BTreeSet<Arc<str>>,
    /// Whether there are other hosts than before.
    pub(crate) hosts: bool,
    /// Whether VirtualServices changed that bind to Gateways.
    pub(crate) bindings: bool,
    /// Whether any VirtualService changed.
    pub(crate) owners: bool,
    /// Whether Secrets changed, or the time that tells whether they have ended.
    pub(crate) secrets: bool,
    /// Whether the whole is to be made anew in any case.
    pub(crate) whole: bool,
    /// Whether all is to be made anew.
    pub(crate) everything: bool,
}

impl Trace {
    /// Begins a part.
    pub(super) fn begin(&self, own: &Arc<str>) {
        *self.0.borrow_mut() = (own.clone(), Reads::default());
    }

    pub(super) fn note(&self, name: &str) {
        let (own, reads) = &mut *self.0.borrow_mut();
        if **own != *name && !reads.names.contains(name) {
            reads.names.insert(name.into());
        }
    }

    pub(super) fn note_all(&self) {
        self.0.borrow_mut().1.all = true;
    }

    pub(super) fn note_claims(&self) {
        self.0.borrow_mut().1.claims = true;
    }

    pub(super) fn note_owners(&self) {
        self.0.borrow_mut().1.owners = true;
    }

    pub(super) fn take(&self) -> Reads {
        std::mem::take(&mut self.0.borrow_mut().1)
    }
}

impl Reads {
    /// Whether what was looked at may be another thing now.
    pub(crate) fn are_stale(&self, changes: &Changes) -> bool {
        let is_read = |name: &Arc<str>| {
            self.names.contains(name)
                || name.starts_with('*') && self.names.iter().any(|read| super::wildcard_covers(name, read))
        };
        changes.everything
            || self.all && changes.hosts
            || self.claims && changes.bindings
            || self.owners && changes.owners
            || self.secrets && changes.secrets
            || changes.names.iter().any(is_read)
    }
}
