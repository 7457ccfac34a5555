//! What the IR can say beyond VirtualServices, as Envoy is told it.

#![allow(clippy::unwrap_used)]

use pilotage_watcher::{Kind, ObjectKey};

use super::*;
use crate::ir::HeaderEdits;

fn backend(cluster: &str, weight: u32) -> Backend {
    Backend { cluster: cluster.into(), weight, headers: HeaderEdits::default(), authority_rewrite: None }
}

fn forward(backends: Vec<Backend>, absent: Absent) -> Action {
    Action::Forward(Box::new(Forward { backends, absent, ..Forward::default() }))
}

/// The objects that a message names as its source.
fn sources(host: &Message) -> Vec<String> {
    let of = |route: &Route| format!("{:?}", route.metadata.as_ref().unwrap().filter_metadata["pilotage"]);
    host.routes.iter().map(of).collect()
}

#[test]
fn rules_of_several_objects_are_one_virtual_host_and_keep_their_sources() {
    let rule = |name: &str, path: &str| Rule {
        condition: Condition { path: PathMatch::Segments(path.into()), ..Condition::default() },
        source: Some(ObjectKey::new(Kind::VirtualService, "shop", name)),
        ..Rule::always(name, forward(vec![backend(name, 1)], Absent::Error))
    };
    let host = virtual_host(&VirtualHost {
        name: "shop.example:80".into(),
        domains: vec!["shop.example".into()],
        rules: vec![rule("cart", "/cart"), rule("pay", "/pay")],
        require_tls: false,
        source: None,
    });
    let sources = sources(&host);
    assert!(sources[0].contains("shop/cart") && sources[1].contains("shop/pay"), "{sources:?}");
}

#[test]
fn segments_are_matched_as_a_whole_and_none_of_them_is_every_path() {
    let path = |segments: &str| {
        let path = PathMatch::Segments(segments.into());
        condition(&Condition { path, ..Condition::default() }).path_specifier.unwrap()
    };
    assert_eq!(path("/api"), route_match::PathSpecifier::PathSeparatedPrefix("/api".to_owned()));
    assert_eq!(path(""), route_match::PathSpecifier::Prefix("/".to_owned()));
}

#[test]
fn a_backend_that_is_not_there_keeps_its_share_and_answers_500() {
    let Action::Forward(forward) = forward(vec![backend("there", 1), backend("absent", 3)], Absent::Error)
    else {
        panic!("it forwards");
    };
    let action = route_action(&forward);
    assert_eq!(
        action.cluster_not_found_response_code,
        ClusterNotFoundResponseCode::InternalServerError as i32
    );
    let Some(ClusterSpecifier::WeightedClusters(clusters)) = action.cluster_specifier else {
        panic!("clusters by weight");
    };
    let shares: Vec<_> =
        clusters.clusters.iter().map(|own| (&*own.name, own.weight.unwrap().value)).collect();
    assert_eq!(shares, [("there", 1), ("absent", 3)]);
}
