//! Secrets that are referred to by name: found, judged, and noted down for delivery.
//!
//! A secret goes only to a gateway in the secret's own namespace, and only if something that this gateway is told of
//! names it; for any other kind of proxy there are none. What refers to a secret that cannot be used is left out by
//! the caller: a listener that waits for a secret which never comes would hold up its neighbours on the port.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_protocol::{Name, Version};
use pilotage_watcher::resources::{PartFault, Secret, WithMeta};
use pilotage_watcher::{Code, Kind, NamespacedName, ObjectKey, Severity, World};

use crate::ir::{self, SecretContent};
use crate::report::{Place, Report};
use crate::{Group, ProxyKind};

/// What comes before the name of a Secret in the name by which proxies ask for it.
const SCHEME: &str = "kubernetes://";
/// What comes after the name of a Secret in the name of one with authorities.
const AUTHORITIES: &str = "-cacert";

/// The secrets that a group is told of, by the names that its proxies ask for.
pub(crate) struct Credentials<'w> {
    world: &'w World,
    /// The namespace that is looked in; none for proxies that are given no secrets.
    namespace: Option<Arc<str>>,
    pub(crate) plans: BTreeMap<Name, SecretPlan>,
    /// Whether any Secret was looked for.
    pub(crate) are_read: bool,
}

/// Where the content of a secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretPlan {
    object: NamespacedName,
    part: Wanted,
}

impl SecretPlan {
    /// The Secret.
    pub(crate) fn object(&self) -> &NamespacedName {
        &self.object
    }
}

/// Which part of a Secret is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Pair,
    Authorities,
}

impl<'w> Credentials<'w> {
    /// Those of a group, of which none is named yet.
    pub(crate) fn of(world: &'w World, group: &Group) -> Self {
        let namespace = (group.kind == ProxyKind::Gateway).then(|| group.namespace.clone());
        Self { world, namespace, plans: BTreeMap::new(), are_read: false }
    }

    /// Whether proxies of this kind are given secrets at all.
    pub(crate) fn are_given(&self) -> bool {
        self.namespace.is_some()
    }

    /// The certificate and key of a Secret, as `place` names it; none where there is nothing to deliver.
    pub(crate) fn pair(&mut self, written: &str, place: &Place, report: &mut Report) -> Option<Name> {
        let (namespace, name) = self.address(written, place, report)?;
        let secret = self.find(&namespace, &name, place, report)?;
        let object = key(secret);
        if secret.spec.pair.usable.is_none() && secret.spec.pair.fault.is_none() {
            report.add(no_part(secret, "a certificate and its key", "tls.crt and tls.key", place));
            return None;
        }
        judge(&object, secret.spec.pair.fault.as_ref(), secret.spec.pair.usable.is_some(), report);
        let pair = secret.spec.pair.usable.as_ref()?;
        expired(&object, "the certificate", pair.not_after, self.world.time(), report);
        let sds: Name = format!("{SCHEME}{name}").into();
        self.plans.insert(sds.clone(), SecretPlan { object: (namespace, name), part: Wanted::Pair });
        Some(sds)
    }

    /// The authorities that belong to a Secret: of the Secret with `-cacert` behind its name, else of itself.
    pub(crate) fn authorities(&mut self, written: &str, place: &Place, report: &mut Report) -> Option<Name> {
        let (namespace, name) = self.address(written, place, report)?;
        let apart: Arc<str> = format!("{name}{AUTHORITIES}").into();
        let holds = |secret: &&Arc<WithMeta<Secret>>| {
            secret.spec.authorities.usable.is_some() || secret.spec.authorities.fault.is_some()
        };
        let secret = match self.world.secret(&namespace, &apart).filter(holds) {
            Some(secret) => secret,
            None => self.find(&namespace, &name, place, report)?,
        };
        let object = key(secret);
        if !holds(&secret) {
            let problem = no_part(secret, "a certificate of an authority", "ca.crt", place);
            report.add(problem.hint(format!(
                "add the key `ca.crt` to it, or create the Secret {namespace}/{apart} with that key"
            )));
            return None;
        }
        let part = &secret.spec.authorities;
        judge(&object, part.fault.as_ref(), part.usable.is_some(), report);
        let authorities = part.usable.as_ref()?;
        expired(
            &object,
            "every certificate of an authority",
            authorities.not_after,
            self.world.time(),
            report,
        );
        let sds: Name = format!("{SCHEME}{apart}").into();
        let object = (namespace, secret.meta.name.clone());
        self.plans.insert(sds.clone(), SecretPlan { object, part: Wanted::Authorities });
        Some(sds)
    }

    /// Namespace and name, out of any of the ways to write them; nobody is given a Secret of another namespace.
    fn address(&mut self, written: &str, place: &Place, report: &mut Report) -> Option<NamespacedName> {
        let own = self.namespace.clone()?;
        self.are_read = true;
        let bare = written.strip_prefix(SCHEME).unwrap_or(written);
        if bare.contains("://") {
            let message = format!("{written:?} is not the name of a Secret, and other stores are not read");
            report.add(
                place
                    .problem(Code::NotSupported, message)
                    .severity(Severity::Error)
                    .hint("name a Secret of the gateway's own namespace"),
            );
            return None;
        }
        match bare.split_once('/') {
            Some((namespace, _)) if *namespace != *own => {
                let message = format!(
                    "the Secret {bare} is of another namespace than the gateway's workload, which runs in {own}: it \
                     is not delivered"
                );
                report.add(
                    place
                        .problem(Code::UnknownSecret, message)
                        .hint(format!("copy the Secret to {own} and name it without a namespace")),
                );
                None
            }
            Some((_, name)) => Some((own, name.into())),
            None => Some((own, bare.into())),
        }
    }

    fn find(
        &self,
        namespace: &Arc<str>,
        name: &str,
        place: &Place,
        report: &mut Report,
    ) -> Option<&'w Arc<WithMeta<Secret>>> {
        let found = self.world.secret(namespace, name);
        if found.is_none() {
            let problem = place.problem(
                Code::UnknownSecret,
                format!("there is no Secret {name} in {namespace}, the namespace of the gateway's workload"),
            );
            let elsewhere = self.world.namespaces_with_secret(name).next();
            // Other names would be a guess among Secrets that nothing names, which move nothing when they change.
            report.add(match elsewhere {
                Some(elsewhere) => problem.hint(format!(
                    "there is one in {elsewhere}: a Secret has to lie where the gateway's workload runs"
                )),
                None => problem.hint(format!("create the Secret in {namespace}, or correct the name")),
            });
        }
        found
    }
}

/// What a plan leads to in a world, under the versions of what refers to it; none where it is gone.
pub(crate) fn secret(
    world: &World,
    name: &Name,
    plan: &SecretPlan,
    parents: Vec<Version>,
) -> Option<ir::Secret> {
    let found = world.secret(&plan.object.0, &plan.object.1)?;
    let content = match plan.part {
        Wanted::Pair => SecretContent::Pair(found.spec.pair.usable.clone()?),
        Wanted::Authorities => SecretContent::Authorities(found.spec.authorities.usable.clone()?),
    };
    Some(ir::Secret { name: name.clone(), content, parents, source: key(found) })
}

fn key(secret: &WithMeta<Secret>) -> ObjectKey {
    ObjectKey::new(Kind::Secret, secret.meta.namespace.clone(), secret.meta.name.clone())
}

/// The problem of a Secret that holds something else than what is wanted of it.
fn no_part(secret: &WithMeta<Secret>, wanted: &str, keys: &str, place: &Place) -> pilotage_watcher::Problem {
    let found: Vec<&str> = secret.spec.keys.iter().map(|key| &**key).collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    let message = format!("{} holds {found}, and not {wanted}", key(secret));
    place.problem(Code::InvalidSecret, message).hint(format!("the keys that are looked for are {keys}"))
}

/// Tells of a part that is broken.
fn judge(object: &ObjectKey, fault: Option<&PartFault>, is_kept: bool, report: &mut Report) {
    let Some(fault) = fault else { return };
    let consequence = match is_kept {
        true => "the last good content stays in use",
        false => "what refers to it is not served",
    };
    report.add(
        Place::new(object.clone(), fault.path.clone())
            .problem(Code::InvalidSecret, format!("{}: {consequence}", fault.message))
            .hint(fault.hint.clone()),
    );
}

/// Tells of a certificate that has ended; it is delivered all the same, for some clients do not look.
fn expired(object: &ObjectKey, what: &str, not_after: i64, now: i64, report: &mut Report) {
    if now > not_after {
        let days = (now - not_after) / 86_400;
        let since = match days {
            0 => "today".to_owned(),
            1 => "a day ago".to_owned(),
            days => format!("{days} days ago"),
        };
        report.add(
            Place::new(object.clone(), "data")
                .problem(
                    Code::ExpiredCertificate,
                    format!("{what} in it ended {since}; it is served as it is"),
                )
                .hint("renew it: clients that look at the date refuse it"),
        );
    }
}
