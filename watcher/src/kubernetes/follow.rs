//! Follows one kind: finds out where it is served, lists it, watches it, and goes on after whatever interrupts that.
//!
//! Nothing is withdrawn here but by a complete list, an event, or the definition itself being gone.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::kind::Watched;
use super::lines::Lines;
use super::request::{From, Page, WATCH_FOR, negotiate, page, parse, watch};
use super::status::Board;
use super::table::{Listing, Table};
use super::trouble::Trouble;
use super::{Connection, KindState, Options, Signal};
use crate::{Batch, Change, Code, Problem, Severity, SourceName};

/// The annotation of the bookmark that ends the objects that were there when a watch began.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// The follower of one kind.
pub(super) struct Follower {
    watched: &'static Watched,
    connection: Connection,
    options: Options,
    board: Arc<Board>,
    definitions: watch::Receiver<u64>,
    signals: mpsc::Sender<Signal>,
    table: Table,
    backoff: Backoff,
    /// The version in which the kind is served; none until that is known.
    version: Option<&'static str>,
    /// Where to go on from; none where everything has to be listed.
    resume: Option<String>,
    /// Whether lists may be streamed, as far as is known.
    streams: bool,
    is_settled: bool,
    /// Since when the kind is refused.
    refused: Option<Instant>,
    has_problem: bool,
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
    annotations: std::collections::HashMap<String, String>,
}

/// That nobody listens any more.
struct Ended;

impl Follower {
    pub(super) fn new(
        watched: &'static Watched,
        connection: Connection,
        options: Options,
        board: Arc<Board>,
        definitions: watch::Receiver<u64>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        board.set(watched.kind, KindState::Listing);
        Self {
            table: Table::new(watched.kind),
            backoff: Backoff::new(options.longest_wait),
            watched,
            connection,
            options,
            board,
            definitions,
            signals,
            version: None,
            resume: None,
            streams: true,
            is_settled: false,
            refused: None,
            has_problem: false,
        }
    }

    /// Follows until nobody listens any more.
    pub(super) async fn run(mut self) {
        while let Ok(()) = self.round().await {}
    }

    /// One attempt, from where the last one left off, and what its end asks for.
    async fn round(&mut self) -> Result<(), Ended> {
        // What changes from here on is worth another look.
        self.definitions.mark_unchanged();
        match self.attempt().await {
            Ok(ended) => ended,
            Err(Trouble::Expired) => {
                info!(kind = ?self.watched.kind, "the API server has forgotten the version held; listing again");
                self.resume = None;
                // A server that has lost its history may say so more than once.
                sleep(self.backoff.next()).await;
                Ok(())
            }
            Err(Trouble::NoStreaming) => {
                debug!(kind = ?self.watched.kind, "the API server does not stream lists; listing by pages");
                self.streams = false;
                Ok(())
            }
            Err(Trouble::Absent) => self.absent().await,
            Err(Trouble::Unserved) => {
                let versions = self.watched.versions.join(", ");
                let reason = format!("{} is served in none of {versions}", self.watched.qualified());
                self.version = None;
                self.refused(reason, Code::UnknownVersion).await
            }
            Err(Trouble::Forbidden(reason)) => self.refused(reason, Code::Forbidden).await,
            Err(Trouble::Away(reason)) => {
                if self.board.set(self.watched.kind, KindState::Away(reason.clone())) {
                    warn!(kind = ?self.watched.kind, "cannot follow: {reason}; what was read stays");
                }
                sleep(self.backoff.next()).await;
                Ok(())
            }
        }
    }

    async fn attempt(&mut self) -> Result<Result<(), Ended>, Trouble> {
        let version = match self.version {
            Some(version) => version,
            None => {
                let version = negotiate(&self.connection, self.watched).await?;
                self.version = Some(version);
                version
            }
        };
        let path = self.watched.path(version);
        if self.resume.is_none()
            && !self.streams
            && let Err(ended) = self.list(&path).await?
        {
            return Ok(Err(ended));
        }
        let from = self.resume.as_deref().map_or(From::Everything, From::Version);
        let lines = watch(&self.connection, &path, from).await?;
        self.follow(lines).await
    }

    /// Lists by pages.
    async fn list(&mut self, path: &str) -> Result<Result<(), Ended>, Trouble> {
        let seen = Instant::now();
        let mut listing = Listing::default();
        let mut next = String::new();
        loop {
            let body = page(&self.connection, path, self.options.page, &next).await?;
            let Page { metadata, items } = parse(&body)?;
            for item in items.into_iter().flatten() {
                self.take_listed(&mut listing, item);
            }
            next = metadata.r#continue;
            if next.is_empty() {
                self.resume = Some(metadata.resource_version);
                return Ok(self.listed(listing, seen).await);
            }
        }
    }

    /// Reads a watch to its end.
    async fn follow(&mut self, mut lines: Lines) -> Result<Result<(), Ended>, Trouble> {
        let began = Instant::now();
        let mut listing = self.resume.is_none().then(Listing::default);
        if listing.is_none() {
            self.recovered().await;
        }
        loop {
            let Ok(line) = timeout(WATCH_FOR * 2, lines.next()).await else { return Ok(Ok(())) };
            let Some(line) = line? else {
                // A server that ends each watch at once would be asked without a pause.
                if began.elapsed() < self.options.longest_wait {
                    sleep(self.backoff.next()).await;
                }
                return Ok(Ok(()));
            };
            let seen = Instant::now();
            let event: Event<'_> = parse(&line)?;
            let object = event.object;
            match event.r#type {
                kind @ ("ADDED" | "MODIFIED" | "DELETED") => {
                    if let Some(listing) = &mut listing {
                        self.take_listed(listing, object);
                        continue;
                    }
                    let Some((head, version)) = super::read::head(self.watched.kind, object.get()) else {
                        continue;
                    };
                    let changes = match kind {
                        "DELETED" => self.table.delete(head),
                        _ => self.table.apply(head, object.get()),
                    };
                    self.resume = Some(version);
                    if let Err(ended) = self.say(seen, changes).await {
                        return Ok(Err(ended));
                    }
                    self.board.count(self.watched.kind, self.table.len());
                }
                "BOOKMARK" => {
                    let Bookmark { metadata } = parse(object.get().as_bytes())?;
                    if metadata.annotations.contains_key(INITIAL_END)
                        && let Some(listing) = listing.take()
                        && let Err(ended) = self.listed(listing, began).await
                    {
                        return Ok(Err(ended));
                    }
                    if listing.is_none() {
                        self.resume = Some(metadata.resource_version);
                    }
                }
                "ERROR" => return Err(Trouble::of_event(object.get())),
                _ => {}
            }
        }
    }

    fn take_listed(&self, listing: &mut Listing, object: &RawValue) {
        match super::read::head(self.watched.kind, object.get()) {
            Some((head, _)) => self.table.list(listing, head, object.get()),
            None => debug!(kind = ?self.watched.kind, "an object without a name is passed over"),
        }
    }

    /// A list is complete.
    async fn listed(&mut self, listing: Listing, seen: Instant) -> Result<(), Ended> {
        let changes = self.table.finish(listing);
        self.say(seen, changes).await?;
        self.board.count(self.watched.kind, self.table.len());
        self.recovered().await;
        self.settle().await
    }

    /// The API server answers as it should.
    async fn recovered(&mut self) {
        self.backoff.reset();
        self.refused = None;
        if self.board.set(self.watched.kind, KindState::Watching) {
            let version = self.version.map(|version| self.watched.api_version(version));
            info!(kind = ?self.watched.kind, objects = self.table.len(), version, "following");
        }
        // Nobody listening shows with the next thing to be said.
        let _ = self.problem(None).await;
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
        if self.board.set(self.watched.kind, KindState::Absent) {
            info!(kind = ?self.watched.kind, definition = self.watched.qualified(), "not served here; skipped until it is");
        }
        let changes = self.table.finish(Listing::default());
        self.say(Instant::now(), changes).await?;
        self.board.count(self.watched.kind, 0);
        self.problem(None).await?;
        self.settle().await?;
        tokio::select! {
            _ = self.definitions.changed() => {}
            () = sleep(self.options.recheck) => {}
        }
        self.backoff.reset();
        Ok(())
    }

    /// The API server refuses the kind.
    async fn refused(&mut self, reason: String, code: Code) -> Result<(), Ended> {
        let since = *self.refused.get_or_insert_with(Instant::now);
        // A definition that is new is served a moment later, without another word about it.
        let passes = !self.is_settled || code == Code::UnknownVersion;
        if passes && since.elapsed() < self.options.patience {
            debug!(kind = ?self.watched.kind, reason, "refused; asking again");
            sleep(self.backoff.next().min(self.options.patience / 4)).await;
            return Ok(());
        }
        self.board.set(self.watched.kind, KindState::Forbidden(reason.clone()));
        let kept = match self.table.len() {
            0 => "it is served without them".to_owned(),
            objects => format!("the {objects} that were read before stay as they were"),
        };
        let problem =
            Problem::new(code, format!("{} cannot be read, and {kept}: {reason}", self.watched.qualified()))
                .severity(Severity::Error)
                .hint(match code {
                    Code::Forbidden => "let the role of Pilotage get, list and watch them",
                    _ => "install definitions in a version that is read",
                });
        self.problem(Some(problem)).await?;
        self.settle().await?;
        tokio::select! {
            _ = self.definitions.changed() => {}
            () = sleep(self.backoff.next().max(self.options.recheck / 10)) => {}
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Ended> {
        if !std::mem::replace(&mut self.is_settled, true) {
            self.signals.send(Signal::Settled(self.watched.kind)).await.map_err(|_| Ended)?;
        }
        Ok(())
    }

    /// Says what is wrong with the kind as a whole, if that is news.
    async fn problem(&mut self, problem: Option<Problem>) -> Result<(), Ended> {
        if problem.is_none() && !self.has_problem {
            return Ok(());
        }
        self.has_problem = problem.is_some();
        let scope: SourceName = format!("kubernetes {}", self.watched.qualified()).into();
        self.say(Instant::now(), vec![Change::Problems { scope, problems: problem.into_iter().collect() }])
            .await
    }

    async fn say(&self, seen: Instant, changes: Vec<Change>) -> Result<(), Ended> {
        if changes.is_empty() {
            return Ok(());
        }
        self.signals.send(Signal::Changes(Batch { seen, changes })).await.map_err(|_| Ended)
    }
}
