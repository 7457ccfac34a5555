//! Every field of every kind that is served changes what proxies are told, or has its problem: nothing is ignored in
//! silence.
//!
//! The fields are those of the published schemas. A field counts as translated if taking it out of a golden world
//! changes a resource there, and as told if that takes back a problem; `deploy/fields.md` lists what is told alone.
//! `PILOTAGE_BLESS=1` writes it anew.

#[path = "fields/page.rs"]
mod page;
#[path = "fields/probe.rs"]
mod probe;
#[path = "fields/schema.rs"]
mod schema;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pilotage_tests::golden;
use pilotage_tests::kubernetes::{ControlPlane, istio_crds, openapi};
use schema::{Kinds, NATIVE, Path as FieldPath};

use crate::probe::{Effect, Golden};

const SPOKEN: &str = "a workload is spoken to in its client's protocol, whatever this says";

const BALANCER: &str = "it is for the load balancer and the nodes that bring calls into the cluster";
const ADDRESSES: &str = "by it the cluster gives out addresses, which are read where they stand";
const ZONES: &str = "zones and `trafficDistribution` say it, for each caller by itself";
const POD: &str = "a Pod is known by its name, in the namespace of the slice";

/// Fields that mean nothing to a proxy, and change nothing that it does.
const FOR_PEOPLE: &[(&str, &str, &str)] = &[
    (
        "Gateway",
        "servers.name",
        "it names the server to whoever reads the Gateway; no resource is called by it",
    ),
    ("Sidecar", "inboundConnectionPool.http.useClientProtocol", SPOKEN),
    ("Sidecar", "ingress.connectionPool.http.useClientProtocol", SPOKEN),
    ("Sidecar", "egress.port.name", "it names the port to whoever reads the Sidecar"),
    ("Sidecar", "ingress.port.name", "it names the port to whoever reads the Sidecar"),
    ("ServiceEntry", "location", "hosts inside and outside of the mesh are called alike"),
    ("Service", "allocateLoadBalancerNodePorts", BALANCER),
    ("Service", "externalIPs", BALANCER),
    ("Service", "healthCheckNodePort", BALANCER),
    ("Service", "ipFamilyPolicy", ADDRESSES),
    ("Service", "loadBalancerClass", BALANCER),
    ("Service", "loadBalancerIP", BALANCER),
    ("Service", "loadBalancerSourceRanges", BALANCER),
    ("Service", "ports.nodePort", BALANCER),
    ("Service", "publishNotReadyAddresses", "Kubernetes marks the endpoints of such a Service ready itself"),
    ("EndpointSlice", "addressType", "an address says it itself; a slice of names has its problem"),
    ("EndpointSlice", "endpoints.deprecatedTopology", "`zone` and `nodeName` say it"),
    ("EndpointSlice", "endpoints.hints.forNodes.name", ZONES),
    ("EndpointSlice", "endpoints.hints.forZones.name", ZONES),
    ("EndpointSlice", "endpoints.hostname", "calls go to addresses; the name is for resolvers"),
    ("EndpointSlice", "endpoints.targetRef.apiVersion", POD),
    ("EndpointSlice", "endpoints.targetRef.fieldPath", POD),
    ("EndpointSlice", "endpoints.targetRef.namespace", POD),
    ("EndpointSlice", "endpoints.targetRef.resourceVersion", POD),
    ("EndpointSlice", "endpoints.targetRef.uid", POD),
    ("EndpointSlice", "ports.appProtocol", "the port of the Service says it"),
];

/// What each field does, as the golden worlds show it.
fn effects(kinds: &Kinds, goldens: &[Golden]) -> Result<BTreeMap<FieldPath, Effect>> {
    let fields: Vec<FieldPath> = kinds.fields().into_iter().collect();
    let half = fields.len().div_ceil(std::thread::available_parallelism().map_or(2, usize::from));
    let find = |fields: &[FieldPath]| -> Result<Vec<(FieldPath, Effect)>> {
        let of_field = |field: &FieldPath| {
            let effect = probe::effect(field, kinds, goldens)?;
            let around = match effect {
                Effect::Absent | Effect::Silent if !is_for_people(field) => {
                    probe::told_around(field, kinds, goldens)
                }
                _ => None,
            };
            Ok((field.clone(), around.unwrap_or(effect)))
        };
        fields.iter().map(of_field).collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = fields.chunks(half.max(1)).map(|part| scope.spawn(move || find(part))).collect();
        let mut found = BTreeMap::new();
        for part in parts {
            found.extend(part.join().map_err(|_| anyhow::anyhow!("a probe panicked"))??);
        }
        Ok(found)
    })
}

fn is_for_people(field: &FieldPath) -> bool {
    FOR_PEOPLE.iter().any(|(kind, path, _)| *kind == field.kind && *path == field.path)
}

#[tokio::test]
async fn every_field_is_translated_or_has_its_problem() -> Result<()> {
    let mut kinds = Kinds::parse(&istio_crds().await?)?;
    let control_plane = ControlPlane::shared().await?;
    for (kind, group_version, name) in NATIVE {
        kinds.add(kind, name, &openapi(&control_plane, group_version).await?)?;
    }
    drop(control_plane);
    let goldens = golden::folders()?.iter().map(|folder| Golden::read(folder)).collect::<Result<Vec<_>>>()?;
    let effects = effects(&kinds, &goldens)?;
    let mut silent: Vec<String> = Vec::new();
    for (field, effect) in &effects {
        match effect {
            Effect::Absent if !is_for_people(field) => {
                silent.push(format!("{field}: no golden world has it"));
            }
            Effect::Silent if !is_for_people(field) => {
                silent.push(format!("{field}: has no effect, and no problem"));
            }
            _ => {}
        }
    }
    // A message means the same wherever it stands: one of its places is enough for each value.
    let mut choices: BTreeMap<(String, String, String), bool> = BTreeMap::new();
    for (field, choice) in kinds.choices() {
        if effects.get(&field) == Some(&Effect::Translated) {
            let seen = goldens.iter().any(|golden| golden.has_choice(&field, &choice, &kinds));
            *choices.entry((field.kind.clone(), field.message(), choice)).or_default() |= seen;
        }
    }
    let unseen = choices.into_iter().filter(|(_, seen)| !seen);
    silent.extend(
        unseen.map(|((kind, field, choice), _)| format!("{kind} {field}: no golden world has {choice}")),
    );
    for (kind, path, _) in FOR_PEOPLE {
        let field = FieldPath { kind: (*kind).to_owned(), path: (*path).to_owned() };
        let effect = effects.get(&field).with_context(|| format!("{field} is a field"))?;
        ensure!(matches!(effect, Effect::Absent | Effect::Silent), "{field} has an effect: {effect:?}");
    }
    ensure!(silent.is_empty(), "{} fields and values:\n{}", silent.len(), silent.join("\n"));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/fields.md");
    let now = page::page(&effects, &probe::unserved_choices(&kinds, &goldens), FOR_PEOPLE);
    if std::env::var_os("PILOTAGE_BLESS").is_some() {
        std::fs::write(&path, &now)?;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(written == now, "deploy/fields.md is not current; run this test with PILOTAGE_BLESS=1");
    Ok(())
}

/// A field that is in the schema and in no golden world is found.
#[tokio::test]
async fn a_field_that_nobody_has_heard_of_is_found() -> Result<()> {
    let crds = istio_crds().await?;
    let planted = crds.replacen(
        "              exportTo:\n",
        "              planted:\n                type: string\n              exportTo:\n",
        1,
    );
    ensure!(planted != crds, "the schema has exportTo");
    let kinds = Kinds::parse(&planted)?;
    let goldens = golden::folders()?.iter().map(|folder| Golden::read(folder)).collect::<Result<Vec<_>>>()?;
    let field =
        kinds.fields().into_iter().find(|field| field.path == "planted").context("the planted field")?;
    ensure!(probe::effect(&field, &kinds, &goldens)? == Effect::Absent);
    Ok(())
}
