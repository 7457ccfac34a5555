//! Work spread over the processors, for the reading of many files.

use std::num::NonZero;
use std::thread;

/// Below this many items a thread costs more than it brings.
const WORTH_A_THREAD: usize = 16;

/// Maps items on several threads where there are many; results are in the order of the items.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, f: impl Fn(T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors.min(items.len() / WORTH_A_THREAD);
    if threads < 2 {
        return items.into_iter().map(f).collect();
    }
    let share = items.len().div_ceil(threads);
    let mut rest = items.into_iter();
    let f = &f;
    thread::scope(|scope| {
        let shares: Vec<Vec<T>> = (0..threads).map(|_| rest.by_ref().take(share).collect()).collect();
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().map(f).collect::<Vec<R>>()))
            .collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
