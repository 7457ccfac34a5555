//! Where a follower stands, told to those who ask (the status), to those who serve (problems, and that the kind has
//! been listed), and to the log.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::kubernetes::status::Board;
use crate::kubernetes::subject::Subject;
use crate::kubernetes::{KindState, Signal};
use crate::{Batch, Change, Problem};

/// That nobody listens any more.
pub(super) struct Ended;

/// The voice of one follower.
pub(super) struct Standing {
    subject: Subject,
    board: Arc<Board>,
    signals: mpsc::Sender<Signal>,
    is_settled: bool,
    has_problem: bool,
}

impl Standing {
    pub(super) fn new(subject: Subject, board: Arc<Board>, signals: mpsc::Sender<Signal>) -> Self {
        board.set(&subject, KindState::Listing);
        Self { subject, board, signals, is_settled: false, has_problem: false }
    }

    /// Whether the kind no longer holds up what is served.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Sets the state; gives whether that is news.
    pub(super) fn set(&self, state: KindState) -> bool {
        self.board.set(&self.subject, state)
    }

    /// Sets the version in which it is read.
    pub(super) fn read_in(&self, api_version: String) {
        self.board.read_in(&self.subject, api_version);
    }

    /// Says what changes, and how many objects are held now.
    pub(super) async fn say(&self, seen: Instant, changes: Vec<Change>, held: usize) -> Result<(), Ended> {
        self.board.count(&self.subject, held);
        if changes.is_empty() {
            return Ok(());
        }
        self.signals.send(Signal::Changes(Batch { seen, changes })).await.map_err(|_| Ended)
    }

    /// Says that the kind has been listed, or will not be; only the first time counts.
    pub(super) async fn settle(&mut self) -> Result<(), Ended> {
        if !std::mem::replace(&mut self.is_settled, true) {
            self.signals.send(self.subject.settled()).await.map_err(|_| Ended)?;
        }
        Ok(())
    }

    /// Says what is wrong with the kind as a whole, or that nothing is any more.
    pub(super) async fn problem(&mut self, problem: Option<Problem>) -> Result<(), Ended> {
        if problem.is_none() && !self.has_problem {
            return Ok(());
        }
        self.has_problem = problem.is_some();
        let scope = self.subject.scope();
        let changes = vec![Change::Problems { scope, problems: problem.into_iter().collect() }];
        let batch = Batch { seen: Instant::now(), changes };
        self.signals.send(Signal::Changes(batch)).await.map_err(|_| Ended)
    }
}
