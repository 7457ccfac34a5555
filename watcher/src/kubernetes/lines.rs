//! The lines of a response that does not end: a watch is one JSON document to a line.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

use super::trouble::Trouble;

/// A longer line is no object: etcd holds none larger than a few MiB.
const LONGEST: usize = 64 * 1024 * 1024;

/// Cuts a body into lines; what has been cut is shared, not copied.
#[derive(Debug)]
pub(super) struct Lines {
    body: Body,
    cut: Cut,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, cut: Cut::default() }
    }

    /// The next line, without its end; none when the body has ended. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            if let Some(line) = self.cut.next() {
                return Ok(Some(line));
            }
            if self.cut.rest.len() > LONGEST {
                return Err(Trouble::Away(format!("an event of more than {LONGEST} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.cut.rest.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Trouble::broken(error)),
                // A last line without an end was cut off in the middle.
                None => return Ok(None),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Cut {
    rest: BytesMut,
    /// How far there is no end of a line.
    searched: usize,
}

impl Cut {
    fn next(&mut self) -> Option<Bytes> {
        let Some(end) = self.rest[self.searched..].iter().position(|&byte| byte == b'\n') else {
            self.searched = self.rest.len();
            return None;
        };
        let mut line = self.rest.split_to(self.searched + end + 1);
        self.searched = 0;
        line.truncate(line.len() - 1);
        Some(line.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&str]) -> Vec<String> {
        let mut cut = Cut::default();
        let mut found = Vec::new();
        for chunk in chunks {
            cut.rest.extend_from_slice(chunk.as_bytes());
            while let Some(line) = cut.next() {
                found.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        found
    }

    #[test]
    fn lines_do_not_depend_on_how_they_arrive() {
        assert_eq!(lines(&["one\ntwo\nthr"]), ["one", "two"]);
        assert_eq!(lines(&["o", "ne", "\n", "\ntw", "o\n"]), ["one", "", "two"]);
        assert_eq!(lines(&["no end"]), [""; 0]);
    }
}
