//! TLS to endpoints, by a DestinationRule's `tls`.
//!
//! What cannot be kept as written is never weakened: the cluster is left out, and its calls fail loudly.

use std::sync::Arc;

use pilotage_watcher::resources::ClientTls as Written;
use pilotage_watcher::{Code, Severity};

use crate::ProxyKind;
use crate::credentials::Credentials;
use crate::hosts::Host;
use crate::ir::{Authority, ClientTls, Identity, ServerName, Upstream, Verification};
use crate::pattern::is_header_value;
use crate::policy::Policy;
use crate::report::{Place, Report};

/// A policy that cannot be kept.
pub(super) struct Unserved;

/// The TLS of a cluster; none where plaintext is asked for.
pub(super) fn tls(
    policy: &Policy<'_>,
    host: &Host,
    upstream: Upstream,
    kind: ProxyKind,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Result<Option<ClientTls>, Unserved> {
    let Some((written, place)) = &policy.tls else { return Ok(None) };
    let mutual = match written.mode.as_deref() {
        None | Some("DISABLE") => return Ok(None),
        Some("SIMPLE") => false,
        Some("MUTUAL") => true,
        Some(mode) => {
            let (message, hint) = match mode {
                "ISTIO_MUTUAL" => (
                    "TLS mode ISTIO_MUTUAL needs certificates that a mesh authority issues to every workload, which \
                     are not supported; plaintext in its place would be unsafe: calls to these ports fail"
                        .to_owned(),
                    "use mode MUTUAL with certificates of your own, or DISABLE if plaintext is meant",
                ),
                mode => (
                    format!("{mode:?} is not a TLS mode: calls to these ports fail"),
                    "use DISABLE, SIMPLE or MUTUAL",
                ),
            };
            let problem = place.field("mode").problem(Code::NotSupported, message);
            report.add(problem.severity(Severity::Error).hint(hint));
            return Err(Unserved);
        }
    };
    if kind == ProxyKind::Grpc {
        report.add(
            place
                .problem(
                    Code::NotForGrpcClients,
                    "proxyless gRPC clients take certificates from providers of their own, which is not supported: \
                     calls to these ports fail",
                )
                .severity(Severity::Error),
        );
        return Err(Unserved);
    }
    check_texts(written, place, report)?;
    let credential = text(&written.credential_name);
    if credential.is_some() && !credentials.are_given() {
        report.add(
            place
                .field("credentialName")
                .problem(
                    Code::NotSupported,
                    "secrets are given to gateways alone: calls to these ports fail from anywhere else",
                )
                .hint("for sidecars name files: caCertificates, clientCertificate and privateKey"),
        );
        return Err(Unserved);
    }
    let identity = match mutual {
        true => Some(identity(written, place, credentials, report)?),
        false => None,
    };
    let verification = verification(written, host, mutual, place, credentials, report)?;
    let is_verified = verification.as_ref().is_some_and(|found| found.authority.is_some());
    let server_name = match (text(&written.sni), upstream) {
        (Some(name), _) => ServerName::Fixed(name),
        (None, Upstream::Opaque) => ServerName::None,
        (None, _) => ServerName::OfRequest { checked: is_verified && names(written, host).is_empty() },
    };
    Ok(Some(ClientTls { identity, verification, server_name }))
}

/// The client's own certificate.
fn identity(
    written: &Written,
    place: &Place,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Result<Identity, Unserved> {
    let files = (text(&written.client_certificate), text(&written.private_key));
    if let Some(name) = text(&written.credential_name) {
        if files.0.is_some() || files.1.is_some() {
            report.add(place.field("credentialName").problem(
                Code::ConflictingFields,
                "credentialName excludes clientCertificate and privateKey; credentialName is used",
            ));
        }
        let place = place.field("credentialName");
        return credentials.pair(&name, &place, report).map(Identity::Secret).ok_or(Unserved);
    }
    match files {
        (Some(chain), Some(key)) => Ok(Identity::Files { chain, key }),
        _ => {
            report.add(
                place
                    .problem(
                        Code::MissingField,
                        "mode MUTUAL needs clientCertificate and privateKey, or credentialName: calls to these ports \
                         fail",
                    )
                    .hint("write both paths, or name a Secret; or use mode SIMPLE"),
            );
            Err(Unserved)
        }
    }
}

/// By what the endpoint is judged; none where it is not.
fn verification(
    written: &Written,
    host: &Host,
    mutual: bool,
    place: &Place,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Result<Option<Verification>, Unserved> {
    let file = text(&written.ca_certificates);
    if written.insecure_skip_verify == Some(true) {
        if file.is_some() || !written.subject_alt_names.is_empty() {
            let message =
                "insecureSkipVerify excludes caCertificates and subjectAltNames: calls to these ports fail";
            report.add(
                place
                    .field("insecureSkipVerify")
                    .problem(Code::ConflictingFields, message)
                    .hint("remove insecureSkipVerify if endpoints are to be verified"),
            );
            return Err(Unserved);
        }
        return Ok(None);
    }
    let authority = match (file, text(&written.credential_name)) {
        (Some(path), _) => Some(Authority::File(path)),
        (None, Some(name)) => {
            let place = place.field("credentialName");
            let found = credentials.authorities(&name, &place, report);
            if found.is_none() && !mutual {
                return Err(Unserved);
            }
            found.map(Authority::Secret)
        }
        (None, None) => None,
    };
    if authority.is_none() {
        if !written.subject_alt_names.is_empty() || text(&written.ca_crl).is_some() {
            report.add(
                place
                    .problem(
                        Code::MissingField,
                        "subjectAltNames and caCrl mean nothing without an authority: calls to these ports fail",
                    )
                    .hint("set caCertificates, such as /etc/ssl/certs/ca-certificates.crt"),
            );
            return Err(Unserved);
        }
        report.add(
            place
                .problem(
                    Code::UnverifiedServer,
                    "no authority is named, so that any certificate is taken: calls are encrypted, and may be read by \
                     whoever answers them",
                )
                .hint(
                    "set caCertificates, such as /etc/ssl/certs/ca-certificates.crt, or insecureSkipVerify if that is \
                     meant",
                ),
        );
        return Ok(None);
    }
    Ok(Some(Verification {
        authority,
        names: names(written, host),
        revoked: text(&written.ca_crl),
        ..Verification::default()
    }))
}

/// The names of which a certificate must have one: of the rule, else of the host's own object.
fn names(written: &Written, host: &Host) -> Vec<Arc<str>> {
    match written.subject_alt_names.is_empty() {
        true => host.certificate_names.to_vec(),
        false => written.subject_alt_names.iter().map(|name| name.as_str().into()).collect(),
    }
}

/// Refuses texts that no proxy takes, and with them the whole cluster.
fn check_texts(written: &Written, place: &Place, report: &mut Report) -> Result<(), Unserved> {
    let fields = [
        ("clientCertificate", &written.client_certificate),
        ("privateKey", &written.private_key),
        ("caCertificates", &written.ca_certificates),
        ("caCrl", &written.ca_crl),
        ("sni", &written.sni),
    ];
    let bad = fields.into_iter().find(|(_, value)| !value.as_deref().is_none_or(is_header_value));
    let bad_name = written.subject_alt_names.iter().any(|name| name.is_empty() || !is_header_value(name));
    let bad = bad.map(|(field, _)| field).or(bad_name.then_some("subjectAltNames"));
    let bad = bad.or_else(|| {
        // Envoy sends no more than 255 bytes, and refuses what it cannot send.
        written.sni.as_deref().is_some_and(|sni| sni.len() > 255).then_some("sni")
    });
    let Some(field) = bad else { return Ok(()) };
    report.add(place.field(field).problem(
        Code::InvalidValue,
        "the value is empty, too long or holds a control character: calls fail",
    ));
    Err(Unserved)
}

fn text(value: &Option<String>) -> Option<Arc<str>> {
    value.as_deref().filter(|value| !value.is_empty()).map(Arc::from)
}
