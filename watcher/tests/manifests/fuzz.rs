//! No text is too strange: it is read or refused, and nothing panics.

use proptest::prelude::*;

use super::read;

/// Pieces from which broken manifests are put together.
const PIECES: &[&str] = &[
    "apiVersion: ",
    "kind: ",
    "metadata:",
    "spec:",
    "name: ",
    "namespace: ",
    "items:",
    "subsets:",
    "ports:",
    "endpoints:",
    "v1",
    "networking.istio.io/v1",
    "discovery.k8s.io/v1",
    "networking.io/v1",
    "Service",
    "Endpoints",
    "EndpointSlice",
    "Pod",
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "List",
    "PodList",
    "\n",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "- ",
    "\t",
    "\r\n",
    "---\n",
    "\n---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ": ",
    ":",
    "\"",
    "'",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!x ",
    "# ",
    "%YAML 1.2\n",
    "null",
    "~",
    "on",
    "80",
    "-1",
    "99999999999999999999",
    "1e400",
    ".nan",
    "2s",
    "hosts:",
    "http:",
    "route:",
    "destination:",
    "host: ",
    "port: ",
    "protocol: GRPC",
    "tls:",
    "perTryTimeout: 1s",
    "retryOn: ",
    "\u{feff}",
    "\u{0}",
    "é",
    "😀",
    "\u{2028}",
    "\\u0000",
];

/// A good manifest of each kind, to be cut and spliced.
const GOOD: &[&str] = &[
    include_str!("../fixtures/1-service-grpc.yaml"),
    include_str!("../fixtures/4-destinationrule-subsets.yaml"),
    include_str!("../fixtures/5-virtualservice-retries.yaml"),
    include_str!("../fixtures/7-gateway-grpc.yaml"),
];

fn survives(text: &str) {
    let read = read(&[("f.yaml", text), ("g.json", text)]);
    for problem in &read.problems {
        assert!(!problem.contains(char::is_control), "one line for each problem: {problem:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn pieces_of_manifests(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        survives(&pieces.concat());
    }

    #[test]
    fn manifests_with_something_put_in(
        good in prop::sample::select(GOOD),
        at in any::<prop::sample::Index>(),
        gone in 0usize..40,
        piece in prop::sample::select(PIECES),
    ) {
        let start = at.index(good.len());
        let end = (start + gone).min(good.len());
        survives(&format!("{}{piece}{}", &good[..start], &good[end..]));
    }
}
