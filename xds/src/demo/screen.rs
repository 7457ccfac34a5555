//! Shows calls as they happen: bars that grow on a terminal, plain lines anywhere else.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::tally::Tally;

/// Longer than a screen needs to show a frame, shorter than an eye needs to see one.
const REDRAW: Duration = Duration::from_millis(50);
const BAR_WIDTH: usize = 40;

/// Where the demo is shown.
#[derive(Debug)]
pub(super) struct Screen {
    mode: Mode,
    /// Lines of the bars that are on the terminal and will be drawn over.
    drawn: usize,
    next: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Terminal,
    Lines,
    Silent,
}

impl Screen {
    /// Standard output, as a terminal if it is one.
    pub(super) fn stdout() -> Self {
        Self::with(if io::stdout().is_terminal() { Mode::Terminal } else { Mode::Lines })
    }

    /// Shows nothing, where standard output is for a program to read.
    pub(super) fn silent() -> Self {
        Self::with(Mode::Silent)
    }

    fn with(mode: Mode) -> Self {
        Self { mode, drawn: 0, next: Instant::now() }
    }

    /// Prints a line.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        if self.mode == Mode::Silent { Ok(()) } else { writeln!(io::stdout(), "{text}") }
    }

    /// Draws the bars of a tally that is still growing, on a terminal and not too often.
    pub(super) fn draw(&mut self, tally: &Tally) -> io::Result<()> {
        if self.mode == Mode::Terminal && Instant::now() >= self.next { self.redraw(tally) } else { Ok(()) }
    }

    /// Draws the bars of a tally that is complete, and leaves them.
    pub(super) fn finish(&mut self, tally: &Tally) -> io::Result<()> {
        match self.mode {
            Mode::Terminal => self.redraw(tally)?,
            Mode::Lines => write!(io::stdout(), "{}", bars(tally))?,
            Mode::Silent => {}
        }
        self.drawn = 0;
        Ok(())
    }

    fn redraw(&mut self, tally: &Tally) -> io::Result<()> {
        let bars = bars(tally);
        let mut stdout = io::stdout().lock();
        if self.drawn > 0 {
            // Up to the first bar, and clear from there to the end of the screen.
            write!(stdout, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        stdout.write_all(bars.as_bytes())?;
        stdout.flush()?;
        self.drawn = bars.lines().count();
        self.next = Instant::now() + REDRAW;
        Ok(())
    }
}

fn bars(tally: &Tally) -> String {
    let calls = tally.calls().max(1);
    let mut text = String::new();
    let failed = ("failed", tally.failed());
    let servers = tally.servers().iter().map(|(id, count)| (id.as_str(), *count));
    for (name, count) in servers.chain([failed]) {
        if name == "failed" && count == 0 {
            continue;
        }
        let full = usize::try_from(count * BAR_WIDTH as u64 / calls).unwrap_or(BAR_WIDTH);
        let percent = count as f64 * 100.0 / calls as f64;
        let (full, rest) = ("█".repeat(full), "░".repeat(BAR_WIDTH - full));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "      {name:8} {full}{rest} {count:6} {percent:5.1} %");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_failures_show_only_if_there_are_any() {
        let mut tally = Tally::of(["a-v1", "b-v1"]);
        assert_eq!(bars(&tally).lines().count(), 2);
        tally.count(&Err(tonic::Status::unavailable("")));
        let bars = bars(&tally);
        assert_eq!(bars.lines().count(), 3);
        let failed = bars.lines().last().unwrap_or_default();
        assert!(failed.contains("failed") && failed.contains(&"█".repeat(BAR_WIDTH)), "{failed}");
        assert!(failed.ends_with("1 100.0 %"), "{failed}");
    }
}
