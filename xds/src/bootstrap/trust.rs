//! What a client's bootstrap says of trust: whom it believes to be the server, and how it shows who it is.
//!
//! Envoy reads a file anew only where another file, in its own words, names it (SDS from a path). Those files hold
//! paths and no secrets; they are written beside the bootstrap.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::Server;

/// How the server is known, and how this client is.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Trust {
    /// The authority of the server's certificate, as PEM; with it, the server is spoken to over TLS
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The client's certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The name that the server's certificate must have [default: the host of --server]
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    pub tls_server_name: Option<String>,
    /// A file with the service-account token that says who the client is
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// A file that Envoy's bootstrap refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Where it is to be written.
    pub path: PathBuf,
    /// What is to be written: JSON that names other files.
    pub content: String,
}

/// What becomes of it in the bootstrap of an Envoy.
#[derive(Default)]
pub(super) struct EnvoyTrust {
    pub(super) transport_socket: Option<Value>,
    pub(super) http_filters: Option<Value>,
    pub(super) files: Vec<SecretFile>,
}

/// What becomes of it in the bootstrap of a gRPC client.
pub(super) struct GrpcTrust {
    pub(super) channel: Value,
    pub(super) call: Option<Value>,
}

impl Trust {
    pub(super) fn of_envoy(&self, server: &Server, folder: Option<&Path>) -> anyhow::Result<EnvoyTrust> {
        let mut trust = EnvoyTrust::default();
        if self.tls_ca.is_none() && self.token_file.is_none() {
            return Ok(trust);
        }
        let Some(folder) = folder else {
            bail!(
                "certificates and tokens are renewed, and Envoy notices that only through files of its own: say with \
                 --secrets-dir where to write them"
            );
        };
        let folder = absolute(folder)?;
        let mut refer = |name: &str, content: Value| -> Value {
            let path = folder.join(format!("{name}.json"));
            let secret = json!({"resources": [with_name(content, name)]});
            trust.files.push(SecretFile { path: path.clone(), content: format!("{secret:#}\n") });
            json!({"name": name, "sds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"}})
        };
        if let Some(authority) = &self.tls_ca {
            let validation = json!({"validation_context": watched("trusted_ca", authority)?});
            let mut context = json!({
                "alpn_protocols": ["h2"],
                "combined_validation_context": {
                    "default_validation_context": {"match_typed_subject_alt_names": [self.server_name(server)]},
                    "validation_context_sds_secret_config": refer("pilotage-authority", validation),
                },
            });
            if let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) {
                let mut pair = watched("certificate_chain", chain)?;
                pair["private_key"] = json!({"filename": absolute(key)?});
                let secret = refer("pilotage-client", json!({"tls_certificate": pair}));
                context["tls_certificate_sds_secret_configs"] = json!([secret]);
            }
            let mut socket = json!({
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": context,
            });
            let name = self.tls_server_name.as_deref().unwrap_or(&server.host);
            if name.parse::<IpAddr>().is_err() {
                socket["sni"] = json!(name);
            }
            trust.transport_socket =
                Some(json!({"name": "envoy.transport_sockets.tls", "typed_config": socket}));
        }
        if let Some(token) = &self.token_file {
            let token = absolute(token)?;
            let secret = json!({"filename": token, "watched_directory": {"path": parent(&token)}});
            let credential = refer("pilotage-token", json!({"generic_secret": {"secret": secret}}));
            trust.http_filters = Some(injected(&credential));
        }
        Ok(trust)
    }

    pub(super) fn of_grpc(&self) -> anyhow::Result<GrpcTrust> {
        let channel = match &self.tls_ca {
            None => json!({"type": "insecure"}),
            Some(authority) => {
                let mut config = json!({"ca_certificate_file": absolute(authority)?});
                if let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) {
                    config["certificate_file"] = json!(absolute(chain)?);
                    config["private_key_file"] = json!(absolute(key)?);
                }
                json!({"type": "tls", "config": config})
            }
        };
        // gRPC sends tokens over TLS alone (gRFC A97).
        let call = match &self.token_file {
            Some(token) if self.tls_ca.is_some() => {
                Some(json!({"type": "jwt_token_file", "config": {"jwt_token_file": absolute(token)?}}))
            }
            Some(_) => bail!(
                "a gRPC client sends its token over TLS alone: give the server's authority with --tls-ca"
            ),
            None => None,
        };
        Ok(GrpcTrust { channel, call })
    }

    fn server_name(&self, server: &Server) -> Value {
        let name = self.tls_server_name.as_deref().unwrap_or(&server.host);
        let san_type = if name.parse::<IpAddr>().is_ok() { "IP_ADDRESS" } else { "DNS" };
        json!({"san_type": san_type, "matcher": {"exact": name}})
    }
}

/// The filters of the server's cluster that put a token into the header `authorization` of every stream.
fn injected(credential: &Value) -> Value {
    let generic = json!({
        "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": credential,
        "header_value_prefix": "Bearer ",
    });
    let injector = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": true,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    });
    let codec = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    });
    json!([
        {"name": "envoy.filters.http.credential_injector", "typed_config": injector},
        {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
    ])
}

fn with_name(mut secret: Value, name: &str) -> Value {
    secret["@type"] = json!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret");
    secret["name"] = json!(name);
    secret
}

/// A part of a secret whose file is read again when something in its folder is moved, as mounts and careful writers
/// do it.
fn watched(field: &str, path: &Path) -> anyhow::Result<Value> {
    let path = absolute(path)?;
    Ok(json!({field: {"filename": path}, "watched_directory": {"path": parent(&path)}}))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Envoy may be started elsewhere than where its bootstrap is written.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
}
