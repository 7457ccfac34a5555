//! `pilotage render`: what a proxy would be sent, without one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_compile::{Group, LabelKeys, compile};
use pilotage_protocol::Name;
use pilotage_protos::discovery::Node;
use pilotage_protos::envoy::{Struct, Value, core, protobuf::value};
use pilotage_protos::json::any_to_json;
use pilotage_watcher::World;
use pilotage_watcher::directory::read_directory;
use serde_json::json;

use super::{Format, check, print, settings_file};
use crate::bootstrap::{Locality, label, locality};
use crate::pipeline::unix_time;

/// Print what a proxy of some kind would be sent, from a folder of manifests
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pilotage render manifests --kind sidecar --namespace shop
  pilotage render manifests --kind gateway --label istio=ingressgateway -o json
  pilotage render manifests --kind grpc --name checkout.shop.svc.cluster.local:50051")]
pub(super) struct Args {
    /// The folder
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The kind of proxy
    #[arg(long, value_enum)]
    kind: Kind,
    /// The namespace of the workload
    #[arg(long, value_name = "NS", default_value = "default")]
    namespace: String,
    /// A label of the workload; may be given several times
    #[arg(long = "label", visible_alias = "labels", value_name = "KEY=VALUE", value_parser = label, value_delimiter = ',')]
    labels: Vec<(String, String)>,
    /// Where the workload runs, as region/zone/subzone
    #[arg(long, value_name = "R/Z/S", value_parser = locality)]
    locality: Option<Locality>,
    /// grpc: a listener that the client asks for, as host:port; may be given several times
    #[arg(long = "name", value_name = "HOST:PORT")]
    names: Vec<String>,
    /// sidecar: also listen at the port of every Service port that is opaque TCP
    #[arg(long)]
    tcp_egress: bool,
    /// sidecar: iptables redirect the workload's connections to it
    #[arg(long, conflicts_with = "tcp_egress")]
    intercepted: bool,
    /// A settings file; its `translation` part applies
    #[arg(long, value_name = "FILE", env = "PILOTAGE_CONFIG")]
    config: Option<PathBuf>,
    /// How the resources are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// An Envoy beside a workload
    Sidecar,
    /// An Envoy at the edge
    Gateway,
    /// A proxyless gRPC client
    Grpc,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = settings_file(args.config.as_deref())?;
    let reading = read_directory(&args.directory)?;
    let mut world = World::default();
    world.set_time(unix_time());
    let problems = check::apply(reading.changes, &mut world);
    for mut problem in problems {
        reading.positions.place(&mut problem);
        eprintln!("{problem}");
    }
    let group = Group::of(&node(args), &LabelKeys::of(&world, &settings.translation));
    let names: BTreeSet<Name> = args.names.iter().map(|name| Name::from(name.as_str())).collect();
    let compiled = compile(&world, &group, &settings.translation, &names, None);
    for problem in compiled.problems() {
        let mut problem = problem.clone();
        reading.positions.place(&mut problem);
        eprintln!("{problem}");
    }
    let mut document = serde_json::Map::new();
    for (resource_type, collection) in compiled.snapshot().iter() {
        let mut resources = Vec::new();
        for resource in collection.iter() {
            let body = any_to_json(resource_type.type_url(), &resource.body())?;
            resources.push(json!({"version": resource.version().to_string(), "resource": body}));
        }
        document.insert(resource_type.to_string(), json!(resources));
    }
    print(&document.into(), args.output)?;
    Ok(ExitCode::SUCCESS)
}

/// The node of a proxy whose bootstrap was written with the same arguments.
fn node(args: &Args) -> Node {
    let text = |text: &str| Value { kind: Some(value::Kind::StringValue(text.to_owned())) };
    let object = |fields: Vec<(String, Value)>| Struct { fields: fields.into_iter().collect() };
    let labels = args.labels.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let labels = Value { kind: Some(value::Kind::StructValue(object(labels))) };
    let kind = match args.kind {
        Kind::Sidecar => "sidecar",
        Kind::Gateway => "gateway",
        Kind::Grpc => "grpc",
    };
    let mut fields = vec![
        ("PILOTAGE_KIND".to_owned(), text(kind)),
        ("NAMESPACE".to_owned(), text(&args.namespace)),
        ("LABELS".to_owned(), labels),
    ];
    if args.tcp_egress {
        fields.push(("TCP_EGRESS".to_owned(), text("true")));
    }
    if args.intercepted {
        fields.push(("INTERCEPTION_MODE".to_owned(), text("REDIRECT")));
    }
    let locality = args.locality.as_ref().map(|Locality([region, zone, sub_zone])| core::Locality {
        region: region.clone(),
        zone: zone.clone(),
        sub_zone: sub_zone.clone(),
    });
    Node { id: "render".to_owned(), metadata: Some(object(fields)), locality, ..Node::default() }
}
