//! Two sources as one: a folder laid over a cluster. Where both have an object, the upper one's is believed.
//!
//! What the lower source says of such an object is remembered and comes to light when the upper one lets go of it.

use std::collections::{HashMap, HashSet};

use crate::{Batch, Change, Code, Object, ObjectKey, Problem, Severity, SourceName};

/// Joins the changes of two sources.
#[derive(Debug)]
pub struct Overlay {
    upper: SourceName,
    lower: SourceName,
    /// What the upper source has.
    covered: HashSet<ObjectKey>,
    /// Everything that the lower source has, for what is covered later; it is shared with the world.
    beneath: HashMap<ObjectKey, Object>,
}

impl Overlay {
    /// Lays `upper` over `lower`.
    pub fn new(upper: SourceName, lower: SourceName) -> Self {
        Self { upper, lower, covered: HashSet::new(), beneath: HashMap::new() }
    }

    /// What a batch of the upper source changes.
    pub fn upper(&mut self, batch: Batch) -> Batch {
        let mut changes = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            match change {
                Change::Apply(object) => {
                    let key = object.key();
                    if self.covered.insert(key.clone()) && self.beneath.contains_key(&key) {
                        changes.push(self.both(key));
                    }
                    changes.push(Change::Apply(object));
                }
                Change::Delete(key) => {
                    let was_covered = self.covered.remove(&key);
                    match self.beneath.get(&key) {
                        Some(object) if was_covered => {
                            changes.push(Change::Apply(object.clone()));
                            changes.push(not_both(&key));
                        }
                        Some(_) => {}
                        None => changes.push(Change::Delete(key)),
                    }
                }
                other => changes.push(other),
            }
        }
        Batch { seen: batch.seen, changes }
    }

    /// What a batch of the lower source changes.
    pub fn lower(&mut self, batch: Batch) -> Batch {
        let mut changes = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            match change {
                Change::Apply(object) => {
                    let key = object.key();
                    let is_new = self.beneath.insert(key.clone(), object.clone()).is_none();
                    match self.covered.contains(&key) {
                        true if is_new => changes.push(self.both(key)),
                        true => {}
                        false => changes.push(Change::Apply(object)),
                    }
                }
                Change::Delete(key) => {
                    let was_there = self.beneath.remove(&key).is_some();
                    match self.covered.contains(&key) {
                        true if was_there => changes.push(not_both(&key)),
                        true => {}
                        false => changes.push(Change::Delete(key)),
                    }
                }
                other => changes.push(other),
            }
        }
        Batch { seen: batch.seen, changes }
    }

    fn both(&self, key: ObjectKey) -> Change {
        let message = format!("the object is in {} and in {}; the former is served", self.upper, self.lower);
        let problem = Problem::new(Code::DuplicateObject, message)
            .severity(Severity::Warning)
            .hint("remove one of the two")
            .on(key.clone(), "");
        Change::Problems { scope: scope(&key), problems: vec![problem] }
    }
}

fn not_both(key: &ObjectKey) -> Change {
    Change::Problems { scope: scope(key), problems: Vec::new() }
}

fn scope(key: &ObjectKey) -> SourceName {
    format!("both sources: {key}").into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use super::*;
    use crate::Kind;
    use crate::resources::{Service, WithMeta};

    /// A Service that tells where it is from.
    fn apply(name: &str, from: &str) -> Change {
        let mut service = WithMeta::<Service>::default();
        service.meta.name = name.into();
        service.meta.labels.insert("from".into(), from.into());
        Change::Apply(Object::Service(service.into()))
    }

    fn delete(name: &str) -> Change {
        Change::Delete(ObjectKey::new(Kind::Service, "", name))
    }

    fn batch(change: Change) -> Batch {
        Batch { seen: Instant::now(), changes: vec![change] }
    }

    fn told(batch: Batch) -> Vec<String> {
        let told = batch.changes.iter().map(|change| match change {
            Change::Apply(object) => format!("apply {}", object.meta().labels["from"]),
            Change::Delete(key) => format!("delete {}", key.name),
            Change::Problems { problems, .. } => format!("{} problems", problems.len()),
            Change::Synced(name) => format!("synced {name}"),
        });
        told.collect()
    }

    fn overlay() -> Overlay {
        Overlay::new("directory:m".into(), "kubernetes:c".into())
    }

    #[test]
    fn what_only_one_source_has_passes() {
        let mut overlay = overlay();
        assert_eq!(told(overlay.upper(batch(apply("a", "folder")))), ["apply folder"]);
        assert_eq!(told(overlay.lower(batch(apply("b", "cluster")))), ["apply cluster"]);
        assert_eq!(told(overlay.lower(batch(Change::Synced("c".into())))), ["synced c"]);
        assert_eq!(told(overlay.upper(batch(delete("a")))), ["delete a"]);
        assert_eq!(told(overlay.lower(batch(delete("b")))), ["delete b"]);
    }

    #[test]
    fn the_upper_source_wins_whoever_comes_first() {
        let mut overlay = overlay();
        overlay.lower(batch(apply("a", "cluster")));
        assert_eq!(told(overlay.upper(batch(apply("a", "folder")))), ["1 problems", "apply folder"]);
        assert_eq!(told(overlay.upper(batch(apply("a", "folder again")))), ["apply folder again"]);
        overlay.upper(batch(apply("b", "folder")));
        assert_eq!(told(overlay.lower(batch(apply("b", "cluster")))), ["1 problems"]);
        assert_eq!(told(overlay.lower(batch(apply("b", "cluster again")))), [""; 0]);
    }

    #[test]
    fn what_was_covered_comes_to_light_as_it_is_now() {
        let mut overlay = overlay();
        overlay.lower(batch(apply("a", "cluster")));
        overlay.upper(batch(apply("a", "folder")));
        overlay.lower(batch(apply("a", "cluster, newer")));
        assert_eq!(told(overlay.upper(batch(delete("a")))), ["apply cluster, newer", "0 problems"]);
        assert_eq!(told(overlay.lower(batch(delete("a")))), ["delete a"]);
    }

    #[test]
    fn the_lower_source_cannot_take_away_what_the_upper_one_has() {
        let mut overlay = overlay();
        overlay.lower(batch(apply("a", "cluster")));
        overlay.upper(batch(apply("a", "folder")));
        assert_eq!(told(overlay.lower(batch(delete("a")))), ["0 problems"]);
        assert_eq!(told(overlay.lower(batch(delete("a")))), [""; 0]);
        assert_eq!(told(overlay.upper(batch(delete("a")))), ["delete a"]);
    }

    #[test]
    fn the_problem_names_both_sources_and_the_object() {
        let mut overlay = overlay();
        overlay.lower(batch(apply("a", "cluster")));
        let Batch { changes, .. } = overlay.upper(batch(apply("a", "folder")));
        let Change::Problems { problems, .. } = &changes[0] else { panic!("it is a problem") };
        let text = problems[0].to_string();
        assert!(text.contains("Service a") && text.contains("directory:m and in kubernetes:c"), "{text}");
    }
}
