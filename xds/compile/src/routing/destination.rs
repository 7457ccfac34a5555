//! Where a rule sends requests: the cluster that a destination means.

use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::Destination;

use super::Scope;
use super::rule::Via;
use crate::ProxyKind;
use crate::clusters::{hash_by, streaming};
use crate::hosts::{Host, Port, cluster_name, expand, nearest};
use crate::ir::{HashBy, Streaming};
use crate::report::{Place, Report};
use crate::rules::HostRule;

/// What a destination leads to.
pub(crate) struct Target<'a> {
    pub(crate) cluster: Arc<str>,
    pub(crate) hash_by: Vec<HashBy>,
    /// The host and port, and the rule and the subset that hold for them; none where there is no such host or port.
    to: Option<(&'a Host, &'a Port, Option<&'a HostRule>, String)>,
}

impl Target<'_> {
    /// How connections are kept from which no request is read, and where that is written.
    pub(super) fn streaming(&self, kind: ProxyKind) -> (Streaming, Option<Place>) {
        let to = self.to.as_ref();
        to.map(|(host, port, rule, subset)| streaming(host, port, subset, *rule, kind)).unwrap_or_default()
    }
}

/// The target of a destination, for requests.
///
/// One that is not spoken to in HTTP is a problem, though it is served.
pub(crate) fn target<'a>(
    written: &Destination,
    namespace: &str,
    place: &Place,
    via: &Via<'_>,
    scope: &Scope<'a>,
    report: &mut Report,
) -> Target<'a> {
    let target = any_target(written, namespace, place, via, scope, report);
    if let Some((host, port, ..)) = target.to.as_ref().filter(|(_, port, ..)| !port.protocol.is_http()) {
        let message =
            format!("port {} of {} is opaque TCP; requests reach it in HTTP/1.1", port.number, host.name);
        report.add(
            place
                .problem(Code::RoutesIgnored, message)
                .hint("declare the port's protocol: grpc, http2 or http"),
        );
    }
    target
}

/// The target of a destination.
///
/// One that names what does not exist keeps its cluster's name: calls to it fail with 503, and the rest of the rule
/// goes on.
pub(crate) fn any_target<'a>(
    written: &Destination,
    namespace: &str,
    place: &Place,
    via: &Via<'_>,
    scope: &Scope<'a>,
    report: &mut Report,
) -> Target<'a> {
    let name = expand(&written.host, namespace, &scope.settings.cluster_domain);
    let subset = written.subset.as_deref().unwrap_or_default();
    let number = written.port.map(|port| port.number).filter(|number| *number != 0);
    let nothing = |port: u32| Target {
        cluster: cluster_name(&name, port, subset).into(),
        hash_by: Vec::new(),
        to: None,
    };
    let Some(host) = scope.hosts.get(&name) else {
        report.add(scope.hosts.unknown(&name, &place.field("host")));
        return nothing(number.unwrap_or_else(|| u32::from(via.port)));
    };
    let listed = || {
        let ports: Vec<_> = host.ports.iter().map(|port| port.number.to_string()).collect();
        if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
    };
    let port = match number {
        Some(number) => {
            let found = host.port(number);
            if found.is_none() {
                let message = format!("{name} has no port {number}");
                report.add(
                    place
                        .field("port.number")
                        .problem(Code::UnknownPort, message)
                        .hint(format!("its ports are: {}", listed())),
                );
            }
            found
        }
        None if host.ports.len() == 1 => host.ports.first(),
        None => {
            let message = format!("{name} has several ports; the one that was called, {}, is used", via.port);
            report.add(
                place
                    .field("port")
                    .problem(Code::PortRequired, message)
                    .hint(format!("set port.number to one of: {}", listed())),
            );
            host.port(u32::from(via.port))
        }
    };
    let Some(port) = port else {
        return nothing(number.unwrap_or_else(|| u32::from(via.port)));
    };
    let rule = scope.rules.find(host, scope.group, scope.settings);
    if !subset.is_empty() {
        let subsets = || rule.into_iter().flat_map(HostRule::subsets).map(|(known, _)| known.name.as_str());
        if !subsets().any(|known| known == subset) {
            let message = format!("no DestinationRule that applies here defines subset {subset:?} of {name}");
            let hint = match nearest(subset, subsets()) {
                Some(known) => format!("did you mean {known}?"),
                None => "define the subset in a DestinationRule, or correct its name".to_owned(),
            };
            report.add(place.field("subset").problem(Code::UnknownSubset, message).hint(hint));
        }
    }
    let hash_by = hash_by(host, port, subset, rule, scope.group.kind);
    let cluster = host.cluster_name(port.number, subset).into();
    Target { cluster, hash_by, to: Some((host, port, rule, subset.to_owned())) }
}
