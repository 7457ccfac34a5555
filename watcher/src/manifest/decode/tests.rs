#![allow(clippy::unwrap_used)]

use super::*;
use crate::manifest::yaml;
use crate::resources::VirtualService;

fn problems(text: &str) -> Vec<String> {
    let root = yaml::parse(text).unwrap();
    let (_, problems) = decode::<VirtualService>(&root);
    problems
        .into_iter()
        .map(|(mark, problem)| format!("{}:{} {} {}", mark.line, mark.column, problem.code, problem.path))
        .collect()
}

#[test]
fn every_bad_field_is_told_and_the_others_are_kept() {
    let text = "\
hosts: shop
gatways: [mesh]
http:
- timeout: soon
  retries: {attempts: many, perTryTimeout: 2s}
- route:
  - weight: '5'
    destination: {host: 7, subset: on}
";
    assert_eq!(
        problems(text),
        [
            "1:8 wrong-type hosts",
            "4:12 invalid-value http[0].timeout",
            "5:23 wrong-type http[0].retries.attempts",
            "7:13 wrong-type http[1].route[0].weight",
            "8:25 wrong-type http[1].route[0].destination.host",
            "8:36 wrong-type http[1].route[0].destination.subset",
            "2:1 unknown-field gatways",
        ]
    );
    let (value, _) = decode::<VirtualService>(&yaml::parse(text).unwrap());
    let value = value.unwrap();
    assert_eq!(value.http[0].retries.as_ref().unwrap().per_try_timeout, Some("2s".parse().unwrap()));
    assert_eq!(value.http[1].route.len(), 1);
}

#[test]
fn null_is_not_there() {
    assert_eq!(problems("hosts:\nhttp: null\n"), Vec::<String>::new());
    assert_eq!(problems("hosts: [a, ~]\n"), ["1:12 wrong-type hosts[1]"]);
}

#[test]
fn a_document_full_of_faults_ends() {
    let text = format!("hosts:\n{}", "- 1\n".repeat(100));
    assert_eq!(problems(&text).len(), MAX_FAILURES);
}
