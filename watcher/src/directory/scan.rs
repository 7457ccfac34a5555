//! Which files a folder has, and what is in one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use crate::manifest::Format;
use crate::{Code, Position, Problem};

/// What tells a file from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The files of a folder.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// By path within the folder; one file under two names appears under the first.
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    /// Folders outside of this one, into which links lead.
    pub(super) targets: BTreeSet<PathBuf>,
    /// What links lead to within, by path.
    pub(super) linked: BTreeSet<PathBuf>,
    /// Entries that could not be read, by path within the folder: files, or folders with all that is in them.
    pub(super) unreadable: Vec<PathBuf>,
    /// What to tell of them.
    pub(super) problems: Vec<Problem>,
}

impl Scan {
    fn link(&mut self, real_root: &Path, target: &Path) {
        if let Ok(within) = target.strip_prefix(real_root) {
            self.linked.insert(within.to_owned());
        } else if let Some(parent) = target.parent() {
            self.targets.insert(parent.to_owned());
        }
    }
}

/// Walks a folder; hidden entries, those whose name begins with a dot, are left out.
pub(super) fn scan(root: &Path) -> io::Result<Scan> {
    let real_root = root.canonicalize()?;
    std::fs::read_dir(&real_root)?;
    let mut scan = Scan::default();
    let mut seen = HashSet::new();
    let walk = WalkDir::new(&real_root).follow_links(true).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.path())) {
        let entry = match entry {
            Ok(entry) => entry,
            // A folder that vanished or may not be entered as a whole is the caller's to report.
            Err(error) if error.depth() == 0 => return Err(error.into()),
            Err(error) => {
                let within = error.path().and_then(|path| path.strip_prefix(&real_root).ok());
                let within = within.unwrap_or(Path::new(""));
                let path = root.join(within);
                let gone = error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
                // An entry that vanished during the walk is gone; a link to nowhere is a mistake.
                if !gone || path.is_symlink() && Format::of(&path).is_some() {
                    scan.problems.push(unreadable(&path, &error));
                    scan.unreadable.push(within.to_owned());
                    if let (Ok(target), Some(parent)) = (path.read_link(), real_root.join(within).parent()) {
                        scan.link(&real_root, &parent.join(target));
                    }
                }
                continue;
            }
        };
        let Ok(path) = entry.path().strip_prefix(&real_root) else { continue };
        if !entry.file_type().is_file() || Format::of(path).is_none() {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let stamp = Stamp::of(&metadata);
        if !seen.insert((stamp.device, stamp.inode)) {
            continue;
        }
        if entry.path_is_symlink()
            && let Ok(target) = entry.path().canonicalize()
        {
            scan.link(&real_root, &target);
        }
        scan.files.insert(path.to_owned(), stamp);
    }
    Ok(scan)
}

/// Whether an entry's own name begins with a dot.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn unreadable(path: &Path, error: &walkdir::Error) -> Problem {
    let message = if error.loop_ancestor().is_some() {
        "the link leads back to a folder above it; it is not followed".to_owned()
    } else {
        let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
        format!("cannot be read: {reason}")
    };
    Problem::new(Code::Unreadable, message).at(beginning(&path.display().to_string().into()))
}

/// The first character of a file.
pub(super) fn beginning(file: &Arc<str>) -> Position {
    Position { file: file.clone(), line: 1, column: 1 }
}

/// What came of reading a file.
pub(super) enum Content {
    Text(Stamp, String),
    Bytes(Stamp, Vec<u8>),
    /// It is there and cannot be used.
    Refused(Stamp, Problem),
    Gone,
}

/// Reads a file of at most `limit` bytes; `name` is what problems call it.
pub(super) fn content(path: &Path, name: &Arc<str>, limit: u64) -> Content {
    let (metadata, bytes) = match bytes(path, limit) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Content::Gone,
        Err(error) => {
            let Ok(metadata) = std::fs::metadata(path) else { return Content::Gone };
            let problem = Problem::new(Code::Unreadable, format!("cannot be read: {error}"));
            return Content::Refused(Stamp::of(&metadata), problem.at(beginning(name)));
        }
    };
    let stamp = Stamp::of(&metadata);
    if bytes.len() as u64 > limit {
        let problem = Problem::new(Code::TooLarge, format!("the file is larger than {limit} bytes"))
            .hint("split it into several files")
            .at(beginning(name));
        return Content::Refused(stamp, problem);
    }
    if Format::of(path) == Some(Format::Descriptors) {
        return Content::Bytes(stamp, bytes);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Content::Text(stamp, text),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let before = &error.as_bytes()[..good];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = good - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) + 1;
            let position = Position { file: name.clone(), line: line as u32, column: column as u32 };
            let wide = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
            let message = if wide { "the file is UTF-16" } else { "the file is not UTF-8 text" };
            let problem = Problem::new(Code::Syntax, message).hint("save it as UTF-8").at(position);
            Content::Refused(stamp, problem)
        }
    }
}

fn bytes(path: &Path, limit: u64) -> io::Result<(std::fs::Metadata, Vec<u8>)> {
    let file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::with_capacity(metadata.len().min(limit) as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((metadata, bytes))
}
