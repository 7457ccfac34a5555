//! Certificates and keys as PEM: whether a proxy can take them, found out before they are sent to one.
//!
//! A proxy that is sent a pair which it cannot use rejects it or, worse, keeps waiting. No fault has a word of what the
//! text holds.

use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// What is wrong, to follow the name of the field; and what to do.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Which of a pair is at fault.
#[derive(Debug)]
pub(super) enum PairFault {
    Certificate(Fault),
    Key(Fault),
}

/// The certificates of a text, of which there is at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|_| {
        Fault::new("is not PEM", "a certificate begins with -----BEGIN CERTIFICATE----- on a line of its own")
    })?;
    if found.is_empty() {
        return Err(Fault::new(
            "holds no certificate",
            "a certificate begins with -----BEGIN CERTIFICATE----- on a line of its own",
        ));
    }
    for (index, certificate) in found.iter().enumerate() {
        parsed(certificate).map_err(|_| {
            let message = format!("is broken: certificate {} of {} is no X.509", index + 1, found.len());
            Fault::new(message, "copy the certificate anew, whole")
        })?;
    }
    Ok(found)
}

/// When the last of these ends, in seconds since 1970.
pub(super) fn last_end(certificates: &[CertificateDer<'_>]) -> Result<i64, Fault> {
    let ends = certificates.iter().filter_map(|certificate| Some(end(&parsed(certificate).ok()?)));
    ends.max().ok_or_else(|| Fault::new("holds no certificate", "copy the certificate anew, whole"))
}

/// Whether the key belongs to the first certificate, and when that ends.
pub(super) fn check_pair(certificates: &[CertificateDer<'_>], key: &[u8]) -> Result<i64, PairFault> {
    let leaf = certificates.first().and_then(|certificate| parsed(certificate).ok());
    let leaf = leaf.ok_or_else(|| PairFault::Certificate(Fault::new("holds no certificate", "add one")))?;
    let public = public_key(key).map_err(PairFault::Key)?;
    let belongs =
        |certificate: &X509Certificate<'_>| *certificate.public_key().subject_public_key.data == *public;
    if belongs(&leaf) {
        return Ok(end(&leaf));
    }
    let later = certificates.iter().skip(1).filter_map(|certificate| parsed(certificate).ok());
    Err(match later.into_iter().any(|certificate| belongs(&certificate)) {
        true => PairFault::Certificate(Fault::new(
            "is out of order: the certificate that the key belongs to is not the first",
            "put the server's own certificate first, then those of the authorities between",
        )),
        false => PairFault::Key(Fault::new(
            "is the key of another certificate",
            "put a certificate and a key that were made together into the Secret",
        )),
    })
}

/// Whether a text holds a list of revoked certificates.
pub(super) fn check_revoked(text: &[u8]) -> Result<(), Fault> {
    let found = rustls_pki_types::CertificateRevocationListDer::from_pem_slice(text);
    let is_list = found
        .is_ok_and(|list| x509_parser::revocation_list::CertificateRevocationList::from_der(&list).is_ok());
    match is_list {
        true => Ok(()),
        false => Err(Fault::new("holds no X509 CRL", "a list begins with -----BEGIN X509 CRL-----")),
    }
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ()> {
    X509Certificate::from_der(certificate).map(|(_, certificate)| certificate).map_err(|_| ())
}

fn end(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}

/// The public half of a key, in the form in which certificates have it.
fn public_key(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|_| no_key(text))?;
    let der = key.secret_der();
    let rsa = match &key {
        PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der),
        _ => RsaKeyPair::from_pkcs8(der),
    };
    if let Ok(rsa) = rsa {
        return Ok(rsa.public_key().as_ref().to_vec());
    }
    let curves = [
        &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
    ];
    if let Some(curve) =
        curves.into_iter().find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())
    {
        return Ok(curve.public_key().as_ref().to_vec());
    }
    if Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).is_ok() {
        return Err(Fault::new("is an Ed25519 key, which Envoy does not take", "use RSA or ECDSA"));
    }
    Err(Fault::new(
        "is no key that Envoy takes",
        "use RSA of 2048 bits or more, or ECDSA on P-256, P-384 or P-521",
    ))
}

fn no_key(text: &[u8]) -> Fault {
    let encrypted = text.windows(9).any(|window| window == b"ENCRYPTED");
    if encrypted {
        return Fault::new("is encrypted, and nobody could give the passphrase", "store the key without one");
    }
    let first = <(SectionKind, Vec<u8>)>::from_pem_slice(text);
    if first.is_ok_and(|(kind, _)| kind == SectionKind::Certificate) {
        return Fault::new("holds a certificate in the place of a key", "the two may have been swapped");
    }
    Fault::new("holds no key", "a key begins with -----BEGIN PRIVATE KEY----- on a line of its own")
}
