//! Single-type services and the status service.

use pilotage_protos::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use pilotage_protos::envoy::status::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use pilotage_protos::envoy::status::{ClientStatusRequest, ConfigStatus};
use pilotage_protos::envoy::types::matcher::v3::{NodeMatcher, StringMatcher, string_matcher::MatchPattern};
use pilotage_server::protocol::{ResourceType, Snapshot};
use tonic::Code;

use crate::client::{Server, Talk, bodies, change, error, node, snapshot, soon};

/// Service, SotW method, delta method, type.
const SERVICES: [(&str, &str, &str, ResourceType); 9] = [
    ("cluster.v3.ClusterDiscoveryService", "StreamClusters", "DeltaClusters", ResourceType::Cluster),
    ("endpoint.v3.EndpointDiscoveryService", "StreamEndpoints", "DeltaEndpoints", ResourceType::Endpoint),
    ("listener.v3.ListenerDiscoveryService", "StreamListeners", "DeltaListeners", ResourceType::Listener),
    ("route.v3.RouteDiscoveryService", "StreamRoutes", "DeltaRoutes", ResourceType::Route),
    (
        "route.v3.ScopedRoutesDiscoveryService",
        "StreamScopedRoutes",
        "DeltaScopedRoutes",
        ResourceType::ScopedRoute,
    ),
    ("route.v3.VirtualHostDiscoveryService", "", "DeltaVirtualHosts", ResourceType::VirtualHost),
    ("secret.v3.SecretDiscoveryService", "StreamSecrets", "DeltaSecrets", ResourceType::Secret),
    ("runtime.v3.RuntimeDiscoveryService", "StreamRuntime", "DeltaRuntime", ResourceType::Runtime),
    (
        "extension.v3.ExtensionConfigDiscoveryService",
        "StreamExtensionConfigs",
        "DeltaExtensionConfigs",
        ResourceType::ExtensionConfig,
    ),
];

fn everything() -> Snapshot {
    let types = SERVICES.iter().map(|(_, _, _, resource_type)| resource_type);
    types.fold(Snapshot::default(), |state, of| change(&state, 1, of.clone(), &[("a", of.type_url())]))
}

#[tokio::test]
async fn every_type_has_a_service_in_both_dialects() {
    let server = Server::start().await;
    server.cache.publish(&"g".to_owned(), everything());
    for (service, sotw, delta, resource_type) in SERVICES {
        let service = format!("envoy.service.{service}");
        if !sotw.is_empty() {
            let mut talk: Talk<DiscoveryRequest, DiscoveryResponse> = server.talk_to(&service, sotw).await;
            // The type is implied.
            let names = vec!["a".to_owned()];
            talk.say(DiscoveryRequest { node: node("n", "g"), resource_names: names, ..Default::default() });
            let response = talk.response().await;
            assert_eq!(response.type_url, resource_type.type_url());
            assert_eq!(bodies(&response.resources), [resource_type.type_url()]);
        }
        let mut talk: Talk<DeltaDiscoveryRequest, DeltaDiscoveryResponse> =
            server.talk_to(&service, delta).await;
        talk.say(DeltaDiscoveryRequest {
            node: node("n", "g"),
            type_url: resource_type.type_url().to_owned(),
            resource_names_subscribe: vec!["a".to_owned()],
            ..Default::default()
        });
        assert_eq!(talk.response().await.resources[0].name, "a");

        let mut talk: Talk<DiscoveryRequest, DiscoveryResponse> =
            server.talk_to(&service, "FetchThings").await;
        assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn another_type_on_a_single_type_stream_is_refused() {
    let server = Server::start().await;
    server.cache.publish(&"g".to_owned(), everything());
    let service = "envoy.service.cluster.v3.ClusterDiscoveryService";
    let mut talk: Talk<DiscoveryRequest, DiscoveryResponse> = server.talk_to(service, "StreamClusters").await;
    let type_url = ResourceType::Listener.type_url().to_owned();
    talk.say(DiscoveryRequest { node: node("n", "g"), type_url, ..Default::default() });
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_status_service_tells_what_was_accepted_and_rejected_and_hides_secrets() {
    let server = Server::start().await;
    let group = "g".to_owned();
    let state = snapshot(1, ResourceType::Cluster, &[("a", "good"), ("b", "bad"), ("c", "good")]);
    let state = change(&state, 1, ResourceType::Secret, &[("s", "hush")]);
    server.cache.publish(&group, state);
    let mut talk = server.sotw().await;
    let cluster = ResourceType::Cluster.type_url().to_owned();
    talk.say(DiscoveryRequest { node: node("n", "g"), type_url: cluster.clone(), ..Default::default() });
    let response = talk.response().await;
    let reject = DiscoveryRequest {
        type_url: cluster.clone(),
        response_nonce: response.nonce,
        error_detail: error("b: no such thing"),
        ..Default::default()
    };
    talk.say(reject);
    // The good ones are sent again without it; this response stays unanswered.
    assert_eq!(bodies(&talk.response().await.resources), ["good", "good"]);
    let secret = ResourceType::Secret.type_url().to_owned();
    let names = vec!["s".to_owned()];
    talk.say(DiscoveryRequest { type_url: secret.clone(), resource_names: names, ..Default::default() });
    let response = talk.response().await;
    talk.say(DiscoveryRequest {
        type_url: secret,
        resource_names: vec!["s".to_owned()],
        response_nonce: response.nonce,
        ..Default::default()
    });
    // The answer has been heard when this is answered.
    let listener = ResourceType::Listener.type_url().to_owned();
    talk.say(DiscoveryRequest { type_url: listener, ..Default::default() });
    talk.response().await;

    let mut client = ClientStatusDiscoveryServiceClient::new(server.channel().await);
    let answer = soon(client.fetch_client_status(ClientStatusRequest::default())).await;
    let config = answer.expect("a status").into_inner().config.remove(0);
    assert_eq!(config.node.as_ref().expect("a node").id, "n");
    let found = |name: &str| config.generic_xds_configs.iter().find(|one| one.name == name).expect("listed");
    let status = |name: &str| found(name).config_status();
    assert_eq!(status("a"), ConfigStatus::Stale);
    assert_eq!(status("b"), ConfigStatus::Error);
    assert_eq!(status("s"), ConfigStatus::Synced);
    assert_eq!(found("b").error_state.as_ref().expect("a reason").details, "b: no such thing");
    assert_eq!(found("a").xds_config.as_ref().expect("contents").value, b"good");
    assert!(found("s").xds_config.is_none(), "a secret is not shown");
    let bytes = prost::Message::encode_to_vec(&config);
    assert!(!bytes.windows(4).any(|window| window == b"hush"));
    assert!(bytes.windows(4).any(|window| window == b"good"));

    // Another node, on a stream of questions.
    let other = NodeMatcher {
        node_id: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact("other".to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let question = ClientStatusRequest { node_matchers: vec![other], ..Default::default() };
    let questions = tokio_stream::iter([question, ClientStatusRequest::default()]);
    let mut answers = client.stream_client_status(questions).await.expect("a stream").into_inner();
    assert!(soon(answers.message()).await.expect("an answer").expect("an answer").config.is_empty());
    assert_eq!(soon(answers.message()).await.expect("an answer").expect("an answer").config.len(), 1);
}

#[tokio::test]
async fn the_status_service_answers_during_churn() {
    let server = Server::start().await;
    let group = "g".to_owned();
    server.cache.publish(&group, snapshot(1, ResourceType::Cluster, &[("a", "1"), ("b", "1")]));
    let mut talk = server.delta().await;
    let type_url = ResourceType::Cluster.type_url().to_owned();
    talk.say(DeltaDiscoveryRequest {
        node: node("n", "g"),
        type_url: type_url.clone(),
        ..Default::default()
    });
    let mut client = ClientStatusDiscoveryServiceClient::new(server.channel().await);
    for revision in 2..50 {
        let content = revision.to_string();
        let state = snapshot(revision, ResourceType::Cluster, &[("a", &content), ("b", &content)]);
        server.cache.publish(&group, state);
        let answer = soon(client.fetch_client_status(ClientStatusRequest::default())).await;
        let config = answer.expect("a status").into_inner().config;
        let contents = config.iter().flat_map(|config| &config.generic_xds_configs);
        let contents: Vec<_> = contents.filter_map(|one| one.xds_config.as_ref()).collect();
        // Both resources always change together, and are seen together.
        assert!(contents.windows(2).all(|pair| pair[0].value == pair[1].value), "{contents:?}");
        let response = talk.response().await;
        let response_nonce = response.nonce;
        talk.say(DeltaDiscoveryRequest { type_url: type_url.clone(), response_nonce, ..Default::default() });
    }
}
