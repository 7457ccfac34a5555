//! The two manifests that nearly every test needs. What a test is about, it writes out itself.

use pilotage::demo::Backend;

/// The host of a Service of the namespace `demo`.
pub fn host(service: &str) -> String {
    format!("{service}.demo.svc.cluster.local")
}

/// A Service of the namespace `demo` with one gRPC port.
pub fn service(name: &str, port: u16) -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: demo}}
spec:
  ports:
  - {{name: grpc, port: {port}, appProtocol: grpc}}
---
"
    )
}

/// The slice of one backend of a Service, with its version as the label `version`.
pub fn endpoint_slice(service: &str, backend: &Backend) -> String {
    format!(
        "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {service}-{id}
  namespace: demo
  labels: {{kubernetes.io/service-name: {service}}}
  annotations: {{pilotage.dev/endpoint-labels: version={version}}}
addressType: IPv4
ports:
- {{name: grpc, port: {port}}}
endpoints:
- addresses: [\"{ip}\"]
  conditions: {{ready: true}}
---
",
        id = backend.id(),
        version = backend.version(),
        port = backend.address().port(),
        ip = backend.address().ip(),
    )
}

/// The DestinationRule of the Service `echo` with a subset for each version, and the VirtualService whose `http` rules
/// are `rules`, indented by two spaces.
pub fn routing(rules: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo, namespace: demo}}
spec:
  host: echo.demo.svc.cluster.local
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{version: v2}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo, namespace: demo}}
spec:
  hosts: [echo.demo.svc.cluster.local]
  http:
{rules}"
    )
}
