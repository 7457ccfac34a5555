//! Which group a client belongs to: told by its node, by the Pod that it is, and by the labels that the world looks at.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use pilotage_compile::{Group, LabelKeys, Settings, pod_names};
use pilotage_protos::discovery::Node;
use pilotage_watcher::{Kind, ObjectKey, Workloads, World};

/// How many clients whose Pods or Nodes are not known yet are waited for; beyond that, the memory begins anew.
const AWAITED: usize = 4096;

/// The function from node to group, shared by the server, which asks, and the pipeline, which keeps it current.
#[derive(Clone, Debug)]
pub struct Grouping(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    keys: LabelKeys,
    workloads: Workloads,
    /// Pods that clients say they are, and that were not known when they did: a client may be faster than the news of it.
    awaited: Mutex<BTreeSet<ObjectKey>>,
}

impl Grouping {
    /// One that looks at what these settings look at, whatever the world.
    pub fn new(settings: &Settings) -> Self {
        let keys = LabelKeys::of(&World::default(), settings);
        Self(Arc::new(RwLock::new(Known { keys, ..Known::default() })))
    }

    /// The group of a node.
    pub fn of(&self, node: &Node) -> Group {
        // Held to the end, so that no news comes between the look and the note of what was not found.
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let group = Group::of_workload(node, &known.keys, &known.workloads);
        let mut names = pod_names(&node.id, &group.namespace);
        if !names.any(|name| known.workloads.pod(&group.namespace, name).is_some()) {
            let mut awaited = known.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            if awaited.len() >= AWAITED {
                awaited.clear();
            }
            let key = |name| ObjectKey::new(Kind::Pod, group.namespace.clone(), name);
            awaited.extend(pod_names(&node.id, &group.namespace).map(key));
        }
        group
    }

    /// The Pods and Nodes that are known.
    pub(crate) fn workloads(&self) -> Workloads {
        self.0.read().unwrap_or_else(PoisonError::into_inner).workloads.clone()
    }

    /// Looks at the labels that this world looks at, and says whether they are others than before.
    pub(super) fn update(&self, world: &World) -> bool {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner).keys.follow(world);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let has_changed = known.keys != keys;
        known.keys = keys;
        has_changed
    }

    /// Takes in that these Pods and Nodes are new, have changed or are gone, and says whether a client may be of another
    /// group for it. A client whose Pod is gone stays what it was: it is about to end.
    pub(super) fn follow(&self, world: &World, changed: &[ObjectKey]) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (std::mem::replace(&mut known.workloads, world.workloads()), world.workloads());
        let awaited = known.awaited.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut matters = false;
        for key in changed {
            matters |= match key.kind {
                Kind::Node => before.place(Some(&key.name)) != now.place(Some(&key.name)),
                _ => {
                    let of = |workloads: &Workloads| workloads.pod(&key.namespace, &key.name).cloned();
                    match (of(&before), of(&now)) {
                        (Some(before), Some(now)) => {
                            before.meta.labels != now.meta.labels || before.spec.node != now.spec.node
                        }
                        (None, Some(_)) => awaited.remove(key),
                        (_, None) => false,
                    }
                }
            };
        }
        matters
    }
}
