//! TLS as transport sockets, and what secrets hold as `Secret`.

use std::net::IpAddr;

use pilotage_protos::envoy::core::transport_socket::ConfigType;
use pilotage_protos::envoy::core::{DataSource, TransportSocket, data_source::Specifier};
use pilotage_protos::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::TrustChainVerification;
use pilotage_protos::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use pilotage_protos::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use pilotage_protos::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use pilotage_protos::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret as Message,
    SubjectAltNameMatcher, TlsCertificate, TlsParameters, UpstreamTlsContext, secret,
};
use pilotage_protos::envoy::types::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use pilotage_protos::envoy::{pack_any, protobuf};

use super::{ads, boolean};
use crate::ir::{
    Authority, ClientTls, Identity, Secret, SecretContent, ServerName, ServerTls, TlsVersion, Upstream,
    Verification,
};

/// The name of the transport socket, which Envoy finds by its type alone.
const TLS: &str = "envoy.transport_sockets.tls";

/// The socket of connections that clients open.
pub(super) fn downstream(tls: &ServerTls) -> TransportSocket {
    let mut common = common(&tls.identities, tls.clients.as_ref());
    common.tls_params = Some(TlsParameters {
        tls_minimum_protocol_version: protocol(tls.oldest) as i32,
        tls_maximum_protocol_version: tls.newest.map_or(TlsProtocol::TlsAuto, protocol) as i32,
        cipher_suites: tls.ciphers.iter().map(ToString::to_string).collect(),
        ecdh_curves: tls.curves.iter().map(ToString::to_string).collect(),
        ..TlsParameters::default()
    });
    if tls.offers_http {
        common.alpn_protocols = vec!["h2".to_owned(), "http/1.1".to_owned()];
    }
    socket(pack_any(DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: tls.clients.is_some().then(|| boolean(tls.requires_client)),
        ..DownstreamTlsContext::default()
    }))
}

/// The socket of connections to endpoints.
pub(super) fn upstream(tls: &ClientTls, upstream: Upstream) -> TransportSocket {
    let mut common = common(tls.identity.as_slice(), tls.verification.as_ref());
    // Envoy's own default for clients ends at 1.2.
    common.tls_params = Some(TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12 as i32,
        tls_maximum_protocol_version: TlsProtocol::TlSv13 as i32,
        ..TlsParameters::default()
    });
    if upstream == Upstream::Http2 {
        common.alpn_protocols = vec!["h2".to_owned()];
    }
    let sni = match &tls.server_name {
        ServerName::Fixed(name) => name.to_string(),
        ServerName::OfRequest { .. } | ServerName::None => String::new(),
    };
    socket(pack_any(UpstreamTlsContext {
        common_tls_context: Some(common),
        sni,
        ..UpstreamTlsContext::default()
    }))
}

/// The message of a secret; the only place where a private key leaves its wrapping.
pub(crate) fn secret(secret: &Secret) -> Message {
    let content = match &secret.content {
        SecretContent::Pair(pair) => secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(&pair.chain)),
            private_key: Some(inline(pair.key.expose())),
            ocsp_staple: pair.ocsp_staple.as_deref().map(inline),
            ..TlsCertificate::default()
        }),
        SecretContent::Authorities(authorities) => {
            secret::Type::ValidationContext(CertificateValidationContext {
                trusted_ca: Some(inline(&authorities.certificates)),
                crl: authorities.revoked.as_deref().map(inline),
                ..CertificateValidationContext::default()
            })
        }
    };
    Message { name: secret.name.to_string(), r#type: Some(content) }
}

fn common(identities: &[Identity], verification: Option<&Verification>) -> CommonTlsContext {
    let mut context = CommonTlsContext::default();
    for identity in identities {
        match identity {
            Identity::Secret(name) => context.tls_certificate_sds_secret_configs.push(sds(name)),
            Identity::Files { chain, key } => context.tls_certificates.push(TlsCertificate {
                certificate_chain: Some(file(chain)),
                private_key: Some(file(key)),
                ..TlsCertificate::default()
            }),
        }
    }
    context.validation_context_type = verification.map(validation);
    context
}

fn validation(verification: &Verification) -> ValidationContextType {
    let trust = match verification.accepts_untrusted {
        true => TrustChainVerification::AcceptUntrusted,
        false => TrustChainVerification::VerifyTrustChain,
    };
    let mut context = CertificateValidationContext {
        match_typed_subject_alt_names: verification.names.iter().map(|name| subject_name(name)).collect(),
        verify_certificate_spki: verification.key_pins.iter().map(ToString::to_string).collect(),
        verify_certificate_hash: verification.certificate_pins.iter().map(ToString::to_string).collect(),
        crl: verification.revoked.as_deref().map(file),
        trust_chain_verification: trust as i32,
        ..CertificateValidationContext::default()
    };
    match &verification.authority {
        Some(Authority::Secret(name)) => {
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(context),
                validation_context_sds_secret_config: Some(sds(name)),
                ..CombinedCertificateValidationContext::default()
            })
        }
        Some(Authority::File(path)) => {
            context.trusted_ca = Some(file(path));
            ValidationContextType::ValidationContext(context)
        }
        None => ValidationContextType::ValidationContext(context),
    }
}

fn subject_name(name: &str) -> SubjectAltNameMatcher {
    let san_type = match name {
        uri if uri.contains("://") => SanType::Uri,
        address if address.parse::<IpAddr>().is_ok() => SanType::IpAddress,
        _ => SanType::Dns,
    };
    SubjectAltNameMatcher {
        san_type: san_type as i32,
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(name.to_owned())),
            ..StringMatcher::default()
        }),
        ..SubjectAltNameMatcher::default()
    }
}

fn protocol(version: TlsVersion) -> TlsProtocol {
    match version {
        TlsVersion::V1_0 => TlsProtocol::TlSv10,
        TlsVersion::V1_1 => TlsProtocol::TlSv11,
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    }
}

fn sds(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads()) }
}

fn file(path: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..DataSource::default() }
}

fn inline(bytes: &[u8]) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..DataSource::default() }
}

fn socket(config: protobuf::Any) -> TransportSocket {
    TransportSocket { name: TLS.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) }
}
