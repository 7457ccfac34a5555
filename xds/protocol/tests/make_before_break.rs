//! A model Envoy that never rejects: at no moment does a route that it has accepted lead to a cluster that it does not
//! have, or that is still warming, whatever changes and in whatever order messages arrive.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use pilotage_protocol::{
    ClientProfile, Collection, Dialect, Name, Names, Reference, Request, Resource, ResourceType, Response,
    Revision, Session, SessionConfig, Snapshot,
};
use proptest::collection::vec;
use proptest::prelude::*;

const CLUSTER: ResourceType = ResourceType::Cluster;
const ENDPOINT: ResourceType = ResourceType::Endpoint;
const ROUTE: ResourceType = ResourceType::Route;
const CLUSTERS: [&str; 4] = ["a", "b", "c", "d"];
const ROUTES: [&str; 2] = ["q", "r"];

/// A consistent state of the world: what exists, in which variant, and where each route leads.
#[derive(Clone, Debug)]
struct State {
    clusters: [Option<u8>; 4],
    endpoints: [u8; 4],
    routes: [(u8, usize); 2],
}

#[derive(Clone, Debug)]
enum Step {
    Publish(State),
    /// The server sends its next response.
    Send,
    /// Envoy works off the oldest response and answers it.
    Receive,
}

fn states() -> impl Strategy<Value = State> {
    let cluster = proptest::option::weighted(0.6, 0..2u8);
    let clusters = [cluster.clone(), cluster.clone(), cluster.clone(), cluster];
    let endpoints = [0..2u8, 0..2u8, 0..2u8, 0..2u8];
    let route = || (0..2u8, 0..CLUSTERS.len());
    (clusters, endpoints, [route(), route()]).prop_map(|(mut clusters, endpoints, routes)| {
        for (_, to) in routes {
            // A route leads to what exists.
            clusters[to] = clusters[to].or(Some(0));
        }
        State { clusters, endpoints, routes }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(
        prop_oneof![1 => states().prop_map(Step::Publish), 3 => Just(Step::Send), 3 => Just(Step::Receive)],
        1..80,
    )
}

struct World {
    dialect: Dialect,
    now: Instant,
    session: Session,
    snapshot: Snapshot,
    inbox: VecDeque<Response>,
    envoy: Envoy,
    /// Which list of clusters a version stood for, and the other way round.
    lists: BTreeMap<String, Vec<Resource>>,
    versions: Vec<(Vec<Resource>, String)>,
}

#[derive(Default)]
struct Envoy {
    clusters: BTreeMap<String, Resource>,
    /// Clusters that are new or changed and have not had their endpoints since. A changed one serves on as it was.
    warming: BTreeSet<String>,
    /// Clusters that have been warm.
    active: BTreeSet<String>,
    routes: BTreeMap<String, Resource>,
    watched: BTreeSet<String>,
    nonces: HashMap<ResourceType, String>,
}

impl World {
    fn new(dialect: Dialect) -> Self {
        let now = Instant::now();
        let session = Session::new(dialect, ClientProfile::Envoy, SessionConfig::default(), now);
        let (inbox, envoy) = (VecDeque::new(), Envoy::default());
        let (lists, versions) = (BTreeMap::new(), Vec::new());
        let mut world =
            Self { dialect, now, session, snapshot: Snapshot::default(), inbox, envoy, lists, versions };
        let first =
            State { clusters: [Some(0), None, None, None], endpoints: [0; 4], routes: [(0, 0), (0, 0)] };
        world.publish(&first);
        world.say(CLUSTER, &[], &[]);
        world.finish();
        world.say(ROUTE, &ROUTES, &[]);
        world.finish();
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(state) => self.publish(&state),
            Step::Send => self.inbox.extend(self.session.poll_response()),
            Step::Receive => self.receive(),
        }
    }

    fn publish(&mut self, state: &State) {
        let (mut clusters, mut endpoints) = (Vec::new(), Vec::new());
        for (index, variant) in state.clusters.iter().enumerate() {
            if let Some(variant) = variant {
                let name = CLUSTERS[index];
                let content = format!("cluster {variant}");
                // The version of an assignment includes its cluster's, as the translator makes it.
                endpoints.push(Resource::new(name, format!("{} of {content}", state.endpoints[index])));
                clusters.push(Resource::new(name, content).with_references([Reference::new(ENDPOINT, name)]));
            }
        }
        let routes = state.routes.iter().zip(ROUTES).map(|((variant, to), name)| {
            let reference = Reference::new(CLUSTER, CLUSTERS[*to]);
            Resource::new(name, format!("route {variant} to {}", CLUSTERS[*to])).with_references([reference])
        });
        let revision = Revision(self.snapshot.revision().0 + 1);
        let mut snapshot = self.snapshot.clone().at(revision);
        for (resource_type, resources) in
            [(CLUSTER, clusters), (ENDPOINT, endpoints), (ROUTE, routes.collect())]
        {
            let former = self.snapshot.collection(&resource_type).cloned().unwrap_or_default();
            let names: BTreeSet<Name> = resources.iter().map(|resource| resource.name().clone()).collect();
            let gone = former.iter().map(|old| old.name().clone()).filter(|name| !names.contains(name));
            let next: Collection = former.with_changes(resources, gone);
            snapshot = snapshot.with(resource_type, Arc::new(next));
        }
        self.session.handle_snapshot(self.now, &snapshot);
        self.snapshot = snapshot;
    }

    fn receive(&mut self) {
        let Some(response) = self.inbox.pop_front() else {
            return;
        };
        let resource_type = response.resource_type.clone();
        self.envoy.nonces.insert(resource_type.clone(), response.nonce.to_string());
        self.envoy.take(&response, self.dialect);
        self.check();
        self.check_version(&response);
        self.answer(resource_type.clone());
        if resource_type == CLUSTER {
            // Envoy acknowledges the clusters before it asks for the endpoints of new ones.
            let clusters: BTreeSet<String> = self.envoy.clusters.keys().cloned().collect();
            let former = std::mem::replace(&mut self.envoy.watched, clusters.clone());
            if former != clusters {
                let added: Vec<&str> = clusters.difference(&former).map(String::as_str).collect();
                let dropped: Vec<&str> = former.difference(&clusters).map(String::as_str).collect();
                self.say(ENDPOINT, &added, &dropped);
            }
        }
    }

    fn answer(&mut self, resource_type: ResourceType) {
        let nonce = self.envoy.nonces[&resource_type].clone();
        let names = self.names(&resource_type, &[], &[]);
        let request = Request { resource_type, nonce, error: None, names };
        self.session.handle_request(self.now, request).expect("a request within the limits");
        while self.session.poll_event().is_some() {}
    }

    fn say(&mut self, resource_type: ResourceType, subscribe: &[&str], unsubscribe: &[&str]) {
        let nonce = match self.dialect {
            Dialect::Sotw => self.envoy.nonces.get(&resource_type).cloned().unwrap_or_default(),
            Dialect::Delta => String::new(),
        };
        let names = self.names(&resource_type, subscribe, unsubscribe);
        let request = Request { resource_type, nonce, error: None, names };
        self.session.handle_request(self.now, request).expect("a request within the limits");
        while self.session.poll_event().is_some() {}
    }

    fn names(&self, resource_type: &ResourceType, subscribe: &[&str], unsubscribe: &[&str]) -> Names {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        match self.dialect {
            Dialect::Sotw => {
                let names = match *resource_type {
                    ENDPOINT => self.envoy.watched.iter().cloned().collect(),
                    ROUTE => owned(&ROUTES),
                    _ => Vec::new(),
                };
                Names::Exactly { names, version: String::new() }
            }
            Dialect::Delta => Names::Change {
                subscribe: owned(subscribe),
                unsubscribe: owned(unsubscribe),
                initial_versions: HashMap::new(),
            },
        }
    }

    fn check(&self) {
        for route in self.envoy.routes.values() {
            let to = &route.references()[0].name;
            assert!(
                self.envoy.clusters.contains_key(to.as_ref()),
                "route {} leads to {to}, which is gone",
                route.name()
            );
            assert!(
                self.envoy.active.contains(to.as_ref()),
                "route {} leads to {to}, which is warming",
                route.name()
            );
        }
    }

    /// The version changes when, and only when, what the client has been told does.
    fn check_version(&mut self, response: &Response) {
        if response.resource_type != CLUSTER {
            return;
        }
        let (list, version): (Vec<Resource>, _) =
            (self.envoy.clusters.values().cloned().collect(), response.version.to_string());
        let known = self.lists.entry(version.clone()).or_insert_with(|| list.clone());
        assert_eq!(*known, list, "one version for two lists");
        match self.versions.iter().find(|(known, _)| *known == list) {
            Some((_, known)) => assert_eq!(*known, version, "two versions for one list"),
            None => self.versions.push((list, version)),
        }
    }

    /// Lets both sides finish, without any time passing.
    fn finish(&mut self) {
        loop {
            self.inbox.extend(std::iter::from_fn(|| self.session.poll_response()));
            if self.inbox.is_empty() {
                return;
            }
            self.receive();
        }
    }

    fn check_end(&self) {
        let collection = |of: &ResourceType| self.snapshot.collection(of).cloned().unwrap_or_default();
        let held: Vec<&Resource> = self.envoy.clusters.values().collect();
        assert_eq!(held, collection(&CLUSTER).iter().collect::<Vec<_>>());
        let held: Vec<&Resource> = self.envoy.routes.values().collect();
        assert_eq!(held, collection(&ROUTE).iter().collect::<Vec<_>>());
        assert!(self.envoy.warming.is_empty(), "{:?} wait for endpoints for ever", self.envoy.warming);
        assert_eq!(self.session.settled(), Some(self.snapshot.revision()));
    }
}

impl Envoy {
    fn take(&mut self, response: &Response, dialect: Dialect) {
        for resource in response.resources.iter() {
            let name = resource.name().to_string();
            match response.resource_type {
                CLUSTER => {
                    let former = self.clusters.insert(name.clone(), resource.clone());
                    self.warming.extend((former.as_ref() != Some(resource)).then_some(name));
                }
                ENDPOINT if self.watched.contains(&name) => {
                    self.warming.remove(&name);
                    self.active.insert(name);
                }
                ROUTE => {
                    self.routes.insert(name, resource.clone());
                }
                _ => {}
            }
        }
        if response.resource_type == CLUSTER {
            let listed: BTreeSet<&str> =
                response.resources.iter().map(|resource| resource.name().as_ref()).collect();
            let removed: BTreeSet<&str> = response.removed.iter().map(AsRef::as_ref).collect();
            self.clusters.retain(|name, _| match dialect {
                Dialect::Sotw => listed.contains(name.as_str()),
                Dialect::Delta => !removed.contains(name.as_str()),
            });
            self.warming.retain(|name| self.clusters.contains_key(name));
            self.active.retain(|name| self.clusters.contains_key(name));
        }
    }
}

fn never_breaks(dialect: Dialect, steps: Vec<Step>) {
    let mut world = World::new(dialect);
    for step in steps {
        world.step(step);
    }
    world.finish();
    world.check_end();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sotw_routes_always_lead_to_warm_clusters(steps in steps()) {
        never_breaks(Dialect::Sotw, steps);
    }

    #[test]
    fn delta_routes_always_lead_to_warm_clusters(steps in steps()) {
        never_breaks(Dialect::Delta, steps);
    }
}
