//! Delegation: a rule that hands its requests over becomes the rules of the VirtualService that it names.
//!
//! One level only. A delegate's rule stands where the root's stood; its matches are those of both sides that do not
//! contradict each other, and of its other fields the delegate's own go before the root's, each as a whole.

use std::ops::Deref;
use std::sync::Arc;

use pilotage_watcher::resources::{
    Delegate, Destination, HttpMatch, HttpRoute, StringMatch, StringMatches, VirtualService, WithMeta,
};
use pilotage_watcher::{Code, Kind, NamespacedName, ObjectKey, World};

use super::gateway_name;
use crate::Settings;
use crate::hosts::{expand, is_visible, nearest};
use crate::report::{Place, Report};

/// A rule as it is translated: one that is written, or a root's and its delegate's put together.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) route: Route,
    /// Where it stands; of two, where the delegate's stands.
    pub(crate) place: Place,
    /// In which short names are looked up.
    pub(crate) namespace: Arc<str>,
    /// Whether what it hands its requests over to is not there.
    pub(crate) broken: bool,
}

/// What a rule says: as an object has it, or put together of two.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// The rule of this index.
    Own(Arc<WithMeta<VirtualService>>, usize),
    Merged(Arc<HttpRoute>),
}

impl Deref for Route {
    type Target = HttpRoute;

    fn deref(&self) -> &HttpRoute {
        match self {
            Self::Own(service, index) => &service.spec.http[*index],
            Self::Merged(route) => route,
        }
    }
}

/// The rules of a VirtualService, those of its delegates in place of the ones that hand over.
pub(super) fn rules(
    service: &Arc<WithMeta<VirtualService>>,
    source: &ObjectKey,
    world: &World,
    settings: &Settings,
    report: &mut Report,
) -> Vec<Written> {
    let mut rules = Vec::new();
    for (index, route) in service.spec.http.iter().enumerate() {
        let place = Place::new(source.clone(), "spec.http").index(index);
        let namespace = service.meta.namespace.clone();
        let root = Written { route: Route::Own(service.clone(), index), place, namespace, broken: false };
        let Some(delegate) = &route.delegate else {
            rules.push(root);
            continue;
        };
        // With an action of its own the rule contradicts itself, which is told where actions are read.
        if !route.route.is_empty() || route.redirect.is_some() || route.direct_response.is_some() {
            rules.push(root);
            continue;
        }
        match find(delegate, &root, world, report) {
            Some(found) => rules.extend(handed_over(&root, found, settings, report)),
            None => rules.push(Written { broken: true, ..root }),
        }
    }
    rules
}

/// The VirtualServices that the rules of one hand over to, whether they exist or not.
pub(super) fn named(service: &WithMeta<VirtualService>) -> impl Iterator<Item = NamespacedName> {
    let delegates = service.spec.http.iter().filter_map(|rule| rule.delegate.as_ref());
    delegates.map(|delegate| {
        let namespace = delegate.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.map_or_else(|| service.meta.namespace.clone(), Arc::from);
        (namespace, Arc::from(delegate.name.as_str()))
    })
}

/// What is wrong with a VirtualService without hosts, and whether anything hands over to it.
pub(super) fn check(service: &WithMeta<VirtualService>, is_named: bool, report: &mut Report) {
    let (namespace, name) = (service.meta.namespace.clone(), service.meta.name.clone());
    let spec = Place::new(ObjectKey::new(Kind::VirtualService, namespace, name), "spec");
    if !is_named {
        let message = "without hosts it is a delegate, and no VirtualService delegates to it";
        report.add(
            spec.field("hosts")
                .problem(Code::UnusedDelegate, message)
                .hint("add hosts, or name it in the delegate of another VirtualService's rule"),
        );
    }
    let fields = [
        ("gateways", !service.spec.gateways.is_empty()),
        ("tls", !service.spec.tls.is_empty()),
        ("tcp", !service.spec.tcp.is_empty()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        let message = format!("{field} means nothing in a VirtualService without hosts, a delegate");
        report.add(spec.field(field).problem(Code::NoEffect, message).hint("remove it, or add hosts"));
    }
}

fn find<'w>(
    delegate: &Delegate,
    root: &Written,
    world: &'w World,
    report: &mut Report,
) -> Option<&'w Arc<WithMeta<VirtualService>>> {
    let place = root.place.field("delegate");
    let namespace = delegate.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or(&root.namespace);
    let full = format!("{namespace}/{}", delegate.name);
    let Some(found) = world.virtual_service(namespace, &delegate.name) else {
        let message = format!("there is no VirtualService {full} to delegate to; requests get 503");
        let names = world.virtual_services().filter(|service| service.spec.hosts.is_empty());
        let names: Vec<String> =
            names.map(|service| format!("{}/{}", service.meta.namespace, service.meta.name)).collect();
        let problem = place.problem(Code::UnknownDelegate, message);
        report.add(match nearest(&full, names.iter().map(String::as_str)) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem.hint("create it, without hosts, or correct the name and namespace"),
        });
        return None;
    };
    if !found.spec.hosts.is_empty() {
        let message = format!("VirtualService {full} has hosts, so it is no delegate; requests get 503");
        report.add(place.problem(Code::UnknownDelegate, message).hint("delegate to one without hosts"));
        return None;
    }
    if !is_visible(&found.spec.export_to, namespace, &root.namespace) {
        let message =
            format!("VirtualService {full} is not exported to {}; requests get 503", root.namespace);
        report.add(place.problem(Code::UnknownDelegate, message).hint("add the namespace to its exportTo"));
        return None;
    }
    Some(found)
}

fn handed_over(
    root: &Written,
    delegate: &WithMeta<VirtualService>,
    settings: &Settings,
    report: &mut Report,
) -> Vec<Written> {
    let meta = &delegate.meta;
    let source = ObjectKey::new(Kind::VirtualService, meta.namespace.clone(), meta.name.clone());
    let mut rules = Vec::new();
    for (index, route) in delegate.spec.http.iter().enumerate() {
        let place = Place::new(source.clone(), "spec.http").index(index);
        let mut broken = false;
        if route.delegate.is_some() {
            let message = "a delegate cannot delegate further; requests get 503";
            let problem = place.field("delegate").problem(Code::ConflictingFields, message);
            report.add(problem.hint("delegate from the VirtualService with the hosts"));
            broken = true;
        }
        let Some(matches) = matches(root, &route.r#match, &meta.namespace) else {
            let message = format!(
                "no request matches both this and {}, which delegates here: the rule is left out",
                root.place.path
            );
            let hint = "make each match narrower than one of the rule that delegates";
            report.add(place.field("match").problem(Code::UnreachableRule, message).hint(hint));
            continue;
        };
        let route = Arc::new(merged(&root.route, route, matches, &root.namespace, settings));
        let namespace = meta.namespace.clone();
        rules.push(Written { route: Route::Merged(route), place, namespace, broken });
    }
    rules
}

/// A delegate's rule with what it takes from the root's.
fn merged(
    root: &HttpRoute,
    own: &HttpRoute,
    matches: Vec<HttpMatch>,
    namespace: &str,
    settings: &Settings,
) -> HttpRoute {
    // The root's short names are looked up where the root is.
    let full = |destination: &Destination| Destination {
        host: expand(&destination.host, namespace, &settings.cluster_domain),
        ..destination.clone()
    };
    let mut merged = HttpRoute { r#match: matches, ..own.clone() };
    merged.name = joined(root.name.as_deref(), own.name.as_deref());
    merged.rewrite = merged.rewrite.or_else(|| root.rewrite.clone());
    merged.direct_response = merged.direct_response.or_else(|| root.direct_response.clone());
    merged.timeout = merged.timeout.or(root.timeout);
    merged.retries = merged.retries.or_else(|| root.retries.clone());
    merged.fault = merged.fault.or_else(|| root.fault.clone());
    merged.mirror = merged.mirror.or_else(|| root.mirror.as_ref().map(full));
    if merged.mirrors.is_empty() {
        let mirrors = root.mirrors.iter().cloned();
        merged.mirrors = mirrors
            .map(|mut mirror| {
                mirror.destination = full(&mirror.destination);
                mirror
            })
            .collect();
    }
    merged.mirror_percent = merged.mirror_percent.or(root.mirror_percent);
    merged.mirror_percentage = merged.mirror_percentage.or(root.mirror_percentage);
    merged.cors_policy = merged.cors_policy.or_else(|| root.cors_policy.clone());
    merged.headers = merged.headers.or_else(|| root.headers.clone());
    merged
}

fn joined(root: Option<&str>, own: Option<&str>) -> Option<String> {
    let parts = [root, own].into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>();
    (!parts.is_empty()).then(|| parts.join("-"))
}

/// Every pair of matches that one request can satisfy; none where some match of the delegate has no partner.
fn matches(root: &Written, own: &[HttpMatch], namespace: &str) -> Option<Vec<HttpMatch>> {
    let of_root = root.route.r#match.iter().map(|written| with_full_gateways(written, &root.namespace));
    let of_root: Vec<HttpMatch> = of_root.collect();
    let own: Vec<HttpMatch> = own.iter().map(|written| with_full_gateways(written, namespace)).collect();
    if of_root.is_empty() || own.is_empty() {
        return Some(if own.is_empty() { of_root } else { own });
    }
    let mut both = Vec::new();
    for own in &own {
        let before = both.len();
        both.extend(of_root.iter().filter(|root| !contradicts(root, own)).map(|root| pair(root, own)));
        if both.len() == before {
            return None;
        }
    }
    Some(both)
}

fn with_full_gateways(written: &HttpMatch, namespace: &str) -> HttpMatch {
    let gateways = written.gateways.iter().map(|name| gateway_name(name, namespace)).collect();
    HttpMatch { gateways, ..written.clone() }
}

fn contradicts(root: &HttpMatch, own: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let maps = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    let within = |root: &StringMatches, own: &StringMatches| {
        root.iter().all(|(key, root)| own.get(key).is_none_or(|own| narrows(root, own)))
    };
    !texts.iter().all(|(root, own)| match (root, own) {
        (Some(root), Some(own)) => narrows(root, own),
        _ => true,
    }) || !maps.iter().all(|(root, own)| within(root, own))
        || root.ignore_uri_case != own.ignore_uri_case
        || matches!((root.port, own.port), (Some(root), Some(own)) if root != own)
        || root.source_namespace.as_deref().is_some_and(|namespace| {
            !namespace.is_empty() && own.source_namespace.as_deref() != Some(namespace)
        })
        || root
            .source_labels
            .iter()
            .any(|(key, value)| own.source_labels.get(key).is_some_and(|own| own != value))
        || (!root.gateways.is_empty() && own.gateways.iter().any(|name| !root.gateways.contains(name)))
}

/// Whether whatever the delegate's text match accepts the root's accepts as well.
fn narrows(root: &StringMatch, own: &StringMatch) -> bool {
    if root.regex.is_some() || own.regex.is_some() {
        // Of two expressions nobody can say; of one and a text the reference says no.
        return *root == StringMatch::default() || *own == StringMatch::default();
    }
    match (&root.exact, &root.prefix) {
        (Some(exact), _) => own.exact.as_ref() == Some(exact),
        (None, Some(prefix)) => {
            let text = own.exact.as_deref().or(own.prefix.as_deref());
            text.is_some_and(|text| text.starts_with(prefix.as_str()))
        }
        (None, None) => true,
    }
}

fn pair(root: &HttpMatch, own: &HttpMatch) -> HttpMatch {
    let union = |root: &StringMatches, own: &StringMatches| {
        root.clone().into_iter().chain(own.clone()).collect::<StringMatches>()
    };
    let labels = root.source_labels.clone().into_iter().chain(own.source_labels.clone());
    HttpMatch {
        name: joined(root.name.as_deref(), own.name.as_deref()),
        uri: own.uri.clone().or_else(|| root.uri.clone()),
        scheme: own.scheme.clone().or_else(|| root.scheme.clone()),
        method: own.method.clone().or_else(|| root.method.clone()),
        authority: own.authority.clone().or_else(|| root.authority.clone()),
        headers: union(&root.headers, &own.headers),
        without_headers: union(&root.without_headers, &own.without_headers),
        query_params: union(&root.query_params, &own.query_params),
        port: own.port.or(root.port),
        source_labels: labels.collect(),
        gateways: if own.gateways.is_empty() { root.gateways.clone() } else { own.gateways.clone() },
        ignore_uri_case: own.ignore_uri_case,
        source_namespace: own.source_namespace.clone().or_else(|| root.source_namespace.clone()),
        stat_prefix: own.stat_prefix.clone().or_else(|| root.stat_prefix.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn exact(text: &str) -> StringMatch {
        StringMatch { exact: Some(text.to_owned()), ..StringMatch::default() }
    }

    fn prefix(text: &str) -> StringMatch {
        StringMatch { prefix: Some(text.to_owned()), ..StringMatch::default() }
    }

    #[test]
    fn a_text_match_of_a_delegate_must_be_as_narrow_as_the_roots() {
        assert!(narrows(&prefix("/a"), &prefix("/a/b")) && narrows(&prefix("/a"), &exact("/a")));
        assert!(!narrows(&prefix("/a/b"), &prefix("/a")) && !narrows(&exact("/a"), &prefix("/a")));
        let regex = StringMatch { regex: Some("/a.*".to_owned()), ..StringMatch::default() };
        assert!(!narrows(&regex, &exact("/a")) && !narrows(&prefix("/a"), &regex));
        assert!(narrows(&regex, &StringMatch::default()));
    }

    #[test]
    fn a_pair_takes_the_delegates_text_and_the_labels_of_both() {
        let label = |key: &str| BTreeMap::from([(key.to_owned(), "x".to_owned())]);
        let root = HttpMatch {
            uri: Some(prefix("/a")),
            source_labels: label("one"),
            port: Some(80),
            ..HttpMatch::default()
        };
        let own = HttpMatch { uri: Some(exact("/a/b")), source_labels: label("two"), ..HttpMatch::default() };
        assert!(!contradicts(&root, &own));
        let both = pair(&root, &own);
        assert_eq!((both.uri, both.port), (Some(exact("/a/b")), Some(80)));
        assert_eq!(both.source_labels.len(), 2);
        let elsewhere = HttpMatch { port: Some(81), ..HttpMatch::default() };
        assert!(contradicts(&root, &elsewhere));
    }
}
