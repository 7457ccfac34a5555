//! How an endpoint is chosen, and by what requests are hashed where that decides.

use std::sync::Arc;

use pilotage_watcher::resources::{ConsistentHash, HttpCookie};
use pilotage_watcher::{Code, Severity};

use crate::ProxyKind;
use crate::hosts::Host;
use crate::ir::{Balancer, HashBy};
use crate::pattern;
use crate::policy::Policy;
use crate::report::{Place, Report};

/// Envoy accepts rings and tables up to these sizes.
const MAX_RING: u64 = 8 * 1024 * 1024;
const MAX_TABLE: u64 = 5_000_011;

/// The ring of a Service whose clients are to stay with their endpoints, as large as Istio's default.
const AFFINITY: Balancer = Balancer::RingHash { minimum_size: 1024 };

/// The balancer of a policy for a host, and the keys of a hash.
pub(crate) fn balancer(
    host: &Host,
    policy: &Policy<'_>,
    kind: ProxyKind,
    report: &mut Report,
) -> (Balancer, Vec<HashBy>) {
    let usual = match kind {
        // Two of the gRPC implementations refuse a cluster with LEAST_REQUEST.
        ProxyKind::Grpc => Balancer::RoundRobin,
        ProxyKind::Sidecar { .. } | ProxyKind::Intercepted | ProxyKind::Gateway => Balancer::LeastRequest,
    };
    let Some((written, place)) = &policy.load_balancer else { return unwritten(host, usual, kind, report) };
    let simple = written.simple.as_deref().filter(|simple| *simple != "UNSPECIFIED");
    if written.consistent_hash.is_none() && simple.is_none() {
        return unwritten(host, usual, kind, report);
    }
    if host.preference.same_for_client {
        let message = "the loadBalancer of a DestinationRule for the Service says how endpoints are chosen: this does \
                       not hold";
        let place = Place::new(host.source.clone(), "spec.sessionAffinity");
        report.add(place.problem(Code::NoEffect, message).severity(Severity::Info));
    }
    if let Some(hash) = &written.consistent_hash {
        let place = place.field("consistentHash");
        return (ring(hash, &place, report), keys(hash, &place, kind, report));
    }
    let balancer = match simple {
        None => usual,
        Some(simple @ ("LEAST_REQUEST" | "LEAST_CONN")) => {
            if simple == "LEAST_CONN" {
                report.add(place.field("simple").deprecated("LEAST_REQUEST, which means the same"));
            }
            if kind == ProxyKind::Grpc {
                report.add(place.field("simple").problem(
                    Code::NotForGrpcClients,
                    "some gRPC implementations refuse LEAST_REQUEST, so proxyless clients use ROUND_ROBIN",
                ));
            }
            usual
        }
        Some("ROUND_ROBIN") => Balancer::RoundRobin,
        Some("RANDOM") if kind == ProxyKind::Grpc => {
            report.add(place.field("simple").problem(
                Code::NotForGrpcClients,
                "gRPC implementations refuse RANDOM, so proxyless clients use ROUND_ROBIN",
            ));
            usual
        }
        Some("RANDOM") => Balancer::Random,
        Some("PASSTHROUGH") => {
            if kind != ProxyKind::Intercepted {
                let message = "only a sidecar to which connections are redirected knows where a call was going: the \
                               usual balancer is used";
                let problem = place.field("simple").problem(Code::NeedsInterception, message);
                report.add(problem.hint("start the sidecar with pilotage bootstrap envoy --intercepted"));
            }
            usual
        }
        Some(other) => {
            let message = format!("{other:?} is not a load balancer; the usual one is used");
            report.add(
                place
                    .field("simple")
                    .problem(Code::InvalidValue, message)
                    .hint("use LEAST_REQUEST, ROUND_ROBIN or RANDOM"),
            );
            usual
        }
    };
    (balancer, Vec::new())
}

/// The balancer where no rule names one: by the client's address where the Service asks for that
/// (`sessionAffinity: ClientIP`) and the proxy sees it.
fn unwritten(host: &Host, usual: Balancer, kind: ProxyKind, report: &mut Report) -> (Balancer, Vec<HashBy>) {
    if !host.preference.same_for_client {
        return (usual, Vec::new());
    }
    let (code, message) = match kind {
        ProxyKind::Intercepted | ProxyKind::Gateway => return (AFFINITY, vec![HashBy::SourceAddress]),
        ProxyKind::Sidecar { .. } => (
            Code::NeedsInterception,
            "to a sidecar to which nothing is redirected every call comes from 127.0.0.1: sessionAffinity does not \
             hold for its calls, which are balanced one by one",
        ),
        ProxyKind::Grpc => (
            Code::NotForGrpcClients,
            "proxyless gRPC clients hash by headers alone: sessionAffinity does not hold for their calls, which are \
             balanced one by one",
        ),
    };
    let problem = Place::new(host.source.clone(), "spec.sessionAffinity").problem(code, message);
    report.add(problem.hint("hash calls by a header, with consistentHash in a DestinationRule"));
    (usual, Vec::new())
}

fn ring(hash: &ConsistentHash, place: &Place, report: &mut Report) -> Balancer {
    if let Some(maglev) = &hash.maglev {
        let size = maglev.table_size.unwrap_or(65_537);
        if size <= MAX_TABLE && is_prime(size) {
            return Balancer::Maglev { table_size: size };
        }
        let message = format!("{size} is not a prime up to {MAX_TABLE}; 65537 is used");
        report.add(place.field("maglev").field("tableSize").problem(Code::InvalidValue, message));
        return Balancer::Maglev { table_size: 65_537 };
    }
    if hash.minimum_ring_size.is_some() {
        report.add(place.field("minimumRingSize").deprecated("ringHash: {minimumRingSize: ...}"));
    }
    let written = hash.ring_hash.as_ref().and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
    let size = written.unwrap_or(1024);
    if size > MAX_RING {
        let message = format!("a ring holds at most {MAX_RING} entries; that many are used");
        report.add(place.field("minimumRingSize").problem(Code::InvalidValue, message));
    }
    Balancer::RingHash { minimum_size: size.clamp(1, MAX_RING) }
}

fn keys(hash: &ConsistentHash, place: &Place, kind: ProxyKind, report: &mut Report) -> Vec<HashBy> {
    let text = |value: &Option<String>| value.as_deref().filter(|text| !text.is_empty()).map(Arc::from);
    let header = |value: &Option<String>| text(value).filter(|name: &Arc<str>| pattern::is_header_name(name));
    let key = if let Some(name) = header(&hash.http_header_name) {
        Some(HashBy::Header(name))
    } else if let Some(cookie) =
        hash.http_cookie.as_ref().filter(|cookie| pattern::is_header_name(&cookie.name))
    {
        Some(HashBy::Cookie {
            name: cookie.name.as_str().into(),
            path: cookie
                .path
                .as_deref()
                .filter(|path| pattern::is_header_value(path))
                .unwrap_or_default()
                .into(),
            ttl: cookie.ttl.map(|ttl| ttl.0).unwrap_or_default(),
            attributes: attributes(cookie, place, report),
        })
    } else if hash.use_source_ip == Some(true) {
        Some(HashBy::SourceAddress)
    } else {
        text(&hash.http_query_parameter_name).map(HashBy::Query)
    };
    if key.is_none() {
        report.add(
            place
                .problem(
                    Code::MissingField,
                    "nothing usable says what requests are hashed by: endpoints are random",
                )
                .hint("set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName"),
        );
    }
    if kind == ProxyKind::Grpc && key.as_ref().is_some_and(|key| !matches!(key, HashBy::Header(_))) {
        report.add(
            place
                .problem(Code::NotForGrpcClients, "proxyless gRPC clients hash by headers alone")
                .hint("use httpHeaderName with a metadata key of the call"),
        );
    }
    key.into_iter().collect()
}

fn attributes(cookie: &HttpCookie, place: &Place, report: &mut Report) -> Vec<(Arc<str>, Arc<str>)> {
    let mut attributes = Vec::new();
    for (index, attribute) in cookie.attributes.iter().enumerate() {
        let value = attribute.value.as_deref().unwrap_or_default();
        if pattern::is_header_name(&attribute.name) && pattern::is_header_value(value) {
            attributes.push((attribute.name.as_str().into(), value.into()));
        } else {
            let place = place.field("httpCookie.attributes").index(index);
            let message = "neither a name of a cookie's attribute nor its value may hold such characters";
            report.add(place.problem(Code::InvalidValue, message));
        }
    }
    attributes
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use pilotage_watcher::resources::Maglev;
    use pilotage_watcher::{Kind, ObjectKey};

    use super::*;

    #[test]
    fn a_table_size_is_a_prime_that_proxies_accept_and_costs_no_time_to_refuse() {
        let balancer = |size| {
            let hash = ConsistentHash {
                maglev: Some(Maglev { table_size: Some(size) }),
                ..ConsistentHash::default()
            };
            let place = Place::new(ObjectKey::new(Kind::DestinationRule, "x", "a"), "spec");
            ring(&hash, &place, &mut Report::default())
        };
        assert_eq!(balancer(1009), Balancer::Maglev { table_size: 1009 });
        assert_eq!(balancer(1008), Balancer::Maglev { table_size: 65_537 });
        assert_eq!(balancer(1), Balancer::Maglev { table_size: 65_537 });
        // The largest prime below 2^64: looking for its divisors would take minutes.
        assert_eq!(balancer(18_446_744_073_709_551_557), Balancer::Maglev { table_size: 65_537 });
    }
}
