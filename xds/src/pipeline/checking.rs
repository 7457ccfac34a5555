//! What is wrong with the world, looked for behind the publications: an edit is live before it is judged.
//!
//! One checkup runs at a time, each from where the last one ended; of worlds that come meanwhile the latest is next.

use std::future::pending;

use pilotage_compile::{Catalog, Checkup};
use pilotage_watcher::Problem;
use tokio::task::JoinHandle;
use tracing::error;

/// The last checkup, and the one that is under way.
#[derive(Default)]
pub(super) struct Checking {
    checkup: Checkup,
    job: Option<JoinHandle<(Checkup, Vec<Problem>)>>,
    next: Option<Catalog>,
}

impl Checking {
    /// Has a world looked at, now or after the one that is being looked at.
    pub(super) fn order(&mut self, catalog: Catalog) {
        if self.job.is_some() {
            self.next = Some(catalog);
            return;
        }
        let before = self.checkup.clone();
        self.job = Some(tokio::task::spawn_blocking(move || {
            let checkup = before.follow(&catalog);
            let problems = checkup.problems();
            (checkup, problems)
        }));
    }

    /// All that is wrong with the world, once the checkup that is under way has ended; never, where none is.
    pub(super) async fn finished(&mut self) -> Option<Vec<Problem>> {
        let Some(job) = &mut self.job else { return pending().await };
        let outcome = job.await;
        self.job = None;
        let problems = match outcome {
            Ok((checkup, problems)) => {
                self.checkup = checkup;
                Some(problems)
            }
            Err(error) => {
                error!(%error, "the checkup failed, which is a fault of Pilotage");
                None
            }
        };
        if let Some(next) = self.next.take() {
            self.order(next);
        }
        problems
    }
}
