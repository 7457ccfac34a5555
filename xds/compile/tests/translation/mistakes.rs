//! What nobody should write: each gets its problem, at its place, and what is beside it is translated all the same.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pilotage_compile::{Compiled, Group, Location, ProxyKind, Settings, check, compile};
use pilotage_protocol::ResourceType;
use pilotage_protos::json::any_to_json;
use pilotage_watcher::{Problem, World};

use crate::world::written_with_mistakes;

/// A host that has nothing to do with the mistake.
const NEIGHBOUR: &str = r"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: neighbour, namespace: shop}
spec:
  hosts: [neighbour.example, web.example]
  resolution: STATIC
  ports: [{name: http, number: 80, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}]
";

/// A world as it is read, and what the reader says of it.
fn read(text: &str) -> (World, Vec<Problem>) {
    written_with_mistakes(&format!("{NEIGHBOUR}---\n{text}"))
}

/// What a sidecar of the namespace is told.
fn compiled(world: &World) -> Compiled {
    let kind = ProxyKind::Sidecar { egress_port: 15001, tcp_egress: true };
    let labels = Default::default();
    let group = Group { kind, namespace: "shop".into(), labels, location: Location::default() };
    compile(world, &group, &Settings::default(), &BTreeSet::new(), None)
}

/// The names of the virtual hosts that it is told of.
fn virtual_hosts(compiled: &Compiled) -> BTreeSet<String> {
    let routes = compiled.snapshot().collection(&ResourceType::Route).unwrap();
    let tables =
        routes.iter().map(|table| any_to_json(ResourceType::Route.type_url(), &table.body()).unwrap());
    let names = tables.flat_map(|table| {
        let hosts = table["virtual_hosts"].as_array().unwrap().clone();
        hosts.into_iter().map(|host| host["name"].as_str().unwrap().to_owned())
    });
    names.collect()
}

fn virtual_service(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: bad, namespace: shop}}\nspec: {spec}\n"
    )
}

#[test]
fn every_mistake_has_its_problem_and_no_neighbour_suffers() {
    let to = "route: [{destination: {host: web.example}}]";
    let delegate = |name: &str, to: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{http: [{{delegate: {{name: {to}}}}}]}}\n"
        )
    };
    let circle = virtual_service("{hosts: [web.example], http: [{delegate: {name: one}}]}")
        + &delegate("one", "two")
        + &delegate("two", "one");
    let cases = [
        (
            "a bad expression",
            virtual_service(&format!(
                "{{hosts: [web.example], http: [{{match: [{{uri: {{regex: '('}}}}], {to}}}]}}"
            )),
            "invalid-value",
            "spec.http[0].match[0].uri.regex",
        ),
        (
            "an impossible combination",
            virtual_service(&format!("{{hosts: [web.example], http: [{{{to}, redirect: {{uri: /}}}}]}}")),
            "conflicting-fields",
            "spec.http[0]",
        ),
        (
            "weights that add up to nothing",
            virtual_service(
                "{hosts: [web.example], http: [{route: [{destination: {host: web.example}, weight: 0}, \
                 {destination: {host: neighbour.example}, weight: 0}]}]}",
            ),
            "invalid-value",
            "spec.http[0].route",
        ),
        (
            "weights that add up to more than there is",
            virtual_service(
                "{hosts: [web.example], http: [{route: [{destination: {host: web.example}, weight: 4294967295}, \
                 {destination: {host: neighbour.example}, weight: 4294967295}]}]}",
            ),
            "invalid-value",
            "spec.http[0].route",
        ),
        ("delegates in a circle", circle, "conflicting-fields", "spec.http[0].delegate"),
        (
            "a host with a control character",
            virtual_service(&format!("{{hosts: [\"web\\u0007.example\"], http: [{{{to}}}]}}")),
            "invalid-value",
            "spec.hosts[0]",
        ),
        (
            "port 0",
            virtual_service(
                "{hosts: [web.example], http: [{route: [{destination: {host: web.example, port: {number: 0}}}]}]}",
            ),
            "invalid-value",
            "spec.http[0].route[0].destination.port.number",
        ),
        (
            "a timeout of a billion years",
            virtual_service(&format!("{{hosts: [web.example], http: [{{timeout: 8766000000000h, {to}}}]}}")),
            "invalid-value",
            "spec.http[0].timeout",
        ),
    ];
    for (name, text, code, path) in cases {
        let (world, mut problems) = read(&text);
        problems.extend(check(&world, &Settings::default()));
        let is_it = |problem: &&Problem| problem.code.name() == code && problem.path == path;
        assert!(problems.iter().any(|problem| is_it(&problem)), "{name}: {problems:#?}");
        let hosts = virtual_hosts(&compiled(&world));
        assert!(hosts.contains("neighbour.example:80"), "{name}: {hosts:?}");
    }
}

/// `PILOTAGE_HOSTS` sets another number, such as 100,000, which unoptimised takes minutes.
#[test]
fn thousands_of_hosts_in_one_object_are_told_of_and_served() {
    let count = std::env::var("PILOTAGE_HOSTS").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let hosts: Vec<String> = (0..count).map(|index| format!("host-{index}.example")).collect();
    let text = virtual_service(&format!(
        "{{hosts: [{}], http: [{{route: [{{destination: {{host: web.example}}}}]}}]}}",
        hosts.join(", ")
    ));
    let started = Instant::now();
    let (world, problems) = read(&text);
    assert!(problems.is_empty(), "{:#?}", problems.first());
    let compiled = compiled(&world);
    let codes: Vec<&str> = compiled.problems().map(|problem| problem.code.name()).collect();
    assert_eq!(codes, ["too-large"]);
    let found = virtual_hosts(&compiled);
    assert_eq!(found.len(), count + 3, "each host, two of Services, and the one for all others");
    // Far more than it takes, even unoptimised and beside other tests; a square of the hosts would take hours.
    assert!(started.elapsed() < Duration::from_secs(240), "{:?}", started.elapsed());
}
