//! Secrets: which of their keys hold what, under the names that ingress controllers have made usual.
//!
//! Faults are kept in the Secret and not told here: nobody needs to hear of a Secret that nothing refers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1;

use super::{meta, pem};
use crate::resources::{Authorities, KeyPair, Part, PartFault, Secret, WithMeta};

/// The names of certificate, key and OCSP response, in the order in which they are looked for.
const PAIRS: [(&str, &str, Option<&str>); 2] =
    [("cert", "key", None), ("tls.crt", "tls.key", Some("tls.ocsp-staple"))];
/// The names of authorities and revoked certificates.
const AUTHORITIES: [(&str, &str); 2] = [("cacert", "crl"), ("ca.crt", "ca.crl")];

/// What matters of a Secret. Annotations are left out, for `kubectl apply` writes the whole Secret into one.
pub fn secret(mut secret: v1::Secret) -> WithMeta<Secret> {
    secret.metadata.annotations = None;
    secret.metadata.managed_fields = None;
    let data = secret.data.take().unwrap_or_default().into_iter().map(|(key, value)| (key, Ok(value.0)));
    let text = secret.string_data.take().unwrap_or_default().into_iter();
    let text = text.map(|(key, value)| (key, Ok(value.into_bytes())));
    WithMeta { meta: meta("v1", secret.metadata), spec: of_entries(data.chain(text).collect()) }
}

/// The values of a Secret by key; one that could not be decoded is an error, with the words for its fault.
pub(crate) type Entries = BTreeMap<String, Result<Vec<u8>, String>>;

/// A Secret out of its decoded values.
pub(crate) fn of_entries(entries: Entries) -> Secret {
    Secret {
        pair: part(pair(&entries)),
        authorities: part(authorities(&entries)),
        keys: entries.keys().map(|key| Arc::from(key.as_str())).collect(),
    }
}

type Parsed<T> = Result<Option<T>, PartFault>;

fn part<T>(parsed: Parsed<T>) -> Part<T> {
    match parsed {
        Ok(usable) => Part { usable: usable.map(Arc::new), fault: None },
        Err(fault) => Part { usable: None, fault: Some(fault) },
    }
}

fn pair(entries: &Entries) -> Parsed<KeyPair> {
    let has = |name: &str| entries.get(name).is_some_and(|value| !matches!(value, Ok(v) if v.is_empty()));
    let whole = PAIRS.into_iter().find(|(certificate, key, _)| has(certificate) && has(key));
    let begun = || PAIRS.into_iter().find(|(certificate, key, _)| has(certificate) || has(key));
    let Some((certificate_name, key_name, staple_name)) = whole else {
        let Some((certificate, key, _)) = begun() else { return Ok(None) };
        let (missing, present) = if has(certificate) { (key, certificate) } else { (certificate, key) };
        return Err(PartFault {
            path: "data".to_owned(),
            message: format!("there is `{present}` but no `{missing}`, or it is empty"),
            hint: format!("a certificate needs both `{certificate}` and `{key}`"),
        });
    };
    let chain = value(entries, certificate_name)?;
    let key = value(entries, key_name)?;
    let certificates = pem::certificates(chain).map_err(|reason| fault(certificate_name, reason))?;
    let not_after = pem::check_pair(&certificates, key).map_err(|reason| match reason {
        pem::PairFault::Certificate(reason) => fault(certificate_name, reason),
        pem::PairFault::Key(reason) => fault(key_name, reason),
    })?;
    let staple = staple_name.filter(|name| has(name)).map(|name| value(entries, name)).transpose()?;
    Ok(Some(KeyPair { chain: chain.into(), key: key.into(), ocsp_staple: staple.map(Into::into), not_after }))
}

fn authorities(entries: &Entries) -> Parsed<Authorities> {
    let has = |name: &str| entries.get(name).is_some_and(|value| !matches!(value, Ok(v) if v.is_empty()));
    let Some((name, revoked_name)) = AUTHORITIES.into_iter().find(|(name, _)| has(name)) else {
        return Ok(None);
    };
    let text = value(entries, name)?;
    let certificates = pem::certificates(text).map_err(|reason| fault(name, reason))?;
    let not_after = pem::last_end(&certificates).map_err(|reason| fault(name, reason))?;
    let revoked = match has(revoked_name) {
        false => None,
        true => {
            let text = value(entries, revoked_name)?;
            pem::check_revoked(text).map_err(|reason| fault(revoked_name, reason))?;
            Some(text.into())
        }
    };
    Ok(Some(Authorities { certificates: text.into(), revoked, not_after }))
}

fn value<'a>(entries: &'a Entries, name: &str) -> Result<&'a [u8], PartFault> {
    match entries.get(name) {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(reason)) => Err(fault(name, pem::Fault::new(reason.clone(), "encode it anew"))),
        None => Ok(&[]),
    }
}

fn fault(name: &str, fault: pem::Fault) -> PartFault {
    let message = format!("`{name}` {}", fault.message);
    PartFault { path: format!("data[{name:?}]"), message, hint: fault.hint }
}
