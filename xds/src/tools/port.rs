//! Ports for programs that must be told a number, reserved so that programs started side by side get different ones.
//!
//! A port found by binding 0 and letting go may be taken by the next outgoing connection of anyone. These lie below
//! the range that systems give out by themselves, and a lock file per port keeps other reservations away.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use rustix::process::getuid;
use thiserror::Error;

/// Linux gives out ports from 32768 on, macOS and Windows from 49152 on.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port of 127.0.0.1 that no other reservation has, until this is dropped.
#[derive(Debug)]
pub struct ReservedPort {
    port: u16,
    _lock: File,
}

/// Why no port could be reserved.
#[derive(Debug, Error)]
pub enum PortError {
    /// The folder of the locks cannot be written.
    #[error("cannot write {}, where ports are reserved; set TMPDIR to a folder that can be written", path.display())]
    Locks {
        /// The folder or lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// All are in use.
    #[error("no port of 127.0.0.1 between {FIRST} and {last} is free", last = FIRST + COUNT - 1)]
    NoneFree,
}

impl ReservedPort {
    /// Reserves a port that nothing listens on.
    pub fn new() -> Result<Self, PortError> {
        // One folder for each user: another user's could not be written.
        let folder = std::env::temp_dir().join(format!("pilotage-ports-{}", getuid().as_raw()));
        fs::create_dir_all(&folder).map_err(|source| PortError::Locks { path: folder.clone(), source })?;
        // Processes start looking at different places, so that they seldom meet.
        let start = std::process::id() % u32::from(COUNT);
        for offset in 0..u32::from(COUNT) {
            let index = (start + offset) % u32::from(COUNT);
            let port = FIRST + u16::try_from(index).expect("an index below COUNT fits");
            let path = folder.join(port.to_string());
            let lock = File::create(&path).map_err(|source| PortError::Locks { path, source })?;
            let unlisted = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if lock.try_lock().is_ok() && unlisted() {
                return Ok(Self { port, _lock: lock });
            }
        }
        Err(PortError::NoneFree)
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.port
    }

    /// The port on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reservations_differ_while_they_are_held() {
        let held: Vec<_> = (0..50).map(|_| ReservedPort::new().unwrap()).collect();
        let numbers: BTreeSet<u16> = held.iter().map(ReservedPort::number).collect();
        assert_eq!(numbers.len(), held.len());
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let first = ReservedPort::new().unwrap();
        let listener = TcpListener::bind(first.address()).unwrap();
        drop(first);
        let next: Vec<_> = (0..3).map(|_| ReservedPort::new().unwrap().number()).collect();
        assert!(!next.contains(&listener.local_addr().unwrap().port()), "{next:?}");
    }
}
