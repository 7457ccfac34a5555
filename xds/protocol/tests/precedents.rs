//! A stream that follows precedents says what it would have said alone, word for word.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_protocol::{
    ClientProfile, Collection, Dialect, Interest, Inventory, Name, Names, Precedent, Precedents, Reference,
    Rejection, Request, Resource, ResourceType, Response, Revision, Session, SessionConfig, Snapshot,
    Standing, Wildcard,
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
    resumed: Cell<usize>,
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

    /// Leaves, and returns with what it has; one of the twins is told of that as a sum.
    fn reconnect(&mut self, now: Instant, snapshot: &Snapshot, archive: &Archive) {
        let held = self.alone.holdings();
        let asked = std::mem::take(&mut self.names);
        *self = Self::new(self.dialect, now, snapshot);
        for (of, names) in asked.into_iter().filter(|(_, names)| !names.is_empty()) {
            let list: Vec<&str> = names.iter().map(String::as_str).collect();
            let held: HashMap<String, String> = held
                .iter()
                .filter(|one| one.resource_type == of && one.standing == Standing::Accepted)
                .map(|one| (one.resource.name().to_string(), one.resource.version().to_string()))
                .collect();
            if self.dialect == Dialect::Sotw || held.is_empty() {
                self.ask(now, &of, &list, false);
                continue;
            }
            let mut inventory = Inventory::default();
            held.iter().for_each(|(name, version)| inventory.add(name, version));
            let interest = Interest::new(Wildcard::None, list.iter().map(|&name| Name::from(name)));
            let (subscribe, unsubscribe, initial_versions) = (names.clone(), Vec::new(), held);
            let request = Request {
                resource_type: of.clone(),
                nonce: String::new(),
                error: None,
                names: Names::Change { subscribe, unsubscribe, initial_versions },
            };
            self.names.insert(of.clone(), names);
            self.alone.handle_request(now, request.clone()).expect("a request within the limits");
            if self.guided.resume(now, &of, interest, &inventory) {
                archive.resumed.set(archive.resumed.get() + 1);
            } else {
                self.guided.handle_request(now, request).expect("a request within the limits");
            }
            for session in [&mut self.alone, &mut self.guided] {
                while session.poll_event().is_some() {}
            }
        }
        // One knows at once that there is nothing to say, and the other when it is asked.
        let mut is_silent = true;
        while self.hear(archive) {
            is_silent = false;
        }
        if is_silent {
            self.compare();
        } else {
            // What was not sent because the client has it counts as sent with the rest for one, until that is
            // answered, and as accepted for the other: from here on they may wait for different things.
            *self = Self::new(self.dialect, now, snapshot);
        }
    }

    fn deliver(&mut self, archive: &Archive) {
        self.hear(archive);
        self.compare();
    }

    fn hear(&mut self, archive: &Archive) -> bool {
        let alone = self.alone.poll_response();
        let guided = self.guided.poll_response_with(archive);
        if let Some(response) = &alone {
            let heard = (response.nonce.to_string(), response.version.to_string());
            self.heard.insert(response.resource_type.clone(), heard);
        }
        let words_alone = words(alone);
        assert_eq!(words_alone, words(guided));
        words_alone.is_some()
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

/// Returns how often a precedent was followed, and how often a stream went on with what the client had.
fn twins_agree(dialect: Dialect, steps: Vec<Step>) -> (usize, usize) {
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
            Step::Reconnect { stream } => streams[stream].reconnect(now, &snapshot, &archive),
            Step::Tick { seconds } => {
                now += Duration::from_secs(seconds);
                for twins in &mut streams {
                    twins.alone.handle_timeout(now);
                    twins.guided.handle_timeout(now);
                }
            }
        }
    }
    (archive.followed.get(), archive.resumed.get())
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
        let (followed, _) = twins_agree(dialect, steps);
        assert_eq!(followed, 2 * (STREAMS - 1), "{dialect:?}");
    }
}

#[test]
fn a_client_with_everything_is_told_nothing() {
    let ask = Step::Ask { stream: 0, of: 1, list: 0, shared: false };
    let (deliver, reconnect) = (Step::Deliver { stream: 0 }, Step::Reconnect { stream: 0 });
    let answer = Step::Answer { stream: 0, of: 1, accepts: true };
    let change = |name| Step::Change { of: 1, name, content: Some(1), refers: false };
    let steps = vec![
        ask,
        deliver,
        answer,
        reconnect.clone(),
        // What it did not ask for makes no difference; what it did ask for does.
        change(2),
        reconnect.clone(),
        change(0),
        reconnect,
    ];
    assert_eq!(twins_agree(Dialect::Delta, steps).1, 2);
}

/// A client that comes back with all of one type, and with something of another that is gone.
#[test]
fn what_is_taken_away_of_a_returning_client_goes_at_once_on_both() {
    let (stream, content) = (0, None);
    let ask = |of, list| Step::Ask { stream, of, list, shared: false };
    let steps = vec![
        ask(0, 2),
        Step::Deliver { stream },
        Step::Change { of: 0, name: 1, content, refers: false },
        ask(2, 0),
        Step::Deliver { stream },
        Step::Tick { seconds: 15 },
        Step::Reconnect { stream },
    ];
    assert_eq!(twins_agree(Dialect::Delta, steps).1, 1, "one type is resumed");
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
