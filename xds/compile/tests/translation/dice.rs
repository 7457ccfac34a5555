//! Worlds from a seed: small vocabularies, so that objects meet, with mistakes of every kind among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::resources::*;
use pilotage_watcher::{Change, Kind, Object, ObjectKey};

/// Throws the same for the same seed.
pub(crate) struct Dice(u64);

const NAMESPACES: &[&str] = &["x", "y"];
const NAMES: &[&str] = &["a", "b", "c"];
const HOSTS: &[&str] = &[
    "a",
    "b",
    "c",
    "a.x.svc.cluster.local",
    "b.y.svc.cluster.local",
    "*.x.svc.cluster.local",
    "api.example.com",
    "*.example.com",
    "*",
    "",
    "a b",
    "x.*.com",
    "A.X.svc.cluster.local",
    "c.x",
];
const PORTS: &[u32] = &[80, 443, 50051, 0, 70_000, 15_001];
const TEXTS: &[&str] = &[
    "", "/", "/a", "grpc", "v1", "%", "%REQ(x)%", "\n", "é", "(", "[a-z]+", "\\9", "*", "x-y", ":path",
    "host",
];
const PROTOCOLS: &[&str] = &["grpc", "http", "http2-x", "tcp", "tls", "h2", "", "what", "udp", "grpc-web"];
const LABELS: &[&str] = &["v1", "v2"];

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn text(&mut self) -> String {
        self.pick(TEXTS).to_owned()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(3) { Some(make(self)) } else { None }
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn host(&mut self) -> String {
        self.pick(HOSTS).to_owned()
    }

    fn span(&mut self) -> Span {
        let nanos = self.pick(&[0u64, 1, 1_000_000, 2_000_000_000, u64::MAX]);
        let seconds = self.pick(&[0u64, 0, 0, 320_000_000_000]);
        Span(std::time::Duration::from_nanos(nanos) + std::time::Duration::from_secs(seconds))
    }

    fn number(&mut self) -> i64 {
        self.pick(&[0, 1, 2, 100, -1, i64::MAX, i64::MIN, 4_294_967_296])
    }

    fn version(&mut self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        if !self.one_in(4) {
            labels.insert("version".to_owned(), self.pick(LABELS).to_owned());
        }
        labels
    }

    fn export(&mut self) -> Vec<String> {
        self.some(1, |dice| dice.pick(&[".", "*", "x", "~", ""]).to_owned())
    }

    fn string_match(&mut self) -> StringMatch {
        StringMatch {
            exact: self.maybe(Self::text),
            prefix: self.maybe(Self::text),
            regex: self.maybe(Self::text),
        }
    }

    fn matches(&mut self) -> StringMatches {
        self.some(2, |dice| (dice.text(), dice.string_match())).into_iter().collect()
    }

    fn destination(&mut self) -> Destination {
        Destination {
            host: self.host(),
            subset: self.maybe(|dice| dice.pick(&["v1", "v2", "v3", ""]).to_owned()),
            port: self.maybe(|dice| PortSelector { number: dice.pick(PORTS) }),
        }
    }

    fn headers(&mut self) -> Headers {
        let operations = |dice: &mut Self| HeaderOperations {
            set: dice.some(2, |dice| (dice.text(), dice.text())).into_iter().collect(),
            add: dice.some(1, |dice| (dice.text(), dice.text())).into_iter().collect(),
            remove: dice.some(1, Self::text),
        };
        Headers { request: self.maybe(operations), response: self.maybe(operations) }
    }

    fn http_match(&mut self) -> HttpMatch {
        HttpMatch {
            name: self.maybe(Self::text),
            uri: self.maybe(Self::string_match),
            method: self.maybe(Self::string_match),
            authority: self.maybe(Self::string_match),
            headers: self.matches(),
            without_headers: self.matches(),
            query_params: self.matches(),
            port: self.maybe(|dice| dice.pick(PORTS)),
            source_labels: if self.one_in(4) { self.version() } else { BTreeMap::new() },
            gateways: self.some(1, |dice| dice.pick(&["mesh", "a", "x/b", ""]).to_owned()),
            ignore_uri_case: self.one_in(2),
            source_namespace: self.maybe(|dice| dice.pick(NAMESPACES).to_owned()),
            stat_prefix: self.maybe(Self::text),
            ..HttpMatch::default()
        }
    }

    fn rule(&mut self) -> HttpRoute {
        HttpRoute {
            name: self.maybe(Self::text),
            r#match: self.some(2, Self::http_match),
            route: self.some(3, |dice| HttpDestination {
                destination: dice.destination(),
                weight: dice.maybe(Self::number),
                headers: dice.maybe(Self::headers),
            }),
            redirect: self.one_in(6).then(|| HttpRedirect {
                uri: self.maybe(Self::text),
                prefix_rewrite: self.maybe(Self::text),
                authority: self.maybe(Self::text),
                port: self.maybe(|dice| dice.pick(PORTS)),
                scheme: self.maybe(Self::text),
                redirect_code: self.maybe(|dice| dice.pick(&[301, 302, 200, 0])),
                derive_port: None,
            }),
            direct_response: self.one_in(6).then(|| DirectResponse {
                status: self.pick(&[200, 503, 0, 1000]),
                body: self.maybe(|dice| HttpBody { string: dice.maybe(Self::text), bytes: None }),
            }),
            rewrite: self.maybe(|dice| HttpRewrite {
                uri: dice.maybe(Self::text),
                authority: dice.maybe(Self::text),
                uri_regex_rewrite: dice
                    .maybe(|dice| RegexRewrite { r#match: dice.text(), rewrite: dice.text() }),
            }),
            timeout: self.maybe(Self::span),
            retries: self.maybe(|dice| HttpRetry {
                attempts: dice.maybe(Self::number),
                per_try_timeout: dice.maybe(Self::span),
                retry_on: dice
                    .maybe(|dice| dice.pick(&["5xx", "unavailable,503", "x", ",", "999"]).to_owned()),
                backoff: dice.maybe(Self::span),
                ..HttpRetry::default()
            }),
            headers: self.maybe(Self::headers),
            fault: self.maybe(Self::fault),
            mirror: self.maybe(Self::destination),
            mirrors: self.some(2, |dice| MirrorPolicy {
                destination: dice.destination(),
                percentage: dice.maybe(Self::percent),
            }),
            mirror_percentage: self.maybe(Self::percent),
            cors_policy: self.maybe(|dice| CorsPolicy {
                allow_origin: dice.some(1, Self::text),
                allow_origins: dice.some(2, Self::string_match),
                allow_methods: dice.some(2, Self::text),
                max_age: dice.maybe(Self::span),
                allow_credentials: dice.maybe(|dice| dice.one_in(2)),
                unmatched_preflights: dice.maybe(|dice| dice.pick(&["FORWARD", "IGNORE", "x"]).to_owned()),
                ..CorsPolicy::default()
            }),
            delegate: self.one_in(6).then(|| Delegate {
                name: self.pick(NAMES).to_owned(),
                namespace: self.maybe(|dice| dice.pick(NAMESPACES).to_owned()),
            }),
            ..HttpRoute::default()
        }
    }

    fn percent(&mut self) -> Percent {
        Percent { value: self.pick(&[0.0, 0.000_01, 12.5, 100.0, -1.0, 1e300, f64::NAN]) }
    }

    fn fault(&mut self) -> HttpFault {
        HttpFault {
            delay: self.maybe(|dice| FaultDelay {
                fixed_delay: dice.maybe(Self::span),
                exponential_delay: dice.maybe(Self::span),
                percentage: dice.maybe(Self::percent),
                percent: None,
            }),
            abort: self.maybe(|dice| FaultAbort {
                http_status: dice.maybe(|dice| dice.pick(&[0, 200, 503, 600])),
                grpc_status: dice.maybe(|dice| dice.pick(&["OK", "UNAVAILABLE", "unavailable"]).to_owned()),
                percentage: dice.maybe(Self::percent),
                http2_error: None,
            }),
        }
    }

    /// A part of a place: one of two, or not known.
    pub(crate) fn place(&mut self, of: &str) -> String {
        match self.below(3) {
            0 => String::new(),
            which => format!("{of}{which}"),
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
                    ..ConsistentHash::default()
                }),
                locality_lb_setting: dice.maybe(Self::localities),
                warmup: dice.maybe(|dice| Warmup {
                    duration: dice.maybe(Self::span),
                    minimum_percent: dice.maybe(|dice| dice.pick(&[f64::NAN, 20.0, 200.0])),
                    aggression: dice.maybe(|dice| dice.pick(&[0.0, 1.5, 1e300])),
                }),
                ..LoadBalancer::default()
            }),
            proxy_protocol: self.maybe(|dice| ProxyProtocol {
                version: dice.maybe(|dice| dice.pick(&["V1", "V2", "x"]).to_owned()),
            }),
            connection_pool: self.maybe(|dice| ConnectionPool {
                tcp: dice.maybe(|dice| TcpPool {
                    max_connections: dice.maybe(Self::number),
                    connect_timeout: dice.maybe(Self::span),
                    idle_timeout: dice.maybe(Self::span),
                    ..TcpPool::default()
                }),
                http: dice.maybe(|dice| HttpPool {
                    http2_max_requests: dice.maybe(Self::number),
                    max_concurrent_streams: dice.maybe(Self::number),
                    max_retries: dice.maybe(Self::number),
                    h2_upgrade_policy: dice.maybe(|dice| dice.pick(&["UPGRADE", "DEFAULT", "x"]).to_owned()),
                    use_client_protocol: dice.maybe(|dice| dice.one_in(2)),
                    ..HttpPool::default()
                }),
            }),
            outlier_detection: self.maybe(|dice| OutlierDetection {
                consecutive_5xx_errors: dice.maybe(|dice| dice.pick(&[0, 5])),
                interval: dice.maybe(Self::span),
                max_ejection_percent: dice.maybe(|dice| dice.pick(&[-1, 50, 1000])),
                outlier_detection_http_error_codes: dice.some(2, |dice| dice.pick(&[429, 503, 0, 1000])),
                ..OutlierDetection::default()
            }),
            retry_budget: self.maybe(|dice| RetryBudget {
                percent: dice.maybe(|dice| dice.pick(&[f64::NAN, -1.0, 12.5, 1e300])),
                ..RetryBudget::default()
            }),
            port_level_settings: self.some(1, |dice| PortTrafficPolicy {
                port: PortSelector { number: dice.pick(PORTS) },
                tls: dice.maybe(|dice| ClientTls {
                    mode: dice.maybe(|dice| dice.pick(&["SIMPLE", "DISABLE"]).to_owned()),
                    ..ClientTls::default()
                }),
                ..PortTrafficPolicy::default()
            }),
            ..TrafficPolicy::default()
        }
    }

    fn meta(&mut self, labels: Labels) -> Meta {
        Meta {
            namespace: self.pick(NAMESPACES).into(),
            name: self.pick(NAMES).into(),
            labels,
            created: self.maybe(|dice| i64::try_from(dice.below(3)).unwrap()),
            ..Meta::default()
        }
    }

    fn with<T>(&mut self, spec: T) -> Arc<WithMeta<T>> {
        let meta = self.meta(Labels::new());
        Arc::new(WithMeta { meta, spec })
    }

    fn service(&mut self) -> Service {
        Service {
            address: match self.below(4) {
                0 => ServiceAddress::Headless,
                1 => {
                    let name = if self.one_in(2) { self.host() } else { self.text() };
                    ServiceAddress::ExternalName(name.into())
                }
                _ => ServiceAddress::ClusterIp(
                    self.some(2, |dice| dice.pick(&["10.0.0.1", "::1"]).parse().unwrap()),
                ),
            },
            ports: self.some(3, |dice| ServicePort {
                name: dice.pick(PROTOCOLS).into(),
                port: u16::try_from(dice.pick(&[0, 80, 443, 50_051, 15_001])).unwrap(),
                app_protocol: dice.maybe(|dice| dice.pick(PROTOCOLS).into()),
                ..ServicePort::default()
            }),
            internal_traffic_local: self.one_in(4),
            traffic_distribution: self
                .maybe(|dice| dice.pick(&["PreferSameZone", "PreferSameNode", "PreferClose", "x"]).into()),
            ..Service::default()
        }
    }

    fn slice(&mut self) -> EndpointSlice {
        EndpointSlice {
            service: self.pick(NAMES).into(),
            ports: self.some(2, |dice| EndpointPort {
                name: dice.pick(PROTOCOLS).into(),
                port: dice.pick(&[0, 8080]),
                ..EndpointPort::default()
            }),
            endpoints: self.some(3, |dice| Endpoint {
                addresses: dice.some(1, |dice| dice.pick(&["10.1.0.1", "10.1.0.2", "::2"]).parse().unwrap()),
                ready: dice.one_in(2),
                serving: dice.one_in(2),
                terminating: dice.one_in(3),
                node: dice.maybe(|dice| dice.place("n").into()),
                zone: dice.maybe(|dice| dice.pick(&["z1", "z2"]).into()),
                pod: dice.maybe(|dice| dice.pick(NAMES).into()),
                labels: dice.maybe(|dice| Arc::new(as_labels(dice.version()))),
            }),
            mirrored: self.one_in(4),
        }
    }

    fn entry(&mut self) -> ServiceEntry {
        ServiceEntry {
            hosts: self.some(2, Self::host),
            addresses: self.some(1, Self::text),
            ports: self.some(2, |dice| ServiceEntryPort {
                number: dice.pick(PORTS),
                protocol: dice.maybe(|dice| dice.pick(PROTOCOLS).to_owned()),
                name: dice.pick(PROTOCOLS).to_owned(),
                target_port: dice.maybe(|dice| dice.pick(PORTS)),
            }),
            resolution: self.maybe(|dice| dice.pick(&["STATIC", "DNS", "NONE", "x"]).to_owned()),
            endpoints: self.some(2, |dice| WorkloadEntry {
                address: dice
                    .maybe(|dice| dice.pick(&["10.2.0.1", "host.example", "unix:///x", ""]).to_owned()),
                labels: dice.version(),
                locality: dice.maybe(|dice| dice.pick(&["r/z/s/t", "r", ""]).to_owned()),
                weight: dice.maybe(|dice| dice.pick(&[0, 1, u32::MAX])),
                ..WorkloadEntry::default()
            }),
            export_to: self.export(),
            ..ServiceEntry::default()
        }
    }

    fn gateway(&mut self) -> Gateway {
        Gateway {
            servers: self.some(3, |dice| Server {
                port: ServerPort {
                    number: dice.pick(PORTS),
                    protocol: dice.pick(&["HTTP", "grpc", "HTTPS", "TCP", ""]).to_owned(),
                    ..ServerPort::default()
                },
                bind: dice.maybe(|dice| dice.pick(&["127.0.0.1", "::", "x"]).to_owned()),
                hosts: dice.some(2, |dice| {
                    let host = dice.host();
                    if dice.one_in(3) { format!("{}/{host}", dice.pick(&["x", ".", "*", ""])) } else { host }
                }),
                tls: dice.maybe(|dice| ServerTls {
                    https_redirect: dice.maybe(|dice| dice.one_in(2)),
                    mode: dice.maybe(|dice| dice.pick(&["SIMPLE", "PASSTHROUGH"]).to_owned()),
                    ..ServerTls::default()
                }),
                ..Server::default()
            }),
            selector: BTreeMap::new(),
        }
    }

    fn object(&mut self) -> Object {
        match self.below(8) {
            0 => {
                let service = self.service();
                Object::Service(self.with(service))
            }
            1 | 2 => {
                let slice = self.slice();
                Object::EndpointSlice(self.with(slice))
            }
            3 => {
                let labels = as_labels(self.version());
                let meta = self.meta(labels);
                Object::Pod(Arc::new(WithMeta { meta, spec: Pod::default() }))
            }
            4 => {
                let service = VirtualService {
                    hosts: self.some(3, Self::host),
                    gateways: self
                        .some(2, |dice| dice.pick(&["mesh", "a", "x/b", "./c", "a.y.svc"]).to_owned()),
                    http: self.some(3, Self::rule),
                    export_to: self.export(),
                    ..VirtualService::default()
                };
                Object::VirtualService(self.with(service))
            }
            5 => {
                let rule = DestinationRule {
                    host: self.host(),
                    traffic_policy: self.maybe(Self::policy),
                    subsets: self.some(2, |dice| Subset {
                        name: dice.pick(&["v1", "v2", ""]).to_owned(),
                        labels: dice.version(),
                        traffic_policy: dice.maybe(Self::policy),
                    }),
                    export_to: self.export(),
                    workload_selector: None,
                };
                Object::DestinationRule(self.with(rule))
            }
            6 => {
                let entry = self.entry();
                Object::ServiceEntry(self.with(entry))
            }
            _ => {
                let gateway = self.gateway();
                Object::Gateway(self.with(gateway))
            }
        }
    }

    /// Something that could happen next.
    pub(crate) fn change(&mut self) -> Change {
        if self.one_in(5) {
            let kinds = [
                Kind::Service,
                Kind::EndpointSlice,
                Kind::Pod,
                Kind::VirtualService,
                Kind::DestinationRule,
                Kind::Gateway,
                Kind::ServiceEntry,
            ];
            let kind = self.pick(&kinds);
            return Change::Delete(ObjectKey::new(kind, self.pick(NAMESPACES), self.pick(NAMES)));
        }
        Change::Apply(self.object())
    }
}

fn as_labels(labels: BTreeMap<String, String>) -> Labels {
    labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}
