//! What a secret moves when it changes, who is given it, and that nobody sees what is in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use pilotage_compile::{Compiled, Group, Location, ProxyKind, Settings, check, compile, compile_secrets};
use pilotage_protocol::{Resource, ResourceType};
use pilotage_protos::json::any_to_json;
use pilotage_watcher::resources::{KeyPair, Part, Secret, WithMeta};
use pilotage_watcher::{Kind, Object, ObjectKey, World};

use crate::world::read;

fn golden(name: &str) -> World {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
}

fn gateway(namespace: &str) -> Group {
    let labels = [("app".into(), "edge".into())].into();
    Group { kind: ProxyKind::Gateway, namespace: namespace.into(), labels, location: Location::default() }
}

fn full(world: &World, group: &Group, previous: Option<&Compiled>) -> Compiled {
    compile(world, group, &Settings::default(), &BTreeSet::new(), previous)
}

fn secrets(compiled: &Compiled) -> Vec<Resource> {
    compiled.snapshot().collection(&ResourceType::Secret).unwrap().iter().cloned().collect()
}

fn names(compiled: &Compiled) -> Vec<String> {
    secrets(compiled).iter().map(|secret| secret.name().to_string()).collect()
}

/// The Secret with another pair, one that is taken as it is.
fn rotated(world: &World, name: &str, chain: &[u8]) -> Object {
    let mut secret: WithMeta<Secret> = (**world.secret("edge", name).unwrap()).clone();
    let former = secret.spec.pair.usable.clone().unwrap();
    let pair = KeyPair { chain: chain.into(), ..(*former).clone() };
    secret.spec.pair = Part { usable: Some(Arc::new(pair)), fault: None };
    Object::Secret(Arc::new(secret))
}

#[test]
fn a_rotation_moves_its_own_secret_and_nothing_else() {
    let mut world = golden("tls-gateway");
    let before = full(&world, &gateway("edge"), None);
    let rotated = rotated(&world, "www", b"another");
    let touched = world.apply(rotated);
    assert!(touched.config.is_empty() && touched.secrets.len() == 1, "{touched:?}");
    let after = compile_secrets(&world, &before, &touched.secrets);
    for (resource_type, collection) in before.snapshot().iter() {
        let same = Arc::ptr_eq(collection, after.snapshot().collection(resource_type).unwrap());
        assert_eq!(same, *resource_type != ResourceType::Secret, "{resource_type}");
    }
    let moved: Vec<String> = secrets(&after)
        .iter()
        .zip(secrets(&before))
        .filter(|(after, before)| after.version() != before.version())
        .map(|(after, _)| after.name().to_string())
        .collect();
    assert_eq!(moved, ["kubernetes://www"]);
    // The lane comes to what a full translation comes to.
    let oracle = full(&world, &gateway("edge"), None);
    let versions =
        |compiled: &Compiled| -> Vec<_> { secrets(compiled).iter().map(Resource::version).collect() };
    assert_eq!(versions(&after), versions(&oracle));
}

/// R58: a listener that changed waits for its secrets, though they be the same, so they are another version.
#[test]
fn a_changed_listener_moves_the_secrets_that_it_refers_to() {
    let mut world = golden("tls-gateway");
    let before = full(&world, &gateway("edge"), None);
    let mut changed = (**world.gateway("edge", "a-public").unwrap()).clone();
    changed.spec.servers[1].tls.as_mut().unwrap().min_protocol_version = Some("TLSV1_3".to_owned());
    world.apply(Object::Gateway(Arc::new(changed)));
    let after = full(&world, &gateway("edge"), Some(&before));
    let moved = |name: &str| {
        let version = |compiled: &Compiled| {
            secrets(compiled).into_iter().find(|secret| &**secret.name() == name).unwrap().version()
        };
        version(&before) != version(&after)
    };
    assert!(moved("kubernetes://www") && moved("kubernetes://www-cacert"));
    let listeners = after.snapshot().collection(&ResourceType::Listener).unwrap();
    let refers = |listener: &str, secret: &str| {
        let listener = listeners.get(listener).unwrap();
        listener
            .references()
            .iter()
            .any(|reference| reference.resource_type == ResourceType::Secret && &*reference.name == secret)
    };
    assert!(refers("0.0.0.0_443", "kubernetes://www") && refers("127.0.0.1_8443", "kubernetes://api"));
    assert!(!refers("127.0.0.1_8443", "kubernetes://www"));
}

#[test]
fn only_what_an_open_server_of_the_own_namespace_names_is_given() {
    let world = golden("tls-gateway");
    let expected =
        ["api", "api-rsa", "partners-cacert", "www", "www-cacert"].map(|name| format!("kubernetes://{name}"));
    assert_eq!(names(&full(&world, &gateway("edge"), None)), expected);
    assert!(names(&full(&world, &gateway("shop"), None)).is_empty(), "its Secrets lie elsewhere");
    let unselected = Group { labels: Default::default(), ..gateway("edge") };
    assert!(names(&full(&world, &unselected, None)).is_empty(), "no Gateway selects it");
    let sidecar = ProxyKind::Sidecar { egress_port: 15001, tcp_egress: true };
    for kind in [sidecar, ProxyKind::Grpc] {
        assert!(names(&full(&world, &Group { kind, ..gateway("edge") }, None)).is_empty());
    }
    // Servers that are not opened, for another reason than their Secret, have no use for it.
    let mistakes = golden("tls-mistakes");
    assert_eq!(
        names(&full(&mistakes, &gateway("edge"), None)),
        ["kubernetes://expired", "kubernetes://good"]
    );
}

#[test]
fn a_secret_that_goes_takes_its_server_along_and_no_other() {
    let mut world = golden("tls-mistakes");
    let before = full(&world, &gateway("edge"), None);
    let touched = world.delete(&ObjectKey::new(Kind::Secret, "edge", "good"));
    assert_eq!(touched.config.len(), 1);
    let after = full(&world, &gateway("edge"), Some(&before));
    assert_eq!(names(&after), ["kubernetes://expired"]);
    assert!(after.snapshot().collection(&ResourceType::Listener).unwrap().get("0.0.0.0_443").is_some());
}

#[test]
fn a_certificate_ends_when_the_world_says_what_time_it_is() {
    let mut world = golden("tls-mistakes");
    let expired = |world: &World| {
        check(world, &Settings::default())
            .iter()
            .filter(|problem| problem.code.name() == "expired-certificate")
            .count()
    };
    world.set_time(0);
    assert_eq!(expired(&world), 0);
    world.set_time(1_900_000_000);
    assert_eq!(expired(&world), 1);
}

/// Problems, JSON and debug output: none has a word of a key, while the message itself has the key.
#[test]
fn what_people_see_has_no_word_of_a_key() {
    for name in ["tls-gateway", "tls-mistakes", "tls-streams", "tls-upstream"] {
        let world = golden(name);
        let text = std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).join("secrets.yaml"),
        );
        let text = text.unwrap();
        let keys: Vec<&str> = text
            .split("PRIVATE KEY-----\n")
            .filter(|part| part.trim_start().starts_with("MI"))
            // The public half is in the certificate as well: it ends an elliptic key, and begins one of RSA.
            .flat_map(|part| match part.lines().count() {
                0..8 => part.lines().take(2).collect::<Vec<_>>(),
                count => part.lines().take(count - 2).skip(12).collect(),
            })
            .map(str::trim)
            .filter(|line| line.len() > 30 && !line.starts_with("-----"))
            .collect();
        assert!(!keys.is_empty(), "{name} has keys");
        let compiled = full(&world, &gateway("edge"), None);
        let mut seen = format!("{world:?}{:?}", compiled.snapshot());
        let mut sent = Vec::new();
        for (resource_type, collection) in compiled.snapshot().iter() {
            for resource in collection.iter() {
                let json = any_to_json(resource_type.type_url(), &resource.body()).unwrap().to_string();
                seen.push_str(&json);
                sent.extend_from_slice(&resource.body());
            }
        }
        for problem in compiled.problems() {
            seen.push_str(&problem.to_string());
        }
        use base64::Engine;
        let encode = |line: &str| {
            // Base64 of a part of a text is that of the whole wherever both begin at a multiple of three.
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(line).chars().take(40).collect::<String>()
        };
        assert!(keys.iter().any(|line| contains(&sent, line)), "{name}: a key is sent");
        for line in keys {
            let shifted = [line, &line[1..], &line[2..]];
            assert!(!seen.contains(line), "{name}");
            assert!(!shifted.iter().any(|line| seen.contains(&encode(line))), "{name}: in base64: {line}");
        }
        assert!(seen.contains("W3JlZGFjdGVkXQ=="), "{name}: a placeholder stands for it");
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
