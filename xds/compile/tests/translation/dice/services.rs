//! Services and what is behind them: slices, Pods, ServiceEntries and WorkloadEntries.

use super::*;

impl Dice {
    pub(super) fn service(&mut self) -> Arc<WithMeta<Service>> {
        let spec = Service {
            address: match self.below(4) {
                0 => ServiceAddress::Headless,
                1 => {
                    let name = match self.below(3) {
                        0 => self.text(),
                        1 => self.host(),
                        _ => format!("{}.{}.svc.cluster.local", self.pick(NAMES), self.pick(NAMESPACES)),
                    };
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
                target: match dice.below(3) {
                    0 => TargetPort::Same,
                    1 => TargetPort::Number(dice.pick(&[0, 8080])),
                    _ => TargetPort::Name(dice.pick(PROTOCOLS).into()),
                },
                transport: if dice.one_in(8) { Transport::Udp } else { Transport::Tcp },
            }),
            internal_traffic_local: self.one_in(4),
            traffic_distribution: self
                .maybe(|dice| dice.pick(&["PreferSameZone", "PreferSameNode", "PreferClose", "x"]).into()),
            selector: as_labels(self.version()),
            publish_not_ready: self.one_in(4),
            client_ip_affinity: self.one_in(4),
            client_ip_seconds: self.maybe(|dice| dice.pick(&[0, 600, 10_800, i32::MAX])),
            external_traffic_local: self.one_in(4),
            families: self.some(2, |dice| dice.pick(&[Family::V4, Family::V6])),
        };
        let mut meta = self.meta(Labels::new());
        if self.one_in(4) {
            meta.annotations
                .insert("networking.istio.io/exportTo".into(), self.pick(&[".", "*", "x,y"]).into());
        }
        Arc::new(WithMeta { meta, spec })
    }

    pub(super) fn slice(&mut self) -> Arc<WithMeta<EndpointSlice>> {
        let spec = EndpointSlice {
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
        };
        self.with(spec)
    }

    pub(super) fn pod(&mut self) -> Arc<WithMeta<Pod>> {
        let labels = as_labels(self.version());
        let meta = self.meta(labels);
        let spec = Pod {
            ips: self.some(2, |dice| dice.pick(&["10.1.0.1", "10.1.0.3", "::3"]).parse().unwrap()),
            node: self.maybe(|dice| dice.place("n").into()),
            phase: self.maybe(|dice| dice.pick(&["Running", "Failed"]).into()),
        };
        Arc::new(WithMeta { meta, spec })
    }

    pub(super) fn node(&mut self) -> Arc<WithMeta<Node>> {
        let meta = Meta { name: self.place("n").into(), ..Meta::default() };
        let mut part = |of: &str| self.maybe(|dice| dice.place(of).into());
        let spec = Node { region: part("r"), zone: part("z"), subzone: part("s") };
        Arc::new(WithMeta { meta, spec })
    }

    pub(super) fn entry(&mut self) -> Arc<WithMeta<ServiceEntry>> {
        let resolutions = ["STATIC", "STATIC", "DNS", "DNS_ROUND_ROBIN", "NONE", "DYNAMIC_DNS", "x"];
        let spec = ServiceEntry {
            hosts: self.some(2, Self::host),
            addresses: self.some(1, Self::text),
            ports: self.some(2, |dice| ServiceEntryPort {
                number: dice.pick(PORTS),
                protocol: dice.maybe(|dice| dice.pick(PROTOCOLS).to_owned()),
                name: dice.pick(PROTOCOLS).to_owned(),
                target_port: dice.maybe(|dice| dice.pick(PORTS)),
            }),
            location: self.maybe(|dice| dice.pick(&["MESH_INTERNAL", "x"]).to_owned()),
            resolution: self.maybe(|dice| dice.pick(&resolutions).to_owned()),
            endpoints: self.some(2, Self::workload),
            workload_selector: self.one_in(4).then(|| ServiceEntrySelector { labels: self.version() }),
            export_to: self.export(),
            subject_alt_names: self.some(1, Self::text),
        };
        self.with(spec)
    }

    pub(super) fn workload_entry(&mut self) -> Arc<WithMeta<WorkloadEntry>> {
        let spec = self.workload();
        self.with(spec)
    }

    fn workload(&mut self) -> WorkloadEntry {
        WorkloadEntry {
            address: self.maybe(|dice| dice.pick(&["10.2.0.1", "host.example", "unix:///x", ""]).to_owned()),
            labels: self.version(),
            locality: self.maybe(|dice| dice.pick(&["r/z/s/t", "r", ""]).to_owned()),
            weight: self.maybe(|dice| dice.pick(&[0, 1, u32::MAX])),
            ports: self
                .some(1, |dice| (dice.pick(PROTOCOLS).to_owned(), dice.pick(PORTS)))
                .into_iter()
                .collect(),
            network: self.maybe(Self::text),
            service_account: self.maybe(Self::text),
        }
    }
}
