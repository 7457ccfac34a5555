//! The comments at the head of a golden world: who looks at it, and when.
//!
//! `# group: <kind> [as=<name>] [namespace=…] [labels=k=v,…] [locality=r/z/s] [node=…] [ask=name,…] [tcp]` names a group;
//! `# time: <seconds>` says what time it is there. Whole-system tests read golden worlds by this file as well.

// One file in two crates: what is public in one is the other's alone.
#![allow(unreachable_pub, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_compile::{DEFAULT_EGRESS_PORT, Group, Location, ProxyKind};
use pilotage_protocol::Name;

/// What the head of a golden world says.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Seconds since 1970.
    pub time: i64,
    /// Who looks at the world, at least one.
    pub viewers: Vec<Viewer>,
}

/// A group, under the name of the file that says what it is told.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub name: String,
    pub group: Group,
    pub asked: BTreeSet<Name>,
}

/// Reads the head of a world; the error says which word is not understood.
pub fn header(text: &str) -> Result<Header, String> {
    let comments = |mark: &'static str| text.lines().filter_map(move |line| line.strip_prefix(mark));
    let time =
        comments("# time: ").next().map(|time| time.parse().map_err(|error| format!("{time}: {error}")));
    let viewers = comments("# group: ").map(viewer).collect::<Result<Vec<_>, _>>()?;
    if viewers.is_empty() {
        return Err("no group is named: write `# group: sidecar` at the head".to_owned());
    }
    Ok(Header { time: time.transpose()?.unwrap_or(0), viewers })
}

fn viewer(line: &str) -> Result<Viewer, String> {
    let mut words = line.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let mut name = kind.to_owned();
    let mut namespace = "default";
    let mut labels: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    let mut tcp_egress = false;
    let mut location = Location::default();
    for word in words {
        match word.split_once('=') {
            Some(("namespace", value)) => namespace = value,
            Some(("labels", list)) => {
                for (key, value) in list.split(',').filter_map(|label| label.split_once('=')) {
                    labels.insert(key.into(), value.into());
                }
            }
            Some(("as", value)) => name = value.to_owned(),
            Some(("locality", value)) => {
                let mut parts = value.split('/').map(Arc::from);
                location.region = parts.next().unwrap_or_default();
                location.zone = parts.next().unwrap_or_default();
                location.subzone = parts.next().unwrap_or_default();
            }
            Some(("node", value)) => location.node = value.into(),
            Some(("ask", list)) => asked.extend(list.split(',').map(Name::from)),
            None if word == "tcp" => tcp_egress = true,
            _ => return Err(format!("{word:?} in {line:?} is not understood")),
        }
    }
    let kind = match kind {
        "sidecar" => ProxyKind::Sidecar { egress_port: DEFAULT_EGRESS_PORT, tcp_egress },
        "intercepted" => ProxyKind::Intercepted,
        "gateway" => ProxyKind::Gateway,
        "grpc" => ProxyKind::Grpc,
        other => return Err(format!("{other:?} is no kind of proxy")),
    };
    Ok(Viewer { name, group: Group { kind, namespace: namespace.into(), labels, location }, asked })
}
