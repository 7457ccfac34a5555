//! The folder of manifests that the demo serves, and its edits.
//!
//! A file is written beside the folder and renamed into it, so that a reader never sees half of one.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Backend;

/// The host of the demo's Service.
pub(super) const HOST: &str = "echo.demo.svc.cluster.local";

/// The header that a route adds to answers, to tell which edition of the routes was used.
pub(super) const MARK: &str = "x-route";

/// A folder of manifests.
#[derive(Debug)]
pub struct Manifests {
    folder: PathBuf,
    scratch: PathBuf,
}

impl Manifests {
    /// A folder of its own below `parent`, which must be on one file system with it.
    pub fn below(parent: &Path) -> io::Result<Self> {
        let folder = parent.join("manifests");
        fs::create_dir(&folder)?;
        Ok(Self { folder, scratch: parent.join("edit.tmp") })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Replaces the file `name`, or adds it.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(&self.scratch, text)?;
        fs::rename(&self.scratch, self.folder.join(name))
    }

    /// Removes the file `name`.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }
}

/// The Service, its one port with `protocol` declared or not.
pub(super) fn service(port: u16, protocol: Option<&str>) -> String {
    let declared = protocol.map(|protocol| format!("\n    appProtocol: {protocol}")).unwrap_or_default();
    format!(
        "\
apiVersion: v1
kind: Service
metadata:
  name: echo
  namespace: demo
spec:
  ports:
  - port: {port}{declared}
"
    )
}

/// One slice for each backend: each listens on a port of its own, which on this machine is what tells them apart.
pub(super) fn endpoint_slices<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> String {
    let slices: Vec<String> = backends.into_iter().map(endpoint_slice).collect();
    slices.join("---\n")
}

/// The slice of one backend. There are no Pods in a folder, so its labels stand on the slice.
pub(super) fn endpoint_slice(backend: &Backend) -> String {
    format!(
        "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: echo-{id}
  namespace: demo
  labels:
    kubernetes.io/service-name: echo
  annotations:
    pilotage.dev/endpoint-labels: version={version}
addressType: IPv4
ports:
- port: {port}
endpoints:
- addresses: [\"{ip}\"]
",
        id = backend.id(),
        version = backend.version(),
        port = backend.address().port(),
        ip = backend.address().ip(),
    )
}

/// The DestinationRule: a subset for each version.
pub(super) fn destination_rule() -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: echo
  namespace: demo
spec:
  host: {HOST}
  subsets:
  - name: v1
    labels: {{version: v1}}
  - name: v2
    labels: {{version: v2}}
"
    )
}

/// The routes of one edition of the VirtualService.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routes {
    /// Its value of [`MARK`].
    pub(super) mark: &'static str,
    /// The share of v2, in percent; v1 has the rest.
    pub(super) v2_percent: u8,
    /// A header, name and value, that leads to v2 alone.
    pub(super) testers: Option<(&'static str, &'static str)>,
    /// How often an `UNAVAILABLE` call is tried again.
    pub(super) attempts: Option<u8>,
}

impl Routes {
    /// The VirtualService.
    pub(super) fn to_yaml(self) -> String {
        let Self { mark, v2_percent, testers, attempts } = self;
        let mut text = format!(
            "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: echo
  namespace: demo
spec:
  hosts: [{HOST}]
  http:
"
        );
        let answer = format!("    headers: {{response: {{set: {{{MARK}: {mark}}}}}}}\n");
        // Writing to a String cannot fail.
        if let Some((name, value)) = testers {
            let _ = write!(
                text,
                "  - name: testers
    match:
    - headers: {{{name}: {{exact: {value}}}}}
{answer}    route:
    - destination: {{host: {HOST}, subset: v2}}
"
            );
        }
        let v1_percent = 100 - v2_percent;
        let _ = write!(
            text,
            "  - name: canary
{answer}    route:
    - destination: {{host: {HOST}, subset: v1}}
      weight: {v1_percent}
    - destination: {{host: {HOST}, subset: v2}}
      weight: {v2_percent}
"
        );
        if let Some(attempts) = attempts {
            let _ = writeln!(text, "    retries: {{attempts: {attempts}, retryOn: unavailable}}");
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pilotage_watcher::Change;
    use serde_json::{Value, json};

    use super::*;

    fn parse(yaml: &str) -> Value {
        serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}:\n{yaml}"))
    }

    #[test]
    fn the_port_is_declared_or_not() {
        assert_eq!(parse(&service(80, None))["spec"]["ports"], json!([{ "port": 80 }]));
        let declared = json!([{ "port": 80, "appProtocol": "grpc" }]);
        assert_eq!(parse(&service(80, Some("grpc")))["spec"]["ports"], declared);
    }

    #[tokio::test]
    async fn each_backend_is_an_endpoint_with_its_version() {
        let backend = Backend::start("one", "v2").await.unwrap();
        let slice = parse(&endpoint_slice(&backend));
        assert_eq!(slice["ports"][0]["port"], backend.address().port());
        assert_eq!(slice["endpoints"][0]["addresses"], json!(["127.0.0.1"]));
        assert_eq!(slice["metadata"]["annotations"]["pilotage.dev/endpoint-labels"], "version=v2");
        let both = endpoint_slices([&backend, &backend]);
        assert_eq!(both.split("---\n").map(parse).collect::<Vec<_>>(), [slice.clone(), slice]);
    }

    #[test]
    fn testers_come_before_the_canary_and_weights_add_up() {
        let plain = Routes { mark: "m", v2_percent: 10, testers: None, attempts: None };
        let rules = parse(&plain.to_yaml())["spec"]["http"].clone();
        assert_eq!(rules.as_array().unwrap().len(), 1);
        assert_eq!(rules[0]["route"][0]["weight"], 90);
        assert_eq!(rules[0]["route"][1]["weight"], 10);
        assert_eq!(rules[0]["headers"]["response"]["set"][MARK], "m");
        assert_eq!(rules[0]["retries"], Value::Null);

        let full = Routes { testers: Some(("x-client", "test")), attempts: Some(5), ..plain };
        let rules = parse(&full.to_yaml())["spec"]["http"].clone();
        assert_eq!(rules[0]["match"][0]["headers"], json!({ "x-client": { "exact": "test" } }));
        assert_eq!(rules[0]["route"], json!([{ "destination": { "host": HOST, "subset": "v2" } }]));
        assert_eq!(rules[1]["retries"], json!({ "attempts": 5, "retryOn": "unavailable" }));
    }

    /// What the demo writes, in all its editions, is what a careful person would write.
    #[tokio::test]
    async fn the_server_finds_nothing_wrong_with_the_manifests() {
        let backends = [Backend::start("a", "v1").await.unwrap(), Backend::start("b", "v2").await.unwrap()];
        let parent = tempfile::tempdir().unwrap();
        let manifests = Manifests::below(parent.path()).unwrap();
        let full =
            Routes { mark: "m", v2_percent: 10, testers: Some(("x-client", "test")), attempts: Some(5) };
        manifests.write("service.yaml", &service(80, Some("grpc"))).unwrap();
        manifests.write("endpoints.yaml", &endpoint_slices(&backends)).unwrap();
        manifests.write("rules.yaml", &(destination_rule() + "---\n" + &full.to_yaml())).unwrap();
        let reading = pilotage_watcher::directory::read_directory(manifests.folder()).unwrap();
        let problems: Vec<_> = reading
            .changes
            .iter()
            .filter(|change| matches!(change, Change::Problems { problems, .. } if !problems.is_empty()))
            .collect();
        assert!(problems.is_empty(), "{problems:#?}");
        assert_eq!(reading.stats.objects.values().sum::<usize>(), 5, "{:?}", reading.stats);
    }

    #[test]
    fn a_file_appears_whole_and_goes() {
        let parent = tempfile::tempdir().unwrap();
        let manifests = Manifests::below(parent.path()).unwrap();
        manifests.write("a.yaml", "one").unwrap();
        manifests.write("a.yaml", "two").unwrap();
        assert_eq!(fs::read_to_string(manifests.folder().join("a.yaml")).unwrap(), "two");
        assert_eq!(fs::read_dir(manifests.folder()).unwrap().count(), 1);
        manifests.remove("a.yaml").unwrap();
        assert_eq!(fs::read_dir(manifests.folder()).unwrap().count(), 0);
    }
}
