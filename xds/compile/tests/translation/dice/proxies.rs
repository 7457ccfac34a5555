//! What is said about proxies themselves: Sidecars, Telemetry, and resources in Envoy's own words.

use super::*;

impl Dice {
    pub(super) fn sidecar(&mut self) -> Arc<WithMeta<Sidecar>> {
        let captures = ["DEFAULT", "IPTABLES", "NONE"];
        let spec = Sidecar {
            workload_selector: self.maybe(|dice| ServiceEntrySelector { labels: dice.version() }),
            ingress: self.some(1, |dice| SidecarIngress {
                port: dice.port(),
                bind: dice.maybe(|dice| dice.pick(&["127.0.0.1", "x"]).to_owned()),
                capture_mode: dice.maybe(|dice| dice.pick(&captures).to_owned()),
                default_endpoint: dice.maybe(|dice| {
                    dice.pick(&["127.0.0.1:8080", "unix:///x", "0.0.0.0:1", "[::1]:80", "x"]).to_owned()
                }),
                ..SidecarIngress::default()
            }),
            egress: self.some(1, |dice| SidecarEgress {
                port: dice.maybe(Self::port),
                bind: dice.maybe(|dice| dice.pick(&["127.0.0.1", "x"]).to_owned()),
                capture_mode: dice.maybe(|dice| dice.pick(&captures).to_owned()),
                hosts: dice.some(3, |dice| {
                    let namespace = dice.pick(&["*", ".", "~", "x", ""]);
                    format!("{namespace}/{}", dice.host())
                }),
            }),
            inbound_connection_pool: None,
            outbound_traffic_policy: self.maybe(|dice| OutboundTrafficPolicy {
                mode: dice.maybe(|dice| dice.pick(&["ALLOW_ANY", "REGISTRY_ONLY", "x"]).to_owned()),
                egress_proxy: dice.maybe(Self::destination),
            }),
        };
        self.with(spec)
    }

    fn port(&mut self) -> ServiceEntryPort {
        ServiceEntryPort {
            number: self.pick(PORTS),
            protocol: self.maybe(|dice| dice.pick(PROTOCOLS).to_owned()),
            name: self.pick(PROTOCOLS).to_owned(),
            target_port: None,
        }
    }

    pub(super) fn telemetry(&mut self) -> Arc<WithMeta<Telemetry>> {
        let expressions =
            ["response.code >= 400", "response.code < 0", "response.code == 99999999999", "true", ""];
        let spec = Telemetry {
            selector: self.maybe(|dice| WorkloadSelector { match_labels: dice.version() }),
            access_logging: self.some(2, |dice| AccessLogging {
                r#match: dice.maybe(|dice| LogSelector {
                    mode: dice
                        .maybe(|dice| dice.pick(&["CLIENT", "SERVER", "CLIENT_AND_SERVER", "x"]).to_owned()),
                }),
                providers: dice.some(2, |dice| ProviderRef {
                    name: dice.pick(&["envoy", "json", "text", "x"]).to_owned(),
                }),
                disabled: dice.maybe(|dice| dice.one_in(2)),
                filter: dice.maybe(|dice| LogFilter { expression: dice.pick(&expressions).to_owned() }),
            }),
            ..Telemetry::default()
        };
        self.with(spec)
    }

    pub(super) fn envoy_resources(&mut self) -> Arc<WithMeta<EnvoyResources>> {
        let spec = EnvoyResources {
            proxies: ProxySelector {
                kinds: self.some(1, |dice| dice.pick(&["sidecar", "gateway", "grpc"]).to_owned()),
                labels: if self.one_in(4) { self.version() } else { BTreeMap::new() },
            },
            operation: self.maybe(|dice| dice.pick(&["Add", "Replace"]).to_owned()),
            resources: self.some(2, Self::resource),
        };
        self.with(spec)
    }

    fn resource(&mut self) -> serde_json::Value {
        let kind = self.pick(&["config.cluster.v3.Cluster", "config.route.v3.VirtualHost", "x"]);
        serde_json::json!({
            "@type": format!("type.googleapis.com/envoy.{kind}"),
            "name": self.pick(&["", "a", "outbound|80||a.x.svc.cluster.local"]),
            (self.pick(&["alt_stat_name", "domains"])): self.pick(&["x", "y"]),
        })
    }
}
