//! Which API groups and kinds are read, which are known and not served, and which are other people's.
//!
//! The order of judgement matters: well-known foreign groups first, so that `networking.k8s.io` is never taken for a
//! slip of the pen, then look-alikes of the groups that are read.

use super::nearest;
use crate::{Code, Problem};

/// A kind that is read, in the form in which it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Service,
    Endpoints,
    Pod,
    Node,
    ConfigMap,
    EndpointSlice,
    VirtualService,
    DestinationRule,
    Gateway,
    ServiceEntry,
    WorkloadEntry,
    Sidecar,
    Telemetry,
    EnvoyResources,
    Secret,
}

/// What an `apiVersion` and a `kind` say together.
#[derive(Debug)]
pub(crate) enum Recognized {
    /// Read.
    Form(Form),
    /// Known and not served, which the user should hear.
    NotServed(Problem),
    /// None of our business.
    PassedOver,
    /// A mistake in the field named.
    Mistaken(&'static str, Problem),
}

struct Group {
    name: &'static str,
    versions: &'static [&'static str],
    forms: &'static [(&'static str, Form)],
    not_served: &'static [&'static str],
}

const ISTIO: &str = "networking.istio.io";

const GROUPS: &[Group] = &[
    Group {
        name: "",
        versions: &["v1"],
        forms: &[
            ("Service", Form::Service),
            ("Endpoints", Form::Endpoints),
            ("Pod", Form::Pod),
            ("Node", Form::Node),
            ("ConfigMap", Form::ConfigMap),
            ("Secret", Form::Secret),
        ],
        not_served: &[],
    },
    Group {
        name: "discovery.k8s.io",
        versions: &["v1"],
        forms: &[("EndpointSlice", Form::EndpointSlice)],
        not_served: &[],
    },
    Group {
        name: ISTIO,
        versions: &["v1", "v1beta1", "v1alpha3"],
        forms: &[
            ("VirtualService", Form::VirtualService),
            ("DestinationRule", Form::DestinationRule),
            ("Gateway", Form::Gateway),
            ("ServiceEntry", Form::ServiceEntry),
            ("WorkloadEntry", Form::WorkloadEntry),
            ("Sidecar", Form::Sidecar),
        ],
        not_served: &["WorkloadGroup", "EnvoyFilter", "ProxyConfig"],
    },
    Group {
        name: "gateway.networking.k8s.io",
        versions: &["v1", "v1beta1", "v1alpha2", "v1alpha3"],
        forms: &[],
        not_served: &[
            "GatewayClass",
            "Gateway",
            "HTTPRoute",
            "GRPCRoute",
            "TLSRoute",
            "TCPRoute",
            "UDPRoute",
            "ReferenceGrant",
            "BackendTLSPolicy",
            "ListenerSet",
        ],
    },
    Group {
        name: "security.istio.io",
        versions: &["v1", "v1beta1"],
        forms: &[],
        not_served: &["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"],
    },
    Group {
        name: "telemetry.istio.io",
        versions: &["v1", "v1alpha1"],
        forms: &[("Telemetry", Form::Telemetry)],
        not_served: &[],
    },
    Group {
        name: "pilotage.dev",
        versions: &["v1alpha1"],
        forms: &[("EnvoyResources", Form::EnvoyResources)],
        not_served: &[],
    },
    Group { name: "extensions.istio.io", versions: &["v1alpha1"], forms: &[], not_served: &["WasmPlugin"] },
];

/// The rest of the core group; its kinds are no slip of the pen.
const OTHER_CORE_KINDS: &[&str] = &[
    "Binding",
    "ComponentStatus",
    "Event",
    "LimitRange",
    "Namespace",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "ServiceAccount",
];

/// Judges the kind of a document.
pub(crate) fn recognize(api_version: &str, kind: &str) -> Recognized {
    let (name, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let Some(group) = GROUPS.iter().find(|group| group.name == name) else {
        return match look_alike(api_version, name) {
            Some(problem) => Recognized::Mistaken("apiVersion", problem),
            None => Recognized::PassedOver,
        };
    };
    let form = group.forms.iter().find(|(known, _)| *known == kind).map(|(_, form)| *form);
    let not_served = group.not_served.contains(&kind);
    if form.is_none() && !not_served {
        return match group.name {
            "" if OTHER_CORE_KINDS.contains(&kind) => Recognized::PassedOver,
            _ => Recognized::Mistaken("kind", unknown_kind(group, api_version, kind)),
        };
    }
    if !group.versions.contains(&version) {
        let message = format!("there is no version {version:?} of {}", called(group.name));
        let hint = format!("write `apiVersion: {}`", qualified(group));
        return Recognized::Mistaken("apiVersion", Problem::new(Code::UnknownVersion, message).hint(hint));
    }
    match form {
        Some(form) => Recognized::Form(form),
        None => Recognized::NotServed(
            Problem::new(
                Code::NotSupported,
                format!("{kind} of {name} is not served; the object has no effect"),
            )
            .hint("remove it, or expect nothing of it"),
        ),
    }
}

/// The `apiVersion` under which a kind is read, for a document that names none.
pub(crate) fn api_version_of(kind: &str) -> Option<String> {
    GROUPS.iter().find(|group| group.forms.iter().any(|(known, _)| *known == kind)).map(qualified)
}

/// The form of a kind by its name alone; no two groups that are read share one.
pub(crate) fn form_of(kind: &str) -> Option<Form> {
    GROUPS.iter().flat_map(|group| group.forms).find(|(known, _)| *known == kind).map(|(_, form)| *form)
}

fn qualified(group: &Group) -> String {
    match group.name {
        "" => group.versions[0].to_owned(),
        name => format!("{name}/{}", group.versions[0]),
    }
}

fn called(group: &str) -> String {
    if group.is_empty() { "the core group".to_owned() } else { format!("the group {group}") }
}

fn unknown_kind(group: &Group, api_version: &str, kind: &str) -> Problem {
    let problem =
        Problem::new(Code::UnknownKind, format!("there is no kind {kind:?} in {}", called(group.name)));
    if let Some(elsewhere) = api_version_of(kind) {
        return problem.hint(format!("{kind} belongs to {elsewhere}, not to {api_version}"));
    }
    let known = group.forms.iter().map(|(known, _)| *known).chain(group.not_served.iter().copied());
    problem.hint(match nearest(kind, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None if group.forms.is_empty() => format!("kinds of {} are not served", group.name),
        None => {
            let read: Vec<_> = group.forms.iter().map(|(known, _)| *known).collect();
            format!("the kinds that are read from it are {}", read.join(", "))
        }
    })
}

fn look_alike(api_version: &str, name: &str) -> Option<Problem> {
    // Groups that Kubernetes itself owns and that stand near ours.
    if matches!(name, "networking.k8s.io" | "node.k8s.io" | "policy.networking.k8s.io") {
        return None;
    }
    let meant = GROUPS.iter().find(|group| {
        !group.name.is_empty()
            && !name.is_empty()
            && (is_shortened(name, group.name) || is_near(name, group.name))
    });
    let (message, hint) = match meant {
        Some(group) => (
            format!("unknown group {name:?} in {api_version:?}"),
            format!("did you mean {}?", qualified(group)),
        ),
        None => return None,
    };
    Some(Problem::new(Code::UnknownGroup, message).hint(hint))
}

/// Whether a group is another without some of its parts, such as `networking.io`.
fn is_shortened(name: &str, full: &str) -> bool {
    let mut parts = full.split('.');
    name.contains('.') && name != full && name.split('.').all(|part| parts.any(|other| other == part))
}

fn is_near(name: &str, full: &str) -> bool {
    strsim::damerau_levenshtein(&name.to_ascii_lowercase(), full) <= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(api_version: &str, kind: &str) -> String {
        match recognize(api_version, kind) {
            Recognized::Form(form) => format!("{form:?}"),
            Recognized::NotServed(problem) => problem.code.to_string(),
            Recognized::PassedOver => "passed over".to_owned(),
            Recognized::Mistaken(field, problem) => {
                format!("{field} {} {}", problem.code, problem.hint.unwrap_or_default())
            }
        }
    }

    #[test]
    fn judges_groups_versions_and_kinds() {
        for (api_version, kind, expected) in [
            ("v1", "Service", "Service"),
            ("networking.istio.io/v1alpha3", "Gateway", "Gateway"),
            ("v1", "ConfigMap", "ConfigMap"),
            ("v1", "Namespace", "passed over"),
            ("apps/v1", "Deployment", "passed over"),
            ("networking.k8s.io/v1", "Ingress", "passed over"),
            ("gateway.solo.io/v1", "VirtualService", "passed over"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "passed over"),
            ("cert-manager.io/v1", "Certificate", "passed over"),
            ("networking.istio.io/v1", "EnvoyFilter", "not-supported"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute", "not-supported"),
            ("security.istio.io/v1", "AuthorizationPolicy", "not-supported"),
            (
                "networking.io/v1",
                "DestinationRule",
                "apiVersion unknown-group did you mean networking.istio.io/v1?",
            ),
            (
                "networking.isto.io/v1",
                "Gateway",
                "apiVersion unknown-group did you mean networking.istio.io/v1?",
            ),
            (
                "discovery.k8s/v1",
                "EndpointSlice",
                "apiVersion unknown-group did you mean discovery.k8s.io/v1?",
            ),
            (
                "networking.istio.io/v2",
                "Gateway",
                "apiVersion unknown-version write `apiVersion: networking.istio.io/v1`",
            ),
            ("networking.istio.io/v1", "VirtualServce", "kind unknown-kind did you mean VirtualService?"),
            ("v1", "Servcie", "kind unknown-kind did you mean Service?"),
            ("v1", "Gateway", "kind unknown-kind Gateway belongs to networking.istio.io/v1, not to v1"),
        ] {
            assert_eq!(judged(api_version, kind), expected, "{api_version} {kind}");
        }
    }
}
