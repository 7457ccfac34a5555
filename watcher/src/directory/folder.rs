//! The state of a folder: its files, which of them has which object, and what was last said of both.
//!
//! Of two files that hold one object the first by path order is served, and the other takes over when it goes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
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
    /// What was last said of each object, and the file that it came from.
    served: HashMap<ObjectKey, (Object, PathBuf)>,
    /// What was last said of each file that has problems.
    published: HashMap<Arc<str>, Vec<Problem>>,
    positions: Positions,
    targets: BTreeSet<PathBuf>,
}

impl Folder {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            root: options.path.clone(),
            max_file_bytes: options.max_file_bytes,
            files: BTreeMap::new(),
            holders: HashMap::new(),
            served: HashMap::new(),
            published: HashMap::new(),
            positions: Positions::default(),
            targets: BTreeSet::new(),
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
        for (object, _) in self.served.values() {
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
                let name: Arc<str> = self.root.display().to_string().into();
                self.publish(name.clone(), vec![problem.at(beginning(&name))]).into_iter().collect()
            }
        }
    }

    fn take_in(&mut self, scan: Scan) -> Vec<Change> {
        let Scan { files, targets, unreadable, mut problems } = scan;
        self.targets = targets;
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
        let mut changes = self.update(paths);
        let name: Arc<str> = self.root.display().to_string().into();
        if self.served.is_empty() {
            let problem = Problem::new(Code::EmptyFolder, "the folder holds nothing that is served")
                .hint("manifests are files that end in .yaml, .yml or .json");
            problems.push(problem.at(beginning(&name)));
        }
        changes.extend(self.publish(name, problems));
        changes
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
        let mut spoken_of: HashSet<PathBuf> = HashSet::new();
        for (path, file) in read {
            let old = match file {
                Some(file) => {
                    for key in file.held.keys() {
                        self.holders.entry(key.clone()).or_default().insert(path.clone());
                        affected.insert(key.clone());
                    }
                    self.files.insert(path.clone(), file)
                }
                None => self.files.remove(&path),
            };
            let now = self.files.get(&path);
            for key in old.into_iter().flat_map(|file| file.held.into_keys()) {
                if now.is_none_or(|file| !file.held.contains_key(&key))
                    && let Some(holders) = self.holders.get_mut(&key)
                {
                    holders.remove(&path);
                    if holders.is_empty() {
                        self.holders.remove(&key);
                    }
                }
                affected.insert(key);
            }
            spoken_of.insert(path);
        }
        let mut applied = Vec::new();
        let mut deleted = Vec::new();
        let mut anchors = Vec::new();
        for key in affected {
            let holders = self.holders.get(&key);
            spoken_of.extend(holders.into_iter().flatten().cloned());
            let winner = holders.and_then(|holders| holders.first());
            let winner = winner.and_then(|path| Some((path, self.files.get(path)?.held.get(&key)?)));
            anchors.push((key.clone(), winner.map(|(_, held)| held.anchor.clone())));
            match winner {
                Some((path, held)) => {
                    let before = self.served.insert(key, (held.object.clone(), path.clone()));
                    if before.is_none_or(|(object, _)| object != held.object) {
                        applied.push(Change::Apply(held.object.clone()));
                    }
                }
                None => {
                    if self.served.remove(&key).is_some() {
                        deleted.push(Change::Delete(key));
                    }
                }
            }
        }
        self.positions.set(anchors);
        let mut spoken_of: Vec<_> = spoken_of.into_iter().collect();
        spoken_of.sort();
        for path in spoken_of {
            let problems = self.problems_of(&path);
            applied.extend(self.publish(self.name(&path), problems));
        }
        applied.append(&mut deleted);
        applied
    }

    fn problems_of(&self, path: &Path) -> Vec<Problem> {
        let Some(file) = self.files.get(path) else { return Vec::new() };
        let mut problems = file.problems.clone();
        for (key, held) in &file.held {
            let winner = self.holders.get(key).and_then(|holders| holders.first());
            if let Some(winner) = winner.filter(|winner| *winner != path)
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

    /// A file as the user would name it.
    fn name(&self, path: &Path) -> Arc<str> {
        self.root.join(path).display().to_string().into()
    }
}
