//! The state of a folder: its files, which of them has which object, and what was last said of both.
//!
//! Of two files that hold one object the first by path order is served, and the other takes over when it goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{File, duplicate};
use super::scan::{Content, Scan, Stamp, beginning, content, scan};
use super::watch::Signal;
use super::{Options, Stats};
use crate::manifest::{Format, Outcome};
use crate::{Change, Code, Object, ObjectKey, Positions, Problem, parallel};

#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    max_file_bytes: u64,
    files: BTreeMap<PathBuf, File>,
    /// The files that hold each object, in path order.
    holders: HashMap<ObjectKey, BTreeSet<PathBuf>>,
    /// The objects that several files hold.
    contested: BTreeSet<ObjectKey>,
    /// What was last said of each object.
    served: HashMap<ObjectKey, Object>,
    /// What was last said of each file that has problems.
    published: HashMap<Arc<str>, Vec<Problem>>,
    positions: Positions,
    /// Folders outside of this one, into which its links lead.
    targets: BTreeSet<PathBuf>,
    /// What its links lead to within, by path.
    linked: BTreeSet<PathBuf>,
    /// Entries that could not be read.
    unreadable: Vec<Problem>,
}

impl Folder {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            root: options.path.clone(),
            max_file_bytes: options.max_file_bytes,
            files: BTreeMap::new(),
            holders: HashMap::new(),
            contested: BTreeSet::new(),
            served: HashMap::new(),
            published: HashMap::new(),
            positions: Positions::default(),
            targets: BTreeSet::new(),
            linked: BTreeSet::new(),
            unreadable: Vec::new(),
        }
    }

    /// Reads everything for the first time.
    pub(super) fn open(&mut self) -> io::Result<Vec<Change>> {
        let scan = scan(&self.root)?;
        Ok(self.take_in(scan))
    }

    pub(super) fn positions(&self) -> Positions {
        self.positions.clone()
    }

    /// Folders outside of this one, into which its links lead.
    pub(super) fn targets(&self) -> &BTreeSet<PathBuf> {
        &self.targets
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats { files: self.files.len(), ..Stats::default() };
        for object in self.served.values() {
            *stats.objects.entry(object.kind()).or_default() += 1;
        }
        for document in self.files.values().flat_map(|file| &file.documents) {
            stats.documents += 1;
            for item in &document.reading.items {
                if let Outcome::PassedOver(kind) = &item.outcome {
                    *stats.passed_over.entry(kind.clone()).or_default() += 1;
                }
            }
        }
        stats
    }

    /// Whether something that is or was in the folder may be what a signal is about.
    pub(super) fn concerns(&self, signal: &Signal) -> bool {
        let Some(entry) = signal.entry() else { return true };
        // Of a name without a manifest's ending it only matters whether a link leads to it and whether it is a folder,
        // or was one.
        let mut below = self.files.range::<Path, _>((Bound::Included(entry), Bound::Unbounded));
        self.linked.contains(entry)
            || self.root.join(entry).is_dir()
            || below.next().is_some_and(|(path, _)| path.starts_with(entry))
    }

    /// Looks again at what the signals are about. Known files that are still there are read alone; anything else
    /// costs a walk, in which files that look the same are not read.
    pub(super) fn refresh(&mut self, signals: &[Signal]) -> Vec<Change> {
        let touched: BTreeSet<_> = signals.iter().filter_map(Signal::file).collect();
        let known = |path: &&Path| self.files.contains_key(*path) && self.root.join(path).is_file();
        if touched.iter().all(known) && signals.iter().all(|signal| signal.file().is_some()) {
            return self.update(touched.into_iter().map(Path::to_owned).collect());
        }
        // A file that an event named is read however much it looks the same.
        for path in touched {
            if let Some(file) = self.files.get_mut(path) {
                file.stamp = None;
            }
        }
        match scan(&self.root) {
            Ok(scan) => self.take_in(scan),
            Err(error) => {
                let message = format!("the folder cannot be read: {error}");
                let problem = Problem::new(Code::Unreadable, message)
                    .hint("everything that it held is still served; put it back, or restart without it");
                let name = self.name(Path::new(""));
                self.publish(name.clone(), vec![problem.at(beginning(&name))]).into_iter().collect()
            }
        }
    }

    fn take_in(&mut self, scan: Scan) -> Vec<Change> {
        let Scan { files, targets, linked, unreadable, problems } = scan;
        (self.targets, self.linked, self.unreadable) = (targets, linked, problems);
        let changed = |(path, stamp): (&PathBuf, &Stamp)| {
            let same = self.files.get(path).is_some_and(|file| file.stamp == Some(*stamp));
            (!same).then(|| path.clone())
        };
        let mut paths: Vec<_> = files.iter().filter_map(changed).collect();
        // What cannot be read may still be there.
        let gone = |path: &PathBuf| {
            !files.contains_key(path) && !unreadable.iter().any(|unreadable| path.starts_with(unreadable))
        };
        paths.extend(self.files.keys().filter(|path| gone(path)).cloned());
        self.update(paths)
    }

    /// Reads files again and tells what became of their objects.
    fn update(&mut self, paths: Vec<PathBuf>) -> Vec<Change> {
        let read = parallel::map(paths, |path| {
            let name = self.name(&path);
            let format = Format::of(&path).unwrap_or(Format::Yaml);
            let content: Content = content(&self.root.join(&path), &name, self.max_file_bytes);
            let file = File::read(self.files.get(&path), &name, format, content);
            (path, file)
        });
        let mut affected = BTreeSet::new();
        let mut spoken_of = BTreeSet::new();
        for (path, file) in read {
            self.replace(&path, file, &mut affected);
            spoken_of.insert(path);
        }
        let mut changes = Vec::new();
        let mut deleted = Vec::new();
        let mut anchors = Vec::new();
        for key in affected {
            let holders = self.holders.get(&key);
            spoken_of.extend(holders.into_iter().flatten().cloned());
            if holders.is_some_and(|holders| holders.len() > 1) {
                self.contested.insert(key.clone());
            } else {
                self.contested.remove(&key);
            }
            let winner = holders.and_then(|holders| self.files.get(holders.first()?)?.held.get(&key));
            anchors.push((key.clone(), winner.map(|held| held.anchor.clone())));
            match winner {
                Some(held) => {
                    let before = self.served.insert(key, held.object.clone());
                    if before.is_none_or(|object| object != held.object) {
                        changes.push(Change::Apply(held.object.clone()));
                    }
                }
                None if self.served.remove(&key).is_some() => deleted.push(Change::Delete(key)),
                None => {}
            }
        }
        self.positions.set(anchors);
        for path in spoken_of {
            let problems = self.problems_of(&path);
            changes.extend(self.publish(self.name(&path), problems));
        }
        changes.extend(self.publish(self.name(Path::new("")), self.problems_as_a_whole()));
        changes.append(&mut deleted);
        changes
    }

    /// What is to be told of the folder itself.
    fn problems_as_a_whole(&self) -> Vec<Problem> {
        let mut problems = self.unreadable.clone();
        if self.served.is_empty() {
            let problem = Problem::new(Code::EmptyFolder, "the folder holds nothing that is served")
                .hint("manifests are files that end in .yaml, .yml or .json");
            problems.push(problem.at(beginning(&self.name(Path::new("")))));
        }
        problems
    }

    /// Puts a file in the place of what it was, and adds the objects of which anything differs to `affected`.
    fn replace(&mut self, path: &Path, file: Option<File>, affected: &mut BTreeSet<ObjectKey>) {
        let old = self.files.remove(path);
        for (key, held) in file.iter().flat_map(|file| &file.held) {
            let before = old.as_ref().and_then(|old| old.held.get(key));
            if before.is_some_and(|before| before.is_same(held)) {
                continue;
            }
            if before.is_none() {
                self.holders.entry(key.clone()).or_default().insert(path.to_owned());
            }
            affected.insert(key.clone());
        }
        for key in old.into_iter().flat_map(|old| old.held.into_keys()) {
            if file.as_ref().is_some_and(|file| file.held.contains_key(&key)) {
                continue;
            }
            if let Some(holders) = self.holders.get_mut(&key) {
                holders.remove(path);
                if holders.is_empty() {
                    self.holders.remove(&key);
                }
            }
            affected.insert(key);
        }
        if let Some(file) = file {
            self.files.insert(path.to_owned(), file);
        }
    }

    fn problems_of(&self, path: &Path) -> Vec<Problem> {
        let Some(file) = self.files.get(path) else { return Vec::new() };
        let mut problems = file.problems.clone();
        for key in &self.contested {
            let winner = self.holders.get(key).and_then(|holders| holders.first());
            if let Some(winner) = winner.filter(|winner| *winner != path)
                && let Some(held) = file.held.get(key)
                && let Some(first) = self.files.get(winner).and_then(|file| file.held.get(key))
            {
                problems.push(duplicate(key.clone(), &first.anchor, &held.anchor));
            }
        }
        problems.sort_by(|a, b| a.position.cmp(&b.position));
        problems
    }

    /// The problems of a scope, if they are not what was last said of it.
    fn publish(&mut self, scope: Arc<str>, problems: Vec<Problem>) -> Option<Change> {
        let before = self.published.get(&scope).map_or(&[][..], Vec::as_slice);
        if before == problems {
            return None;
        }
        if problems.is_empty() {
            self.published.remove(&scope);
        } else {
            self.published.insert(scope.clone(), problems.clone());
        }
        Some(Change::Problems { scope, problems })
    }

    /// A file as the user would name it; the folder itself for an empty path.
    fn name(&self, path: &Path) -> Arc<str> {
        let path = if path.as_os_str().is_empty() { self.root.clone() } else { self.root.join(path) };
        path.display().to_string().into()
    }
}
