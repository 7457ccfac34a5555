//! Field paths such as `spec.http[0].match[1].headers["x-tag"]`: written while a value is taken out of a tree, and
//! followed back into the tree to find a place.

use std::fmt;

use super::node::{Key, Mark, Node, Value};

/// The way from the root to a value; it lives on the stack and is written out only for a problem.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(Path::Root, key) if is_plain(key) => f.write_str(key),
            Path::Key(parent, key) if is_plain(key) => write!(f, "{parent}.{key}"),
            Path::Key(parent, key) => write!(f, "{parent}[{key:?}]"),
        }
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// Where a value is best pointed at: a scalar at itself, anything larger at its key.
pub(super) fn spot(key: &Key, value: &Node) -> Mark {
    if value.is_container() || value.value == Value::Null { key.mark } else { value.mark }
}

/// Follows a path into a tree; where it leads nowhere, the nearest ancestor that exists.
///
/// Keys that contain dots may be quoted, or written as they are: the longest key that exists is taken.
pub(crate) fn locate(root: &Node, path: &str) -> Mark {
    let mut mark = root.mark;
    let mut node = root;
    let mut rest = path;
    while !rest.is_empty() {
        let Some((next, place, tail)) = step(node, rest) else { break };
        (node, mark, rest) = (next, place, tail.strip_prefix('.').unwrap_or(tail));
    }
    mark
}

fn step<'a, 'p>(node: &'a Node, path: &'p str) -> Option<(&'a Node, Mark, &'p str)> {
    if let Some(inner) = path.strip_prefix('[') {
        if let Some(quoted) = inner.strip_prefix('"') {
            let end = quoted.find("\"]")?;
            let (key, value) = node.entry(&quoted[..end])?;
            return Some((value, spot(key, value), &quoted[end + 2..]));
        }
        let end = inner.find(']')?;
        let Value::List(list) = &node.value else { return None };
        let element = list.get(inner[..end].parse::<usize>().ok()?)?;
        return Some((element, element.mark, &inner[end + 1..]));
    }
    // Longest first, so that a key that holds dots is found before its first part is.
    let mut end = path.find('[').unwrap_or(path.len());
    loop {
        if let Some((key, value)) = node.entry(&path[..end]) {
            return Some((value, spot(key, value), &path[end..]));
        }
        end = path[..end].rfind('.')?;
    }
}
