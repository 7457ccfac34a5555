//! Manifests as they are copied from a web page: once as they were meant, once with their indentation lost.

use super::read;

/// The faults of each fixture that a file alone can show: line, column, code and what to do.
const FIXTURES: &[(&str, &str, &[&str])] = &[
    ("1-service-grpc", "Service shop/checkout", &[]),
    (
        "2-service-http2",
        "Service shop/catalogue",
        &["13:14 info[protocol-alias] write `kubernetes.io/h2c` to be understood by both"],
    ),
    ("3-virtualservice-canary", "VirtualService shop/checkout-canary", &[]),
    ("4-destinationrule-subsets", "DestinationRule shop/checkout-versions", &[]),
    (
        "5-virtualservice-retries",
        "VirtualService shop/checkout-retries",
        &[
            "12:7 error[unknown-host] did you mean checkout.shop.svc.cluster.local?",
            "18:10 warning[retry-never-fires] add `reset` if a slow try should be repeated",
        ],
    ),
    (
        "6-destinationrule-pool",
        "DestinationRule shop/checkout-pool",
        &["1:13 error[unknown-group] did you mean networking.istio.io/v1?"],
    ),
    (
        "7-gateway-grpc",
        "Gateway shop/edge",
        &["13:11 warning[tls-on-plaintext] write `protocol: HTTPS`; gRPC over TLS is HTTPS here"],
    ),
    ("8-virtualservice-ingress", "VirtualService shop/checkout-ingress", &[]),
];

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn flatten(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_start())).collect()
}

/// `file:line:column: severity[code]: object: …(hint)` to `line:column severity[code] hint`.
fn brief(problem: &str, object: &str) -> String {
    let mut parts = problem.splitn(5, ": ");
    let (place, code) = (parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(parts.next(), Some(object), "{problem}");
    let hint = problem.rsplit_once(" (").unwrap().1.trim_end_matches(')');
    format!("{} {code} {hint}", place.split_once(':').unwrap().1)
}

#[test]
fn without_indentation_every_fault_is_told_at_once() {
    for (name, object, faults) in FIXTURES {
        let flat = flatten(&fixture(name));
        let read = read(&[("ok.yaml", &fixture("1-service-grpc")), ("pasted.yaml", &flat)]);
        assert_eq!(
            read.served,
            ["Service shop/checkout"],
            "{name}: the other file is served, this one is not"
        );
        let told: Vec<_> = read.problems.iter().map(|problem| brief(problem, object)).collect();
        let lost = "4:1 error[lost-indentation] indent the fields of `metadata:` by two spaces, \
                    and the fields of each mapping below it by two more";
        let mut expected: Vec<_> = faults.iter().map(ToString::to_string).chain([lost.to_owned()]).collect();
        expected.sort_by_key(|fault| fault.split(':').next().unwrap().parse::<u32>().unwrap());
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn with_indentation_all_but_the_wrong_group_are_served() {
    for (name, object, _) in FIXTURES {
        let read = read(&[("meant.yaml", &fixture(name))]);
        if *name == "6-destinationrule-pool" {
            assert_eq!(
                read.problems[0],
                "meant.yaml:1:13: error[unknown-group]: DestinationRule shop/checkout-pool: apiVersion: \
                 unknown group \"networking.io\" in \"networking.io/v1\" (did you mean networking.istio.io/v1?)"
            );
            assert!(read.served.is_empty());
        } else {
            assert_eq!((read.served, read.problems), (vec![(*object).to_owned()], Vec::new()), "{name}");
        }
    }
}

#[test]
fn a_flat_document_hurts_no_other_in_its_file() {
    let text = format!("{}---\n{}", flatten(&fixture("3-virtualservice-canary")), fixture("1-service-grpc"));
    let read = read(&[("both.yaml", &text)]);
    assert_eq!(read.served, ["Service shop/checkout"]);
    assert_eq!(read.problems.len(), 1);
    assert!(
        read.problems[0]
            .starts_with("both.yaml:4:1: error[lost-indentation]: VirtualService shop/checkout-canary")
    );
}
