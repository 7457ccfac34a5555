//! Virtual hosts that are pushed one by one (VHDS) to a real Envoy, beside the same in one route configuration: what
//! breaks under calls, and what an edit costs.
//!
//! The library pushes them soundly, which is what the first test shows. That translation sends whole route
//! configurations all the same is for the reasons given in `BENCHMARKS.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::plane::{Plane, Services, Way, cluster, listener, resource, routes, virtual_host};
use anyhow::{Context, Result, ensure};
use pilotage::tools::{Envoy, ReservedPort};
use pilotage_server::protocol::{Resource, ResourceType, Response};
use pilotage_server::{Observer, StreamId};
use pilotage_tests::{Authority, Backend, Client, Relay, TlsClient, Traffic, eventually};
use serde_json::json;
use tempfile::TempDir;

const HOST: &str = "echo.example.com";
const WAY: Way = Way { api_type: "DELTA_GRPC", services: Services::Aggregated };

/// Virtual hosts beside the one that is called and edited.
const OTHERS: usize = 1000;

/// Where the virtual hosts of the route configuration are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    Inside,
    Pushed,
}

/// Counts the bytes of all resources that were sent.
#[derive(Clone, Default)]
struct Meter(Arc<AtomicU64>);

impl Observer<()> for Meter {
    fn responded(&self, _: StreamId, response: &Response) {
        let bytes: usize = response.resources.iter().map(|one| one.body().len()).sum();
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

struct Setting {
    hosts: Hosts,
    plane: Plane,
    sent: Meter,
    backend: Backend,
    client: Client,
    relay: Relay,
    others: usize,
    _envoy: Envoy,
    _port: ReservedPort,
    _folder: TempDir,
}

impl Setting {
    async fn start(hosts: Hosts, others: usize) -> Result<Self> {
        let (folder, port, sent) = (tempfile::tempdir()?, ReservedPort::new()?, Meter::default());
        let authority = Authority::new()?;
        let backend = Backend::start("one", "v1").await?;
        let mut plane = Plane::start(sent.clone()).await?;
        let relay = Relay::to(plane.address).await?;
        let mut world = cluster(WAY, "first", &[&backend])?;
        world.extend(listener(WAY, port.number(), &authority.issue(HOST)?)?);
        world.extend(called(hosts, others, "first", "start")?);
        if hosts == Hosts::Pushed {
            world.push(configuration("start")?);
            for index in 0..others {
                world.push(pushed(
                    &format!("other-{index}"),
                    &format!("other-{index}.example"),
                    "first",
                    "start",
                )?);
            }
        }
        plane.publish(world, &[]);
        let envoy = WAY.envoy(relay.address(), folder.path()).await?;
        let tls = TlsClient::new(&authority, None)?;
        let connected = async || {
            let mut client = tls.connect(port.address(), HOST).await.ok()?;
            client.call(&[]).await.ok().map(|_| client)
        };
        let client = eventually("a call over TLS that succeeds", connected).await?;
        let is_asked_for = plane.ads.streams().list()[0].types.contains_key(&ResourceType::VirtualHost);
        ensure!(is_asked_for == (hosts == Hosts::Pushed), "virtual hosts are asked for: {is_asked_for}");
        Ok(Self {
            hosts,
            plane,
            sent,
            backend,
            client,
            relay,
            others,
            _envoy: envoy,
            _port: port,
            _folder: folder,
        })
    }

    /// Leads calls to another cluster, takes the former one away, and gives how long it took to be live.
    async fn swap(&mut self, from: &str, to: &str, mark: &str) -> Result<Duration> {
        let start = Instant::now();
        let mut changed = cluster(WAY, to, &[&self.backend])?;
        changed.extend(called(self.hosts, self.others, to, mark)?);
        if self.hosts == Hosts::Pushed {
            for index in 0..self.others {
                changed.push(pushed(
                    &format!("other-{index}"),
                    &format!("other-{index}.example"),
                    to,
                    "start",
                )?);
            }
        }
        self.plane.publish(changed, &[(ResourceType::Cluster, from), (ResourceType::Endpoint, from)]);
        self.is_live(mark).await?;
        Ok(start.elapsed())
    }

    async fn is_live(&mut self, mark: &str) -> Result<()> {
        let client = self.client.clone();
        let routed = || {
            let mut client = client.clone();
            async move {
                let reply = client.call(&[]).await.ok()?;
                reply.headers.get("x-route").is_some_and(|value| value == mark).then_some(())
            }
        };
        eventually(&format!("calls by {mark}"), routed).await
    }
}

/// The virtual host that is called, wherever it is.
fn called(hosts: Hosts, others: usize, to: &str, mark: &str) -> Result<Vec<(ResourceType, Resource)>> {
    match hosts {
        Hosts::Pushed => Ok(vec![pushed("called", "*", to, mark)?]),
        Hosts::Inside => {
            let other = |index| {
                virtual_host(&format!("other-{index}"), &format!("other-{index}.example"), to, "start")
            };
            let mut all: Vec<_> = (0..others).map(other).collect();
            all.push(virtual_host("called", "*", to, mark));
            Ok(vec![routes(&all, &[to])?])
        }
    }
}

fn pushed(name: &str, domain: &str, to: &str, mark: &str) -> Result<(ResourceType, Resource)> {
    let content = virtual_host(name, domain, to, mark);
    resource(ResourceType::VirtualHost, &format!("routes/{name}"), &content, &[(ResourceType::Cluster, to)])
}

/// The route configuration that leaves its virtual hosts to VHDS.
fn configuration(mark: &str) -> Result<(ResourceType, Resource)> {
    let content = json!({
        "name": "routes",
        "vhds": {"config_source": WAY.source()},
        "response_headers_to_add": [{"header": {"key": "x-configuration", "value": mark}}],
    });
    resource(ResourceType::Route, "routes", &content, &[])
}

/// What is changed under calls while virtual hosts are pushed, each in turn; no call may fail.
#[tokio::test]
async fn pushed_virtual_hosts_change_under_calls() -> Result<()> {
    let mut setting = Setting::start(Hosts::Pushed, 20).await?;
    let client = setting.client.clone();
    let mut names = ["first", "second"];
    for round in 0..10 {
        let traffic = Traffic::start(&client);
        setting.swap(names[0], names[1], &format!("swap-{round}")).await?;
        names.reverse();
        traffic.stop().await?.none_failed().context("a cluster is swapped")?;
    }
    let traffic = Traffic::start(&client);
    for round in 0..10 {
        let host = pushed("more", "more.example", names[0], "more")?;
        setting.plane.publish(vec![host, pushed("called", "*", names[0], &format!("more-{round}"))?], &[]);
        setting.is_live(&format!("more-{round}")).await?;
        setting.plane.publish(
            vec![pushed("called", "*", names[0], &format!("less-{round}"))?],
            &[(ResourceType::VirtualHost, "routes/more")],
        );
        setting.is_live(&format!("less-{round}")).await?;
    }
    traffic.stop().await?.none_failed().context("virtual hosts come and go")?;
    let traffic = Traffic::start(&client);
    for round in 0..10 {
        let mark = format!("configuration-{round}");
        setting.plane.publish(vec![configuration(&mark)?], &[]);
        let mut client = client.clone();
        let seen = |value: &str| *value == mark;
        let start = Instant::now();
        loop {
            let reply = client.call(&[]).await.context("the route configuration itself is edited")?;
            if reply.headers.get("x-configuration").and_then(|value| value.to_str().ok()).is_some_and(seen) {
                break;
            }
            ensure!(start.elapsed() < pilotage_tests::PATIENCE, "{mark} is never seen");
        }
    }
    traffic.stop().await?.none_failed().context("the route configuration itself is edited")?;
    for round in 0..3 {
        let traffic = Traffic::start(&client);
        setting.relay.cut();
        let mark = format!("cut-{round}");
        let mut changed = cluster(WAY, names[1], &[&setting.backend])?;
        changed.push(pushed("called", "*", names[1], &mark)?);
        for index in 0..setting.others {
            changed.push(pushed(
                &format!("other-{index}"),
                &format!("other-{index}.example"),
                names[1],
                "start",
            )?);
        }
        let gone = [(ResourceType::Cluster, names[0]), (ResourceType::Endpoint, names[0])];
        setting.plane.publish(changed, &gone);
        traffic.flows(50).await?;
        setting.relay.mend();
        setting.is_live(&mark).await?;
        names.reverse();
        traffic.stop().await?.none_failed().context("the connection is cut")?;
    }
    Ok(())
}

/// One virtual host among a thousand is edited: what is sent, and when it is live.
#[tokio::test]
async fn one_pushed_virtual_host_costs_itself() -> Result<()> {
    let mut bytes = Vec::new();
    for hosts in [Hosts::Inside, Hosts::Pushed] {
        let mut setting = Setting::start(hosts, OTHERS).await?;
        let mut took = Vec::new();
        setting.sent.0.store(0, Ordering::Relaxed);
        for round in 0..20 {
            let (start, mark) = (Instant::now(), format!("edit-{round}"));
            setting.plane.publish(called(hosts, OTHERS, "first", &mark)?, &[]);
            setting.is_live(&mark).await?;
            took.push(start.elapsed());
        }
        took.sort_unstable();
        let each = setting.sent.0.load(Ordering::Relaxed) / 20;
        println!("{hosts:?}: {each} bytes an edit, live after {:?} (median of 20)", took[10]);
        bytes.push(each);
    }
    ensure!(bytes[1] * 100 < bytes[0], "{bytes:?}");
    Ok(())
}
