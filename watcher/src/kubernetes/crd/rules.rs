//! What the checks of [`crate::validation`] refuse, as rules that the API server understands.
//!
//! A rule is put on a field by its path, where `[]` stands for every element of a list and `{}` for every value of a
//! map. Every path has to exist; a test applies what breaks each rule to a real API server and to the parser.

use serde_json::{Map, Value, json};

use crate::Kind;
use crate::resources::{GRPC_STATUSES, RETRY_CONDITIONS};
use crate::validation::{PROTOCOLS, TLS_VERSIONS};

/// What must be true of a field.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// It is there, and is neither an empty text nor an empty list.
    Needed,
    /// It is not an empty text or list.
    NotEmpty,
    /// A duration of at least a millisecond.
    Span,
    /// A duration of at least a millisecond, or zero.
    SpanOrOff,
    /// A number from 1 to 65535.
    Port,
    /// A whole number in this range.
    Range(i64, i64),
    /// A number from 0 to 100.
    Percent,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// One of these numbers.
    OneOfNumbers(&'static [i64]),
    /// A list of these texts and of HTTP statuses, separated by commas.
    ListOf(&'static [&'static str]),
    /// A list of at most so many elements: the API server reckons what checking the longest possible list would cost,
    /// and refuses definitions that would cost too much.
    AtMost(u32),
    /// No two elements of the list have the same value of this field.
    KeyedBy(&'static str),
    /// An expression of the API server's rule language that is true, and what it means.
    True(&'static str, &'static str),
}

use Rule::{
    AtMost, KeyedBy, ListOf, Needed, NotEmpty, OneOf, OneOfAnyCase, OneOfNumbers, Percent, Port, Range, Span,
    SpanOrOff, True,
};

const COUNT: Rule = Range(0, u32::MAX as i64);

const VIRTUAL_SERVICE: &[(&str, Rule)] = &[
    (
        "",
        True(
            "(has(self.http) && size(self.http) > 0) || (has(self.tls) && size(self.tls) > 0) || (has(self.tcp) && \
             size(self.tcp) > 0)",
            "there is no rule: one of http, tls and tcp is needed",
        ),
    ),
    ("hosts[]", NotEmpty),
    (
        "http[]",
        True(
            "(has(self.route) && size(self.route) > 0) || has(self.redirect) || has(self.directResponse) || \
             has(self.delegate)",
            "the rule does nothing: it needs route, redirect, directResponse or delegate",
        ),
    ),
    ("http[].timeout", SpanOrOff),
    ("http[].route[].destination", Needed),
    ("http[].route[].destination.host", Needed),
    ("http[].route[].destination.port.number", Port),
    ("http[].route[].weight", COUNT),
    ("http[].mirror.host", Needed),
    ("http[].mirror.port.number", Port),
    ("http[].mirrors[].destination", Needed),
    ("http[].mirrors[].destination.host", Needed),
    ("http[].mirrors[].destination.port.number", Port),
    ("http[].mirrorPercentage.value", Percent),
    ("http[].match[].port", Port),
    ("http[].retries.attempts", Range(0, i32::MAX as i64)),
    ("http[].retries.perTryTimeout", SpanOrOff),
    ("http[].retries.backoff", Span),
    ("http[].retries.retryOn", ListOf(RETRY_CONDITIONS)),
    ("http[].redirect.redirectCode", OneOfNumbers(&[301, 302, 303, 307, 308])),
    ("http[].redirect.derivePort", OneOf(&["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"])),
    ("http[].directResponse.status", Needed),
    ("http[].directResponse.status", Range(200, 600)),
    ("http[].fault.delay.fixedDelay", Span),
    ("http[].fault.delay.percentage.value", Percent),
    ("http[].fault.abort.httpStatus", Range(200, 600)),
    ("http[].fault.abort.grpcStatus", OneOf(GRPC_STATUSES)),
    ("http[].fault.abort.percentage.value", Percent),
    ("http[].corsPolicy.unmatchedPreflights", OneOf(&["UNSPECIFIED", "FORWARD", "IGNORE"])),
    ("tls[].route", Needed),
    ("tls[].route[].destination", Needed),
    ("tls[].route[].destination.host", Needed),
    ("tls[].route[].destination.port.number", Port),
    ("tls[].route[].weight", COUNT),
    ("tcp[].route", Needed),
    ("tcp[].route[].destination", Needed),
    ("tcp[].route[].destination.host", Needed),
    ("tcp[].route[].destination.port.number", Port),
    ("tcp[].route[].weight", COUNT),
];

/// The fields of a traffic policy that a port's policy has as well.
const POLICY: &[(&str, Rule)] = &[
    (
        "loadBalancer.simple",
        OneOf(&["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]),
    ),
    ("loadBalancer.warmup.duration", Span),
    ("connectionPool.tcp.maxConnections", COUNT),
    ("connectionPool.tcp.connectTimeout", Span),
    ("connectionPool.tcp.maxConnectionDuration", Span),
    ("connectionPool.tcp.idleTimeout", SpanOrOff),
    ("connectionPool.http.http1MaxPendingRequests", COUNT),
    ("connectionPool.http.http2MaxRequests", COUNT),
    ("connectionPool.http.maxRequestsPerConnection", COUNT),
    ("connectionPool.http.maxRetries", COUNT),
    ("connectionPool.http.maxConcurrentStreams", COUNT),
    ("connectionPool.http.idleTimeout", SpanOrOff),
    ("connectionPool.http.h2UpgradePolicy", OneOf(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"])),
    ("connectionPool.http.http2KeepAlive.interval", Span),
    ("connectionPool.http.http2KeepAlive.timeout", Span),
    ("outlierDetection.interval", Span),
    ("outlierDetection.baseEjectionTime", Span),
    ("outlierDetection.maxEjectionPercent", Range(0, 100)),
    ("outlierDetection.minHealthPercent", Range(0, 100)),
    ("tls.mode", OneOf(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"])),
];

const TRAFFIC_POLICY: &[(&str, Rule)] = &[
    ("portLevelSettings", AtMost(256)),
    ("portLevelSettings[].port", Needed),
    ("portLevelSettings[].port.number", Needed),
    ("portLevelSettings[].port.number", Port),
    ("tunnel.protocol", OneOf(&["CONNECT", "POST"])),
    ("tunnel.targetPort", Needed),
    ("tunnel.targetPort", Port),
    ("proxyProtocol.version", OneOf(&["V1", "V2"])),
    ("retryBudget.percent", Percent),
];

const DESTINATION_RULE: &[(&str, Rule)] =
    &[("host", Needed), ("subsets[].name", Needed), ("subsets", KeyedBy("name"))];

const GATEWAY: &[(&str, Rule)] = &[
    ("servers", Needed),
    ("servers[].port", Needed),
    ("servers[].port.number", Needed),
    ("servers[].port.number", Port),
    ("servers[].port.protocol", Needed),
    ("servers[].port.protocol", OneOfAnyCase(PROTOCOLS)),
    ("servers[].hosts", Needed),
    (
        "servers[].tls.mode",
        OneOf(&["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"]),
    ),
    ("servers[].tls.minProtocolVersion", OneOf(TLS_VERSIONS)),
    ("servers[].tls.maxProtocolVersion", OneOf(TLS_VERSIONS)),
];

const SERVICE_ENTRY: &[(&str, Rule)] = &[
    ("hosts", Needed),
    ("ports[].number", Needed),
    ("ports[].number", Port),
    ("ports[].targetPort", Port),
    ("ports[].name", Needed),
    ("location", OneOf(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
    ("resolution", OneOf(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"])),
    ("endpoints[].ports{}", Port),
];

const WORKLOAD_ENTRY: &[(&str, Rule)] = &[("address", Needed), ("ports{}", Port)];

const CAPTURE_MODE: Rule = OneOf(&["DEFAULT", "IPTABLES", "NONE"]);

const SIDECAR: &[(&str, Rule)] = &[
    ("ingress[].port", Needed),
    ("ingress[].port.number", Needed),
    ("ingress[].port.number", Port),
    ("ingress[].captureMode", CAPTURE_MODE),
    ("egress[].hosts", Needed),
    ("egress[].captureMode", CAPTURE_MODE),
    ("outboundTrafficPolicy.mode", OneOf(&["REGISTRY_ONLY", "ALLOW_ANY"])),
];

const TELEMETRY: &[(&str, Rule)] =
    &[("accessLogging[].match.mode", OneOf(&["CLIENT_AND_SERVER", "CLIENT", "SERVER"]))];

const ENVOY_RESOURCES: &[(&str, Rule)] = &[
    ("resources", Needed),
    ("operation", OneOf(&["Add", "Replace"])),
    ("proxies.kinds[]", OneOf(&["sidecar", "gateway", "grpc"])),
];

/// Puts the rules of a kind on its schema.
pub(super) fn apply(kind: Kind, schema: &mut Value) {
    let (own, policies): (&[(&str, Rule)], &[&str]) = match kind {
        Kind::VirtualService => (VIRTUAL_SERVICE, &[]),
        Kind::DestinationRule => (DESTINATION_RULE, &["trafficPolicy", "subsets[].trafficPolicy"]),
        Kind::Gateway => (GATEWAY, &[]),
        Kind::ServiceEntry => (SERVICE_ENTRY, &[]),
        Kind::WorkloadEntry => (WORKLOAD_ENTRY, &[]),
        Kind::Sidecar => (SIDECAR, &[]),
        Kind::Telemetry => (TELEMETRY, &[]),
        Kind::EnvoyResources => (ENVOY_RESOURCES, &[]),
        Kind::Service | Kind::EndpointSlice | Kind::Pod | Kind::Node | Kind::Secret | Kind::Descriptors => {
            (&[], &[])
        }
    };
    for (path, rule) in own {
        put(schema, path, *rule);
    }
    for policy in policies {
        for (path, rule) in POLICY.iter().chain(TRAFFIC_POLICY) {
            put(schema, &format!("{policy}.{path}"), *rule);
        }
        for (path, rule) in POLICY {
            put(schema, &format!("{policy}.portLevelSettings[].{path}"), *rule);
        }
    }
}

fn put(schema: &mut Value, path: &str, rule: Rule) {
    if matches!(rule, Needed) {
        let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = find(schema, parent);
        parent.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = parent["required"].as_array_mut() {
            required.push(json!(field));
        }
    }
    let field = find(schema, path);
    match rule {
        Needed | NotEmpty => {
            match field.get("type").and_then(Value::as_str) {
                Some("string") => drop(field.insert("minLength".to_owned(), json!(1))),
                Some("array") => drop(field.insert("minItems".to_owned(), json!(1))),
                _ => {}
            };
        }
        Span => validate(field, "duration(self) >= duration('1ms')", "the duration is shorter than 1ms"),
        SpanOrOff => validate(
            field,
            "duration(self) == duration('0s') || duration(self) >= duration('1ms')",
            "the duration is shorter than 1ms, and not 0s",
        ),
        Port => range(field, &json!(1), &json!(65_535)),
        Range(least, most) => range(field, &json!(least), &json!(most)),
        Percent => range(field, &json!(0), &json!(100)),
        OneOf(choices) => drop(field.insert("enum".to_owned(), json!(choices))),
        OneOfNumbers(choices) => drop(field.insert("enum".to_owned(), json!(choices))),
        OneOfAnyCase(choices) => pattern(field, &format!("^(?i:{})$", choices.join("|"))),
        ListOf(choices) => {
            let one = format!("\\s*({}|[1-5][0-9][0-9])?\\s*", choices.join("|"));
            pattern(field, &format!("^{one}(,{one})*$"));
        }
        AtMost(count) => drop(field.insert("maxItems".to_owned(), json!(count))),
        KeyedBy(key) => {
            field.insert("x-kubernetes-list-type".to_owned(), json!("map"));
            field.insert("x-kubernetes-list-map-keys".to_owned(), json!([key]));
        }
        True(rule, message) => validate(field, rule, message),
    }
}

/// The schema of a field. A path that leads nowhere is a slip in the tables above, which a test would show.
fn find<'a>(schema: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    let mut found = schema;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches("[]").trim_end_matches("{}");
        found = &mut found["properties"][name];
        if step.ends_with("[]") {
            found = &mut found["items"];
        } else if step.ends_with("{}") {
            found = &mut found["additionalProperties"];
        }
    }
    if !found.is_object() {
        *found = json!({});
    }
    found.as_object_mut().expect("it has just been made an object")
}

fn range(field: &mut Map<String, Value>, least: &Value, most: &Value) {
    field.insert("minimum".to_owned(), least.clone());
    field.insert("maximum".to_owned(), most.clone());
}

fn pattern(field: &mut Map<String, Value>, pattern: &str) {
    field.insert("pattern".to_owned(), json!(pattern));
}

fn validate(field: &mut Map<String, Value>, rule: &str, message: &str) {
    let rule = json!({"rule": rule, "message": message});
    field.insert("x-kubernetes-validations".to_owned(), json!([rule]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::WATCHED;

    /// Every value of a structural schema has a type; one that a wrong path has made has none.
    fn untyped(schema: &Value, path: &str, found: &mut Vec<String>) {
        if !schema["type"].is_string() {
            found.push(path.to_owned());
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            untyped(inner, &format!("{path}.{name}"), found);
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                untyped(&schema[key], &format!("{path}[]"), found);
            }
        }
    }

    #[test]
    fn every_rule_is_on_a_field_that_there_is() {
        for watched in WATCHED.iter().filter(|watched| watched.custom) {
            let mut found = Vec::new();
            let schema = super::super::spec(watched.kind).expect("a kind of a definition has a schema");
            untyped(&schema, "spec", &mut found);
            assert_eq!(found, [""; 0], "{:?}", watched.kind);
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_shows() {
        let mut schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        put(&mut schema, "b", NotEmpty);
        let mut found = Vec::new();
        untyped(&schema, "spec", &mut found);
        assert_eq!(found, ["spec.b"]);
    }
}
