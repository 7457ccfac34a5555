//! Gateways, and the Secrets that they name.

use std::sync::OnceLock;

use pilotage_watcher::directory::read_directory;

use super::*;

/// Secrets as the reader makes them: of each key type, with and without an authority, and broken ones.
fn secrets() -> &'static [Secret] {
    static SECRETS: OnceLock<Vec<Secret>> = OnceLock::new();
    SECRETS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("good.yaml", include_str!("../../golden/tls-gateway/secrets.yaml")),
            ("bad.yaml", include_str!("../../golden/tls-mistakes/secrets.yaml")),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let changes = read_directory(folder.path()).unwrap().changes.into_iter();
        let specs = changes.filter_map(|change| match change {
            Change::Apply(Object::Secret(secret)) => Some(secret.spec.clone()),
            _ => None,
        });
        specs.collect()
    })
}

impl Dice {
    pub(super) fn gateway(&mut self) -> Arc<WithMeta<Gateway>> {
        let protocols = ["HTTP", "grpc", "HTTPS", "HTTPS", "TLS", "TCP", "GRPC-WEB", ""];
        let spec = Gateway {
            servers: self.some(3, |dice| Server {
                port: ServerPort {
                    number: dice.pick(PORTS),
                    protocol: dice.pick(&protocols).to_owned(),
                    name: dice.pick(PROTOCOLS).to_owned(),
                    target_port: dice.maybe(|dice| dice.pick(PORTS)),
                },
                bind: dice.maybe(|dice| dice.pick(&["127.0.0.1", "::", "x"]).to_owned()),
                hosts: dice.some(2, |dice| {
                    let host = dice.host();
                    if dice.one_in(3) { format!("{}/{host}", dice.pick(&["x", ".", "*", ""])) } else { host }
                }),
                tls: dice.one_in(2).then(|| dice.server_tls()),
                default_endpoint: dice.maybe(Self::text),
                name: dice.maybe(Self::text),
            }),
            selector: if self.one_in(4) { self.version() } else { BTreeMap::new() },
        };
        self.with(spec)
    }

    fn server_tls(&mut self) -> ServerTls {
        let modes = [
            "SIMPLE",
            "SIMPLE",
            "MUTUAL",
            "OPTIONAL_MUTUAL",
            "PASSTHROUGH",
            "ISTIO_MUTUAL",
            "AUTO_PASSTHROUGH",
        ];
        let versions = ["TLSV1_0", "TLSV1_2", "TLSV1_3", "TLS_AUTO", "x"];
        let in_files = self.one_in(4);
        ServerTls {
            https_redirect: self.maybe(|dice| dice.one_in(2)),
            mode: (!self.one_in(4)).then(|| self.pick(&modes).to_owned()),
            server_certificate: in_files.then(|| self.file("server.crt")),
            private_key: in_files.then(|| self.file("server.key")),
            ca_certificates: self.maybe(|dice| dice.file("ca.crt")),
            ca_crl: self.one_in(8).then(|| self.file("crl.pem")),
            credential_name: (!in_files).then(|| self.credential()),
            credential_names: if self.one_in(8) { self.some(3, Self::credential) } else { Vec::new() },
            ca_cert_credential_name: self.maybe(Self::credential),
            tls_certificates: Vec::new(),
            subject_alt_names: self.some(1, Self::text),
            verify_certificate_spki: if self.one_in(8) { self.some(1, Self::text) } else { Vec::new() },
            verify_certificate_hash: if self.one_in(8) {
                self.some(1, |_| "ab".repeat(32))
            } else {
                Vec::new()
            },
            min_protocol_version: self.maybe(|dice| dice.pick(&versions).to_owned()),
            max_protocol_version: self.maybe(|dice| dice.pick(&versions).to_owned()),
            cipher_suites: self.some(2, |dice| {
                dice.pick(&[
                    "AES128-GCM-SHA256",
                    "ECDHE-RSA-AES128-SHA",
                    "ECDHE-ECDSA-AES128-GCM-SHA256",
                    "x",
                ])
                .to_owned()
            }),
            ecdh_curves: self.some(2, |dice| dice.pick(&["X25519", "P-256", "x"]).to_owned()),
            insecure_skip_verify: self.maybe(|dice| dice.one_in(2)),
        }
    }

    /// The name of a Secret, which may be there.
    pub(super) fn credential(&mut self) -> String {
        self.pick(&["a", "b", "c", "kubernetes://a", "x/a", "y/b", "file://x", ""]).to_owned()
    }

    /// The path of a file that the proxy has; now and then none that any proxy could have.
    pub(super) fn file(&mut self, name: &str) -> String {
        if self.one_in(8) { self.pick(&["", "\n"]).to_owned() } else { format!("certs/{name}") }
    }

    pub(super) fn secret(&mut self) -> Arc<WithMeta<Secret>> {
        let secrets = secrets();
        let spec = secrets[self.below(secrets.len())].clone();
        self.with(spec)
    }
}
