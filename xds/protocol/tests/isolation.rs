//! A client that rejects bad resources without naming them: whichever they are, they are found with few probes, keep
//! their last accepted content, and everything else arrives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use pilotage_protocol::{
    Blame, ClientProfile, Collection, Dialect, Event, Names, Rejection, Request, Resource, ResourceType,
    Response, Revision, Session, SessionConfig, Snapshot,
};
use proptest::collection::btree_set;
use proptest::prelude::*;

/// What a client does with the good resources of a response that it rejects.
#[derive(Clone, Copy, Debug)]
enum Habit {
    TakesTheGoodOnes,
    TakesNothing,
}

#[derive(Clone, Debug)]
struct Case {
    dialect: Dialect,
    resource_type: ResourceType,
    habit: Habit,
    count: usize,
    poison: BTreeSet<usize>,
    /// Whether the client has accepted something under each name before.
    has_predecessors: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let dialect = prop_oneof![Just(Dialect::Sotw), Just(Dialect::Delta)];
    let resource_type = prop_oneof![Just(ResourceType::Cluster), Just(ResourceType::Endpoint)];
    let habit = prop_oneof![Just(Habit::TakesTheGoodOnes), Just(Habit::TakesNothing)];
    (dialect, resource_type, habit, 2..40usize, btree_set(0..40usize, 1..3), any::<bool>()).prop_map(
        |(dialect, resource_type, habit, count, poison, has_predecessors)| Case {
            dialect,
            resource_type,
            habit,
            count,
            poison: poison.into_iter().map(|index| index % count).collect(),
            has_predecessors,
        },
    )
}

fn name(index: usize) -> String {
    format!("n{index:02}")
}

fn snapshot(case: &Case, revision: u64) -> Snapshot {
    let resources = (0..case.count).map(|index| {
        let is_bad = revision > 1 && case.poison.contains(&index);
        let content = if is_bad { "poison".to_owned() } else { revision.to_string() };
        Resource::new(name(index), content)
    });
    let collection: Collection = resources.collect();
    Snapshot::new(Revision(revision)).with(case.resource_type.clone(), Arc::new(collection))
}

struct Client {
    case: Case,
    session: Session,
    now: Instant,
    held: BTreeMap<String, String>,
    rejections: usize,
    offers: BTreeSet<Vec<String>>,
    culprits: Vec<String>,
}

impl Client {
    fn new(case: &Case) -> Self {
        let now = Instant::now();
        let session = Session::new(case.dialect, ClientProfile::Envoy, SessionConfig::default(), now);
        let (held, offers, culprits) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let mut client = Self { case: case.clone(), session, now, held, rejections: 0, offers, culprits };
        client.say(String::new(), false);
        client
    }

    fn say(&mut self, nonce: String, rejects: bool) {
        let is_wildcard = self.case.resource_type == ResourceType::Cluster;
        let all: Vec<String> =
            if is_wildcard { Vec::new() } else { (0..self.case.count).map(name).collect() };
        let is_first = nonce.is_empty();
        let names = match self.case.dialect {
            Dialect::Sotw => Names::Exactly { names: all, version: String::new() },
            Dialect::Delta => Names::Change {
                subscribe: if is_first { all } else { Vec::new() },
                unsubscribe: Vec::new(),
                initial_versions: HashMap::new(),
            },
        };
        let error = rejects.then(|| Rejection { code: 13, message: "no".to_owned() });
        let request = Request { resource_type: self.case.resource_type.clone(), nonce, error, names };
        self.session.handle_request(self.now, request).expect("a request within the limits");
        while let Some(event) = self.session.poll_event() {
            if let Event::Nacked { suspects, blame, .. } = event {
                assert_eq!(blame, Blame::Certain, "{suspects:?}");
                self.culprits.extend(suspects.iter().map(|suspect| suspect.name().to_string()));
            }
        }
    }

    fn hear(&mut self, response: &Response) {
        let text = |resource: &Resource| String::from_utf8_lossy(&resource.body()).into_owned();
        let offer: Vec<String> =
            response.resources.iter().map(|one| format!("{}={}", one.name(), text(one))).collect();
        assert!(self.offers.insert(offer), "the same set is offered twice");
        let is_list = self.case.dialect == Dialect::Sotw && self.case.resource_type == ResourceType::Cluster;
        if is_list && self.case.has_predecessors {
            assert_eq!(response.resources.len(), self.case.count, "a probe deletes something");
        }
        let rejects = response.resources.iter().any(|one| text(one) == "poison");
        let takes = !rejects || matches!(self.case.habit, Habit::TakesTheGoodOnes);
        if takes {
            if is_list {
                let listed: BTreeSet<&str> =
                    response.resources.iter().map(|one| one.name().as_ref()).collect();
                self.held.retain(|name, _| listed.contains(name.as_str()));
            }
            for one in response.resources.iter().filter(|one| text(one) != "poison") {
                self.held.insert(one.name().to_string(), text(one));
            }
        }
        self.rejections += usize::from(rejects);
        self.say(response.nonce.to_string(), rejects);
    }

    fn follow(&mut self, snapshot: &Snapshot) -> usize {
        self.session.handle_snapshot(self.now, snapshot);
        let mut responses = 0;
        while let Some(response) = self.session.poll_response() {
            responses += 1;
            assert!(responses < 1000, "the conversation does not end");
            self.hear(&response);
        }
        responses
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bad_resources_are_found_and_hurt_no_others(case in cases()) {
        let mut client = Client::new(&case);
        if case.has_predecessors {
            prop_assert_eq!(client.follow(&snapshot(&case, 1)), 1);
        }
        let responses = client.follow(&snapshot(&case, 2));
        // One response with everything, and for each bad one a search and the rest.
        let logarithm = case.count.next_power_of_two().trailing_zeros() as usize;
        prop_assert!(responses <= 2 + case.poison.len() * (logarithm + 1), "{} responses", responses);

        let wanted: BTreeMap<String, String> = (0..case.count)
            .filter_map(|index| match (case.poison.contains(&index), case.has_predecessors) {
                (false, _) => Some((name(index), "2".to_owned())),
                (true, true) => Some((name(index), "1".to_owned())),
                (true, false) => None,
            })
            .collect();
        prop_assert_eq!(&client.held, &wanted);
        client.culprits.sort();
        let culprits: Vec<String> = case.poison.iter().map(|index| name(*index)).collect();
        prop_assert_eq!(&client.culprits, &culprits, "each is reported once");
        prop_assert_eq!(client.session.settled(), Some(Revision(2)));
    }
}
