//! Every cluster of a large snapshot changes at once: their endpoints follow them, in few responses and in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use pilotage_protocol::{
    ClientProfile, Collection, Dialect, Names, Reference, Request, Resource, ResourceType, Response,
    Revision, Session, SessionConfig, Snapshot,
};

const CLUSTERS: usize = 20_000;
/// Bytes of a cluster, as of a plain one of Envoy's.
const SIZE: usize = 500;

fn snapshot(revision: u64, content: u8, endpoints: &Arc<Collection>) -> Snapshot {
    let cluster = |index: usize| {
        let name = format!("cluster-{index}");
        let endpoints = Reference::new(ResourceType::Endpoint, name.clone());
        Resource::new(name, vec![content; SIZE]).with_references([endpoints])
    };
    let clusters: Collection = (0..CLUSTERS).map(cluster).collect();
    Snapshot::new(Revision(revision))
        .with(ResourceType::Cluster, Arc::new(clusters))
        .with(ResourceType::Endpoint, endpoints.clone())
}

struct Client {
    dialect: Dialect,
    session: Session,
    now: Instant,
}

impl Client {
    fn say(&mut self, resource_type: ResourceType, nonce: String, names: &[String], version: &str) {
        let names = match self.dialect {
            Dialect::Sotw => Names::Exactly { names: names.to_vec(), version: version.to_owned() },
            Dialect::Delta => Names::Change {
                subscribe: if nonce.is_empty() { names.to_vec() } else { Vec::new() },
                unsubscribe: Vec::new(),
                initial_versions: Default::default(),
            },
        };
        let request = Request { resource_type, nonce, error: None, names };
        self.session.handle_request(self.now, request).expect("within the limits");
    }

    /// Takes everything that the session has to say, each response answered before the next of its type.
    fn responses(&mut self, names: &[String]) -> Vec<Response> {
        let mut all = Vec::new();
        while let Some(response) = self.session.poll_response() {
            let is_named = response.resource_type == ResourceType::Endpoint;
            let (nonce, version) = (response.nonce.to_string(), response.version.to_string());
            let names = if is_named { names } else { &[] };
            self.say(response.resource_type.clone(), nonce, names, &version);
            all.push(response);
        }
        all
    }
}

/// H41.
#[test]
fn endpoints_follow_twenty_thousand_changed_clusters() {
    let names: Vec<String> = (0..CLUSTERS).map(|index| format!("cluster-{index}")).collect();
    let endpoint = |name: &String| Resource::new(name.as_str(), b"endpoints".to_vec());
    let endpoints: Arc<Collection> = Arc::new(names.iter().map(endpoint).collect());
    for dialect in [Dialect::Sotw, Dialect::Delta] {
        let now = Instant::now();
        let session = Session::new(dialect, ClientProfile::Envoy, SessionConfig::default(), now);
        let mut client = Client { dialect, session, now };
        client.session.handle_snapshot(now, &snapshot(1, 1, &endpoints));
        client.say(ResourceType::Cluster, String::new(), &[], "");
        client.responses(&names);
        client.say(ResourceType::Endpoint, String::new(), &names, "");
        client.responses(&names);
        assert_eq!(client.session.settled(), Some(Revision(1)));

        client.session.handle_snapshot(now, &snapshot(2, 2, &endpoints));
        let responses = client.responses(&names);
        let mut sent = BTreeSet::new();
        let mut followed = 0;
        for response in &responses {
            for resource in response.resources.iter() {
                if response.resource_type == ResourceType::Cluster {
                    sent.insert(resource.name().clone());
                } else {
                    assert!(sent.contains(resource.name()), "{} comes before its cluster", resource.name());
                    followed += 1;
                }
            }
        }
        assert_eq!((sent.len(), followed), (CLUSTERS, CLUSTERS), "{dialect:?}");
        // The bound on a response splits 10 MB of clusters into four; the endpoints follow each part, or all.
        assert!(responses.len() <= 10, "{} responses", responses.len());
        assert_eq!(client.session.settled(), Some(Revision(2)), "{dialect:?}");
    }
}
