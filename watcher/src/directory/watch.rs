//! File events: which of them mean that a file may say something new.
//!
//! A file counts when it was closed after writing, moved, or deleted. Reading it makes events too, and acting on those
//! would never end.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::scan::is_hidden;
use crate::manifest::Format;

/// That something may have changed.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    pub(super) seen: Instant,
    about: About,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    /// A file with a manifest's ending, by its path within the folder.
    File(PathBuf),
    /// Another entry, by its path within the folder, which may be a folder.
    Entry(PathBuf),
    /// Anything below the folder.
    Tree,
    /// The folder itself: it was moved, deleted or put in place.
    Root,
}

impl Signal {
    /// The file, by its path within the folder, where the signal is about no more than that.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.about {
            About::File(path) => Some(path),
            About::Entry(_) | About::Tree | About::Root => None,
        }
    }

    /// The entry that is no file with a manifest's ending, by its path within the folder.
    pub(super) fn entry(&self) -> Option<&Path> {
        match &self.about {
            About::Entry(path) => Some(path),
            About::File(_) | About::Tree | About::Root => None,
        }
    }

    /// Whether the folder itself is another one now.
    pub(super) fn is_root(&self) -> bool {
        self.about == About::Root
    }

    /// Whether a file has gone, or may have.
    pub(super) fn removes(&self, root: &Path) -> bool {
        self.file().is_none_or(|path| !root.join(path).is_file())
    }
}

/// A folder being followed.
#[derive(Debug)]
pub(super) struct Watch {
    root: PathBuf,
    signals: mpsc::UnboundedReceiver<Signal>,
    sender: mpsc::UnboundedSender<Signal>,
    tree: Option<RecommendedWatcher>,
    /// Sees the folder itself being replaced, which its own watch does not.
    _parent: Option<RecommendedWatcher>,
    followed: BTreeSet<PathBuf>,
}

impl Watch {
    pub(super) fn open(root: &Path) -> notify::Result<Self> {
        let (sender, signals) = mpsc::unbounded_channel();
        let tree = Some(watch_tree(root, &sender)?);
        let parent = watch_parent(root, &sender).ok().flatten();
        Ok(Self { root: root.to_owned(), signals, sender, tree, _parent: parent, followed: BTreeSet::new() })
    }

    /// The next signal; there always is a sender, so it ends never.
    pub(super) async fn next(&mut self) -> Option<Signal> {
        self.signals.recv().await
    }

    /// Follows the folder anew, after it was replaced. Where it is not there, its parent tells when it is.
    pub(super) fn renew(&mut self) {
        self.tree = None;
        self.followed.clear();
        match watch_tree(&self.root, &self.sender) {
            Ok(watcher) => self.tree = Some(watcher),
            Err(error) => tracing::warn!(folder = %self.root.display(), %error, "the folder is not watched"),
        }
    }

    /// Follows folders outside, into which links lead.
    pub(super) fn follow(&mut self, targets: &BTreeSet<PathBuf>) {
        let Some(tree) = &mut self.tree else { return };
        for gone in self.followed.difference(targets) {
            // It may be gone already, which is as well.
            let _ = tree.unwatch(gone);
        }
        for new in targets.difference(&self.followed) {
            if let Err(error) = tree.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %new.display(), %error, "the target of a link is not watched");
            }
        }
        self.followed.clone_from(targets);
    }
}

fn watch_tree(root: &Path, sender: &mpsc::UnboundedSender<Signal>) -> notify::Result<RecommendedWatcher> {
    // Events name absolute paths, whatever the folder was called.
    let root = std::path::absolute(root).map_err(notify::Error::io)?;
    let (base, sender) = (root.clone(), sender.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let seen = Instant::now();
        let abouts = match event {
            Ok(event) => abouts(&event, &base),
            Err(_) => vec![About::Tree],
        };
        for about in abouts {
            // The receiver is gone when the source is; nothing is left to tell.
            let _ = sender.send(Signal { seen, about });
        }
    })?;
    watcher.watch(&root, RecursiveMode::Recursive)?;
    Ok(watcher)
}

fn watch_parent(
    root: &Path,
    sender: &mpsc::UnboundedSender<Signal>,
) -> notify::Result<Option<RecommendedWatcher>> {
    let root = std::path::absolute(root).map_err(notify::Error::io)?;
    let Some(parent) = root.parent().map(Path::to_owned) else { return Ok(None) };
    let sender = sender.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let Ok(event) = event else { return };
        let replaces = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        if replaces && event.paths.contains(&root) {
            let _ = sender.send(Signal { seen: Instant::now(), about: About::Root });
        }
    })?;
    watcher.watch(&parent, RecursiveMode::NonRecursive)?;
    Ok(Some(watcher))
}

/// What an event is about, if it is about anything that is served.
fn abouts(event: &Event, root: &Path) -> Vec<About> {
    if event.need_rescan() {
        return vec![About::Tree];
    }
    let new = matches!(event.kind, EventKind::Create(kind) if kind != CreateKind::Folder);
    let counts = matches!(
        event.kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_))
    );
    if !counts {
        return Vec::new();
    }
    // A new file is written next, and counts when it is closed; a link is all there already.
    event.paths.iter().filter(|path| !new || is_link(path)).filter_map(|path| about(path, root)).collect()
}

fn is_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
}

fn about(path: &Path, root: &Path) -> Option<About> {
    let Ok(within) = path.strip_prefix(root) else {
        // The target of a link.
        return (Format::of(path).is_some() || is_hidden(path)).then_some(About::Tree);
    };
    if within.as_os_str().is_empty() {
        return Some(About::Tree);
    }
    let hidden = |part: &Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
    let above: Vec<_> = within.components().collect();
    let (last, above) = above.split_last()?;
    if above.iter().any(hidden) {
        return None;
    }
    if hidden(last) {
        // `..data`, by which a mounted volume changes all of its files at once; the rest is of no concern.
        return last.as_os_str().as_encoded_bytes().starts_with(b"..").then_some(About::Tree);
    }
    let within = within.to_owned();
    Some(if Format::of(path).is_some() { About::File(within) } else { About::Entry(within) })
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag, RemoveKind, RenameMode};

    use super::*;

    fn found(kind: EventKind, path: &str) -> Vec<About> {
        abouts(&Event::new(kind).add_path(path.into()), Path::new("/m"))
    }

    #[test]
    fn reading_and_writing_are_no_news_and_closing_is() {
        for kind in [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Create(CreateKind::File),
        ] {
            assert_eq!(found(kind, "/m/a.yaml"), [], "{kind:?}");
        }
        for kind in [
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Remove(RemoveKind::File),
        ] {
            assert_eq!(found(kind, "/m/sub/a.yaml"), [About::File("sub/a.yaml".into())], "{kind:?}");
        }
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(abouts(&overflow, Path::new("/m")), [About::Tree]);
    }

    #[test]
    fn hidden_entries_are_passed_over_but_for_a_swap() {
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert_eq!(found(moved, "/m/.a.yaml.swp"), []);
        assert_eq!(found(moved, "/m/.git/x.yaml"), []);
        assert_eq!(found(moved, "/m/..2026_1/x.yaml"), []);
        assert_eq!(found(moved, "/m/..data"), [About::Tree]);
        assert_eq!(found(moved, "/m/folder"), [About::Entry("folder".into())]);
        assert_eq!(found(moved, "/elsewhere/x.yaml"), [About::Tree]);
        assert_eq!(found(moved, "/elsewhere/notes.txt"), []);
    }
}
