//! VirtualServices.

use super::*;

impl Dice {
    pub(super) fn virtual_service(&mut self) -> Arc<WithMeta<VirtualService>> {
        let spec = VirtualService {
            // Without hosts it is a delegate.
            hosts: if self.one_in(4) { Vec::new() } else { self.some(3, Self::host) },
            gateways: self.some(2, |dice| dice.pick(&["mesh", "a", "x/b", "./c", "a.y.svc"]).to_owned()),
            http: self.some(3, Self::rule),
            tls: self.some(2, |dice| TlsRoute {
                r#match: dice.some(2, Self::stream_match),
                route: dice.some(2, Self::stream_destination),
            }),
            tcp: self.some(2, |dice| TcpRoute {
                r#match: dice.some(2, Self::stream_match),
                route: dice.some(2, Self::stream_destination),
            }),
            export_to: self.export(),
        };
        self.with(spec)
    }

    fn stream_match(&mut self) -> L4Match {
        L4Match {
            sni_hosts: self.some(2, Self::host),
            destination_subnets: self.some(2, |dice| {
                dice.pick(&["10.0.0.0/8", "10.0.0.1", "::/0", "10.0.0.0/33", "x"]).to_owned()
            }),
            port: self.maybe(|dice| dice.pick(PORTS)),
            source_labels: if self.one_in(4) { self.version() } else { BTreeMap::new() },
            gateways: self.some(1, |dice| dice.pick(&["mesh", "a", "x/b", ""]).to_owned()),
            source_subnet: self.maybe(Self::text),
            source_namespace: self.maybe(|dice| dice.pick(NAMESPACES).to_owned()),
        }
    }

    fn stream_destination(&mut self) -> L4Destination {
        L4Destination { destination: self.destination(), weight: self.maybe(Self::number) }
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

    pub(super) fn destination(&mut self) -> Destination {
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
            scheme: self.maybe(Self::string_match),
        }
    }

    fn rule(&mut self) -> HttpRoute {
        let rule = self.any_rule();
        // One that has an action of its own as well is a mistake, and hands nothing over.
        match rule.delegate.is_some() && !self.one_in(4) {
            true => HttpRoute { route: Vec::new(), redirect: None, direct_response: None, ..rule },
            false => rule,
        }
    }

    fn any_rule(&mut self) -> HttpRoute {
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
                derive_port: self.maybe(|dice| dice.pick(&["FROM_REQUEST_PORT", "x"]).to_owned()),
            }),
            direct_response: self.one_in(6).then(|| DirectResponse {
                status: self.pick(&[200, 503, 0, 1000]),
                body: self
                    .maybe(|dice| HttpBody { string: dice.maybe(Self::text), bytes: dice.maybe(Self::text) }),
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
                retry_remote_localities: dice.maybe(|dice| dice.one_in(2)),
                retry_ignore_previous_hosts: dice.maybe(|dice| dice.one_in(2)),
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
                allow_headers: dice.some(2, Self::text),
                expose_headers: dice.some(2, Self::text),
            }),
            delegate: self.one_in(6).then(|| Delegate {
                name: self.pick(NAMES).to_owned(),
                namespace: self.maybe(|dice| dice.pick(NAMESPACES).to_owned()),
            }),
            mirror_percent: self.maybe(|dice| dice.pick(&[0, 10, u32::MAX])),
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
                percent: dice.maybe(|dice| dice.pick(&[0, 10, -1])),
            }),
            abort: self.maybe(|dice| FaultAbort {
                http_status: dice.maybe(|dice| dice.pick(&[0, 200, 503, 600])),
                grpc_status: dice.maybe(|dice| dice.pick(&["OK", "UNAVAILABLE", "unavailable"]).to_owned()),
                percentage: dice.maybe(Self::percent),
                http2_error: dice.maybe(Self::text),
            }),
        }
    }
}
