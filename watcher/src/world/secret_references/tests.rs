#![allow(clippy::unwrap_used)]

use super::*;
use crate::manifest::{Format, Outcome, read_document};
use crate::resources::Labels;

fn world(manifests: &str) -> World {
    let mut world = World::default();
    for text in manifests.split("---\n") {
        for item in read_document(text, Format::Yaml).items {
            match item.outcome {
                Outcome::Served(objects) => objects.into_iter().for_each(|object| drop(world.apply(object))),
                _ => panic!("{text} is not served"),
            }
        }
    }
    world
}

fn referred(world: &World, gateways: &[(&str, &[(&str, &str)])]) -> Vec<String> {
    let gateways: Vec<(Arc<str>, Labels)> = gateways
        .iter()
        .map(|(namespace, labels)| {
            ((*namespace).into(), labels.iter().map(|&(key, value)| (key.into(), value.into())).collect())
        })
        .collect();
    let references = world.secret_references(gateways.iter().map(|(namespace, labels)| (namespace, labels)));
    references.iter().map(|((namespace, name), by)| format!("{namespace}/{name} by {by}")).collect()
}

fn gateway(tls: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: edge, namespace: rules}}\nspec:\n  \
         selector: {{istio: ingress}}\n  servers:\n  - port: {{number: 443, name: tls, protocol: HTTPS}}\n    hosts: \
         [a.example]\n    tls: {tls}\n"
    )
}

const RULE: &str = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: up, namespace: \
                    shop}\nspec:\n  host: up.example\n  trafficPolicy: {tls: {mode: SIMPLE, credentialName: up}}\n";

const POD: &str = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: edge-1, namespace: pods, labels: {istio: \
                   ingress}}\n";

#[test]
fn a_secret_is_looked_for_where_the_workload_runs() {
    let simple = gateway("{mode: SIMPLE, credentialName: cert}");
    assert_eq!(referred(&world(&simple), &[]), ["rules/cert by Gateway rules/edge"]);
    let with_pod = world(&(simple + POD));
    assert_eq!(referred(&with_pod, &[]), ["pods/cert by Gateway rules/edge"]);
    let (selected, other): (&[_], &[_]) = (&[("istio", "ingress")], &[("istio", "egress")]);
    assert_eq!(
        referred(&with_pod, &[("vm", selected), ("else", other)]),
        ["pods/cert by Gateway rules/edge", "vm/cert by Gateway rules/edge"]
    );
}

#[test]
fn mutual_tls_looks_for_authorities_and_sealed_tls_for_nothing() {
    let of =
        |tls: &str| referred(&world(&gateway(tls)), &[]).join("; ").replace(" by Gateway rules/edge", "");
    assert_eq!(of("{mode: MUTUAL, credentialName: cert}"), "rules/cert; rules/cert-cacert");
    assert_eq!(of("{mode: SIMPLE, credentialNames: [a, b]}"), "rules/a; rules/b");
    assert_eq!(of("{mode: SIMPLE, credentialName: 'kubernetes://rules/cert'}"), "rules/cert");
    assert_eq!(of("{mode: SIMPLE, credentialName: other/cert}"), "", "of another namespace");
    assert_eq!(of("{mode: PASSTHROUGH}"), "");
}

#[test]
fn a_rule_refers_only_for_gateways_that_it_is_told_to() {
    let plain = gateway("{mode: PASSTHROUGH}");
    assert_eq!(
        referred(&world(&(plain.clone() + RULE)), &[]),
        ["rules/up by DestinationRule shop/up", "rules/up-cacert by DestinationRule shop/up"]
    );
    let own = RULE.replace("  host", "  exportTo: ['.']\n  host");
    assert_eq!(referred(&world(&(plain + &own)), &[]), [""; 0]);
    assert_eq!(
        referred(&world(RULE.trim_start_matches("---\n")), &[]),
        [""; 0],
        "without a gateway, nobody asks"
    );
}
