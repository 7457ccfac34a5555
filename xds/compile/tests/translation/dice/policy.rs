//! DestinationRules.

use super::*;

impl Dice {
    pub(super) fn destination_rule(&mut self) -> Arc<WithMeta<DestinationRule>> {
        let spec = DestinationRule {
            host: self.host(),
            traffic_policy: self.maybe(Self::policy),
            subsets: self.some(2, |dice| Subset {
                name: dice.pick(&["v1", "v2", ""]).to_owned(),
                labels: dice.version(),
                traffic_policy: dice.maybe(Self::policy),
            }),
            export_to: self.export(),
            workload_selector: self.one_in(4).then(|| WorkloadSelector { match_labels: self.version() }),
        };
        self.with(spec)
    }

    fn client_tls(&mut self) -> ClientTls {
        let modes = ["SIMPLE", "SIMPLE", "MUTUAL", "DISABLE", "ISTIO_MUTUAL", "x"];
        ClientTls {
            mode: self.maybe(|dice| dice.pick(&modes).to_owned()),
            client_certificate: self.maybe(|dice| dice.file("server.crt")),
            private_key: self.maybe(|dice| dice.file("server.key")),
            ca_certificates: self.maybe(|dice| dice.file("ca.crt")),
            credential_name: self.maybe(Self::credential),
            subject_alt_names: self.some(2, Self::text),
            sni: self.maybe(Self::text),
            insecure_skip_verify: self.maybe(|dice| dice.one_in(2)),
            ca_crl: self.one_in(8).then(|| self.file("crl.pem")),
        }
    }

    fn localities(&mut self) -> LocalityLb {
        LocalityLb {
            distribute: self.some(1, |dice| Distribute {
                from: dice.pick(&["*", "r1/*", "r1/z1/*", ""]).to_owned(),
                to: dice
                    .some(2, |dice| {
                        (dice.pick(&["r1/*", "r1/z1", "*", "r2"]).to_owned(), dice.pick(&[0, 40, u32::MAX]))
                    })
                    .into_iter()
                    .collect(),
            }),
            failover: self.some(1, |dice| Failover { from: dice.place("r"), to: dice.place("r") }),
            failover_priority: self.some(2, |dice| {
                dice.pick(&["topology.kubernetes.io/zone", "version", "version=v2", "="]).to_owned()
            }),
            enabled: self.maybe(|dice| dice.one_in(2)),
        }
    }

    fn policy(&mut self) -> TrafficPolicy {
        TrafficPolicy {
            load_balancer: self.maybe(|dice| LoadBalancer {
                simple: dice
                    .maybe(|dice| dice.pick(&["RANDOM", "ROUND_ROBIN", "LEAST_CONN", "x"]).to_owned()),
                consistent_hash: dice.maybe(|dice| ConsistentHash {
                    http_header_name: dice.maybe(Self::text),
                    use_source_ip: dice.maybe(|dice| dice.one_in(2)),
                    maglev: dice.maybe(|dice| Maglev { table_size: Some(dice.next()) }),
                    minimum_ring_size: dice.maybe(Self::next),
                    http_cookie: dice.maybe(|dice| HttpCookie {
                        name: dice.text(),
                        path: dice.maybe(Self::text),
                        ttl: dice.maybe(Self::span),
                        attributes: dice.some(2, |dice| CookieAttribute {
                            name: dice.text(),
                            value: dice.maybe(Self::text),
                        }),
                    }),
                    http_query_parameter_name: dice.maybe(Self::text),
                    ring_hash: dice.maybe(|dice| RingHash { minimum_ring_size: dice.maybe(Self::next) }),
                }),
                locality_lb_setting: dice.maybe(Self::localities),
                warmup: dice.maybe(|dice| Warmup {
                    duration: dice.maybe(Self::span),
                    minimum_percent: dice.maybe(|dice| dice.pick(&[f64::NAN, 20.0, 200.0])),
                    aggression: dice.maybe(|dice| dice.pick(&[0.0, 1.5, 1e300])),
                }),
                zone_aware_lb_setting: dice.maybe(|dice| ZoneAwareLb {
                    failover: dice.some(1, |dice| Failover { from: dice.place("r"), to: dice.place("r") }),
                    failover_priority: dice.some(1, |dice| dice.pick(&["version", "="]).to_owned()),
                    min_cluster_size: dice.maybe(|dice| dice.pick(&[0, 6])),
                    enabled: dice.maybe(|dice| dice.one_in(2)),
                }),
                warmup_duration_secs: dice.maybe(Self::span),
            }),
            proxy_protocol: self.maybe(|dice| ProxyProtocol {
                version: dice.maybe(|dice| dice.pick(&["V1", "V2", "x"]).to_owned()),
            }),
            connection_pool: self.maybe(|dice| ConnectionPool {
                tcp: dice.maybe(|dice| TcpPool {
                    max_connections: dice.maybe(Self::number),
                    connect_timeout: dice.maybe(Self::span),
                    idle_timeout: dice.maybe(Self::span),
                    max_connection_duration: dice.maybe(Self::span),
                    tcp_keepalive: dice.maybe(|dice| TcpKeepalive {
                        probes: dice.maybe(|dice| dice.pick(&[0, 3, u32::MAX])),
                        time: dice.maybe(Self::span),
                        interval: dice.maybe(Self::span),
                    }),
                }),
                http: dice.maybe(|dice| HttpPool {
                    http2_max_requests: dice.maybe(Self::number),
                    max_concurrent_streams: dice.maybe(Self::number),
                    max_retries: dice.maybe(Self::number),
                    h2_upgrade_policy: dice.maybe(|dice| dice.pick(&["UPGRADE", "DEFAULT", "x"]).to_owned()),
                    use_client_protocol: dice.maybe(|dice| dice.one_in(2)),
                    http1_max_pending_requests: dice.maybe(Self::number),
                    max_requests_per_connection: dice.maybe(Self::number),
                    idle_timeout: dice.maybe(Self::span),
                    http2_keep_alive: dice.maybe(|dice| Http2KeepAlive {
                        interval: dice.maybe(Self::span),
                        timeout: dice.maybe(Self::span),
                    }),
                }),
            }),
            outlier_detection: self.maybe(|dice| OutlierDetection {
                consecutive_5xx_errors: dice.maybe(|dice| dice.pick(&[0, 5])),
                interval: dice.maybe(Self::span),
                max_ejection_percent: dice.maybe(|dice| dice.pick(&[-1, 50, 1000])),
                outlier_detection_http_error_codes: dice.some(2, |dice| dice.pick(&[429, 503, 0, 1000])),
                consecutive_errors: dice.maybe(|dice| dice.pick(&[0, 5])),
                split_external_local_origin_errors: dice.maybe(|dice| dice.one_in(2)),
                consecutive_local_origin_failures: dice.maybe(|dice| dice.pick(&[0, 5])),
                consecutive_gateway_errors: dice.maybe(|dice| dice.pick(&[0, 5, u32::MAX])),
                base_ejection_time: dice.maybe(Self::span),
                min_health_percent: dice.maybe(|dice| dice.pick(&[-1, 50, 1000])),
            }),
            retry_budget: self.maybe(|dice| RetryBudget {
                percent: dice.maybe(|dice| dice.pick(&[f64::NAN, -1.0, 12.5, 1e300])),
                min_retry_concurrency: dice.maybe(|dice| dice.pick(&[0, 3, u32::MAX])),
                budget_interval: dice.maybe(Self::span),
            }),
            port_level_settings: self.some(1, |dice| PortTrafficPolicy {
                port: PortSelector { number: dice.pick(PORTS) },
                tls: dice.maybe(Self::client_tls),
                ..PortTrafficPolicy::default()
            }),
            tls: self.maybe(Self::client_tls),
            tunnel: self.maybe(|dice| Tunnel {
                protocol: dice.maybe(|dice| dice.pick(&["CONNECT", "POST", "x"]).to_owned()),
                target_host: dice.host(),
                target_port: dice.pick(PORTS),
            }),
        }
    }
}
