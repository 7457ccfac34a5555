//! Two versions of the server side by side, which encode the same world in other words, and clients that move between
//! them under load.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_tests::{
    Backend, Balancer, Dialect, Mesh, Proxy, Traffic, endpoint_slice, eventually, routing, service,
};

const HOST: &str = "echo.demo.svc.cluster.local:80";
const EDGE: &str = "echo.example.com";

fn world(backends: &[Backend], port: u16) -> String {
    let slices: String = backends.iter().map(|backend| endpoint_slice("echo", backend)).collect();
    let route = "  - route: [{destination: {host: echo.demo.svc.cluster.local, subset: v1}}]\n";
    format!(
        "{}{slices}{}---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: edge, namespace: \
         demo}}\nspec:\n  selector: {{istio: ingressgateway}}\n  servers: [{{port: {{number: {port}, name: grpc, protocol: \
         GRPC}}, hosts: [{EDGE}]}}]\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: \
         edge, namespace: demo}}\nspec:\n  hosts: [{EDGE}]\n  gateways: [edge]\n  http: [{{route: [{{destination: {{host: \
         echo, port: {{number: 80}}}}}}]}}]\n",
        service("echo", 80),
        routing(route),
    )
}

/// Waits until an Envoy takes nothing in any more, and gives how often it has.
async fn settled(proxy: &Proxy) -> Result<BTreeMap<String, u64>> {
    let mut last = proxy.updates().await?;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = proxy.updates().await?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    anyhow::bail!("it goes on and on: {last:?}")
}

async fn moves_between_versions(dialect: Dialect) -> Result<()> {
    let backends = vec![Backend::start("one", "v1").await?, Backend::start("two", "v1").await?];
    let port = ReservedPort::new()?;
    let world = world(&backends, port.number());
    let old = Mesh::start(&[("world.yaml", &world)]).await?;
    let new = Mesh::start_with(&[("world.yaml", &world)], &["--encoder-revision", "4711"]).await?;
    let balancer = Balancer::over(&[old.xds()]).await?;
    let mut sidecar = Proxy::sidecar_by_way_of(balancer.address(), &old, "sidecar", dialect).await?;
    let mut edge = Proxy::gateway_by_way_of(balancer.address(), &old, "edge", port.number()).await?;
    let traffic = [Traffic::start(&sidecar.client(HOST).await?), Traffic::start(&edge.client(EDGE).await?)];
    for turn in 0..4 {
        let (target, name) = if turn % 2 == 0 { (&new, "new") } else { (&old, "old") };
        let before = (settled(&sidecar).await?, settled(&edge).await?);
        balancer.move_to(&[target.xds()]);
        for (proxy, before) in [(&sidecar, &before.0), (&edge, &before.1)] {
            // What is encoded in other words has other versions, and so is sent: once, and not again and again.
            let taken = || async { (proxy.updates().await.ok()? != *before).then_some(()) };
            eventually(&format!("what the {name} server says"), taken).await?;
            let after = settled(proxy).await?;
            for (name, count) in &after {
                let times = count - before.get(name).unwrap_or(&0);
                ensure!(times <= 3, "turn {turn}: {name} {times} times");
            }
        }
        for traffic in &traffic {
            traffic.flows(100).await?;
        }
    }
    for traffic in traffic {
        traffic.stop().await?.none_failed()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_move_between_two_versions_without_a_failed_call_with_delta_xds() -> Result<()> {
    moves_between_versions(Dialect::Delta).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_move_between_two_versions_without_a_failed_call_with_sotw_xds() -> Result<()> {
    moves_between_versions(Dialect::Sotw).await
}
