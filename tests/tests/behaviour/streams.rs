//! Bytes that are no gRPC calls of HTTP/2: opaque TCP by way of a gateway, and gRPC-Web.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_tests::{Backend, Dialect, Mesh, Proxy, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server that says its name to whoever connects, and then closes.
async fn named(name: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // One that has gone already needs no name.
            let _ = stream.write_all(name.as_bytes()).await;
        }
    });
    Ok(address)
}

async fn who(target: SocketAddr) -> Result<String> {
    let mut name = String::new();
    TcpStream::connect(target).await?.read_to_string(&mut name).await?;
    Ok(name)
}

fn entry(name: &str, address: SocketAddr) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: demo}}
spec:
  hosts: [{name}.example]
  resolution: STATIC
  ports: [{{number: 7000, name: tcp, protocol: TCP, targetPort: {port}}}]
  endpoints: [{{address: {ip}}}]
---
",
        port = address.port(),
        ip = address.ip(),
    )
}

#[tokio::test]
async fn opaque_connections_are_divided_by_the_weights_of_a_tcp_route() -> Result<()> {
    let port = ReservedPort::new()?;
    let world = entry("old", named("old").await?)
        + &entry("new", named("new").await?)
        + &format!(
            "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: demo}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {port}, name: tcp, protocol: TCP}}
    hosts: [\"*\"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: edge, namespace: demo}}
spec:
  hosts: [\"*\"]
  gateways: [edge]
  tcp:
  - route:
    - {{destination: {{host: old.example, port: {{number: 7000}}}}, weight: 25}}
    - {{destination: {{host: new.example, port: {{number: 7000}}}}, weight: 75}}
",
            port = port.number()
        );
    let mesh = Mesh::start(&[("world.yaml", &world)]).await?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let answered = || async { who(edge.entry()).await.ok().filter(|name| !name.is_empty()) };
    eventually("an answer by way of the gateway", answered).await?;
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..200 {
        *names.entry(who(edge.entry()).await?).or_default() += 1;
    }
    let new = names.get("new").copied().unwrap_or_default();
    pilotage_tests::Outcomes::near(new, 0.75, 200).with_context(|| format!("{names:?}"))?;
    ensure!(names.len() == 2, "{names:?}");
    Ok(())
}

/// A browser's call: HTTP/1.1, with the trailers as a last frame of the body.
#[tokio::test]
async fn a_call_of_grpc_web_is_answered_in_its_own_form() -> Result<()> {
    let backend = Backend::start("one", "v1").await?;
    let service = pilotage_tests::service("echo", 80).replace("appProtocol: grpc", "appProtocol: grpc-web");
    let world = service + &pilotage_tests::endpoint_slice("echo", &backend);
    let mesh = Mesh::start(&[("world.yaml", &world)]).await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    sidecar.client("echo.demo.svc.cluster.local").await?;
    let mut stream = TcpStream::connect(sidecar.entry()).await?;
    let head = "POST /pilotage.demo.Echo/Call HTTP/1.1\r\nhost: echo.demo.svc.cluster.local\r\n\
                content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\ncontent-length: 5\r\n\
                connection: close\r\n\r\n";
    // A frame of no bytes is the empty message.
    stream.write_all(&[head.as_bytes(), &[0; 5]].concat()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
    ensure!(text.contains("content-type: application/grpc-web+proto"), "{text}");
    ensure!(text.contains("one") && text.contains("v1"), "the message is in the body: {text}");
    ensure!(text.contains("grpc-status:0"), "the status is in the last frame: {text}");
    Ok(())
}
