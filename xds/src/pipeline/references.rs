//! The Secrets that the world refers to, where they are read by name: told to the source, and waited for.
//!
//! Invariant: a gateway is told nothing while a Secret of its namespace has not been looked up; without it, a restart
//! would take its TLS servers away until the Secrets come. The source says in bounded time that it has looked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilotage_compile::{Group, ProxyKind};
use pilotage_watcher::kubernetes::{SecretReferences, secret_source_name};
use pilotage_watcher::{Kind, SourceName, Touched, World};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long everyone waits for a Secret that the world has just begun to refer to; most are there in milliseconds, and
/// what is translated before would be told to lack it.
const COURTESY: Duration = Duration::from_millis(200);

/// What is referred to, and what of it has not been looked up.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Where the source hears of them; none where Secrets come as any other kind does.
    source: Option<watch::Sender<SecretReferences>>,
    known: SecretReferences,
    /// The namespace of each that has not been looked up, by the name of its `Synced`.
    unread: BTreeMap<SourceName, Arc<str>>,
    /// Until when everyone waits.
    courtesy: Option<Instant>,
}

impl References {
    pub(super) fn told_to(source: Option<watch::Sender<SecretReferences>>) -> Self {
        Self { source, ..Self::default() }
    }

    /// Whether these changes may have changed what is referred to.
    pub(super) fn concerns(&self, touched: &Touched) -> bool {
        let refers = |kind| matches!(kind, Kind::Gateway | Kind::DestinationRule);
        self.source.is_some() && touched.config.iter().any(|key| refers(key.kind))
    }

    /// Takes in what the world refers to for its own gateways and for those of `groups`.
    pub(super) fn update<'a>(&mut self, world: &World, groups: impl IntoIterator<Item = &'a Group>) {
        let Some(source) = &self.source else { return };
        let gateways = groups.into_iter().filter(|group| group.kind == ProxyKind::Gateway);
        let now = world.secret_references(gateways.map(|group| (&group.namespace, &group.labels)));
        if now == self.known {
            return;
        }
        for gone in self.known.keys().filter(|name| !now.contains_key(*name)) {
            self.unread.remove(&secret_source_name(gone));
        }
        for new in now.keys().filter(|name| !self.known.contains_key(*name)) {
            self.unread.insert(secret_source_name(new), new.0.clone());
            self.courtesy = Some(Instant::now() + COURTESY);
        }
        self.known = now.clone();
        source.send_replace(now);
    }

    /// A source has told all that it knew; gives whether that was waited for.
    pub(super) fn read(&mut self, source: &SourceName) -> bool {
        self.unread.remove(source).is_some()
    }

    /// Whether all have been looked up.
    pub(super) fn are_read(&self) -> bool {
        self.unread.is_empty()
    }

    /// Until when nothing is to be translated, while some have not been looked up.
    pub(super) fn courtesy(&self) -> Option<Instant> {
        if self.unread.is_empty() { None } else { self.courtesy }
    }

    /// Whether this group has to wait.
    pub(super) fn hold(&self, group: &Group) -> bool {
        group.kind == ProxyKind::Gateway
            && self.unread.values().any(|namespace| *namespace == group.namespace)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pilotage_watcher::Object;
    use pilotage_watcher::resources::{Gateway, Server, ServerTls, WithMeta};

    use super::*;

    fn world(credential: &str) -> World {
        let mut gateway = WithMeta::<Gateway>::default();
        gateway.meta.name = "edge".into();
        gateway.meta.namespace = "rules".into();
        let tls = ServerTls { credential_name: Some(credential.to_owned()), ..ServerTls::default() };
        gateway.spec.servers = vec![Server { tls: Some(tls), ..Server::default() }];
        let mut world = World::default();
        drop(world.apply(Object::Gateway(gateway.into())));
        world
    }

    fn group(kind: ProxyKind, namespace: &str) -> Group {
        let (labels, location) = Default::default();
        Group { kind, namespace: namespace.into(), labels, location }
    }

    #[test]
    fn a_gateway_waits_for_the_secrets_of_its_namespace_and_nobody_else_does() {
        let source = watch::Sender::default();
        let mut references = References::told_to(Some(source.clone()));
        let (edge, other) = (group(ProxyKind::Gateway, "edge"), group(ProxyKind::Gateway, "other"));
        references.update(&world("cert"), [&edge]);
        let name = ("edge".into(), "cert".into());
        assert_eq!(source.borrow().keys().collect::<Vec<_>>(), [&name]);
        assert!(references.hold(&edge) && !references.hold(&other) && !references.are_read());
        assert!(!references.hold(&group(ProxyKind::Grpc, "edge")));
        assert!(references.read(&secret_source_name(&name)));
        assert!(!references.hold(&edge) && references.are_read());
        // What has been read once is not waited for again, whatever else changes.
        references.update(&world("cert"), [&edge, &other]);
        assert!(references.hold(&other) && !references.hold(&edge));
        references.update(&world("another"), []);
        assert_eq!(source.borrow().keys().next().unwrap().0.as_ref(), "rules");
        assert!(!references.hold(&other), "nothing in its namespace is referred to any more");
    }

    #[test]
    fn without_a_source_nobody_waits() {
        let mut references = References::told_to(None);
        references.update(&world("cert"), []);
        assert!(references.are_read());
    }
}
