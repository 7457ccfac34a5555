//! Tests in a user and network namespace of their own, where they are root and own every address and packet filter.
//!
//! The test starts itself again inside; nothing outside changes. User 0 is the proxy's there, and user 1 that of an
//! application, since rules of iptables tell connections apart by who opens them.

use std::future::Future;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_uid};

use crate::PATIENCE;

/// Set in the process that runs inside.
const INSIDE: &str = "PILOTAGE_TEST_NAMESPACE";

/// How long a test may take inside; what hangs there would not end with the test that waits for it.
const LIMIT: Duration = Duration::from_secs(240);

/// The user of applications.
const APPLICATION: u32 = 1;

/// Runs `body` in namespaces of its own; `name` is the name of the calling test.
///
/// # Errors
/// The namespaces cannot be made, or the body fails inside.
pub fn isolated<F: Future<Output = Result<()>>>(name: &str, body: impl FnOnce() -> F) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"])?;
        let limited = async { tokio::time::timeout(LIMIT, body()).await };
        let ended = tokio::runtime::Runtime::new()?.block_on(limited);
        return ended.unwrap_or_else(|_| bail!("{name} has not ended within {LIMIT:?}"));
    }
    // The executable under test is built out here, where its tools are.
    crate::pilotage()?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--net", "--keep-caps"]);
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        command.args(["--map-root-user", "--map-auto"]);
    }
    // The shell waits until it has been mapped to a user, and then becomes the test.
    command.args(["sh", "-c", "read -r _ && exec \"$@\"", "sh"]).arg(std::env::current_exe()?);
    command.args(["--exact", name, "--nocapture"]).env(INSIDE, name);
    let mut inside = command.stdin(Stdio::piped()).spawn().context("cannot run unshare (util-linux)")?;
    if is_root {
        let moved = map_users(&inside);
        if moved.is_err() {
            inside.kill()?;
        }
        moved?;
    }
    // Dropping it is the end of the line that the shell reads.
    use std::io::Write as _;
    inside.stdin.take().context("the shell has an input")?.write_all(b"go\n")?;
    let status = inside.wait()?;
    ensure!(status.success(), "{name} fails in its namespaces: {status}");
    Ok(())
}

/// Gives a process that has just made a user namespace the users 0 and 1.
fn map_users(inside: &Child) -> Result<()> {
    let process = format!("/proc/{}", inside.id());
    let own = std::fs::read_link("/proc/self/ns/user")?;
    let start = std::time::Instant::now();
    while std::fs::read_link(format!("{process}/ns/user"))? == own {
        ensure!(start.elapsed() < PATIENCE, "unshare makes no user namespace");
        std::thread::sleep(Duration::from_millis(1));
    }
    let map = format!("0 0 1\n{APPLICATION} {APPLICATION} 1\n");
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("{process}/{file}"), &map)
            .with_context(|| format!("cannot write {file} of the test's namespace"))?;
    }
    Ok(())
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be run, or fails; the error has what it said.
pub fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}; is its package installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {}: {said}", output.status);
    Ok(())
}

/// Runs `work` as an application does: on a thread of the other user.
///
/// # Errors
/// As of the work, or the thread cannot become that user.
pub async fn as_application<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let outcome = set_thread_uid(rustix::process::Uid::from_raw(APPLICATION))
            .context("the thread cannot become another user")
            .and_then(|()| alone(work()));
        // Nobody waits for it any more if the test has ended.
        let _ = done.send(outcome);
    });
    outcome.await.context("the thread of the application ended early")?
}

fn alone<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Another machine, joined to the test's by a cable. Dropping it unplugs it.
#[derive(Debug)]
pub struct Machine {
    /// Holds the machine's namespace open until its input closes.
    holder: Child,
}

impl Machine {
    /// A machine with the addresses `theirs`; the test's end of the cable has `ours`. All with prefix lengths.
    ///
    /// # Errors
    /// A tool is missing or fails.
    pub fn start(ours: &[&str], theirs: &[&str]) -> Result<Self> {
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let machine = Self { holder };
        let process = machine.holder.id().to_string();
        let own = std::fs::read_link("/proc/self/ns/net")?;
        let start = std::time::Instant::now();
        while std::fs::read_link(format!("/proc/{process}/ns/net"))? == own {
            ensure!(start.elapsed() < PATIENCE, "unshare makes no network namespace");
            std::thread::sleep(Duration::from_millis(1));
        }
        run("ip", &["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &process])?;
        for address in ours {
            run("ip", &["address", "add", address, "dev", "near"])?;
        }
        run("ip", &["link", "set", "near", "up"])?;
        let inside = |arguments: &[&str]| {
            let fixed = ["--target", &process, "--net", "ip"];
            run("nsenter", &[&fixed[..], arguments].concat())
        };
        for address in theirs {
            inside(&["address", "add", address, "dev", "far"])?;
        }
        inside(&["link", "set", "far", "up"])?;
        // Each machine takes the other for the way to everywhere else.
        inside(&["route", "add", "default", "dev", "far"])?;
        run("ip", &["route", "add", "default", "dev", "near"])?;
        Ok(machine)
    }

    /// Runs `work` on the machine.
    ///
    /// # Errors
    /// As of the work, or its namespace cannot be entered.
    pub fn run<T, F, W>(&self, work: W) -> impl Future<Output = Result<T>> + Send + use<T, F, W>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
        W: FnOnce() -> F + Send + 'static,
    {
        let namespace = format!("/proc/{}/ns/net", self.holder.id());
        let (done, outcome) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let outcome = enter(Path::new(&namespace)).and_then(|()| alone(work()));
            // Nobody waits for it any more if the test has ended.
            let _ = done.send(outcome);
        });
        async { outcome.await.context("the thread on the machine ended early")? }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It ends by itself once its input does.
        let _ = self.holder.wait();
    }
}

fn enter(namespace: &Path) -> Result<()> {
    let namespace = std::fs::File::open(namespace)?;
    use std::os::fd::AsFd as _;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}
