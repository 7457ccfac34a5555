//! The interpreter of the scenario language, which `scenarios.rs` describes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_protocol::{
    Blame, ClientFeatures, ClientProfile, Collection, Dialect, Event, Name, Names, Reference, Rejection,
    Request, RequestError, Resource, ResourceType, Response, Revision, Session, SessionConfig, Snapshot,
    Spared, Version,
};

type Outcome<T = ()> = Result<T, String>;

/// Runs a scenario; a failure says in which line.
pub(crate) fn run(text: &str) -> Outcome {
    let mut stage = Stage::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            stage.step(line).map_err(|failure| format!("{}: {line}\n    {failure}", index + 1))?;
        }
    }
    stage.expect_silence().map_err(|failure| format!("end: {failure}"))
}

struct Stage {
    dialect: Dialect,
    profile: ClientProfile,
    features: ClientFeatures,
    config: SessionConfig,
    now: Instant,
    session: Session,
    snapshot: Option<Snapshot>,
    client: HashMap<String, Memory>,
    nonces: BTreeSet<String>,
    events: Vec<String>,
    /// What the server remembers of the stream before.
    recollections: Vec<(ResourceType, Arc<Collection>)>,
}

/// What the scripted client remembers of one type.
#[derive(Default)]
struct Memory {
    names: Vec<String>,
    nonce: String,
    old_nonce: String,
    version: String,
    accepted: String,
}

impl Stage {
    fn new() -> Self {
        let (dialect, profile, now) = (Dialect::Sotw, ClientProfile::Unknown, Instant::now());
        let session = Session::new(dialect, profile, SessionConfig::default(), now);
        let (client, nonces) = (HashMap::new(), BTreeSet::new());
        let (features, config) = Default::default();
        Self {
            dialect,
            profile,
            features,
            config,
            now,
            session,
            snapshot: None,
            client,
            nonces,
            events: Vec::new(),
            recollections: Vec::new(),
        }
    }

    fn step(&mut self, line: &str) -> Outcome {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "session" => self.open(rest),
            "snapshot" => self.publish(rest, Snapshot::default()),
            "change" => self.publish(rest, self.snapshot.clone().unwrap_or_default()),
            ">" => self.request(rest),
            "<" => self.expect_response(rest),
            "silence" => self.expect_silence(),
            "spared" => self.spare(rest),
            "!" => self.expect_event(rest),
            "tick" => self.tick(rest),
            "settled" => self.expect_settled(Some(rest)),
            "idle" => match self.session.poll_timeout() {
                None => Ok(()),
                Some(deadline) => Err(format!("a timer runs for {:?}", deadline - self.now)),
            },
            "unsettled" => self.expect_settled(None),
            "reconnect" => {
                let states = self.session.recollections();
                self.recollections = if rest == "remembered" { states } else { Vec::new() };
                self.connect();
                Ok(())
            }
            _ => Err(format!("unknown step {verb}")),
        }
    }

    fn open(&mut self, rest: &str) -> Outcome {
        (self.features, self.config) = Default::default();
        for word in rest.split_whitespace() {
            match word {
                "sotw" => self.dialect = Dialect::Sotw,
                "delta" => self.dialect = Dialect::Delta,
                "ttl" => self.features.ttl = true,
                "wrapped" => self.features.wrapped_in_sotw = true,
                word if word.starts_with("bytes=") => {
                    self.config.response_bytes = word[6..].parse().map_err(|_| "bytes expected")?;
                }
                agent => self.profile = ClientProfile::from_user_agent(agent),
            }
        }
        self.connect();
        Ok(())
    }

    fn connect(&mut self) {
        self.session = Session::new(self.dialect, self.profile, self.config.clone(), self.now)
            .with_features(self.features);
        self.nonces.clear();
        for memory in self.client.values_mut() {
            memory.old_nonce = std::mem::take(&mut memory.nonce);
        }
        if let Some(snapshot) = &self.snapshot {
            self.session.handle_snapshot(self.now, snapshot);
        }
    }

    fn publish(&mut self, rest: &str, from: Snapshot) -> Outcome {
        let (revision, types) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut snapshot = from.at(Revision(revision.parse().map_err(|_| "a revision is missing")?));
        for group in types.split('}').map(str::trim).filter(|group| !group.is_empty()) {
            let (name, entries) = group.split_once('{').ok_or("Type{…} expected")?;
            let resource_type = resource_type(name);
            let (mut upserts, mut removals) = (Vec::new(), Vec::new());
            for entry in entries.split_whitespace() {
                match entry.strip_prefix('-') {
                    Some(name) => removals.push(Name::from(name)),
                    None => upserts.push(resource(entry)?),
                }
            }
            let former = snapshot.collection(&resource_type).cloned().unwrap_or_default();
            // An unrelated snapshot shares no history with the one before.
            let collection: Collection = if former.is_empty() {
                upserts.into_iter().collect()
            } else {
                former.with_changes(upserts, removals)
            };
            snapshot = snapshot.with(resource_type, Arc::new(collection));
        }
        self.session.handle_snapshot(self.now, &snapshot);
        self.snapshot = Some(snapshot);
        self.drain_events();
        Ok(())
    }

    fn spare(&mut self, rest: &str) -> Outcome {
        let mut spared = Spared::default();
        for word in rest.split_whitespace() {
            let (type_name, entry) = word.split_once('/').ok_or("Type/name=content expected")?;
            spared = spared.with(resource_type(type_name), &resource(entry)?);
        }
        self.session.handle_spared(self.now, Arc::new(spared));
        Ok(())
    }

    fn request(&mut self, rest: &str) -> Outcome {
        self.events.clear();
        let (type_name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let memory = self.client.entry(type_name.into()).or_default();
        let (mut nonce, mut error, mut version) = (String::new(), None, None);
        let (mut subscribe, mut unsubscribe, mut initial_versions) = (Vec::new(), Vec::new(), HashMap::new());
        for word in words(rest) {
            match word.as_str() {
                "ack" => {
                    nonce.clone_from(&memory.nonce);
                    memory.accepted.clone_from(&memory.version);
                }
                "late" => nonce.clone_from(&memory.nonce),
                "nonce=old" => nonce.clone_from(&memory.old_nonce),
                "nonce=bogus" => nonce = "bogus".into(),
                "nonce=none" => nonce.clear(),
                "version=last" => version = Some(memory.version.clone()),
                "version=none" => version = Some(String::new()),
                word if word.starts_with("error=") => {
                    error = Some(Rejection { code: 13, message: word[6..].trim_matches('"').into() });
                }
                word if word.starts_with("nack ") => {
                    nonce.clone_from(&memory.nonce);
                    error = Some(Rejection { code: 13, message: word[5..].trim_matches('"').into() });
                }
                word if word.starts_with('[') => {
                    memory.names = word[1..word.len() - 1].split_whitespace().map(unquoted).collect();
                }
                word if word.starts_with('{') => {
                    for entry in word[1..word.len() - 1].split_whitespace() {
                        let (name, content) = entry.split_once('=').ok_or("name=content expected")?;
                        let version = Version::of(content.as_bytes()).to_string();
                        initial_versions.insert(name.into(), version);
                    }
                }
                word if word.starts_with('+') => subscribe.push(unquoted(&word[1..])),
                word if word.starts_with('-') => unsubscribe.push(unquoted(&word[1..])),
                word => return Err(format!("unknown word {word}")),
            }
        }
        let names = match self.dialect {
            Dialect::Sotw => Names::Exactly {
                names: memory.names.clone(),
                version: version.unwrap_or_else(|| memory.accepted.clone()),
            },
            Dialect::Delta => Names::Change { subscribe, unsubscribe, initial_versions },
        };
        let request = Request { resource_type: resource_type(type_name), nonce, error, names };
        if let Err(error) = self.session.handle_request(self.now, request) {
            self.events.push(match error {
                RequestError::TooManyTypes { .. } => "too many types".into(),
                error => error.to_string(),
            });
        }
        let resource_type = resource_type(type_name);
        for (_, state) in self.recollections.iter().filter(|(of, _)| *of == resource_type) {
            self.session.handle_recollection(&resource_type, state);
        }
        self.drain_events();
        Ok(())
    }

    fn expect_response(&mut self, rest: &str) -> Outcome {
        let Some(response) = self.session.poll_response() else {
            return Err("silence, and a response was expected".into());
        };
        let said = shown(&response);
        self.drain_events();
        let mut names: Vec<&str> =
            response.resources.iter().map(|resource| resource.name().as_ref()).collect();
        names.extend(response.removed.iter().map(AsRef::as_ref));
        if names.len() != names.iter().collect::<BTreeSet<_>>().len() {
            return Err(format!("a name is twice in {said}"));
        }
        if !self.nonces.insert(response.nonce.to_string()) {
            return Err(format!("nonce {} is not unique", response.nonce));
        }
        let type_name = rest.split(' ').next().unwrap_or_default();
        let memory = self.client.entry(type_name.into()).or_default();
        memory.old_nonce = std::mem::replace(&mut memory.nonce, response.nonce.to_string());
        memory.version = response.version.to_string();
        let wanted = rest.split_whitespace().collect::<Vec<_>>().join(" ");
        if said == wanted { Ok(()) } else { Err(format!("the response is: {said}")) }
    }

    fn expect_silence(&mut self) -> Outcome {
        match self.session.poll_response() {
            None => Ok(()),
            Some(response) => Err(format!("silence was expected, the response is: {}", shown(&response))),
        }
    }

    fn expect_event(&mut self, rest: &str) -> Outcome {
        if rest == "nothing" {
            return if self.events.is_empty() {
                Ok(())
            } else {
                Err(format!("the events are: {:?}", self.events))
            };
        }
        match self.events.iter().position(|event| event == rest) {
            Some(index) => {
                self.events.remove(index);
                Ok(())
            }
            None => Err(format!("the events are: {:?}", self.events)),
        }
    }

    fn tick(&mut self, rest: &str) -> Outcome {
        let seconds: u64 = rest.trim_end_matches('s').parse().map_err(|_| "seconds expected")?;
        self.now += Duration::from_secs(seconds);
        self.session.handle_timeout(self.now);
        Ok(())
    }

    fn expect_settled(&self, revision: Option<&str>) -> Outcome {
        let settled = self.session.settled().map(|revision| revision.to_string());
        if settled.as_deref() == revision { Ok(()) } else { Err(format!("settled is {settled:?}")) }
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(match event {
                Event::Acked { response, .. } => {
                    format!("acked {} {}", short(&response.resource_type), response.revision)
                }
                Event::Nacked { response, suspects, blame, .. } => {
                    let names: Vec<&str> = suspects.iter().map(|suspect| suspect.name().as_ref()).collect();
                    format!(
                        "nacked {} {}: {}{}",
                        short(&response.resource_type),
                        response.revision,
                        names.join(" "),
                        if blame == Blame::Shared { " (any)" } else { "" },
                    )
                }
                Event::Missing { resource_type, names } => {
                    format!("missing {} {}", short(&resource_type), names.join(" "))
                }
                Event::UnknownType(resource_type) => format!("unknown {resource_type}"),
            });
        }
    }
}

/// Splits at spaces outside of brackets, braces and quotes; `nack "words"` is one word.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut depth, mut quoted) = (0, false);
    for c in text.chars() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            '"' => quoted = !quoted,
            _ => {}
        }
        let joins = words.last().is_some_and(|word| word == "nack");
        if c == ' ' && depth == 0 && !quoted && !joins {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `""` in a list of names is the empty name.
fn unquoted(name: &str) -> String {
    name.trim_matches('"').into()
}

fn resource(entry: &str) -> Outcome<Resource> {
    let (head, references) = entry.split_once("->").unwrap_or((entry, ""));
    let (name, content) = head.split_once('=').ok_or("name=content expected")?;
    let references = references.split(',').filter_map(|reference| {
        let (type_name, name) = reference.split_once('/')?;
        Some(Reference::new(resource_type(type_name), name))
    });
    let resource = Resource::new(name, content.as_bytes().to_vec()).with_references(references);
    // A content such as `1!6` lives for six seconds.
    Ok(match content.split_once('!').and_then(|(_, seconds)| seconds.parse().ok()) {
        Some(seconds) => resource.with_ttl(Duration::from_secs(seconds)),
        None => resource,
    })
}

fn resource_type(name: &str) -> ResourceType {
    ResourceType::KNOWN
        .into_iter()
        .find(|known| short(known) == name)
        .unwrap_or_else(|| ResourceType::Other(name.into()))
}

fn short(resource_type: &ResourceType) -> &str {
    match resource_type {
        ResourceType::Endpoint => "Endpoint",
        ResourceType::Route => "Route",
        other => other.type_url().rsplit('.').next().unwrap_or_default(),
    }
}

fn shown(response: &Response) -> String {
    let mut words = vec![short(&response.resource_type).to_owned()];
    words.extend(
        response
            .resources
            .iter()
            .map(|resource| format!("{}={}", resource.name(), String::from_utf8_lossy(&resource.body()))),
    );
    words.extend(response.removed.iter().map(|name| format!("-{name}")));
    words.extend(response.missing.iter().map(|name| format!("?{name}")));
    words.extend(response.heartbeats.iter().map(|resource| format!("~{}", resource.name())));
    words.join(" ")
}
