//! Everything that goes on on one connection, run by one task.
//!
//! A response passes from its stream's conversation to the body that is sent, and from there to the connection: as
//! tasks of the runtime each of them is woken and scheduled in turn, and two of them meet at a lock; as members of one
//! set they follow each other within one turn of one task.
//!
//! Invariant: a member is polled only when it was woken, and what ends with the connection ends with all its members.
//! A member that panics takes its connection with it, and nothing else.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::AtomicWaker;
use hyper::rt::Executor;

/// One of them; it ends the connection by returning how.
type Member = Pin<Box<dyn Future<Output = Option<io::Result<()>>> + Send>>;

/// Adds to what runs on a connection; a clone adds to the same.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Arc<Arrivals>);

#[derive(Default)]
struct Arrivals {
    waiting: Mutex<Waiting>,
    runner: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    members: Vec<Member>,
    has_ended: bool,
}

impl Spawner {
    /// Runs this beside what runs on the connection already; not at all, if that has ended.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.add(Box::pin(future.map(|()| None)));
    }

    fn add(&self, member: Member) {
        let mut waiting = self.0.waiting();
        if waiting.has_ended {
            // Let go of outside of the lock: it may spawn as it ends.
            drop(waiting);
            return;
        }
        waiting.members.push(member);
        drop(waiting);
        self.0.runner.wake();
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}

impl Arrivals {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while the lock is held; if something did, the list would still be whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a connection and everything that it spawns, until the connection or `stop` ends.
pub(super) async fn run<C>(
    spawner: Spawner,
    connection: C,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    C: Future<Output = io::Result<()>> + Send + 'static,
{
    let arrivals = spawner.0;
    let _end = End(arrivals.clone());
    let mut members = FuturesUnordered::<Member>::new();
    members.push(Box::pin(connection.map(Some)));
    members.push(Box::pin(stop.map(|()| Some(Ok(())))));
    let end = poll_fn(|context| poll(&arrivals, &mut members, context)).await;
    // The streams see that their connection has ended, and end as well.
    poll_fn(|context| {
        while let Poll::Ready(Some(_)) = members.poll_next_unpin(context) {}
        Poll::Ready(())
    })
    .await;
    end
}

fn poll(
    arrivals: &Arrivals,
    members: &mut FuturesUnordered<Member>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    arrivals.runner.register(context.waker());
    loop {
        match members.poll_next_unpin(context) {
            Poll::Ready(Some(Some(end))) => return Poll::Ready(end),
            Poll::Ready(Some(None)) => {}
            Poll::Ready(None) => return Poll::Ready(Ok(())),
            Poll::Pending => {
                let arrived = std::mem::take(&mut arrivals.waiting().members);
                if arrived.is_empty() {
                    return Poll::Pending;
                }
                members.extend(arrived);
            }
        }
    }
}

/// Lets go of what has not begun, which would otherwise keep itself alive: it has the spawner.
struct End(Arc<Arrivals>);

impl Drop for End {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.has_ended = true;
        let members = std::mem::take(&mut waiting.members);
        drop(waiting);
        drop(members);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    /// A connection that lasts until it is told how it ends.
    fn connection() -> (oneshot::Sender<io::Result<()>>, impl Future<Output = io::Result<()>> + Send) {
        let (end, ended) = oneshot::channel();
        (end, async move { ended.await.expect("how it ends") })
    }

    #[tokio::test]
    async fn what_is_spawned_runs_until_the_connection_ends() {
        let (spawner, (end, connection)) = (Spawner::default(), connection());
        let (send, mut received) = mpsc::unbounded_channel();
        let (by_another, of_another) = (spawner.clone(), send.clone());
        spawner.spawn(async move {
            by_another.spawn(async move { of_another.send("by another").expect("a receiver") });
        });
        let task = tokio::spawn(run(spawner.clone(), connection, pending()));
        assert_eq!(received.recv().await, Some("by another"));
        // From outside, while everything on the connection waits.
        let late = send.clone();
        spawner.spawn(async move { late.send("late").expect("a receiver") });
        assert_eq!(received.recv().await, Some("late"));
        spawner.spawn(async move {
            let _held = send;
            pending::<()>().await;
        });
        end.send(Err(io::Error::other("cut"))).expect("a connection");
        assert_eq!(task.await.expect("no panic").expect_err("how it ended").to_string(), "cut");
        assert_eq!(received.recv().await, None, "nothing is left of what ran on it");
    }

    #[tokio::test]
    async fn what_comes_after_the_end_is_let_go_of() {
        let (spawner, (_end, connection)) = (Spawner::default(), connection());
        run(spawner.clone(), connection, async {}).await.expect("it was stopped");
        let (held, released) = oneshot::channel::<()>();
        let of_itself = spawner.clone();
        spawner.spawn(async move {
            let _held = (held, of_itself);
            pending::<()>().await;
        });
        released.await.expect_err("nothing runs");
        assert_eq!(Arc::strong_count(&spawner.0), 1);
    }
}
