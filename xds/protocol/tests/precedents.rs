//! A stream that follows precedents says what it would have said alone, word for word.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_protocol::{
    ClientProfile, Collection, Dialect, Interest, Name, Names, Precedent, Precedents, Reference, Rejection,
    Request, Resource, ResourceType, Response, Revision, Session, SessionConfig, Snapshot, Wildcard,
};
use proptest::collection::vec;
use proptest::prelude::*;

const TYPES: [ResourceType; 4] =
    [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route];
const STREAMS: usize = 3;

/// What a client may ask for; few, so that streams often ask for the same.
const LISTS: [&[&str]; 4] = [&["a", "b"], &["a"], &["b", "c", "d"], &[]];

/// Keeps everything that was decided.
#[derive(Default)]
struct Archive {
    kept: RefCell<Vec<Arc<Precedent>>>,
    followed: Cell<usize>,
}

impl Precedents for Archive {
    fn find(&self, applies: impl Fn(&Precedent) -> bool) -> Option<Arc<Precedent>> {
        let found = self.kept.borrow().iter().rev().find(|precedent| applies(precedent)).cloned();
        self.followed.set(self.followed.get() + usize::from(found.is_some()));
        found
    }

    fn keep(&self, precedent: Arc<Precedent>) {
        self.kept.borrow_mut().push(precedent);
    }
}

/// The same stream twice.
struct Twins {
    dialect: Dialect,
    alone: Session,
    guided: Session,
    names: BTreeMap<ResourceType, Vec<String>>,
    heard: BTreeMap<ResourceType, (String, String)>,
}

#[derive(Clone, Debug)]
enum Step {
    Change { of: usize, name: usize, content: Option<u8>, refers: bool },
    Ask { stream: usize, of: usize, list: usize, shared: bool },
    Deliver { stream: usize },
    Answer { stream: usize, of: usize, accepts: bool },
    Reconnect { stream: usize },
    Tick { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (streams, types) = (0..STREAMS, 0..TYPES.len());
    let content = proptest::option::weighted(0.8, 0..4_u8);
    let step = prop_oneof![
        4 => (types.clone(), 0..4_usize, content, any::<bool>())
            .prop_map(|(of, name, content, refers)| Step::Change { of, name, content, refers }),
        4 => (streams.clone(), types.clone(), 0..LISTS.len(), any::<bool>())
            .prop_map(|(stream, of, list, shared)| Step::Ask { stream, of, list, shared }),
        8 => streams.clone().prop_map(|stream| Step::Deliver { stream }),
        8 => (streams.clone(), types, any::<u8>())
            .prop_map(|(stream, of, dice)| Step::Answer { stream, of, accepts: dice > 30 }),
        1 => streams.prop_map(|stream| Step::Reconnect { stream }),
        1 => (1..20_u64).prop_map(|seconds| Step::Tick { seconds }),
    ];
    vec(step, 1..120)
}

fn words(response: Option<Response>) -> Option<String> {
    let response = response?;
    let resources: Vec<(&Name, String)> =
        response.resources.iter().map(|one| (one.name(), one.version().to_string())).collect();
    let Response { resource_type, version, nonce, revision, removed, missing, .. } = &response;
    let fingerprint = response.fingerprint();
    Some(format!(
        "{resource_type} {version} {nonce} {revision} {resources:?} {removed:?} {missing:?} {fingerprint:?}"
    ))
}

impl Twins {
    fn new(dialect: Dialect, now: Instant, snapshot: &Snapshot) -> Self {
        let session = || {
            let mut session = Session::new(dialect, ClientProfile::Envoy, SessionConfig::default(), now);
            session.handle_snapshot(now, snapshot);
            session
        };
        let (alone, guided) = (session(), session());
        Self { dialect, alone, guided, names: BTreeMap::new(), heard: BTreeMap::new() }
    }

    fn say(&mut self, now: Instant, request: Request) {
        for session in [&mut self.alone, &mut self.guided] {
            session.handle_request(now, request.clone()).expect("a request within the limits");
            while session.poll_event().is_some() {}
        }
    }

    /// Asks for a list; one of the twins may be told of it as an interest that others have too.
    fn ask(&mut self, now: Instant, of: &ResourceType, list: &[&str], shared: bool) {
        let names: Vec<String> = list.iter().map(|&name| name.to_owned()).collect();
        let former = self.names.insert(of.clone(), names.clone()).unwrap_or_default();
        let (nonce, version) = self.heard.get(of).cloned().unwrap_or_default();
        let said = match self.dialect {
            Dialect::Sotw => Names::Exactly { names, version: version.clone() },
            Dialect::Delta => Names::Change {
                subscribe: names.iter().filter(|name| !former.contains(name)).cloned().collect(),
                unsubscribe: former.into_iter().filter(|name| !names.contains(name)).collect(),
                initial_versions: HashMap::new(),
            },
        };
        let is_list = match &said {
            Names::Change { subscribe, unsubscribe, .. } => !subscribe.is_empty() && unsubscribe.is_empty(),
            _ => !list.is_empty(),
        };
        let nonce = if self.dialect == Dialect::Sotw { nonce } else { String::new() };
        let request = Request { resource_type: of.clone(), nonce, error: None, names: said };
        let guided = match &request.names {
            Names::Exactly { names, .. } | Names::Change { subscribe: names, .. } if shared && is_list => {
                let names = names.iter().map(|name| Name::from(name.as_str()));
                let interest = Interest::new(Wildcard::None, names);
                Request { names: Names::Shared { interest, version }, ..request.clone() }
            }
            _ => request.clone(),
        };
        for (session, request) in [(&mut self.alone, request), (&mut self.guided, guided)] {
            session.handle_request(now, request).expect("a request within the limits");
            while session.poll_event().is_some() {}
        }
    }

    fn deliver(&mut self, archive: &Archive) {
        let alone = self.alone.poll_response();
        let guided = self.guided.poll_response_with(archive);
        if let Some(response) = &alone {
            let heard = (response.nonce.to_string(), response.version.to_string());
            self.heard.insert(response.resource_type.clone(), heard);
        }
        assert_eq!(words(alone), words(guided));
        self.compare();
    }

    fn answer(&mut self, now: Instant, of: &ResourceType, accepts: bool) {
        let Some((nonce, version)) = self.heard.get(of).cloned() else {
            return;
        };
        let names = match self.dialect {
            Dialect::Sotw => {
                Names::Exactly { names: self.names.get(of).cloned().unwrap_or_default(), version }
            }
            Dialect::Delta => Names::Change {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                initial_versions: HashMap::new(),
            },
        };
        let error = (!accepts).then(|| Rejection { code: 13, message: "no".to_owned() });
        self.say(now, Request { resource_type: of.clone(), nonce, error, names });
        self.compare();
    }

    fn compare(&self) {
        assert_eq!(self.alone.settled(), self.guided.settled());
        assert_eq!(self.alone.poll_timeout(), self.guided.poll_timeout());
        let holdings = |session: &Session| format!("{:?}", session.holdings());
        assert_eq!(holdings(&self.alone), holdings(&self.guided));
    }
}

/// Returns how often a precedent was followed.
fn twins_agree(dialect: Dialect, steps: Vec<Step>) -> usize {
    let (archive, mut now, mut snapshot) = (Archive::default(), Instant::now(), Snapshot::new(Revision(1)));
    for of in TYPES {
        let collection: Collection =
            ["a", "b", "c"].map(|name| Resource::new(name, "first")).into_iter().collect();
        snapshot = snapshot.with(of, Arc::new(collection));
    }
    let mut streams: Vec<Twins> = (0..STREAMS).map(|_| Twins::new(dialect, now, &snapshot)).collect();
    for step in steps {
        match step {
            Step::Change { of, name, content, refers } => {
                let name = ["a", "b", "c", "d"][name];
                let former = snapshot.collection(&TYPES[of]).cloned().unwrap_or_default();
                let resource = content.map(|content| {
                    let to = refers.then(|| Reference::new(TYPES[(of + 1) % 4].clone(), "a"));
                    Resource::new(name, format!("{content} {refers}")).with_references(to)
                });
                let removal = resource.is_none().then(|| Name::from(name));
                let next = Arc::new(former.with_changes(resource, removal));
                snapshot =
                    snapshot.clone().at(Revision(snapshot.revision().0 + 1)).with(TYPES[of].clone(), next);
                for twins in &mut streams {
                    twins.alone.handle_snapshot(now, &snapshot);
                    twins.guided.handle_snapshot(now, &snapshot);
                }
            }
            Step::Ask { stream, of, list, shared } => {
                streams[stream].ask(now, &TYPES[of], LISTS[list], shared);
            }
            Step::Deliver { stream } => streams[stream].deliver(&archive),
            Step::Answer { stream, of, accepts } => streams[stream].answer(now, &TYPES[of], accepts),
            Step::Reconnect { stream } => streams[stream] = Twins::new(dialect, now, &snapshot),
            Step::Tick { seconds } => {
                now += Duration::from_secs(seconds);
                for twins in &mut streams {
                    twins.alone.handle_timeout(now);
                    twins.guided.handle_timeout(now);
                }
            }
        }
    }
    archive.followed.get()
}

#[test]
fn equal_streams_follow_the_first_one() {
    for dialect in [Dialect::Sotw, Dialect::Delta] {
        let mut steps = Vec::new();
        let everyone = |steps: &mut Vec<Step>, of| {
            for stream in 0..STREAMS {
                steps.push(Step::Deliver { stream });
                steps.push(Step::Answer { stream, of, accepts: true });
            }
        };
        for stream in 0..STREAMS {
            steps.push(Step::Ask { stream, of: 1, list: 0, shared: stream > 0 });
        }
        everyone(&mut steps, 1);
        steps.push(Step::Change { of: 1, name: 0, content: Some(1), refers: false });
        everyone(&mut steps, 1);
        // The first response, and the change.
        assert_eq!(twins_agree(dialect, steps), 2 * (STREAMS - 1), "{dialect:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sotw_streams_say_what_they_would_have_said_alone(steps in steps()) {
        twins_agree(Dialect::Sotw, steps);
    }

    #[test]
    fn delta_streams_say_what_they_would_have_said_alone(steps in steps()) {
        twins_agree(Dialect::Delta, steps);
    }
}
