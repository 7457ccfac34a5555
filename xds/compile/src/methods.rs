//! What is known of gRPC methods: which there are, and which may be called twice.
//!
//! Descriptors say it for every caller; the annotation [`ANNOTATION`] of a VirtualService for its own rules. Where two
//! sources differ, the annotation is the operator's word and wins, and of descriptors the one that promises less.

use std::collections::BTreeMap;

use pilotage_watcher::World;
use pilotage_watcher::resources::{Descriptors, Idempotency, Labels};

/// Methods that may be called twice, separated by commas: `package.Service/Method`, `package.Service/*`, or `*`.
pub(crate) const ANNOTATION: &str = "pilotage.dev/idempotent-methods";

/// The methods that some descriptors describe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods(Descriptors);

/// Whether a call may be made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// It may.
    Repeatable,
    /// It may not, as far as its descriptor says.
    Once,
    /// Nothing describes the method.
    Unknown,
}

/// The methods that an annotation calls idempotent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared(Vec<String>);

impl Methods {
    pub(crate) fn of(world: &World) -> Self {
        let mut all = Descriptors::default();
        for descriptors in world.descriptors() {
            all.merge(descriptors.spec.clone());
        }
        Self(all)
    }

    /// The class of a method, given as the path of its calls.
    pub(crate) fn class(&self, path: &str, declared: &Declared) -> Class {
        if declared.covers(path) {
            return Class::Repeatable;
        }
        let Some((service, method)) = split(path) else { return Class::Unknown };
        match self.0.services.get(service).and_then(|methods| methods.get(method)) {
            Some(Idempotency::Idempotent | Idempotency::NoSideEffects) => Class::Repeatable,
            Some(Idempotency::Unknown) => Class::Once,
            None => Class::Unknown,
        }
    }

    /// The methods of one class whose paths begin so, by service.
    pub(crate) fn below(&self, prefix: &str, class: Class, declared: &Declared) -> BTreeMap<&str, Vec<&str>> {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (service, methods) in &self.0.services {
            for method in methods.keys() {
                let path = format!("/{service}/{method}");
                if path.starts_with(prefix) && self.class(&path, declared) == class {
                    found.entry(service).or_default().push(method);
                }
            }
        }
        found
    }

    /// Whether every method whose path begins so is described: the prefix names its service whole.
    pub(crate) fn describe_all(&self, prefix: &str, declared: &Declared) -> bool {
        let service =
            prefix.strip_prefix('/').and_then(|rest| rest.split_once('/')).map(|(service, _)| service);
        declared.covers_all()
            || service.is_some_and(|service| {
                self.0.services.contains_key(service) || declared.covers(&format!("/{service}/*"))
            })
    }

    /// Why a path means no method, with the method that it most likely means; none where nothing is known against it.
    pub(crate) fn unknown(&self, path: &str) -> Option<(String, Option<String>)> {
        let (service, method) = split(path)?;
        match self.0.services.get(service) {
            Some(methods) if methods.contains_key(method) => None,
            Some(methods) => {
                let near = crate::hosts::nearest(method, methods.keys().map(|known| &**known));
                let message = format!("the descriptors of {service} have no method {method}");
                Some((message, near.map(|near| format!("/{service}/{near}"))))
            }
            None => {
                let near = crate::hosts::nearest(service, self.0.services.keys().map(|known| &**known))?;
                let message = format!("no descriptors have a service {service}");
                Some((message, Some(format!("/{near}/{method}"))))
            }
        }
    }
}

impl Declared {
    /// What the annotations of an object say.
    pub(crate) fn of(annotations: &Labels) -> Self {
        let entries = annotations.get(ANNOTATION).into_iter().flat_map(|list| list.split(','));
        let entries = entries.map(|entry| entry.trim().trim_start_matches('/').to_owned());
        Self(entries.filter(|entry| !entry.is_empty()).collect())
    }

    /// Service and method of each entry whose calls all begin so; the method is `*` for all of a service.
    pub(crate) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(|entry| entry.split_once('/')).filter(move |(service, method)| match *method
        {
            "*" => format!("/{service}/").starts_with(prefix),
            method => format!("/{service}/{method}").starts_with(prefix),
        })
    }

    fn covers_all(&self) -> bool {
        self.0.iter().any(|entry| entry == "*")
    }

    fn covers(&self, path: &str) -> bool {
        let Some((service, method)) = split(path) else { return false };
        self.covers_all()
            || self.0.iter().filter_map(|entry| entry.split_once('/')).any(|(of_service, of_method)| {
                of_service == service && (of_method == "*" || of_method == method)
            })
    }
}

/// Service and method of the path of a call.
fn split(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some((service, method))
}
