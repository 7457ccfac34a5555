//! JSON ⇄ protobuf: typed `Any`s inside one another, and types that the pool does not know.

use pilotage_protos::envoy::core::TypedExtensionConfig;
use pilotage_protos::envoy::extensions::filters::http::router::v3::Router;
use pilotage_protos::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use pilotage_protos::envoy::{listener, pack_any, protobuf};
use pilotage_protos::json::{JsonError, any_from_json, any_to_json};
use prost::Message;
use serde_json::json;

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

fn listener() -> listener::Listener {
    let router = hcm::HttpFilter {
        name: "router".into(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack_any(Router::default()))),
        ..Default::default()
    };
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "in".into(),
        http_filters: vec![router],
        stream_idle_timeout: Some(protobuf::Duration { seconds: 1, nanos: 500_000_000 }),
        ..Default::default()
    };
    let filter = listener::Filter {
        name: "hcm".into(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(pack_any(manager))),
    };
    let chain = listener::FilterChain { filters: vec![filter], ..Default::default() };
    listener::Listener { name: "one".into(), filter_chains: vec![chain], ..Default::default() }
}

#[test]
fn nested_any_is_typed_both_ways() {
    let listener = listener();
    let json = any_to_json(LISTENER, &listener.encode_to_vec()).expect("to JSON");
    let manager = &json["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(manager["stream_idle_timeout"], "1.500s");
    assert_eq!(
        manager["http_filters"][0]["typed_config"],
        json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"})
    );
    let back = any_from_json(LISTENER, &json).expect("from JSON");
    assert_eq!(listener::Listener::decode(back).expect("decode"), listener);
}

#[test]
fn unknown_any_is_kept_as_bytes() {
    let foreign = protobuf::Any { type_url: "type.example/acme.Thing".into(), value: vec![8, 42] };
    let outer = TypedExtensionConfig { name: "x".into(), typed_config: Some(foreign) };
    let json = any_to_json(EXTENSION, &outer.encode_to_vec()).expect("to JSON");
    assert_eq!(
        json,
        json!({"name": "x", "typed_config": {"@type": "type.example/acme.Thing", "value": "CCo="}})
    );
    let back = any_from_json(EXTENSION, &json).expect("from JSON");
    assert_eq!(TypedExtensionConfig::decode(back).expect("decode"), outer);
}

#[test]
fn unknown_any_inside_a_known_one_is_kept() {
    let foreign = protobuf::Any { type_url: "type.example/acme.Thing".into(), value: vec![8, 42] };
    let inner = TypedExtensionConfig { name: "in".into(), typed_config: Some(foreign) };
    let outer = TypedExtensionConfig { name: "out".into(), typed_config: Some(pack_any(inner)) };
    let json = any_to_json(EXTENSION, &outer.encode_to_vec()).expect("to JSON");
    assert_eq!(json["typed_config"]["typed_config"]["value"], "CCo=");
    let back = any_from_json(EXTENSION, &json).expect("from JSON");
    assert_eq!(TypedExtensionConfig::decode(back).expect("decode"), outer);
}

#[test]
fn errors_name_the_field_or_type() {
    let error = any_from_json(LISTENER, &json!({"nmae": "x"})).expect_err("no such field").to_string();
    assert!(error.contains("envoy.config.listener.v3.Listener") && error.contains("nmae"), "{error}");
    assert!(matches!(any_to_json("type.example/acme.Thing", b""), Err(JsonError::UnknownType(_))));
}
