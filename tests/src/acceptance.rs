//! What a real Envoy makes of translations: it is served every resource over ADS, and has to accept each. One Envoy takes
//! many worlds, one after the other, as a fleet does over the years.
//!
//! `--mode validate` would not do: it does not look into what comes over xDS.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use pilotage::tools::{Envoy, EnvoyProgram, Launch, ReservedPort};
use pilotage_compile::{Group, ProxyKind, Settings, compile};
use pilotage_protocol::{Collection, Resource, ResourceType, Revision};
use pilotage_server::{Ads, AdsConfig, Answer, Cache, Demand, Event, Events, ServeConfig, Streams, serve};
use pilotage_watcher::World;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{PATIENCE, is_consistent, pilotage};

/// An Envoy that takes one world after another.
pub struct Acceptance {
    envoy: Envoy,
    egress: ReservedPort,
    cache: Cache<()>,
    streams: Streams<()>,
    events: Events<()>,
    revision: u64,
    is_over: bool,
    shutdown: CancellationToken,
    serving: JoinHandle<usize>,
}

/// A world, and whose eyes it is seen with.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The world.
    pub world: &'a World,
    /// The group, of which a sidecar's egress port is another one here.
    pub group: &'a Group,
}

impl Acceptance {
    /// Starts an Envoy of a kind in a folder, which the paths of files in what it is served begin at.
    ///
    /// # Errors
    /// It cannot be started, or does not ask for anything.
    pub async fn start(kind: &str, folder: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = listener.local_addr()?.to_string();
        let cache = Cache::new();
        let shutdown = CancellationToken::new();
        let (ads, mut events) = Ads::new(cache.clone(), |_| (), AdsConfig::default(), shutdown.clone());
        let streams = ads.streams().clone();
        let serving = serve(listener, ads.routes(), shutdown.clone(), ServeConfig::default());
        let serving = tokio::spawn(serving);
        let program = EnvoyProgram::find(None).await?;
        let arguments =
            ["envoy", "--id", "acceptance", "--server", &server, "--admin", "127.0.0.1:0", "--kind", kind];
        let bootstrap = pilotage::demo::bootstrap(pilotage()?, arguments).await?;
        let launch = Launch { name: "envoy", bootstrap: &bootstrap, folder, workers: 1 };
        let envoy = Envoy::start(&program, &launch).await?;
        let opened = tokio::time::timeout(PATIENCE, opened(&mut events)).await;
        opened.context("Envoy opens no stream")?;
        let egress = ReservedPort::new()?;
        Ok(Self { envoy, egress, cache, streams, events, revision: 0, is_over: false, shutdown, serving })
    }

    /// Serves a world in the place of the one before, with planted resources beside the translation's, until the
    /// Envoy has taken all of it. Gives the number of resources.
    ///
    /// # Errors
    /// The Envoy rejects a resource (the error has its words), or does not answer in time: it can be served the next
    /// world all the same. Or it has ended, and [`Self::is_over`].
    pub async fn serve(
        &mut self,
        seen: Seen<'_>,
        planted: impl IntoIterator<Item = (ResourceType, Resource)>,
    ) -> Result<usize> {
        let mut group = seen.group.clone();
        if let ProxyKind::Sidecar { egress_port, .. } = &mut group.kind {
            *egress_port = self.egress.number();
        }
        let compiled = compile(seen.world, &group, &Settings::default(), &BTreeSet::new(), None);
        is_consistent(compiled.snapshot())?;
        self.revision += 1;
        let revision = Revision(self.revision);
        let mut snapshot = compiled.snapshot().clone().at(revision);
        for (resource_type, resource) in planted {
            let empty = Arc::<Collection>::default();
            let collection = snapshot.collection(&resource_type).unwrap_or(&empty);
            let collection = collection.with_changes([resource], []);
            snapshot = snapshot.with(resource_type, Arc::new(collection));
        }
        let held = snapshot.iter().map(|(_, collection)| collection.len()).sum();
        self.cache.publish(&(), snapshot);
        let ended = tokio::select! {
            answered = tokio::time::timeout(PATIENCE, self.streams.reached(revision)) => answered.map(|()| None),
            status = self.envoy.process().ended() => Ok(Some(status)),
        };
        let ended = match ended {
            // Without a stream there is nobody left to answer.
            Ok(None) if self.streams.is_empty() => {
                tokio::time::timeout(PATIENCE, self.envoy.process().ended()).await.map(Some)
            }
            ended => ended,
        };
        // Reached means answered; a rejection that came with the last answer is in the queue by now.
        let mut rejections = Vec::new();
        while let Some(event) = self.events.try_next() {
            rejections.extend(rejection(&event));
        }
        let log = || std::fs::read_to_string(self.envoy.log()).unwrap_or_default();
        if let Ok(Some(status)) = ended {
            self.is_over = true;
            let log = log();
            let crash = log.find("[critical]").unwrap_or(log.len());
            let (before, crash) = log.split_at_checked(crash).unwrap_or_default();
            bail!("Envoy has ended ({status:?}); the end of its log: {}{crash}", end(before));
        }
        if !rejections.is_empty() {
            bail!("{}\nthe end of its log: {}", rejections.join("\n"), end(&log()));
        }
        if ended.is_err() {
            bail!("Envoy does not answer; the end of its log: {}", end(&log()));
        }
        Ok(held)
    }

    /// Whether the Envoy has ended, so that there is nobody to serve.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ends the Envoy, which has to be ready with what it was served last.
    ///
    /// # Errors
    /// It is not ready, or has ended by itself.
    pub async fn end(mut self) -> Result<()> {
        self.envoy.wait_ready().await?;
        self.envoy.kill().await;
        self.shutdown.cancel();
        self.serving.await?;
        Ok(())
    }
}

/// The end of a text: Envoy prints the whole resource before it says what is wrong with it.
fn end(text: &str) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(800));
    text.get(start..).unwrap_or_default()
}

async fn opened(events: &mut Events<()>) {
    while !matches!(events.next().await, Event::Demand(Demand::Opened { .. })) {}
}

fn rejection(event: &Event<()>) -> Option<String> {
    match event {
        Event::Outcome(outcome) => match &outcome.answer {
            Answer::Nacked { rejection, suspects, .. } => {
                let names: Vec<&str> = suspects.iter().map(|suspect| &**suspect.name()).collect();
                Some(format!("{} {names:?} rejected: {}", outcome.resource_type, end(&rejection.message)))
            }
            Answer::Acked { .. } => None,
        },
        Event::Demand(_) => None,
    }
}
