//! The keys of service-account tokens, and tokens that are signed with them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(super) const SIGNING_KEY: &str = "service-account.key";
pub(super) const CHECKING_KEY: &str = "service-account.pub";

/// Who says that it has issued a token.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";

/// Writes a pair of keys for service-account tokens: what signs them, and what checks them.
pub(super) fn write_signing_keys(folder: &Path) -> Result<()> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    for (file, tag, der) in [
        (SIGNING_KEY, "PRIVATE KEY", pair.to_pkcs8v1()?.as_ref()),
        (CHECKING_KEY, "PUBLIC KEY", public.as_ref()),
    ] {
        fs::write(folder.join(file), pem::encode(&pem::Pem::new(tag, der)))?;
    }
    Ok(())
}

/// A JSON Web Token with these claims, of our issuer.
pub(super) fn signed(folder: &Path, claims: &Value) -> Result<String> {
    let key = pem::parse(fs::read(folder.join(SIGNING_KEY))?).context("the signing key")?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.contents())?;
    let mut claims = claims.clone();
    claims["iss"] = json!(ISSUER);
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(&claims));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes())?;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}
