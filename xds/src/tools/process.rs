//! A child process with a log file, which never outlives the value that holds it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;
use tokio::process::{Child, Command};

/// How often a condition is looked at that nothing announces, such as a file that another program will write.
const POLL: Duration = Duration::from_millis(10);

/// Lines of the log that an error repeats.
const REPEATED_LINES: usize = 15;

/// A running program. Dropping it kills the program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Why a program is not running, or not yet of use.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// Its log file cannot be written.
    #[error("cannot write {}", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended while something was awaited from it.
    #[error("{name} ended ({status}) before {awaited}; the end of {}:\n{tail}", log.display())]
    Ended {
        /// The program.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What was awaited.
        awaited: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// What was awaited did not come in time.
    #[error("{name}: no sign of {awaited} within {within:?}; the end of {}:\n{tail}", log.display())]
    Late {
        /// The program.
        name: String,
        /// What was awaited.
        awaited: String,
        /// How long.
        within: Duration,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
}

impl Process {
    /// Starts `command`, its output and errors going to the file `log`.
    ///
    /// It runs in a process group of its own, so that Ctrl-C reaches only this program, which then ends its children
    /// in order.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let unwritable = |source| ProcessError::Log { path: log.to_path_buf(), source };
        let stdout = File::create(log).map_err(unwritable)?;
        let stderr = stdout.try_clone().map_err(unwritable)?;
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).kill_on_drop(true).process_group(0);
        let child = command.spawn().map_err(|source| ProcessError::Start {
            program: command.as_std().get_program().to_string_lossy().into_owned(),
            source,
        })?;
        Ok(Self { name: name.into(), child, log: log.to_path_buf() })
    }

    /// The file with its output and errors.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process id, none once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until `condition` gives a value, and fails as soon as the program ends or the time is up.
    pub async fn wait_for<T, F: Future<Output = Option<T>>>(
        &mut self,
        awaited: &str,
        within: Duration,
        mut condition: impl FnMut() -> F,
    ) -> Result<T, ProcessError> {
        let mut ticks = tokio::time::interval(POLL);
        let met = async {
            loop {
                ticks.tick().await;
                if let Some(value) = condition().await {
                    return value;
                }
            }
        };
        let ended = tokio::select! {
            value = tokio::time::timeout(within, met) => match value {
                Ok(value) => return Ok(value),
                Err(_) => None,
            },
            status = self.child.wait() => status.ok(),
        };
        let (name, log, awaited) = (self.name.clone(), self.log.clone(), awaited.into());
        let tail = self.log_tail();
        Err(match ended {
            Some(status) => ProcessError::Ended { name, status, awaited, log, tail },
            None => ProcessError::Late { name, awaited, within, log, tail },
        })
    }

    /// Waits until the program ends by itself; gives how, where the system says so.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Asks the program to end (SIGTERM), waits at most `grace`, then kills it.
    pub async fn stop(mut self, grace: Duration) -> Option<ExitStatus> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id
            && kill_process(id, Signal::TERM).is_ok()
            && let Ok(Ok(status)) = tokio::time::timeout(grace, self.child.wait()).await
        {
            return Some(status);
        }
        self.kill().await
    }

    /// Kills the program (SIGKILL) and waits until it is gone.
    pub async fn kill(mut self) -> Option<ExitStatus> {
        // Killing fails only where it has already ended, and waiting then tells how.
        let _ = self.child.start_kill();
        self.child.wait().await.ok()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(REPEATED_LINES)..].join("\n")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("script", command, &folder.join("log")).unwrap()
    }

    #[tokio::test]
    async fn a_program_that_ends_early_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo no such option >&2; exit 3", folder.path());
        let within = Duration::from_secs(60);
        let error =
            process.wait_for("readiness", within, || async { None::<()> }).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such option"), "{error}");
        assert!(error.contains("before readiness"), "{error}");
    }

    #[tokio::test]
    async fn a_condition_that_never_comes_ends_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("exec sleep 60", folder.path());
        let within = Duration::from_millis(50);
        let error = process.wait_for("readiness", within, || async { None::<()> }).await.unwrap_err();
        assert!(matches!(error, ProcessError::Late { .. }), "{error}");
    }

    #[tokio::test]
    async fn stopping_asks_first_and_kills_what_does_not_listen() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let said = |word: &'static str| {
            let log = log.clone();
            move || {
                let log = log.clone();
                async move { fs::read_to_string(log).unwrap().contains(word).then_some(()) }
            }
        };
        let within = Duration::from_secs(30);

        let mut polite = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done", folder.path());
        polite.wait_for("its start", within, said("up")).await.unwrap();
        assert_eq!(polite.stop(within).await.unwrap().code(), Some(7));

        let mut deaf = shell("trap '' TERM; echo deaf; while :; do sleep 0.01; done", folder.path());
        deaf.wait_for("its start", within, said("deaf")).await.unwrap();
        assert_eq!(deaf.stop(Duration::from_millis(50)).await.unwrap().code(), None);
    }
}
