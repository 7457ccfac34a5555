#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_document_that_did_not_change_is_not_read_again() {
    let service = |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
    let first = read(&format!("{}---\n{}", service("a"), service("b")), Format::Yaml, &[]);
    let second = read(&format!("# moved\n---\n{}---\n{}", service("c"), service("b")), Format::Yaml, &first);
    assert_eq!(second.len(), 2);
    assert!(!Arc::ptr_eq(&first[0].reading, &second[0].reading));
    assert!(Arc::ptr_eq(&first[1].reading, &second[1].reading));
    assert_eq!((first[1].first_line, second[1].first_line), (4, 6));
}

#[test]
fn suggests_only_what_is_near() {
    let names = ["VirtualService", "Gateway", "tls"];
    assert_eq!(nearest("virtualservices", names), Some("VirtualService"));
    assert_eq!(nearest("Gatway", names), Some("Gateway"));
    assert_eq!(nearest("tsl", names), Some("tls"));
    assert_eq!(nearest("Ingress", names), None);
    assert_eq!(nearest("", names), None);
}
