//! CustomResourceDefinitions of the routing kinds, for clusters that have none.
//!
//! Their schemas are those of the Rust types, made [`structural`], with the rules of [`rules`] on top: what the API
//! server takes by them, we can read.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::kind::{WATCHED, Watched};
use crate::Kind;
use crate::resources::{
    DestinationRule, EnvoyResources, Gateway, ServiceEntry, Sidecar, Telemetry, VirtualService, WorkloadEntry,
};

mod rules;
mod structural;

/// The definition of each routing kind, as `apiextensions.k8s.io/v1` has them.
///
/// A cluster that has Istio's definitions needs none of these: objects of either mean the same.
pub fn custom_resource_definitions() -> Vec<Value> {
    WATCHED.iter().filter_map(|watched| Some(definition(watched, spec(watched.kind)?))).collect()
}

fn spec(kind: Kind) -> Option<Value> {
    let mut schema = match kind {
        Kind::VirtualService => schema_of::<VirtualService>(),
        Kind::DestinationRule => schema_of::<DestinationRule>(),
        Kind::Gateway => schema_of::<Gateway>(),
        Kind::ServiceEntry => schema_of::<ServiceEntry>(),
        Kind::WorkloadEntry => schema_of::<WorkloadEntry>(),
        Kind::Sidecar => schema_of::<Sidecar>(),
        Kind::Telemetry => schema_of::<Telemetry>(),
        Kind::EnvoyResources => schema_of::<EnvoyResources>(),
        Kind::Service | Kind::EndpointSlice | Kind::Pod | Kind::Node | Kind::Secret | Kind::Descriptors => {
            return None;
        }
    };
    structural::structure(&mut schema);
    rules::apply(kind, &mut schema);
    Some(schema)
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn definition(watched: &Watched, spec: Value) -> Value {
    let kind = format!("{:?}", watched.kind);
    let schema = json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": spec,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    // Each version has the same content, and the first one is the one that is stored.
    let version = |(index, name): (usize, &&str)| {
        json!({
            "name": name,
            "served": true,
            "storage": index == 0,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
        })
    };
    let versions: Vec<Value> = watched.versions.iter().enumerate().map(version).collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": watched.qualified()},
        "spec": {
            "group": watched.group,
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": watched.plural,
                "singular": kind.to_lowercase(),
            },
            "scope": "Namespaced",
            "versions": versions,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_definition_fits_into_the_annotation_that_kubectl_apply_writes() {
        let definitions = custom_resource_definitions();
        assert_eq!(definitions.len(), WATCHED.iter().filter(|watched| watched.custom).count());
        for definition in definitions {
            let size = definition.to_string().len();
            assert!(size < 256 * 1024, "{} has {size} bytes", definition["metadata"]["name"]);
        }
    }
}
