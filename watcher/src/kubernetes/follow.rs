//! Follows one kind, or one object of it: finds out where it is served, lists it, watches it, and goes on after
//! whatever interrupts that.
//!
//! Nothing is withdrawn here but by a complete list, an event, or the definition itself being gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use self::standing::{Ended, Standing};
use super::backoff::Backoff;
use super::lines::Lines;
use super::read::head;
use super::request::{From as Begin, Page, WATCH_FOR, negotiate, page, parse, watch};
use super::status::Board;
use super::subject::Subject;
use super::table::{Listing, Table};
use super::trouble::Trouble;
use super::{Connection, KindState, Options, Signal};
use crate::{Code, Problem, Severity};

mod standing;

/// The annotation of the bookmark that ends the objects that were there when a watch began.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// The follower of one subject.
pub(super) struct Follower {
    subject: Subject,
    connection: Connection,
    options: Options,
    definitions: watch::Receiver<u64>,
    standing: Standing,
    table: Table,
    backoff: Backoff,
    /// The version in which the kind is served; none until that is known.
    version: Option<&'static str>,
    /// Where to go on from; none where everything has to be listed.
    resume: Option<String>,
    /// Whether lists may be streamed, as far as is known.
    streams: bool,
    /// Since when the kind is refused.
    refused: Option<Instant>,
    /// Since when it is being followed.
    began: Instant,
}

/// Why an attempt ended.
enum Stop {
    Trouble(Trouble),
    Ended,
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Ended> for Stop {
    fn from(_: Ended) -> Self {
        Self::Ended
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: String,
    annotations: HashMap<String, String>,
}

impl Follower {
    pub(super) fn new(
        subject: Subject,
        connection: Connection,
        options: Options,
        board: Arc<Board>,
        definitions: watch::Receiver<u64>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        Self {
            standing: Standing::new(subject.clone(), board, signals),
            table: Table::new(subject.kind()),
            backoff: Backoff::new(options.longest_wait),
            subject,
            connection,
            options,
            definitions,
            version: None,
            resume: None,
            streams: true,
            refused: None,
            began: Instant::now(),
        }
    }

    /// Follows until nobody listens any more.
    pub(super) async fn run(mut self) {
        loop {
            // What changes from here on is worth another look.
            self.definitions.mark_unchanged();
            let ended = match self.attempt().await {
                Ok(()) => Ok(()),
                Err(Stop::Trouble(trouble)) => self.suffer(trouble).await,
                Err(Stop::Ended) => Err(Ended),
            };
            if ended.is_err() {
                return;
            }
        }
    }

    /// From where the last attempt left off to the end of a watch.
    async fn attempt(&mut self) -> Result<(), Stop> {
        let version = match self.version {
            Some(version) => version,
            None => {
                let version = negotiate(&self.connection, self.subject.watched).await?;
                self.standing.read_in(self.subject.watched.api_version(version));
                *self.version.insert(version)
            }
        };
        let path = self.subject.locator(version);
        if self.resume.is_none() && !self.streams {
            self.list(&path).await?;
        }
        let begin = self.resume.as_deref().map_or(Begin::Everything, Begin::Version);
        let lines = watch(&self.connection, (&path, self.subject.watched.extent), begin).await?;
        self.follow(lines).await
    }

    /// Lists by pages.
    async fn list(&mut self, path: &str) -> Result<(), Stop> {
        let seen = Instant::now();
        let mut listing = Listing::default();
        let mut next = String::new();
        loop {
            let asked = (path, self.subject.watched.extent);
            let body = page(&self.connection, asked, self.options.page, &next).await?;
            let Page { metadata, items } = parse(&body)?;
            for item in items.into_iter().flatten() {
                self.take_listed(&mut listing, item);
            }
            next = metadata.r#continue;
            if next.is_empty() {
                self.resume = Some(metadata.resource_version);
                return Ok(self.listed(listing, seen).await?);
            }
        }
    }

    /// Reads a watch to its end.
    async fn follow(&mut self, mut lines: Lines) -> Result<(), Stop> {
        let began = Instant::now();
        let mut listing = self.resume.is_none().then(Listing::default);
        if listing.is_none() {
            self.recovered().await?;
        }
        loop {
            // The server ends a watch long before this; one that is silent for so long is lost.
            let Ok(line) = timeout(WATCH_FOR * 2, lines.next()).await else { return Ok(()) };
            let Some(line) = line? else {
                // A server that ends each watch at once would be asked without a pause.
                if began.elapsed() < self.options.longest_wait {
                    sleep(self.backoff.next()).await;
                }
                return Ok(());
            };
            let seen = Instant::now();
            let event: Event<'_> = parse(&line)?;
            let object = event.object;
            match event.r#type {
                "ADDED" | "MODIFIED" | "DELETED" => match &mut listing {
                    Some(listing) => self.take_listed(listing, object),
                    None => self.take(seen, &event).await?,
                },
                "BOOKMARK" => {
                    let Bookmark { metadata } = parse(object.get().as_bytes())?;
                    if metadata.annotations.contains_key(INITIAL_END)
                        && let Some(listing) = listing.take()
                    {
                        self.listed(listing, began).await?;
                    }
                    if listing.is_none() {
                        self.resume = Some(metadata.resource_version);
                    }
                }
                "ERROR" => return Err(Trouble::of_event(object.get()).into()),
                _ => {}
            }
        }
    }

    /// Takes the object of an event.
    async fn take(&mut self, seen: Instant, event: &Event<'_>) -> Result<(), Ended> {
        let json = event.object.get();
        let Some((head, version)) = head(self.subject.kind(), json) else { return Ok(()) };
        let changes = match event.r#type {
            "DELETED" => self.table.delete(head),
            _ => self.table.apply(head, json),
        };
        self.resume = Some(version);
        self.standing.say(seen, changes, self.table.len()).await
    }

    /// Takes an object of a list.
    fn take_listed(&self, listing: &mut Listing, object: &RawValue) {
        match head(self.subject.kind(), object.get()) {
            Some((head, _)) => self.table.list(listing, head, object.get()),
            None => debug!(kind = %self.subject, "an object without a name is passed over"),
        }
    }

    /// A list is complete.
    async fn listed(&mut self, listing: Listing, seen: Instant) -> Result<(), Ended> {
        let changes = self.table.finish(listing);
        self.standing.say(seen, changes, self.table.len()).await?;
        self.recovered().await?;
        self.standing.settle().await
    }

    /// The API server answers as it should.
    async fn recovered(&mut self) -> Result<(), Ended> {
        self.backoff.reset();
        self.refused = None;
        if self.standing.set(KindState::Watching) {
            let version = self.version.map(|version| self.subject.watched.api_version(version));
            info!(kind = %self.subject, objects = self.table.len(), version, "following");
        }
        self.standing.problem(None).await
    }

    /// Does what a trouble asks for before the next attempt.
    async fn suffer(&mut self, trouble: Trouble) -> Result<(), Ended> {
        match trouble {
            Trouble::Expired => {
                info!(kind = %self.subject, "the API server has forgotten the version held; listing again");
                self.resume = None;
                // A server that has lost its history may say so more than once.
                sleep(self.backoff.next()).await;
                Ok(())
            }
            Trouble::NoStreaming => {
                debug!(kind = %self.subject, "the API server does not stream lists; listing by pages");
                self.streams = false;
                Ok(())
            }
            Trouble::Absent if self.subject.watched.custom => self.absent().await,
            Trouble::Absent => self.away("the API server does not serve the kind".to_owned()).await,
            Trouble::Unserved => {
                let versions = self.subject.watched.versions.join(", ");
                self.refuse(format!("it is served in none of {versions}"), Code::UnknownVersion).await
            }
            Trouble::Forbidden(reason) => self.refuse(reason, Code::Forbidden).await,
            Trouble::Away(reason) => self.away(reason).await,
        }
    }

    async fn away(&mut self, reason: String) -> Result<(), Ended> {
        if self.standing.set(KindState::Away(reason.clone())) {
            warn!(kind = %self.subject, "cannot follow: {reason}; what was read stays");
        }
        // What waits for a single object does not wait for an API server that is away.
        if self.subject.name.is_some() && self.began.elapsed() > self.options.patience {
            self.standing.settle().await?;
        }
        sleep(self.backoff.next()).await;
        Ok(())
    }

    /// The API server does not have the kind: what is held of it is gone with its definition.
    async fn absent(&mut self) -> Result<(), Ended> {
        // A list or watch that was not found says nothing yet: the version may have changed.
        if self.version.take().is_some() {
            sleep(self.backoff.next()).await;
            return Ok(());
        }
        self.resume = None;
        self.refused = None;
        if self.standing.set(KindState::Absent) {
            let definition = self.subject.watched.qualified();
            info!(kind = %self.subject, definition, "not served here; skipped until it is");
        }
        let changes = self.table.finish(Listing::default());
        self.standing.say(Instant::now(), changes, 0).await?;
        self.standing.problem(None).await?;
        self.standing.settle().await?;
        tokio::select! {
            _ = self.definitions.changed() => {}
            () = sleep(self.options.recheck) => {}
        }
        self.backoff.reset();
        Ok(())
    }

    /// The API server refuses the kind.
    async fn refuse(&mut self, reason: String, code: Code) -> Result<(), Ended> {
        let since = *self.refused.get_or_insert_with(Instant::now);
        // A server that has just started refuses everything, and a definition that is new is served a moment later,
        // without another word about it.
        let passes = !self.standing.is_settled() || code == Code::UnknownVersion;
        if passes && since.elapsed() < self.options.patience {
            debug!(kind = %self.subject, reason, "refused; asking again");
            sleep(self.backoff.next().min(self.options.patience / 4)).await;
            return Ok(());
        }
        self.standing.set(KindState::Forbidden(reason.clone()));
        let kept = match self.table.len() {
            0 => "the rest is served without it".to_owned(),
            objects => format!("the {objects} that were read before stay as they were"),
        };
        let message = format!("{} cannot be read, and {kept}: {reason}", self.subject.described());
        let mut problem = Problem::new(code, message).severity(Severity::Error).hint(match code {
            Code::Forbidden => "let the role of Pilotage list and watch it",
            _ => "install a definition with a version that is read",
        });
        problem.object.clone_from(&self.subject.referrer);
        self.standing.problem(Some(problem)).await?;
        self.standing.settle().await?;
        tokio::select! {
            _ = self.definitions.changed() => {}
            () = sleep(self.backoff.next().max(self.options.recheck / 10)) => {}
        }
        Ok(())
    }
}
