//! Delta over a socket.

use std::collections::HashMap;

use pilotage_protos::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use pilotage_server::protocol::{ResourceType, Revision};

use crate::client::{Server, Talk, bodies, change, node, snapshot, soon};

const CLUSTER: ResourceType = ResourceType::Cluster;
const ENDPOINT: ResourceType = ResourceType::Endpoint;

fn first(resource_type: ResourceType, subscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: node("n1", "g"),
        type_url: resource_type.type_url().to_owned(),
        resource_names_subscribe: subscribe.iter().map(|&name| name.to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

async fn acked(talk: &mut Talk<DeltaDiscoveryRequest, DeltaDiscoveryResponse>) -> (Vec<String>, Vec<String>) {
    let response = talk.response().await;
    assert!(response.resources.iter().all(|resource| resource.version.len() == 16));
    assert_eq!(response.nonce.len(), 16);
    assert_eq!(response.control_plane.as_ref().expect("a control plane").identifier, "pilotage");
    let mut bodies_sent = response.resources.iter().filter_map(|resource| resource.resource.as_ref());
    assert!(bodies_sent.all(|body| body.type_url == response.type_url));
    talk.say(DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    });
    let resources = response.resources.iter().filter_map(|resource| resource.resource.as_ref());
    (bodies(resources), response.removed_resources)
}

#[tokio::test]
async fn changes_and_removals_are_sent_one_by_one() {
    let server = Server::start().await;
    let group = "g".to_owned();
    let state = snapshot(1, CLUSTER, &[("a", "one"), ("b", "two")]);
    server.cache.publish(&group, state.clone());
    let mut talk = server.delta().await;
    talk.say(first(CLUSTER, &[]));
    assert_eq!(acked(&mut talk).await, (vec!["one".to_owned(), "two".to_owned()], vec![]));
    soon(server.ads.streams().reached(Revision(1))).await;

    server.cache.publish(&group, change(&state, 2, CLUSTER, &[("a", "changed"), ("b", "")]));
    assert_eq!(acked(&mut talk).await, (vec!["changed".to_owned()], vec!["b".to_owned()]));
    soon(server.ads.streams().reached(Revision(2))).await;
}

#[tokio::test]
async fn a_missing_name_is_answered_and_sent_once_it_exists() {
    let server = Server::start().await;
    let group = "g".to_owned();
    let state = snapshot(1, ENDPOINT, &[("a", "one")]);
    server.cache.publish(&group, state.clone());
    let mut talk = server.delta().await;
    talk.say(first(ENDPOINT, &["a", "m"]));
    assert_eq!(acked(&mut talk).await, (vec!["one".to_owned()], vec!["m".to_owned()]));
    server.cache.publish(&group, change(&state, 2, ENDPOINT, &[("m", "here")]));
    assert_eq!(acked(&mut talk).await, (vec!["here".to_owned()], vec![]));
}

#[tokio::test]
async fn a_virtual_host_that_does_not_exist_is_an_alias_without_a_body() {
    let server = Server::start().await;
    let virtual_host = ResourceType::VirtualHost;
    let state = snapshot(1, virtual_host.clone(), &[("r/a", "one")]);
    server.cache.publish(&"g".to_owned(), state);
    let mut talk = server.delta().await;
    talk.say(first(virtual_host, &["r/a", "r/m"]));
    let resources = talk.response().await.resources;
    let said = resources.iter().map(|one| (one.name.as_str(), &one.aliases[..], one.resource.is_some()));
    assert_eq!(said.collect::<Vec<_>>(), [("r/a", &[][..], true), ("r/m", &["r/m".to_owned()][..], false)]);
}

#[tokio::test]
async fn a_client_that_returns_is_sent_what_differs() {
    let server = Server::start().await;
    let group = "g".to_owned();
    let state = snapshot(1, CLUSTER, &[("a", "one"), ("b", "two")]);
    server.cache.publish(&group, state.clone());
    let mut talk = server.delta().await;
    talk.say(first(CLUSTER, &[]));
    let held = talk.response().await.resources.into_iter();
    let held: HashMap<String, String> = held.map(|resource| (resource.name, resource.version)).collect();
    drop(talk);

    // Equal versions: nothing to say, which is known from the registry.
    let mut talk = server.delta().await;
    talk.say(DeltaDiscoveryRequest { initial_resource_versions: held.clone(), ..first(CLUSTER, &[]) });
    soon(server.ads.streams().reached(Revision(1))).await;
    let state = change(&state, 2, CLUSTER, &[("b", "three")]);
    server.cache.publish(&group, state.clone());
    assert_eq!(acked(&mut talk).await, (vec!["three".to_owned()], vec![]));
    drop(talk);

    server.cache.publish(&group, change(&state, 3, CLUSTER, &[("a", ""), ("c", "four")]));
    let mut talk = server.delta().await;
    talk.say(DeltaDiscoveryRequest { initial_resource_versions: held, ..first(CLUSTER, &[]) });
    assert_eq!(acked(&mut talk).await, (vec!["three".to_owned(), "four".to_owned()], vec![]));
    // What is gone goes when nothing that the client came with can lead there any more.
    talk.say(first(ResourceType::Listener, &[]));
    assert_eq!(acked(&mut talk).await, (vec![], vec![]));
    assert_eq!(acked(&mut talk).await, (vec![], vec!["a".to_owned()]));
}
