//! One clear line for each way in which a file can be wrong, while the rest is served.

use super::read;

/// The only problem of a document, which follows a good one in its file; asserts that the good one is served.
fn told(text: &str) -> String {
    let good = "apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {ports: [{port: 80}]}\n---\n";
    let read = read(&[("f.yaml", &format!("{good}{text}"))]);
    assert_eq!(read.served, ["Service default/good"], "{:#?}", read.problems);
    assert_eq!(read.problems.len(), 1, "{:#?}", read.problems);
    read.problems.into_iter().next().unwrap()
}

fn rule(spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec:\n{spec}")
}

#[test]
fn text_that_is_not_yaml() {
    assert_eq!(
        told("a: [1\nb: 2\n"),
        "f.yaml:7:2: error[syntax]: not YAML: illegal placement of ':' indicator \
         (compare the indentation with the lines above)"
    );
    assert_eq!(
        told("kind: Service\nmetadata:\n\tname: x\n"),
        "f.yaml:8:1: error[tab-indent]: a tab in the indentation; YAML takes spaces only \
         (replace each tab at the start of a line with two spaces)"
    );
    assert_eq!(
        told("kind: Service\nmetadata:\n  name: a\n  name: b\n"),
        "f.yaml:9:3: error[duplicate-key]: `name` stands twice in one mapping \
         (remove one, or indent it under the field that it belongs to)"
    );
}

#[test]
fn aliases_that_explode() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let problem = told(&bomb);
    assert!(
        problem.starts_with("f.yaml:11:20: error[anchor-bomb]: the document expands to more"),
        "{problem}"
    );
}

#[test]
fn documents_that_are_no_objects() {
    assert_eq!(
        told("kind: Service\nmetadata: {name: x}\n"),
        "f.yaml:6:1: error[not-an-object]: the document has no `apiVersion` (write `apiVersion: v1`)"
    );
    assert_eq!(
        told("replicas: 2\n"),
        "f.yaml:6:1: error[not-an-object]: the document has no `kind` \
         (keep files that are no manifests outside of the folder)"
    );
    assert_eq!(
        told("- 1\n"),
        "f.yaml:6:1: error[not-an-object]: a manifest is a mapping with `apiVersion` and `kind`; this is a list"
    );
    assert_eq!(
        told("apiVersion: v1\nkind: Service\nmetadata: {labels: {a: b}}\n"),
        "f.yaml:8:1: error[not-an-object]: the object has no name (write `metadata.name`)"
    );
    assert_eq!(
        told("apiVersion: v1\nkind: Service\nmetadata: {name: 7}\n"),
        "f.yaml:8:18: error[not-an-object]: the name must be a string; this is the number 7 (put it in quotes)"
    );
    assert_eq!(
        told("apiVersion: v1\nkind: Service\nmetadata: {name: Check_Out}\nspec: {ports: [{port: 80}]}\n"),
        "f.yaml:8:18: error[invalid-value]: Service default/Check_Out: metadata.name: \
         \"Check_Out\" is not a name that Kubernetes accepts \
         (use lower-case letters, digits and `-`, with a letter or digit at both ends)"
    );
}

#[test]
fn kinds_that_are_not_served() {
    assert_eq!(
        told("apiVersion: networking.istio.io/v1\nkind: EnvoyFilter\nmetadata: {name: x}\n"),
        "f.yaml:7:7: warning[not-supported]: EnvoyFilter of networking.istio.io is not served; the object has no effect \
         (remove it, or expect nothing of it)"
    );
    assert_eq!(
        told("apiVersion: networking.istio.io/v1\nkind: VirtualServices\nmetadata: {name: x}\n"),
        "f.yaml:7:7: error[unknown-kind]: kind: there is no kind \"VirtualServices\" in the group networking.istio.io \
         (did you mean VirtualService?)"
    );
    let read = read(&[(
        "f.yaml",
        "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: apps/v1\nkind: Deployment\n---\napiVersion: v1\nkind: Namespace\n",
    )]);
    let passed_over: Vec<_> =
        read.reading.stats.passed_over.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
    assert_eq!(passed_over, ["ConfigMap 1", "Deployment 1", "Namespace 1"]);
    assert_eq!((read.reading.stats.files, read.reading.stats.documents), (1, 3));
    assert_eq!(read.problems.len(), 1, "only that the folder is empty: {:?}", read.problems);
}

#[test]
fn fields_of_the_wrong_type() {
    assert_eq!(
        told(&rule("  host: shop\n  subsets:\n  - name: v1\n    labels: {version: 1}\n")),
        "f.yaml:13:23: error[wrong-type]: DestinationRule default/r: spec.subsets[0].labels.version: \
         expected a string, found the number 1 (put it in quotes: \"1\")"
    );
    assert_eq!(
        told(&rule("  host: shop\n  subsets:\n    name: v1\n")),
        "f.yaml:11:3: error[wrong-type]: DestinationRule default/r: spec.subsets: expected a list, found a mapping \
         (put `- ` before the first key and indent the others to it)"
    );
    let trap = told(&rule("  host: shop\n  subsets:\n  - name: v1\n    labels: {canary: on}\n"));
    assert!(
        trap.contains("13:22: error[wrong-type]")
            && trap.contains("found the boolean true (put it in quotes")
    );
    let port = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: '80'}]}\n";
    assert_eq!(
        told(port),
        "f.yaml:9:23: error[wrong-type]: Service default/x: spec.ports[0].port: \
         expected a whole number, found the string \"80\" (remove the quotes)"
    );
}

#[test]
fn values_out_of_range() {
    assert_eq!(
        told("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 70000}]}\n"),
        "f.yaml:9:23: error[invalid-value]: Service default/x: spec.ports[0].port: 70000 is not a port \
         (ports go from 1 to 65535)"
    );
    assert_eq!(
        told(&rule("  host: shop\n  trafficPolicy: {loadBalancer: {simple: ROUND_ROBBIN}}\n")),
        "f.yaml:11:42: error[invalid-value]: DestinationRule default/r: spec.trafficPolicy.loadBalancer.simple: \
         \"ROUND_ROBBIN\" is not one of the choices (did you mean ROUND_ROBIN?)"
    );
    assert_eq!(
        told(&rule("  host: shop\n  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}\n")),
        "f.yaml:11:58: error[invalid-value]: DestinationRule default/r: \
         spec.trafficPolicy.connectionPool.tcp.connectTimeout: the duration is shorter than 1 ms \
         (write one such as \"250ms\" or \"2s\")"
    );
}

#[test]
fn a_field_that_is_not_known_is_ignored_and_told() {
    let text = rule("  host: shop\n  trafficPolicy:\n    connectionPools: {}\n");
    let read = read(&[("f.yaml", &text)]);
    assert_eq!(read.served, ["DestinationRule default/r"]);
    assert_eq!(
        read.problems,
        [
            "f.yaml:7:5: warning[unknown-field]: DestinationRule default/r: spec.trafficPolicy.connectionPools: \
          there is no field `connectionPools` here; it is ignored (did you mean `connectionPool`?)"
        ]
    );
}

#[test]
fn a_file_that_is_too_large_or_no_text() {
    let huge = format!("# {}\n", "x".repeat(16 * 1024 * 1024));
    let read = read(&[("huge.yaml", &huge)]);
    assert_eq!(
        read.problems[0],
        "huge.yaml:1:1: error[too-large]: the file is larger than 16777216 bytes (split it into several files)"
    );
}

#[test]
fn json_says_the_same() {
    let read = read(&[
        (
            "a.json",
            "{\"apiVersion\": \"v1\",\n \"kind\": \"Service\",\n \"metadata\": {\"name\": \"a\"},\n \"spec\": {\"ports\": [{\"port\": true}]}}",
        ),
        ("b.json", "{\"apiVersion\": \"v1\",\n}"),
        ("c.json", "{\"kind\": \"a\",\n \"kind\": \"b\"}"),
        (
            "d.json",
            "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"d\\u0065\"},\"spec\":{\"ports\":[{\"port\":80}]}}",
        ),
    ]);
    assert_eq!(read.served, ["Service default/de"]);
    assert_eq!(
        read.problems,
        [
            "a.json:4:30: error[wrong-type]: Service default/a: spec.ports[0].port: \
             expected a whole number, found the boolean true",
            "b.json:2:1: error[syntax]: not JSON: key must be a string",
            "c.json:2:2: error[duplicate-key]: `kind` stands twice in one object (remove one of the two)",
        ]
    );
}

#[test]
fn problems_past_the_hundredth_are_counted() {
    let fields: String = (0..250).map(|index| format!("  f{index}: 1\n")).collect();
    let read = read(&[("f.yaml", &rule(&format!("  host: shop\n{fields}")))]);
    assert_eq!(read.served, ["DestinationRule default/r"]);
    assert_eq!(read.problems.len(), 101);
    assert!(read.problems[100].starts_with("f.yaml:106:3: warning[unknown-field]"), "{}", read.problems[100]);
    assert!(read.problems[100].contains("150 more like this are not listed"), "{}", read.problems[100]);
}
