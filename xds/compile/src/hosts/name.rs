//! Host names: short forms, wildcards, who may see what, and the nearest name to a mistaken one.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

/// The full name of a host as written in a namespace: one without a dot is a Service of that namespace.
pub(crate) fn expand(host: &str, namespace: &str, cluster_domain: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains('.') || host.starts_with('*') || host.is_empty() {
        host
    } else {
        format!("{host}.{namespace}.svc.{cluster_domain}")
    }
}

/// Whether an object of `owner` with this `exportTo` is seen from `viewer`; an empty list is everyone.
pub(crate) fn is_visible(export_to: &[String], owner: &str, viewer: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|entry| match entry.as_str() {
            "*" => true,
            "." => owner == viewer,
            namespace => namespace == viewer,
        })
}

/// Whether a wildcard such as `*.example.com` or `*` covers a name, or a narrower wildcard.
pub(crate) fn wildcard_covers(wildcard: &str, name: &str) -> bool {
    wildcard.strip_prefix('*').is_some_and(|suffix| {
        let name = name.strip_prefix('*').unwrap_or(name);
        name.len() >= suffix.len() && name.ends_with(suffix)
    })
}

/// The wildcards among names, which stand next to one another: a lookup need not pass all others.
pub(crate) fn wildcards<T>(names: &OrdMap<Arc<str>, T>) -> impl Iterator<Item = (&Arc<str>, &T)> {
    names
        .range::<_, str>((Bound::Included("*"), Bound::Unbounded))
        .take_while(|(name, _)| name.starts_with('*'))
}

/// Whether a name can be a domain of a virtual host: a host name, perhaps with a wildcard for its first label.
pub(crate) fn is_domain(name: &str) -> bool {
    let rest = match name.strip_prefix("*.") {
        Some(rest) => rest,
        None if name == "*" => return true,
        None => name,
    };
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    !rest.is_empty() && rest.len() <= 253 && rest.split('.').all(label)
}

/// Whether a resolver can be asked for a name: a host name without a wildcard, or an address.
pub(crate) fn is_resolvable(name: &str) -> bool {
    (is_domain(name) && !name.starts_with('*')) || name.parse::<std::net::IpAddr>().is_ok()
}

/// The name that a mistaken one most likely means, if any is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A quarter of the name may be wrong: a doubled label in a full name is eight characters of forty.
    let limit = (name.chars().count() / 4).max(2);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_a_dot_are_expanded() {
        assert_eq!(expand("Greeter", "apps", "cluster.local"), "greeter.apps.svc.cluster.local");
        assert_eq!(expand("greeter.apps", "other", "cluster.local"), "greeter.apps");
        assert_eq!(expand("*", "other", "cluster.local"), "*");
    }

    #[test]
    fn wildcards_cover_names_and_narrower_wildcards() {
        assert!(wildcard_covers("*", "a.example.com"));
        assert!(wildcard_covers("*.example.com", "a.b.example.com"));
        assert!(wildcard_covers("*.example.com", "*.b.example.com"));
        assert!(!wildcard_covers("*.example.com", "example.com"));
        assert!(!wildcard_covers("*.b.example.com", "*.example.com"));
        assert!(!wildcard_covers("a.example.com", "a.example.com"));
    }

    #[test]
    fn export_decides_who_sees() {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        assert!(is_visible(&[], "a", "b"));
        assert!(is_visible(&list(&["."]), "a", "a"));
        assert!(!is_visible(&list(&["."]), "a", "b"));
        assert!(is_visible(&list(&["b"]), "a", "b"));
        assert!(!is_visible(&list(&["b"]), "a", "a"));
        assert!(!is_visible(&list(&["~"]), "a", "b"));
    }

    #[test]
    fn a_doubled_label_is_near_and_another_service_is_not() {
        let known = ["grpc-service.default.svc.cluster.local", "web.default.svc.cluster.local"];
        let found = nearest("grpc-service.default.svc.cluster.cluster.local", known.into_iter());
        assert_eq!(found, Some("grpc-service.default.svc.cluster.local"));
        assert_eq!(nearest("db", known.into_iter()), None);
    }
}
