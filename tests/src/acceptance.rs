//! What a real Envoy makes of a translation: it is served every resource over ADS, and has to accept each.
//!
//! `--mode validate` would not do: it does not look into what comes over xDS.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use pilotage::tools::{Envoy, EnvoyProgram, Launch};
use pilotage_compile::{Compiled, Group, LabelKeys, Settings, compile};
use pilotage_protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Answer, Cache, Demand, Event, Events, ServeConfig, serve};
use pilotage_watcher::World;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{PATIENCE, is_consistent, pilotage};

/// A world, and a proxy that is to take what it means.
#[derive(Debug)]
pub struct Acceptance<'a> {
    /// A name for errors.
    pub name: &'a str,
    /// The world.
    pub world: &'a World,
    /// Arguments of `pilotage bootstrap envoy` beyond the id, the server and the admin address.
    pub bootstrap: &'a [&'a str],
    /// Resources that are served beside the translation's, to see that a bad one is found.
    pub planted: &'a [(ResourceType, Resource)],
}

/// What an Envoy accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many resources, over all types.
    pub resources: usize,
}

impl Acceptance<'_> {
    /// Serves the world to an Envoy until that has everything.
    ///
    /// # Errors
    /// The Envoy rejects a resource (the error has its words), ends, or does not answer in time.
    pub async fn check(&self, folder: &Path) -> Result<Accepted> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = listener.local_addr()?.to_string();
        let keys = LabelKeys::of(self.world);
        let cache = Cache::new();
        let shutdown = CancellationToken::new();
        let (ads, mut events) = Ads::new(
            cache.clone(),
            move |node| Group::of(node, &keys),
            AdsConfig::default(),
            shutdown.clone(),
        );
        let streams = ads.streams().clone();
        let serving = tokio::spawn(serve(listener, ads.routes(), shutdown.clone(), ServeConfig::default()));

        let program = EnvoyProgram::find(None).await?;
        let fixed = ["envoy", "--id", "acceptance", "--server", &server, "--admin", "127.0.0.1:0"];
        let arguments = fixed.into_iter().chain(self.bootstrap.iter().copied());
        let bootstrap = pilotage::demo::bootstrap(pilotage()?, arguments).await?;
        let launch = Launch { name: "envoy", bootstrap: &bootstrap, folder, workers: 1 };
        let mut envoy = Envoy::start(&program, &launch).await?;

        let accepted = async {
            let group = opened(&mut events).await;
            let compiled = compile(self.world, &group, &Settings::default(), &BTreeSet::new(), None);
            is_consistent(compiled.snapshot()).context(self.name.to_owned())?;
            let snapshot = self.snapshot(&compiled);
            cache.publish(&group, snapshot.clone());
            tokio::select! {
                words = rejected(&mut events) => bail!("{}: {words}", self.name),
                () = streams.reached(Revision(1)) => {}
            }
            // Reached means answered; a rejection that came with the last answer is in the queue by now.
            while let Some(event) = events.try_next() {
                if let Some(words) = words(&event) {
                    bail!("{}: {words}", self.name);
                }
            }
            let held = snapshot.iter().map(|(_, collection)| collection.len()).sum();
            Ok(Accepted { resources: held })
        };
        let outcome = tokio::time::timeout(PATIENCE, accepted).await;
        let log = || std::fs::read_to_string(envoy.log()).unwrap_or_default();
        let accepted = outcome
            .with_context(|| format!("{}: Envoy does not answer; its log:\n{}", self.name, log()))??;
        envoy.wait_ready().await?;
        envoy.kill().await;
        shutdown.cancel();
        serving.await?;
        Ok(accepted)
    }

    fn snapshot(&self, compiled: &Compiled) -> Snapshot {
        let mut snapshot = compiled.snapshot().clone().at(Revision(1));
        for (resource_type, resource) in self.planted {
            let empty = Arc::<Collection>::default();
            let collection = snapshot.collection(resource_type).unwrap_or(&empty);
            let collection = collection.with_changes([resource.clone()], []);
            snapshot = snapshot.with(resource_type.clone(), Arc::new(collection));
        }
        snapshot
    }
}

async fn opened(events: &mut Events<Group>) -> Group {
    loop {
        if let Event::Demand(Demand::Opened { group, .. }) = events.next().await {
            return group;
        }
    }
}

async fn rejected(events: &mut Events<Group>) -> String {
    loop {
        if let Some(words) = words(&events.next().await) {
            return words;
        }
    }
}

fn words(event: &Event<Group>) -> Option<String> {
    match event {
        Event::Outcome(outcome) => match &outcome.answer {
            Answer::Nacked { rejection, suspects, .. } => {
                let names: Vec<&str> = suspects.iter().map(|suspect| &**suspect.name()).collect();
                Some(format!("{} {names:?} rejected: {}", outcome.resource_type, rejection.message))
            }
            Answer::Acked { .. } => None,
        },
        Event::Demand(_) => None,
    }
}
