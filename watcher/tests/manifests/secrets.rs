//! Secrets: what is kept of them, what is wrong with them, and that nobody ever sees what is in them.

use std::fmt::Write as _;

use pilotage_watcher::resources::{Secret, WithMeta};
use pilotage_watcher::{Change, Object, Touched, World};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};

use super::{Read, read};

/// A certificate and its key.
fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["www.example.com".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn manifest(values: &[(&str, &str)]) -> String {
    let mut text =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\nstringData:\n".to_owned();
    for (key, value) in values {
        let _ = writeln!(text, "  {key}: |");
        for line in value.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn secret(read: &Read) -> WithMeta<Secret> {
    let found = read.reading.changes.iter().find_map(|change| match change {
        Change::Apply(Object::Secret(secret)) => Some((**secret).clone()),
        _ => None,
    });
    found.unwrap()
}

fn parsed(values: &[(&str, &str)]) -> Secret {
    secret(&read(&[("secret.yaml", &manifest(values))])).spec
}

fn fault(values: &[(&str, &str)]) -> String {
    let secret = parsed(values);
    let fault = secret.pair.fault.or(secret.authorities.fault).unwrap();
    format!("{}: {}", fault.path, fault.message)
}

#[test]
fn pairs_of_every_kind_that_envoy_takes() {
    for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let (certificate, key) = pair(algorithm);
        for names in [("cert", "key"), ("tls.crt", "tls.key")] {
            let found = parsed(&[(names.0, &certificate), (names.1, &key), ("ca.crt", &certificate)]);
            let pair = found.pair.usable.unwrap();
            assert_eq!((&*pair.chain, pair.key.expose()), (certificate.as_bytes(), key.as_bytes()));
            assert!(found.authorities.usable.is_some() && found.pair.fault.is_none());
        }
    }
}

#[test]
fn base64_is_read_however_it_is_wrapped() {
    use base64::Engine;
    let (certificate, key) = pair(&PKCS_ECDSA_P384_SHA384);
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let wrapped: Vec<String> =
        encode(&key).as_bytes().chunks(76).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ntype: kubernetes.io/tls\ndata:\n  tls.crt: {}\n  tls.key: \
         |\n    {}\n",
        encode(&certificate),
        wrapped.join("\n    "),
    );
    let found = secret(&read(&[("secret.yaml", &text)]));
    assert_eq!(found.spec.pair.usable.unwrap().key.expose(), key.as_bytes());
}

#[test]
fn what_cannot_be_used_is_said_with_its_field() {
    let (certificate, key) = pair(&PKCS_ECDSA_P384_SHA384);
    let (other_certificate, other_key) = pair(&PKCS_RSA_SHA256);
    let (edwards_certificate, edwards_key) = pair(&PKCS_ED25519);
    let chain = format!("{other_certificate}{certificate}");
    let cut: String = key.lines().take(2).map(|line| format!("{line}\n")).collect();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (values, expected) in [
        (
            [("tls.crt", &*certificate), ("tls.key", &*other_key)],
            "data[\"tls.key\"]: `tls.key` is the key of another",
        ),
        ([("tls.crt", &*chain), ("tls.key", &*key)], "data[\"tls.crt\"]: `tls.crt` is out of order"),
        (
            [("tls.crt", &*certificate), ("tls.key", &*certificate)],
            "data[\"tls.key\"]: `tls.key` holds a certificate",
        ),
        ([("tls.crt", &*certificate), ("tls.key", &*cut)], "data[\"tls.key\"]: `tls.key` holds no key"),
        ([("tls.crt", &*certificate), ("tls.key", &*encrypted)], "data[\"tls.key\"]: `tls.key` is encrypted"),
        ([("tls.crt", "nothing"), ("tls.key", &*key)], "data[\"tls.crt\"]: `tls.crt` holds no certificate"),
        (
            [("tls.crt", &*edwards_certificate), ("tls.key", &*edwards_key)],
            "data[\"tls.key\"]: `tls.key` is an Ed25519",
        ),
        ([("cert", &*certificate), ("tls.key", &*key)], "data: there is `cert` but no `key`"),
        ([("ca.crt", &*certificate), ("ca.crl", "none")], "data[\"ca.crl\"]: `ca.crl` holds no X509 CRL"),
    ] {
        let fault = fault(&values);
        assert!(fault.starts_with(expected), "{fault}");
    }
}

#[test]
fn of_other_secrets_nothing_but_the_names_of_their_keys_is_kept() {
    let found = parsed(&[("password", "swordfish"), ("certificate.pem", "x")]);
    assert_eq!((found.pair.usable, found.pair.fault), (None, None));
    assert_eq!(found.keys, ["certificate.pem".into(), "password".into()]);
}

/// A Secret in every broken form that a text can have: nothing that is said of it holds what is in it.
#[test]
fn nothing_that_is_told_or_printed_has_a_word_of_a_secret() {
    let (certificate, key) = pair(&PKCS_ECDSA_P384_SHA384);
    let word = key.lines().nth(1).unwrap();
    let whole = manifest(&[("tls.crt", &certificate), ("tls.key", &key)]);
    let plain = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    let applied = format!(
        "{plain}  annotations: {{kubectl.kubernetes.io/last-applied-configuration: '{{\"stringData\": \"{word}\"}}'}}\n"
    );
    let forms = [
        whole.clone(),
        whole.replace("    ", ""),
        whole.replace("  ", ""),
        whole.replace("stringData", "data"),
        whole.replace("stringData", "strngData"),
        whole.replace("kind: Secret", "kind: Secrt"),
        whole.replace("  tls.key", "\ttls.key"),
        applied.replace("{name: s}\n", "\n  name: s\n"),
        format!("{plain}data: {word}\n"),
        format!("{plain}data: [{word}]\n"),
        format!("{plain}data: {{tls.key: [{word}]}}\n"),
        format!("{plain}data: {{tls.key: {word}, tls.key: {word}}}\n"),
        format!("{plain}data: {{tls.key: '{word}\n"),
        format!("{plain}data: {{tls.key: \"\\q{word}\"}}\n"),
        format!("{plain}data:\n  tls.key: {word}: x\n"),
        format!("{plain}stringData: {{tls.key: {{a: {word}}}}}\ntype: [{word}]\n"),
        format!("{plain}tls.key: {word}\n"),
        format!("{plain}tls.key:\n  {word}\n"),
        format!("{{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"data\": {{\"tls.key\": \"{word}\"}}, }}"),
    ];
    for form in forms {
        for name in ["secret.yaml", "secret.json"] {
            let read = read(&[(name, &form)]);
            let mut told = String::new();
            let mut world = World::default();
            for change in &read.reading.changes {
                let _ = write!(told, "{change:?}");
                match change {
                    Change::Apply(object) => drop(world.apply(object.clone())),
                    Change::Problems { problems, .. } => {
                        for problem in problems {
                            let _ = write!(told, "{problem}");
                        }
                    }
                    Change::Delete(_) | Change::Synced(_) => {}
                }
            }
            let _ = write!(told, "{world:?}");
            assert!(!told.contains(&word[..16]), "{name}:\n{form}\n{told}");
        }
    }
}

fn apply(world: &mut World, values: &[(&str, &str)]) -> Touched {
    let read = read(&[("secret.yaml", &manifest(values))]);
    world.apply(Object::Secret(std::sync::Arc::new(secret(&read))))
}

fn named() -> World {
    let gateway = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: ns}
spec:
  servers:
  - {port: {number: 443, name: tls, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: s}}
";
    let mut world = World::default();
    for change in read(&[("gateway.yaml", gateway)]).reading.changes {
        if let Change::Apply(object) = change {
            world.apply(object);
        }
    }
    world
}

#[test]
fn a_rotation_has_a_lane_of_its_own_and_a_broken_one_keeps_the_last_good_pair() {
    let mut world = named();
    let (first, second) = (pair(&PKCS_ECDSA_P384_SHA384), pair(&PKCS_ECDSA_P384_SHA384));
    let usable = |world: &World| {
        world.secret("ns", "s").unwrap().spec.pair.usable.clone().map(|pair| pair.chain.clone())
    };

    let touched = apply(&mut world, &[("tls.crt", &first.0), ("tls.key", &first.1)]);
    assert_eq!((touched.config.len(), touched.secrets.len()), (1, 0), "it was not there before");
    let touched = apply(&mut world, &[("tls.crt", &second.0), ("tls.key", &second.1)]);
    assert_eq!((touched.config.len(), touched.secrets.len()), (0, 1), "a rotation");
    assert_eq!(usable(&world).as_deref(), Some(second.0.as_bytes()));
    let again = apply(&mut world, &[("tls.crt", &second.0), ("tls.key", &second.1)]);
    assert!(again.is_empty());
    let touched = apply(&mut world, &[("tls.crt", &first.0), ("tls.key", &second.1)]);
    assert_eq!((touched.config.len(), touched.secrets.len()), (1, 0), "the problem is news");
    assert_eq!(usable(&world).as_deref(), Some(second.0.as_bytes()), "the last good pair");
    let touched = apply(&mut world, &[("tls.crt", &first.0), ("tls.key", &first.1)]);
    assert_eq!((touched.config.len(), usable(&world).as_deref()), (1, Some(first.0.as_bytes())));
    let key = Object::key(&Object::Secret(world.secret("ns", "s").unwrap().clone()));
    assert_eq!(world.delete(&key).config.len(), 1);
    assert!(world.secret("ns", "s").is_none());
}

#[test]
fn a_secret_that_nobody_names_touches_nothing() {
    let mut world = World::default();
    let (certificate, key) = pair(&PKCS_ECDSA_P384_SHA384);
    assert!(apply(&mut world, &[("tls.crt", &certificate), ("tls.key", &key)]).is_empty());
    assert!(world.secret("ns", "s").is_some(), "it is there for who will name it");
}
