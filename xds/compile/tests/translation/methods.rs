//! What the setting says of methods that nothing describes, beside what descriptors and annotations say of others.

use std::collections::BTreeSet;
use std::path::Path;

use pilotage_compile::{Group, ProxyKind, Retries, Settings, UnknownMethods, compile};
use pilotage_protocol::ResourceType;
use pilotage_protos::json::any_to_json;
use pilotage_watcher::{Code, Severity};
use serde_json::Value;

use crate::world::read;

/// The routes of a host of the golden world of methods, each as its path and what it is retried on, and what is said of
/// retries that may repeat.
fn routes(unknown_methods: UnknownMethods, host: &str) -> (Vec<(String, String)>, Vec<Severity>) {
    let world = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/methods"));
    let kind = ProxyKind::Sidecar { egress_port: 15001, tcp_egress: false };
    let group =
        Group { kind, namespace: "shop".into(), labels: Default::default(), location: Default::default() };
    let settings = Settings { retries: Retries { unknown_methods }, ..Settings::default() };
    let compiled = compile(&world, &group, &settings, &BTreeSet::new(), None);
    let tables = compiled.snapshot().collection(&ResourceType::Route).unwrap();
    let table = any_to_json(ResourceType::Route.type_url(), &tables.iter().next().unwrap().body()).unwrap();
    let hosts = table["virtual_hosts"].as_array().unwrap();
    let found = hosts.iter().find(|found| found["name"] == format!("{host}:50051")).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let route = |route: &Value| {
        let path = ["path", "prefix"].map(|key| text(&route["match"][key])).concat();
        (
            path + &text(&route["match"]["safe_regex"]["regex"]),
            text(&route["route"]["retry_policy"]["retry_on"]),
        )
    };
    let said = compiled.problems().filter(|problem| problem.code == Code::RetryMayRepeat);
    (found["routes"].as_array().unwrap().iter().map(route).collect(), said.map(|it| it.severity).collect())
}

#[test]
fn the_setting_decides_for_methods_that_nothing_describes_and_for_no_others() {
    let pair = |path: &str, on: &str| (path.to_owned(), on.to_owned());
    let (restricted, said) = routes(UnknownMethods::Restrict, "cart.shop.example");
    assert!(restricted.contains(&pair("/shop.Checkout/GetCart", "unavailable")), "{restricted:?}");
    assert!(restricted.contains(&pair("/shop.Checkout/GetKart", "")), "{restricted:?}");
    // The last rule is for everything: what is known to bear it comes first, and the rest is not retried.
    let of_all = restricted.len() - 2;
    let known = "/shop\\.Checkout/(GetCart|ListOrders|SetAddress)";
    assert_eq!(restricted[of_all..], [pair(known, "unavailable"), pair("/", "")]);
    assert!(said.contains(&Severity::Info), "{said:?}");

    let (allowed, said) = routes(UnknownMethods::Allow, "cart.shop.example");
    assert!(allowed.contains(&pair("/shop.Checkout/GetKart", "unavailable")), "{allowed:?}");
    assert!(allowed.contains(&pair("/shop.Checkout/PlaceOrder", "refused-stream")), "{allowed:?}");
    assert_eq!(said.len(), 1, "what a descriptor forbids is told even so");

    let (declared, _) = routes(UnknownMethods::Restrict, "declared.shop.example");
    assert!(declared.contains(&pair("/stock.Levels/", "unavailable")), "{declared:?}");
}
