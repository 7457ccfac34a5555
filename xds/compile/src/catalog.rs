//! A world read once for everyone: hosts, routes and rules, filed by the names that they are for.
//!
//! What an object says by itself is read here, and what it means to a group is made of it by [`Catalog::compile`]. A
//! successor reads again what changed, and shares all else with its predecessor.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilotage_watcher::{Kind, NamespacedName, ObjectKey, World};

use crate::Settings;
use crate::hosts::{HostIndex, TouchedHosts};
use crate::methods::Methods;
use crate::routing::ClaimIndex;
use crate::rules::RuleIndex;

/// A world, and what was read of it; cloning one shares everything.
#[derive(Clone, Default)]
pub struct Catalog {
    world: World,
    settings: Arc<Settings>,
    hosts: HostIndex,
    rules: RuleIndex,
    claims: ClaimIndex,
    methods: Arc<Methods>,
}

impl Catalog {
    /// Reads all of a world.
    pub fn of(world: &World, settings: &Settings) -> Self {
        Self {
            hosts: HostIndex::of(world, settings),
            rules: RuleIndex::of(world, settings),
            claims: ClaimIndex::of(world, settings),
            methods: Arc::new(Methods::of(world)),
            world: world.clone(),
            settings: Arc::new(settings.clone()),
        }
    }

    /// Reads what a later world has changed.
    ///
    /// Costs what changed, however large the world, where `world` is a descendant of the one that was read.
    pub fn follow(&self, world: &World) -> Self {
        let touched = world.changes_since(&self.world).config;
        let of_kind =
            |kind| touched.iter().filter(move |key| key.kind == kind).map(id).collect::<BTreeSet<_>>();
        let hosts = TouchedHosts { services: of_kind(Kind::Service), entries: of_kind(Kind::ServiceEntry) };
        // Whether a Gateway has a server for them is told of VirtualServices.
        let claims = match touched.iter().any(|key| key.kind == Kind::Gateway) {
            true => ClaimIndex::of(world, &self.settings),
            false => self.claims.updated(world, &self.settings, of_kind(Kind::VirtualService)),
        };
        Self {
            hosts: self.hosts.updated(world, &self.settings, &hosts),
            rules: self.rules.updated(world, &self.settings, of_kind(Kind::DestinationRule)),
            claims,
            methods: match touched.iter().any(|key| key.kind == Kind::Descriptors) {
                true => Arc::new(Methods::of(world)),
                false => self.methods.clone(),
            },
            world: world.clone(),
            settings: self.settings.clone(),
        }
    }

    /// The world that was read.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The settings by which it was read.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn hosts(&self) -> &HostIndex {
        &self.hosts
    }

    pub(crate) fn rules(&self) -> &RuleIndex {
        &self.rules
    }

    /// What is known of gRPC methods.
    pub(crate) fn methods(&self) -> &Methods {
        &self.methods
    }

    pub(crate) fn claims(&self) -> &ClaimIndex {
        &self.claims
    }
}

fn id(key: &ObjectKey) -> NamespacedName {
    (key.namespace.clone(), key.name.clone())
}
