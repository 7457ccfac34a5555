//! Says on standard error what takes long: a line per step, with a spinner where someone is looking.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const FRAMES: [char; 4] = ['|', '/', '-', '\\'];
const FRAME: Duration = Duration::from_millis(120);

/// Prints one line.
pub fn say(line: &str) {
    eprintln!("pilotage: {line}");
}

/// Says `what` is being done and, on a terminal, turns a spinner with the seconds passed until `work` is done.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    say(what);
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let started = Instant::now();
    let mut ticks = tokio::time::interval(FRAME);
    let mut work = std::pin::pin!(work);
    let mut frame = 0;
    loop {
        tokio::select! {
            result = &mut work => {
                eprintln!("\rpilotage: done in {:.1} s", started.elapsed().as_secs_f64());
                return result;
            }
            _ = ticks.tick() => {
                frame = (frame + 1) % FRAMES.len();
                let mut stderr = io::stderr().lock();
                // A spinner that cannot be drawn is no reason to stop the work.
                let _ = write!(stderr, "\r{} {} s ", FRAMES[frame], started.elapsed().as_secs());
                let _ = stderr.flush();
            }
        }
    }
}
