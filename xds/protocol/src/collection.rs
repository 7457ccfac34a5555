//! All resources of one type: an immutable map that shares structure with its predecessor.
//!
//! Invariant: a collection never changes, so two streams that hold the same pointer hold the same state. What
//! separates two collections comes from the log where one descends from the other, and from a merge where not.
//! [`crate::Snapshot`] joins the collections of all types.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, Vector};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Name, Resource, Version};

/// How many names the log holds before its oldest entries are dropped; a stream that is further behind is served
/// by a merge, which skips the parts that both collections share.
const LOG_NAMES: usize = 1024;

/// One type's resources by name.
///
/// A successor made by [`Collection::with_changes`] shares all unchanged parts with its predecessor, costs time
/// proportional to the change, and remembers what changed.
///
/// ```
/// use pilotage_protocol::{Collection, Resource};
///
/// let one: Collection = [Resource::new("red", &b"1"[..]), Resource::new("blue", &b"1"[..])].into_iter().collect();
/// let next = one.with_changes([Resource::new("red", &b"2"[..])], ["blue".into()]);
/// assert_eq!((one.len(), next.len()), (2, 1));
/// assert_eq!(next.changed_since(&one).len(), 2);
/// // A version says what is there, however it came about.
/// let back = next.with_changes(one.iter().cloned(), []);
/// assert_eq!(back.version(), one.version());
/// ```
#[derive(Clone)]
pub struct Collection {
    resources: OrdMap<Name, Resource>,
    /// The wrapping sum of [`entry_hash`] over all resources, so that neither order nor history matters.
    hash: u64,
    /// The length of all bodies.
    bytes: usize,
    /// How many resources have a time to live.
    mortals: usize,
    /// The steps that led here, oldest first; the last one is this collection's own and so its identity.
    log: Vector<Arc<Step>>,
    logged_names: usize,
}

/// The names that one successor added, changed or removed. Its address is the identity of a collection.
struct Step {
    sequence: u64,
    names: Box<[Name]>,
}

impl Collection {
    /// The resource of this name.
    pub fn get(&self, name: &str) -> Option<&Resource> {
        self.resources.get(name)
    }

    /// Whether a resource of this name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.resources.contains_key(name)
    }

    /// Those of some names, which are sorted, that no resource has.
    pub(crate) fn missing(&self, names: &[Name]) -> Vec<Name> {
        if names.len() < self.len() / 8 {
            return names.iter().filter(|name| !self.contains(name)).cloned().collect();
        }
        let mut missing = Vec::new();
        self.walk(names, |name, found| {
            if found.is_none() {
                missing.push(name.clone());
            }
        });
        missing
    }

    /// The hash of the resources of these names, which are sorted; `None` if one of them does not exist.
    pub(crate) fn hash_of_all(&self, names: &[Name]) -> Option<u64> {
        let mut found = 0;
        let mut hash = 0_u64;
        if names.len() < self.len() / 8 {
            for resource in names.iter().filter_map(|name| self.get(name)) {
                (found, hash) = (found + 1, hash.wrapping_add(entry_hash(resource)));
            }
        } else {
            let is_everything = names.len() == self.len();
            self.walk(names, |_, resource| {
                found += usize::from(resource.is_some());
                if let Some(resource) = resource.filter(|_| !is_everything) {
                    hash = hash.wrapping_add(entry_hash(resource));
                }
            });
            hash = if is_everything { self.hash } else { hash };
        }
        (found == names.len()).then_some(hash)
    }

    /// Looks up names that are sorted. A walk through both is cheaper than many lookups, most of all where the names
    /// are the same objects.
    fn walk<'a>(&'a self, names: &[Name], mut visit: impl FnMut(&Name, Option<&'a Resource>)) {
        let mut known = self.resources.iter().peekable();
        for name in names {
            let found = loop {
                match known.peek() {
                    Some((other, resource)) if Arc::ptr_eq(other, name) => break Some(*resource),
                    Some((other, resource)) => match (*other).cmp(name) {
                        Ordering::Less => drop(known.next()),
                        Ordering::Equal => break Some(*resource),
                        Ordering::Greater => break None,
                    },
                    None => break None,
                }
            };
            visit(name, found);
        }
    }

    /// All resources, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Resource> {
        self.resources.values()
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The version of the whole: equal for equal content, whatever the history.
    pub fn version(&self) -> Version {
        Version(self.hash)
    }

    /// The length of all bodies, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any resource has a time to live.
    pub(crate) fn is_mortal(&self) -> bool {
        self.mortals > 0
    }

    fn count(&mut self, resource: &Resource) {
        self.hash = self.hash.wrapping_add(entry_hash(resource));
        self.bytes += resource.body_len();
        self.mortals += usize::from(resource.ttl().is_some());
    }

    fn uncount(&mut self, resource: &Resource) {
        self.hash = self.hash.wrapping_sub(entry_hash(resource));
        self.bytes -= resource.body_len();
        self.mortals -= usize::from(resource.ttl().is_some());
    }

    /// A successor in which `removals` are gone and `upserts` are present.
    ///
    /// An upsert of the name and version that are already there is no change, and neither is the removal of a name
    /// that is not there; a name in both is upserted. When nothing changes the result is a clone of `self` that
    /// compares as unchanged in [`Collection::changed_since`]; keep the old `Arc` in that case if you hold one.
    pub fn with_changes(
        &self,
        upserts: impl IntoIterator<Item = Resource>,
        removals: impl IntoIterator<Item = Name>,
    ) -> Self {
        let mut next = self.clone();
        let mut names = Vec::new();
        for name in removals {
            if let Some(old) = next.resources.remove(&name) {
                next.uncount(&old);
                names.push(name);
            }
        }
        for resource in upserts {
            if next.resources.get(resource.name()) == Some(&resource) {
                continue;
            }
            next.count(&resource);
            names.push(resource.name().clone());
            if let Some(old) = next.resources.insert(resource.name().clone(), resource) {
                next.uncount(&old);
            }
        }
        if !names.is_empty() {
            names.sort_unstable();
            names.dedup();
            next.append(names);
        }
        next
    }

    /// The names whose resource differs between `older` and `self`, sorted; `older` may be any collection.
    ///
    /// Costs the number of changes where `older` is a recent ancestor, and otherwise a merge that skips shared
    /// parts; between unrelated collections it is linear.
    pub fn changed_since(&self, older: &Self) -> Vec<Name> {
        if self.is_same(older) {
            return Vec::new();
        }
        let Some(steps) = self.steps_since(older) else {
            return self.merged_with(older);
        };
        let mut names: Vec<Name> = steps.flat_map(|step| step.names.iter().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        // What changed there and back is no change.
        names.retain(|name| self.get(name) != older.get(name));
        names
    }

    /// Whether both are the same collection, by identity and not by content.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.log.back(), other.log.back()) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => self.is_empty() && other.is_empty(),
        }
    }

    fn append(&mut self, names: Vec<Name>) {
        let sequence = self.log.back().map_or(0, |last| last.sequence + 1);
        self.logged_names += names.len();
        self.log.push_back(Arc::new(Step { sequence, names: names.into() }));
        while self.logged_names > LOG_NAMES && self.log.len() > 1 {
            if let Some(dropped) = self.log.pop_front() {
                self.logged_names -= dropped.names.len();
            }
        }
    }

    /// The steps after `older`, latest first, or `None` where it is no ancestor or one that the log has forgotten.
    fn steps_since(&self, older: &Self) -> Option<impl Iterator<Item = &Arc<Step>>> {
        let head = older.log.back()?;
        let first = self.log.front()?.sequence;
        let position = usize::try_from(head.sequence.checked_sub(first)?).ok()?;
        let candidate = self.log.get(position)?;
        let steps = self.log.len() - position - 1;
        Arc::ptr_eq(candidate, head).then(|| self.log.iter().rev().take(steps))
    }

    fn merged_with(&self, older: &Self) -> Vec<Name> {
        older
            .resources
            .diff(&self.resources)
            .map(|item| match item {
                DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name.clone(),
                DiffItem::Update { new: (name, _), .. } => name.clone(),
            })
            .collect()
    }
}

/// The share of one resource in the hash of a set: sums of it do not depend on order.
pub(crate) fn entry_hash(resource: &Resource) -> u64 {
    hash_of(resource.name().as_bytes(), resource.version())
}

/// The same of a name and a version.
pub(crate) fn hash_of(name: &[u8], version: Version) -> u64 {
    xxh3_64_with_seed(name, version.0)
}

impl Default for Collection {
    /// The empty collection.
    fn default() -> Self {
        Self { resources: OrdMap::new(), hash: 0, bytes: 0, mortals: 0, log: Vector::new(), logged_names: 0 }
    }
}

impl FromIterator<Resource> for Collection {
    /// A collection without a history; of two resources of one name the later one is kept.
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let resources: OrdMap<Name, Resource> =
            resources.into_iter().map(|resource| (resource.name().clone(), resource)).collect();
        let mut collection = Self::default();
        resources.values().for_each(|resource| collection.count(resource));
        collection.resources = resources;
        // A first step gives the collection its identity.
        collection.append(Vec::new());
        collection
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, content: &str) -> Resource {
        Resource::new(name, content.as_bytes().to_vec())
    }

    fn names(changed: &[Name]) -> Vec<&str> {
        changed.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn the_version_depends_on_content_and_on_nothing_else() {
        let built: Collection = [resource("a", "1"), resource("b", "2")].into_iter().collect();
        let grown = Collection::default()
            .with_changes([resource("b", "0"), resource("c", "3")], [])
            .with_changes([resource("b", "2"), resource("a", "1")], [Name::from("c")]);
        assert_eq!(built.version(), grown.version());
        assert_ne!(built.version(), built.with_changes([resource("a", "x")], []).version());
        assert_ne!(built.version(), built.with_changes([], [Name::from("a")]).version());
        // Two names that swap their contents are another state.
        let swapped: Collection = [resource("a", "2"), resource("b", "1")].into_iter().collect();
        assert_ne!(built.version(), swapped.version());
    }

    #[test]
    fn changes_come_from_the_log_and_what_changed_back_is_left_out() {
        let first: Collection = [resource("a", "1"), resource("b", "1")].into_iter().collect();
        let second = first.with_changes([resource("a", "2"), resource("c", "1")], []);
        let third = second.with_changes([resource("a", "1")], [Name::from("b")]);
        assert_eq!(names(&second.changed_since(&first)), ["a", "c"]);
        assert_eq!(names(&third.changed_since(&first)), ["b", "c"]);
        assert!(third.steps_since(&first).is_some());
        assert!(third.changed_since(&third.clone()).is_empty());
    }

    #[test]
    fn siblings_and_strangers_are_merged() {
        let first: Collection = [resource("a", "1"), resource("b", "1")].into_iter().collect();
        let left = first.with_changes([resource("a", "left")], []);
        let right = first.with_changes([resource("b", "right")], []);
        assert!(left.steps_since(&right).is_none());
        assert_eq!(names(&left.changed_since(&right)), ["a", "b"]);
        let stranger: Collection = [resource("z", "1")].into_iter().collect();
        assert_eq!(names(&stranger.changed_since(&first)), ["a", "b", "z"]);
        assert_eq!(names(&first.changed_since(&Collection::default())), ["a", "b"]);
        assert_eq!(names(&Collection::default().changed_since(&first)), ["a", "b"]);
    }

    #[test]
    fn a_forgotten_ancestor_is_merged() {
        let first: Collection = [resource("a", "start")].into_iter().collect();
        let mut last = first.clone();
        for round in 0..=LOG_NAMES {
            last = last.with_changes([resource("a", &round.to_string())], []);
        }
        assert!(last.logged_names <= LOG_NAMES);
        assert!(last.steps_since(&first).is_none());
        assert_eq!(names(&last.changed_since(&first)), ["a"]);
    }

    /// A short history is read from the log, and not found out by a comparison of everything.
    #[test]
    fn recent_changes_are_remembered_step_by_step() {
        let states: Vec<Collection> = (0..5).fold(vec![Collection::default()], |mut states, step| {
            let latest = states.last().expect("a state");
            states.push(latest.with_changes([resource("a", &step.to_string())], []));
            states
        });
        for (later, newer) in states.iter().enumerate().skip(1) {
            for (earlier, older) in states.iter().enumerate().take(later + 1).skip(1) {
                let steps = newer.steps_since(older).expect("an ancestor that is remembered");
                assert_eq!(steps.count(), later - earlier);
            }
        }
    }

    #[test]
    fn it_is_known_whether_anything_has_a_time_to_live() {
        let mortal = || resource("a", "1").with_ttl(std::time::Duration::from_secs(1));
        let mixed: Collection = [mortal(), resource("b", "1")].into_iter().collect();
        assert!(mixed.is_mortal());
        assert!(!mixed.with_changes([], [Name::from("a")]).is_mortal());
        assert!(!mixed.with_changes([resource("a", "2")], []).is_mortal());
        assert!(mixed.with_changes([], [Name::from("b")]).is_mortal());
    }

    #[test]
    fn a_history_has_a_bound() {
        let remembered = |state: &Collection| state.log.iter().map(|step| step.names.len()).sum::<usize>();
        let mut state = Collection::default();
        for step in 0..2 * LOG_NAMES {
            state = state.with_changes([resource("a", &step.to_string())], []);
            assert_eq!(state.logged_names, remembered(&state));
        }
        assert_eq!(remembered(&state), LOG_NAMES);
        // The latest step tells what the collection is, however large it is.
        let many = (0..=LOG_NAMES).map(|index| resource(&index.to_string(), "1"));
        let next = state.with_changes(many, []);
        assert_eq!(next.log.len(), 1);
        assert!(next.is_same(&next.clone()) && !next.is_same(&state));
    }

    #[test]
    fn missing_names_are_found_by_walk_and_by_lookup() {
        let few: Collection = ["b", "d"].map(|name| resource(name, "1")).into_iter().collect();
        let many: Collection = (0..100).map(|index| resource(&format!("b{index:02}"), "1")).collect();
        let asked = ["a", "b", "b01", "b99", "c", "d", "e"].map(Name::from);
        assert_eq!(names(&few.missing(&asked)), ["a", "b01", "b99", "c", "e"]);
        assert_eq!(names(&many.missing(&asked)), ["a", "b", "c", "d", "e"]);
        assert_eq!(names(&Collection::default().missing(&asked[..2])), ["a", "b"]);
    }

    #[test]
    fn the_hash_of_some_is_that_of_a_collection_of_them() {
        let all: Collection = (0..100).map(|index| resource(&format!("b{index:02}"), "1")).collect();
        for count in [0, 1, 50, 100] {
            let some: Collection = all.iter().take(count).cloned().collect();
            let mut names: Vec<Name> = some.iter().map(|one| one.name().clone()).collect();
            assert_eq!(all.hash_of_all(&names), Some(some.version().0), "{count} names");
            names.push("missing".into());
            assert_eq!(all.hash_of_all(&names), None, "{count} names and one that is missing");
        }
    }

    #[test]
    fn an_equal_upsert_is_no_change() {
        let first: Collection = [resource("a", "1")].into_iter().collect();
        let second = first.with_changes([resource("a", "1")], [Name::from("missing")]);
        assert!(second.is_same(&first));
    }
}
