//! What must hold of a snapshot before any client sees it: names are those of the messages (R38), and whatever a
//! resource has Envoy fetch is fetched on the aggregated stream, the one place where there is an order (R60).

use anyhow::{Context, Result, bail, ensure};
use pilotage_protocol::{Resource, ResourceType, Snapshot};
use pilotage_protos::json::any_to_json;
use serde_json::Value;

/// The keys of Envoy's `ConfigSource` that lead elsewhere than to the aggregated stream.
const ELSEWHERE: [&str; 4] = ["api_config_source", "path_config_source", "path", "self"];

/// Checks every resource of a snapshot.
///
/// # Errors
/// Says which resource is wrong, and how.
pub fn is_consistent(snapshot: &Snapshot) -> Result<()> {
    for (resource_type, collection) in snapshot.iter() {
        for resource in collection.iter() {
            of_resource(resource_type, resource)
                .with_context(|| format!("{resource_type} {}", resource.name()))?;
        }
    }
    Ok(())
}

fn of_resource(resource_type: &ResourceType, resource: &Resource) -> Result<()> {
    let message = any_to_json(resource_type.type_url(), &resource.body())?;
    let key = if *resource_type == ResourceType::Endpoint { "cluster_name" } else { "name" };
    let said = message[key].as_str().unwrap_or_default();
    let name = match resource_type {
        // A virtual host is asked for by the name of its route configuration as well.
        ResourceType::VirtualHost => resource.name().rsplit('/').next().unwrap_or_default(),
        _ => resource.name().as_ref(),
    };
    ensure!(said == name, "the message is named {said:?}");
    is_aggregated(&message)
}

fn is_aggregated(value: &Value) -> Result<()> {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("resource_api_version")
                && let Some(key) = ELSEWHERE.iter().find(|key| fields.contains_key(**key))
            {
                bail!("a source is {key}, and not ads: {value}");
            }
            fields.values().try_for_each(is_aggregated)
        }
        Value::Array(values) => values.iter().try_for_each(is_aggregated),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilotage_protocol::{Collection, Revision};
    use pilotage_protos::json::any_from_json;
    use serde_json::json;

    use super::*;

    fn check(name: &str, source: &Value) -> Result<()> {
        let cluster = json!({"name": "a", "type": "EDS", "eds_cluster_config": {"eds_config": source}});
        let body = any_from_json(ResourceType::Cluster.type_url(), &cluster)?;
        let clusters = Collection::from_iter([Resource::new(name, body)]);
        is_consistent(&Snapshot::new(Revision(1)).with(ResourceType::Cluster, Arc::new(clusters)))
    }

    /// R38, R60.
    #[test]
    fn a_wrong_name_and_another_source_are_found() -> Result<()> {
        check("a", &json!({"ads": {}, "resource_api_version": "V3"}))?;
        let named = check("b", &json!({"ads": {}, "resource_api_version": "V3"}));
        ensure!(named.is_err_and(|error| format!("{error:#}").contains("named \"a\"")));
        for source in [json!({"self": {}}), json!({"path_config_source": {"path": "/tmp/eds.yaml"}})] {
            let mut source = source;
            source["resource_api_version"] = json!("V3");
            ensure!(check("a", &source).is_err(), "{source}");
        }
        Ok(())
    }
}
