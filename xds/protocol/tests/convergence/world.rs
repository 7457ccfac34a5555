//! A model of a client, and what it must end with: shared by the property test and by the fuzzer.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_protocol::{
    ClientProfile, Collection, Dialect, Name, Names, Reference, Rejection, Request, Resource, ResourceType,
    Response, Revision, Session, SessionConfig, Snapshot,
};

pub(crate) const TYPES: [ResourceType; 4] =
    [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route];
pub(crate) const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Clients reject resources with this content.
const POISON: &str = "poison";

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A successor of the snapshot: content by name, where `None` removes.
    Change(usize, Vec<(usize, Option<u8>)>, Option<usize>),
    /// A snapshot with the same content and no common history, as after a change of groups.
    Rebuild,
    /// The client changes what it wants of a type.
    Subscribe(usize, BTreeSet<usize>, bool),
    /// A response reaches the client.
    Deliver,
    /// The client answers the oldest response that it has not answered, and says who is to blame if it rejects it.
    Answer(bool),
    /// A request with a nonce from nowhere.
    Nonsense(usize),
    Tick(u64),
    /// The client comes back on another stream, and the server remembers what it had or not.
    Reconnect(bool),
}

/// The steps that bytes stand for, whatever the bytes.
pub(crate) fn decode(data: &[u8]) -> Vec<Step> {
    const LONGEST: usize = 200;
    let mut data = data.iter().copied();
    let mut steps = Vec::new();
    while steps.len() < LONGEST
        && let Some(kind) = data.next()
    {
        let mut next = |below: usize| usize::from(data.next().unwrap_or_default()) % below;
        steps.push(match kind % 10 {
            0 | 1 => {
                let of = next(TYPES.len());
                let change = |_| (next(NAMES.len()), [None, Some(0), Some(1), Some(2), Some(3)][next(5)]);
                let changes = (0..kind / 10 % 4).map(change).collect();
                let reference = next(NAMES.len() + 1);
                Step::Change(of, changes, (reference < NAMES.len()).then_some(reference))
            }
            2 => Step::Rebuild,
            3 | 4 => {
                let (of, chosen) = (next(TYPES.len()), next(1 << NAMES.len()));
                let names = (0..NAMES.len()).filter(|name| chosen & 1 << name != 0).collect();
                Step::Subscribe(of, names, kind / 10 % 2 == 0)
            }
            5 => Step::Deliver,
            6 => Step::Answer(kind / 10 % 2 == 0),
            7 => Step::Nonsense(next(TYPES.len())),
            8 => Step::Tick(1 + next(20) as u64),
            _ => Step::Reconnect(kind / 10 % 2 == 0),
        });
    }
    steps
}

/// What a client knows of one type.
#[derive(Default)]
struct Known {
    names: BTreeSet<String>,
    wildcard: bool,
    held: BTreeMap<String, Resource>,
    /// What it has only from responses that it rejected.
    unaccepted: BTreeSet<String>,
    nonce: String,
    version: String,
    has_asked: bool,
    /// Whether more than two responses at once were unanswered: what was on its way before that is not remembered.
    is_behind: bool,
}

impl Known {
    fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn has_accepted(&self, name: &str) -> bool {
        self.held.contains_key(name) && !self.unaccepted.contains(name)
    }
}

struct World {
    dialect: Dialect,
    now: Instant,
    session: Session,
    snapshot: Snapshot,
    client: BTreeMap<ResourceType, Known>,
    inbox: VecDeque<Response>,
}

impl World {
    fn new(dialect: Dialect) -> Self {
        let now = Instant::now();
        let session = Session::new(dialect, ClientProfile::Envoy, SessionConfig::default(), now);
        let (client, inbox) = (BTreeMap::new(), VecDeque::new());
        Self { dialect, now, session, snapshot: Snapshot::default(), client, inbox }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Change(of, changes, reference) => {
                let removals = changes.iter().filter(|(_, content)| content.is_none());
                let removals: Vec<Name> = removals.map(|(name, _)| NAMES[*name].into()).collect();
                let upserts = changes.into_iter().filter_map(|(name, content)| {
                    let content = if content? == 0 { POISON.to_owned() } else { content?.to_string() };
                    // References lead anywhere, to what exists and to what does not.
                    let references =
                        reference.map(|to| Reference::new(TYPES[to % TYPES.len()].clone(), NAMES[to]));
                    let resource = Resource::new(NAMES[name], format!("{content} {references:?}"));
                    Some(resource.with_references(references))
                });
                let former = self.snapshot.collection(&TYPES[of]).cloned().unwrap_or_default();
                let next = former.with_changes(upserts, removals);
                self.publish(TYPES[of].clone(), next);
            }
            Step::Rebuild => {
                for resource_type in TYPES {
                    if let Some(collection) = self.snapshot.collection(&resource_type).cloned() {
                        self.publish(resource_type, collection.iter().cloned().collect());
                    }
                }
            }
            Step::Subscribe(of, names, wildcard) => {
                let names = names.into_iter().map(|name| NAMES[name].to_owned()).collect();
                self.subscribe(TYPES[of].clone(), names, wildcard);
            }
            Step::Deliver => {
                self.deliver();
            }
            Step::Answer(blames) => self.answer(blames),
            Step::Nonsense(of) => {
                // The client has to have spoken of the type, or this would be its first request.
                if let Some(known) = self.client.get(&TYPES[of]).filter(|known| known.has_asked) {
                    let names = self.names(known, &known.names.clone(), &BTreeSet::new());
                    self.say(TYPES[of].clone(), "no such nonce".to_owned(), None, names);
                }
            }
            Step::Tick(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.session.handle_timeout(self.now);
            }
            Step::Reconnect(remembers) => self.reconnect(remembers),
        }
    }

    fn publish(&mut self, resource_type: ResourceType, collection: Collection) {
        let revision = Revision(self.snapshot.revision().0 + 1);
        self.snapshot = self.snapshot.clone().at(revision).with(resource_type, Arc::new(collection));
        self.session.handle_snapshot(self.now, &self.snapshot);
    }

    /// The names as a request of this client puts them.
    fn names(&self, known: &Known, subscribe: &BTreeSet<String>, unsubscribe: &BTreeSet<String>) -> Names {
        match self.dialect {
            Dialect::Sotw => {
                let mut names: Vec<String> = known.names.iter().cloned().collect();
                if known.wildcard {
                    names.push("*".to_owned());
                }
                Names::Exactly { names, version: known.version.clone() }
            }
            Dialect::Delta => Names::Change {
                subscribe: subscribe.iter().cloned().collect(),
                unsubscribe: unsubscribe.iter().cloned().collect(),
                initial_versions: HashMap::new(),
            },
        }
    }

    fn subscribe(&mut self, resource_type: ResourceType, names: BTreeSet<String>, wildcard: bool) {
        let mut known = self.client.remove(&resource_type).unwrap_or_default();
        if !known.has_asked && names.is_empty() && !wildcard {
            // An empty first request may be a wildcard, which is not what this client means.
            self.client.insert(resource_type, known);
            return;
        }
        let mut subscribe: BTreeSet<String> = names.difference(&known.names).cloned().collect();
        let mut unsubscribe: BTreeSet<String> = known.names.difference(&names).cloned().collect();
        if wildcard != known.wildcard {
            if wildcard {
                subscribe.insert("*".to_owned())
            } else {
                unsubscribe.insert("*".to_owned())
            };
        }
        (known.names, known.wildcard, known.has_asked) = (names, wildcard, true);
        let (names, is_wildcard) = (known.names.clone(), known.wildcard);
        known.held.retain(|name, _| is_wildcard || names.contains(name));
        let names = self.names(&known, &subscribe, &unsubscribe);
        let nonce = if self.dialect == Dialect::Sotw { known.nonce.clone() } else { String::new() };
        self.client.insert(resource_type.clone(), known);
        self.say(resource_type, nonce, None, names);
    }

    fn say(&mut self, resource_type: ResourceType, nonce: String, error: Option<Rejection>, names: Names) {
        let request = Request { resource_type, nonce, error, names };
        self.session.handle_request(self.now, request).expect("a request within the limits");
        while self.session.poll_event().is_some() {}
    }

    /// Brings the next response on its way. It must not take away what is wanted and the client has accepted.
    fn deliver(&mut self) -> bool {
        let Some(response) = self.session.poll_response() else {
            return false;
        };
        let resource_type = &response.resource_type;
        let unanswered = self.inbox.iter().filter(|earlier| earlier.resource_type == *resource_type).count();
        if let Some(known) = self.client.get_mut(resource_type) {
            known.is_behind |= unanswered >= 2;
        }
        let lists = |one: &Response, name: &str| one.resources.iter().any(|it| it.name().as_ref() == name);
        if let Some((known, target)) =
            self.client.get(resource_type).zip(self.snapshot.collection(resource_type))
        {
            let is_full = self.dialect == Dialect::Sotw && resource_type.is_full_state_in_sotw();
            let earlier: Vec<&Response> =
                self.inbox.iter().filter(|earlier| earlier.resource_type == *resource_type).collect();
            let is_gone = |name: &str| match is_full {
                true => !lists(&response, name) && earlier.iter().all(|earlier| lists(earlier, name)),
                false => response.removed.iter().any(|removed| removed.as_ref() == name),
            };
            let wanted = target.iter().map(|it| it.name().as_ref()).filter(|name| known.covers(name));
            for name in wanted.filter(|name| !is_full || known.has_accepted(name)) {
                assert!(!is_gone(name), "{resource_type}: {name} is wanted, and taken away");
            }
        }
        self.inbox.push_back(response);
        true
    }

    fn answer(&mut self, blames: bool) {
        let Some(response) = self.inbox.pop_front() else {
            return;
        };
        let mut known = self.client.remove(&response.resource_type).unwrap_or_default();
        let is_poison = |resource: &&Resource| resource.body().starts_with(POISON.as_bytes());
        let poison: Vec<&Resource> = response.resources.iter().filter(is_poison).collect();
        let said: BTreeSet<&str> =
            response.resources.iter().map(|resource| resource.name().as_ref()).collect();
        if self.dialect == Dialect::Sotw && response.resource_type.is_full_state_in_sotw() {
            known.held.retain(|name, _| said.contains(name.as_str()));
        }
        for name in response.removed.iter() {
            known.held.remove(name.as_ref());
        }
        for resource in response.resources.iter().filter(|resource| !is_poison(resource)) {
            let name = resource.name().to_string();
            if known.covers(&name) && known.held.insert(name.clone(), resource.clone()).is_none() {
                known.unaccepted.insert(name);
            }
        }
        known.nonce = response.nonce.to_string();
        let error = (!poison.is_empty()).then(|| {
            let names: Vec<&str> = poison.iter().map(|resource| resource.name().as_ref()).collect();
            let message = if blames { format!("poison in {}", names.join(", ")) } else { "no".to_owned() };
            Rejection { code: 13, message }
        });
        if error.is_none() {
            known.version = response.version.to_string();
            known.unaccepted.retain(|name| !said.contains(name.as_str()));
        }
        let names = self.names(&known, &BTreeSet::new(), &BTreeSet::new());
        self.client.insert(response.resource_type.clone(), known);
        self.say(response.resource_type, response.nonce.to_string(), error, names);
    }

    fn reconnect(&mut self, remembers: bool) {
        let states = if remembers { self.session.recollections() } else { Vec::new() };
        self.inbox.clear();
        self.session = Session::new(self.dialect, ClientProfile::Envoy, SessionConfig::default(), self.now);
        if self.snapshot.revision() > Revision(0) {
            self.session.handle_snapshot(self.now, &self.snapshot);
        }
        let mut client = std::mem::take(&mut self.client);
        for (resource_type, known) in &mut client {
            known.nonce.clear();
            known.is_behind = false;
            if !known.has_asked || (known.names.is_empty() && !known.wildcard) {
                known.has_asked = false;
                continue;
            }
            let mut subscribe = known.names.clone();
            if known.wildcard {
                subscribe.insert("*".to_owned());
            }
            let mut names = self.names(known, &subscribe, &BTreeSet::new());
            if let Names::Change { initial_versions, .. } = &mut names {
                let held = known.held.iter();
                *initial_versions =
                    held.map(|(name, held)| (name.clone(), held.version().to_string())).collect();
            }
            self.say(resource_type.clone(), String::new(), None, names);
            for (_, state) in states.iter().filter(|(of, _)| of == resource_type) {
                self.session.handle_recollection(resource_type, state);
            }
        }
        self.client = client;
    }

    /// Publishes something new and good for every name that exists, and lets both sides finish.
    fn settle(&mut self) {
        for resource_type in TYPES {
            let collection = self.snapshot.collection(&resource_type).cloned().unwrap_or_default();
            let renewed: Vec<Resource> = collection
                .iter()
                .map(|old| Resource::new(old.name().clone(), format!("last {resource_type}")))
                .collect();
            self.publish(resource_type, collection.with_changes(renewed, []));
        }
        for _ in 0..100 {
            while self.deliver() {}
            if self.inbox.is_empty() {
                let Some(deadline) = self.session.poll_timeout() else {
                    return;
                };
                self.now = deadline;
                self.session.handle_timeout(self.now);
            }
            self.answer(true);
        }
        panic!("the conversation does not end");
    }

    fn check(&mut self) {
        for (resource_type, known) in self.client.iter().filter(|(_, known)| known.has_asked) {
            let collection = self.snapshot.collection(resource_type).cloned().unwrap_or_default();
            let wanted = collection.iter().filter(|resource| known.covers(resource.name()));
            let wanted: BTreeMap<String, Resource> =
                wanted.map(|resource| (resource.name().to_string(), resource.clone())).collect();
            let mut held = known.held.clone();
            let has_no_deletions = self.dialect == Dialect::Sotw && !resource_type.is_full_state_in_sotw();
            if has_no_deletions || known.is_behind {
                // A type without deletions (R35), or one that may have been covered again while it was on its way.
                held.retain(|name, _| wanted.contains_key(name));
            }
            assert_eq!(held, wanted, "{resource_type}");
        }
        assert_eq!(self.session.settled(), Some(self.snapshot.revision()));
        self.now += Duration::from_secs(3600);
        self.session.handle_timeout(self.now);
        assert!(self.session.poll_response().is_none(), "silence was expected");
        assert!(self.session.poll_timeout().is_none(), "a timer runs for nothing");
    }
}

/// Takes the steps, lets both sides finish, and judges.
pub(crate) fn converges(dialect: Dialect, steps: Vec<Step>) {
    let mut world = World::new(dialect);
    for step in steps {
        world.step(step);
    }
    world.settle();
    world.check();
}
