//! The figures of one server on one API server: how soon a change of it is on a stream, and what a large cluster costs.
//!
//! `cargo bench -p pilotage-tests --bench cluster` measures the release build and prints a table; nothing here passes or
//! fails by time. The API server is a real one, on the same machine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use kube::api::Patch;
use pilotage_protos::discovery::DeltaDiscoveryRequest;
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, OUR_CRDS, Options, apply_object, create_crds, istio_crds, resource,
};
use pilotage_tests::{Asker, Told, pilotage};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

const CHANGES: usize = 1_000;
const CHANGES_A_SECOND: u64 = 100;
const WRITERS: usize = 32;
const NODES: usize = 100;
/// Services in the large part, unless `-- --services N` says another number.
const LARGE: usize = 10_000;

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "ports": [{"name": "grpc", "port": 80, "appProtocol": "grpc"}]},
    })
}

/// A slice of ten endpoints, of which the first has this address; as a controller writes them, with Pods and Nodes.
fn slice(name: &str, first: &str, seed: usize) -> Value {
    let rest = (1..10).map(|host| format!("10.{}.{}.{host}", 64 + seed / 256 % 64, seed % 256));
    let endpoint = |(index, address): (usize, String)| {
        json!({
            "addresses": [address], "zone": "zone-a", "nodeName": format!("node-{}", (seed + index) % NODES),
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "demo", "name": pod_name(name, index)},
        })
    };
    let endpoints: Vec<Value> =
        std::iter::once(first.to_owned()).chain(rest).enumerate().map(endpoint).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"name": "grpc", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    })
}

/// As a ReplicaSet names its Pods.
fn pod_name(service: &str, index: usize) -> String {
    format!("{service}-7d4f9c6b5-{index:05}")
}

/// A Pod as a kubelet has it: with the labels that are usual, a place, and an address.
async fn write_pod(client: &Client, service: &str, seed: usize, index: usize) -> Result<()> {
    let name = pod_name(service, index);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {
            "app.kubernetes.io/name": service, "app.kubernetes.io/version": "1.4.2", "pod-template-hash": "7d4f9c6b5",
        }},
        "spec": {
            "nodeName": format!("node-{}", (seed + index) % NODES),
            "containers": [{"name": "app", "image": "example.com/app:1.4.2"}],
        },
    });
    let api = resource(client, "v1", "Pod", Some("demo"))?;
    api.create(&Default::default(), &serde_json::from_value(pod)?).await?;
    let address = format!("10.{}.{}.{index}", 64 + seed / 256 % 64, seed % 256);
    let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    api.patch_status(&name, &Default::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn write(client: &Client, services: std::ops::Range<usize>) -> Result<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, services) = (client.clone(), services.clone());
        writers.spawn(async move {
            for index in services.skip(writer).step_by(WRITERS) {
                let name = format!("echo-{index}");
                apply_object(&client, Some("demo"), &service(&name)).await?;
                apply_object(&client, Some("demo"), &slice(&name, "10.1.1.1", index)).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// The ten Pods of each of some Services.
async fn write_pods(client: &Client, services: std::ops::Range<usize>) -> Result<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, services) = (client.clone(), services.clone());
        writers.spawn(async move {
            for seed in services.skip(writer).step_by(WRITERS) {
                for index in 0..10 {
                    write_pod(&client, &format!("echo-{seed}"), seed, index).await?;
                }
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

struct Server {
    child: Child,
    xds: SocketAddr,
    ready: Duration,
}

async fn start(kubeconfig: &Path) -> Result<Server> {
    let started = Instant::now();
    let mut child = Command::new(pilotage()?)
        .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn", "--kubernetes", "--kubeconfig"])
        .arg(kubeconfig)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut out = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    let line = out.next_line().await?.context("the server ended")?;
    let ready = started.elapsed();
    let told: Value = serde_json::from_str(&line)?;
    Ok(Server { child, xds: told["xds"].as_str().context("an address")?.parse()?, ready })
}

/// Resident memory of the server, now and at its peak, in bytes.
fn resident(server: &Server) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id().context("it runs")?))?;
    let of = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a size")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}

/// Time of the processor that the server has used.
fn cpu(server: &Server) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id().context("it runs")?))?;
    let after_name = stat.rsplit_once(')').context("a name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // utime and stime, in hundredths of a second.
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Subscribes to all endpoints, and takes in the first answer.
async fn subscribe(told: &mut Told, clusters: Vec<String>) -> Result<()> {
    let ack = DeltaDiscoveryRequest {
        type_url: told.first.type_url.clone(),
        response_nonce: told.first.nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    };
    told.requests.send(ack).await?;
    let wanted = clusters.len();
    let subscription = DeltaDiscoveryRequest {
        type_url: ENDPOINTS.to_owned(),
        resource_names_subscribe: clusters,
        ..DeltaDiscoveryRequest::default()
    };
    told.requests.send(subscription).await?;
    let mut seen = 0;
    while seen < wanted {
        seen += next(told).await?.len();
    }
    Ok(())
}

/// The endpoints of the next response, which is acknowledged.
async fn next(told: &mut Told) -> Result<Vec<Vec<u8>>> {
    let response = told.next.message().await?.context("the stream ends")?;
    let ack = DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce,
        ..DeltaDiscoveryRequest::default()
    };
    told.requests.send(ack).await?;
    let of_endpoints = response.type_url == ENDPOINTS;
    let bodies =
        response.resources.into_iter().filter_map(|resource| Some(resource.resource?.value.to_vec()));
    Ok(if of_endpoints { bodies.collect() } else { Vec::new() })
}

/// The address that a change put in, if the body has one.
fn marked(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let at = text.find("10.200.")?;
    Some(text[at..].chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect())
}

fn row(what: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<52} {:>8.1} ms {:>8.1} ms {:>8.1} ms", at(0.0), at(0.5), at(0.99));
}

/// Changes at a steady pace, each timed from the API server's answer to the writer to its arrival on the stream.
async fn changes(client: &Client, told: &mut Told, services: usize) -> Result<Vec<Duration>> {
    let (written, mut writes) = tokio::sync::mpsc::unbounded_channel();
    let writer = client.clone();
    // Held to the end, so that the channel does not close over what is still to arrive on the stream.
    let _open = written.clone();
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / CHANGES_A_SECOND));
        for change in 0..CHANGES {
            ticks.tick().await;
            let (writer, written) = (writer.clone(), written.clone());
            tokio::spawn(async move {
                let (address, name) = (
                    format!("10.200.{}.{}", change / 250, change % 250 + 1),
                    format!("echo-{}", change % services),
                );
                let sent =
                    apply_object(&writer, Some("demo"), &slice(&name, &address, change % services)).await;
                if sent.is_ok() {
                    // Nobody listening is the end of the run.
                    let _ = written.send((address, Instant::now()));
                }
            });
        }
    });
    let (mut at_server, mut at_stream, mut samples) = (HashMap::new(), HashMap::new(), Vec::new());
    while samples.len() < CHANGES {
        tokio::select! {
            write = writes.recv() => {
                let (address, at) = write.context("the writer ended")?;
                at_server.insert(address, at);
            }
            bodies = next(told) => {
                let now = Instant::now();
                at_stream.extend(bodies?.iter().filter_map(|body| Some((marked(body)?, now))));
            }
        }
        let both: Vec<String> =
            at_stream.keys().filter(|address| at_server.contains_key(*address)).cloned().collect();
        for address in both {
            if let (Some(written), Some(arrived)) = (at_server.remove(&address), at_stream.remove(&address)) {
                samples.push(arrived.saturating_duration_since(written));
            }
        }
    }
    task.await?;
    Ok(samples)
}

fn clusters(services: usize) -> Vec<String> {
    (0..services).map(|index| format!("outbound|80||echo-{index}.demo.svc.cluster.local")).collect()
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--services").skip(1);
    let services = arguments.next().map_or(Ok(LARGE), |number| number.parse())?.max(1_001);
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &istio_crds().await?).await?;
    create_crds(&client, OUR_CRDS).await?;
    Namespace::ensure(&client, "demo").await?;
    let kubeconfig = cluster.kubeconfig(Identity::Administrator)?;

    write(&client, 0..1_000).await?;
    let server = start(&kubeconfig).await?;
    let mut told = Asker::sidecar("bench", "demo").ask(server.xds).await?;
    subscribe(&mut told, clusters(1_000)).await?;
    println!("{:<52} {:>11} {:>11} {:>11}", "", "least", "median", "p99");
    let before = cpu(&server)?;
    let samples = changes(&client, &mut told, 1_000).await?;
    row("1,000 Services, 100 changes/s: written to on a stream", samples);
    let each = (cpu(&server)? - before) / u32::try_from(CHANGES)?;
    println!("time of the processor for each of these changes: {:.2} ms", each.as_secs_f64() * 1e3);
    let small = resident(&server)?;
    drop((told, server));

    write(&client, 1_000..services).await?;
    let without = large(&kubeconfig, &format!("{services} Services x 10 endpoints")).await?;
    let more = u64::try_from(services - 1_000)?;
    println!(
        "bytes for each Service with ten endpoints, and one client: {}",
        without.saturating_sub(small.0) / more
    );

    // Of every fifth Service, so that the API server is done with them in minutes.
    let pods = services / 5;
    write_pods(&client, 0..pods).await?;
    let with = large(&kubeconfig, &format!("the same, and {} Pods", pods * 10)).await?;
    println!("bytes for each Pod: {}", with.saturating_sub(without) / u64::try_from(pods * 10)?);
    Ok(())
}

/// Starts a server, asks it once, and lets it settle; gives its resident bytes.
async fn large(kubeconfig: &Path, what: &str) -> Result<u64> {
    let started = Instant::now();
    let server = start(kubeconfig).await?;
    let told = Asker::sidecar("bench", "demo").ask(server.xds).await?;
    let answered = started.elapsed();
    let used = cpu(&server)?;
    println!(
        "{what}: ready after {:.2} s, first answer after {:.2} s ({} clusters), {:.2} s of the processor",
        server.ready.as_secs_f64(),
        answered.as_secs_f64(),
        told.first.resources.len(),
        used.as_secs_f64(),
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (now, peak) = resident(&server)?;
    println!("resident: {} MiB, {} MiB at the peak", now >> 20, peak >> 20);
    Ok(now)
}
