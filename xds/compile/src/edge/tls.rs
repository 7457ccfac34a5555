//! The TLS of a server: its certificates, what it asks of clients, and what it offers them.
//!
//! Nothing is weakened: what cannot be served as written closes the server. Ciphers and curves that Envoy does not know
//! are left out with a problem, for it would refuse the listener, and with it every other server of the port.

use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::ServerTls as Written;

use crate::credentials::Credentials;
use crate::ir::{Authority, Identity, ServerTls, TlsVersion, Verification};
use crate::pattern::is_header_value;
use crate::report::{Place, Report};

/// The cipher suites of TLS 1.2 and before that Envoy has, as Istio's reference lists them.
const CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
];

/// The curves that Envoy's TLS library has.
const CURVES: &[&str] = &["X25519", "P-256", "P-384", "P-521", "X25519MLKEM768"];

/// The TLS of a server that ends it; none where it cannot be served as written, which is a problem.
pub(crate) fn tls(
    written: &Written,
    offers_http: bool,
    place: &Place,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Option<ServerTls> {
    let identities = identities(written, place, credentials, report)?;
    let (clients, requires_client) = match written.mode.as_deref() {
        Some(mode @ ("MUTUAL" | "OPTIONAL_MUTUAL")) => {
            (Some(clients(written, mode, place, credentials, report)?), mode == "MUTUAL")
        }
        _ => (None, false),
    };
    let oldest = version(written.min_protocol_version.as_deref()).unwrap_or(TlsVersion::V1_2);
    let newest = version(written.max_protocol_version.as_deref());
    if newest.is_some_and(|newest| newest < oldest) {
        report.add(
            place
                .field("maxProtocolVersion")
                .problem(Code::ConflictingFields, "no version is left: the server is not opened")
                .hint("the newest version must not be older than the oldest, TLSV1_2 where unset"),
        );
        return None;
    }
    Some(ServerTls {
        identities,
        clients,
        requires_client,
        oldest,
        newest,
        ciphers: known(&written.cipher_suites, CIPHERS, &place.field("cipherSuites"), report),
        curves: known(&written.ecdh_curves, CURVES, &place.field("ecdhCurves"), report),
        offers_http,
    })
}

/// The certificates that are shown: of Secrets, or of files, never of both.
fn identities(
    written: &Written,
    place: &Place,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Option<Vec<Identity>> {
    let named = text(&written.credential_name).map(|name| (name, place.field("credentialName")));
    let listed = written.credential_names.iter().enumerate();
    let listed =
        listed.map(|(index, name)| (Arc::from(name.as_str()), place.field("credentialNames").index(index)));
    let sources = [named.is_some(), !written.credential_names.is_empty()];
    let secrets: Vec<(Arc<str>, Place)> = named.into_iter().chain(listed).collect();
    let one = (text(&written.server_certificate), text(&written.private_key), place.clone());
    let listed = written.tls_certificates.iter().enumerate().map(|(index, pair)| {
        let place = place.field("tlsCertificates").index(index);
        (text(&pair.server_certificate), text(&pair.private_key), place)
    });
    let files: Vec<_> =
        Some(one).filter(|(c, k, _)| c.is_some() || k.is_some()).into_iter().chain(listed).collect();
    if sources.into_iter().chain([!files.is_empty()]).filter(|given| *given).count() != 1 {
        let (code, message) = match secrets.is_empty() && files.is_empty() {
            true => (Code::MissingField, "no certificate is named: the server is not opened"),
            false => {
                (Code::ConflictingFields, "certificates come from one source alone: the server is not opened")
            }
        };
        report.add(
            place
                .problem(code, message)
                .hint("write one of credentialName, credentialNames, or paths of files"),
        );
        return None;
    }
    if secrets.len() > 2 || files.len() > 2 {
        let message = "more than two certificates: the server is not opened";
        report.add(place.problem(Code::InvalidValue, message).hint("give one of RSA, and one of ECDSA"));
        return None;
    }
    let mut found = Vec::new();
    for (name, place) in &secrets {
        found.push(Identity::Secret(credentials.pair(name, place, report)?));
    }
    for (chain, key, place) in files {
        match (chain, key) {
            (Some(chain), Some(key)) if is_header_value(&chain) && is_header_value(&key) => {
                found.push(Identity::Files { chain, key });
            }
            _ => {
                let message =
                    "serverCertificate and privateKey are both needed, as paths: the server is not opened";
                report.add(place.problem(Code::MissingField, message).hint("write both"));
                return None;
            }
        }
    }
    Some(found)
}

/// What is asked of clients.
fn clients(
    written: &Written,
    mode: &str,
    place: &Place,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Option<Verification> {
    let of_secret = text(&written.ca_cert_credential_name)
        .map(|name| (name, place.field("caCertCredentialName")))
        .or_else(|| text(&written.credential_name).map(|name| (name, place.field("credentialName"))))
        .or_else(|| {
            let name = written.credential_names.first()?;
            Some((name.as_str().into(), place.field("credentialNames").index(0)))
        });
    let of_files = text(&written.ca_certificates)
        .or_else(|| written.tls_certificates.iter().find_map(|pair| text(&pair.ca_certificates)));
    for (field, path) in [("caCertificates", &of_files), ("caCrl", &text(&written.ca_crl))] {
        if path.as_deref().is_some_and(|path| !is_header_value(path)) {
            let message = "the path holds a control character: the server is not opened";
            report.add(
                place.field(field).problem(Code::InvalidValue, message).hint("write the path of a file"),
            );
            return None;
        }
    }
    let authority = match (of_files, of_secret) {
        (Some(path), _) => Authority::File(path),
        (None, Some((name, place))) => Authority::Secret(credentials.authorities(&name, &place, report)?),
        (None, None) => {
            let message =
                format!("mode {mode} needs an authority that vouches for clients: the server is not opened");
            report.add(
                place
                    .problem(Code::MissingField, message)
                    .hint("set caCertCredentialName or caCertificates, or use mode SIMPLE"),
            );
            return None;
        }
    };
    let pins = [
        ("verifyCertificateSpki", &written.verify_certificate_spki, is_key_pin as fn(&str) -> bool),
        ("verifyCertificateHash", &written.verify_certificate_hash, is_certificate_pin),
        ("subjectAltNames", &written.subject_alt_names, is_name),
    ];
    for (field, values, is_good) in pins {
        if let Some(index) = values.iter().position(|value| !is_good(value)) {
            let message = "the value is not of the form that is compared with: the server is not opened";
            let hint = match field {
                "verifyCertificateSpki" => "write the SHA-256 of the public key, in base64",
                "verifyCertificateHash" => "write the SHA-256 of the certificate, in hexadecimal",
                _ => "write a DNS name, an address or a URI",
            };
            report.add(place.field(field).index(index).problem(Code::InvalidValue, message).hint(hint));
            return None;
        }
    }
    let texts = |values: &[String]| values.iter().map(|value| Arc::from(value.as_str())).collect();
    Some(Verification {
        authority: Some(authority),
        names: texts(&written.subject_alt_names),
        key_pins: texts(&written.verify_certificate_spki),
        certificate_pins: texts(&written.verify_certificate_hash),
        revoked: text(&written.ca_crl),
        accepts_untrusted: written.insecure_skip_verify == Some(true),
    })
}

/// Those of a list that are known, each once.
fn known(written: &[String], known: &[&str], place: &Place, report: &mut Report) -> Vec<Arc<str>> {
    let mut found: Vec<Arc<str>> = Vec::new();
    for (index, value) in written.iter().enumerate() {
        let place = place.index(index);
        if !known.contains(&value.as_str()) {
            let message = format!("{value:?} is not known; it is left out");
            let problem = place.problem(Code::InvalidValue, message);
            let near = crate::hosts::nearest(value, known.iter().copied());
            report.add(problem.severity(pilotage_watcher::Severity::Warning).hint(match near {
                Some(near) => format!("did you mean {near}?"),
                None => format!("those that are known: {}", known.join(", ")),
            }));
        } else if found.iter().any(|found| **found == **value) {
            report.add(place.problem(Code::NoEffect, format!("{value} stands twice")));
        } else {
            found.push(value.as_str().into());
        }
    }
    found
}

fn version(written: Option<&str>) -> Option<TlsVersion> {
    match written? {
        "TLSV1_0" => Some(TlsVersion::V1_0),
        "TLSV1_1" => Some(TlsVersion::V1_1),
        "TLSV1_2" => Some(TlsVersion::V1_2),
        "TLSV1_3" => Some(TlsVersion::V1_3),
        _ => None,
    }
}

/// 32 bytes in base64, which is 43 characters and a `=`.
fn is_key_pin(value: &str) -> bool {
    let digits = value.strip_suffix('=').unwrap_or_default();
    digits.len() == 43 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

/// 32 bytes in hexadecimal, with colons between them or without.
fn is_certificate_pin(value: &str) -> bool {
    let bare: String = match value.len() {
        95 if value.split(':').all(|byte| byte.len() == 2) => value.replace(':', ""),
        _ => value.to_owned(),
    };
    bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_name(value: &str) -> bool {
    !value.is_empty() && is_header_value(value)
}

fn text(value: &Option<String>) -> Option<Arc<str>> {
    value.as_deref().filter(|value| !value.is_empty()).map(Arc::from)
}
