//! An identity: the namespace that a client belongs to and, where that is known, its Pod; and what nodes it may be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pilotage_compile::{Group, LabelKeys, pod_names};
use pilotage_server::Node;
use tonic::Status;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// How the client said it: a name of its certificate, or a service account.
    pub(super) shown: Arc<str>,
    pub(super) namespace: Arc<str>,
    /// The Pod that a token is bound to.
    pub(super) pod: Option<Arc<str>>,
    /// When what the client has shown ends, in seconds since 1970; none where it does not.
    pub(super) ends: Option<i64>,
}

impl Identity {
    /// The identity of a certificate: the first of its names that has a namespace, by `workloads` or by itself.
    pub(super) fn of_certificate(der: &[u8], workloads: &BTreeMap<String, String>) -> Result<Self, Status> {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Err(Status::unauthenticated("the client's certificate cannot be read"));
        };
        let names = names(&certificate);
        let known = names.iter().find_map(|name| {
            let namespace = workloads.get(name).map(String::as_str).or_else(|| spiffe_namespace(name))?;
            let ends = Some(certificate.validity().not_after.timestamp());
            Some(Self { shown: name.as_str().into(), namespace: namespace.into(), pod: None, ends })
        });
        known.ok_or_else(|| {
            Status::unauthenticated(format!(
                "the client's certificate is for {}, of which none has a namespace: issue one for \
                 spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT, or say the namespace under trust.workloads",
                if names.is_empty() { "no name".to_owned() } else { names.join(", ") },
            ))
        })
    }

    /// The identity of a service account, as reviews of tokens name it; none for other users.
    pub(super) fn of_account(user: &str, pod: Option<&str>) -> Option<Self> {
        let (namespace, _) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some(Self { shown: user.into(), namespace: namespace.into(), pod: pod.map(Arc::from), ends: None })
    }

    /// Whether this client may be the node that it says it is. Where `pods` are read, who is a Pod has the Pod's labels: those
    /// that the node says are taken from it, so that nobody is told what another workload of the namespace is.
    pub(super) fn permit(&self, node: &mut Node, pods: Pods) -> Result<(), Status> {
        let claimed = Group::of(node, &LabelKeys::default()).namespace;
        if claimed != self.namespace {
            return Err(Status::permission_denied(format!(
                "{} is of the namespace {}, and may not be the node {} of the namespace {claimed}",
                self.shown, self.namespace, node.id,
            )));
        }
        match &self.pod {
            Some(pod) if !pod_names(&node.id, &self.namespace).any(|name| name == &**pod) => {
                Err(Status::permission_denied(format!(
                    "the token is of the Pod {}/{pod}, and the node's id is {}; start it with --id {pod}",
                    self.namespace, node.id,
                )))
            }
            Some(_) if pods == Pods::Read => {
                if let Some(metadata) = &mut node.metadata {
                    metadata.fields.remove("LABELS");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// When what the client has shown ends, by this machine's clock.
    pub(super) fn end(&self) -> Option<Instant> {
        let since_1970 = Duration::from_secs(u64::try_from(self.ends?).unwrap_or_default());
        let left = (UNIX_EPOCH + since_1970).duration_since(SystemTime::now()).unwrap_or_default();
        Instant::now().checked_add(left)
    }
}

/// Whether it is known what Pods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pods {
    Read,
    Unread,
}

/// The DNS names and URIs of a certificate.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

/// The namespace of `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
fn spiffe_namespace(uri: &str) -> Option<&str> {
    let mut parts = uri.strip_prefix("spiffe://")?.split('/');
    let (domain, ns, namespace, sa, account) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && ns == "ns" && sa == "sa";
    (is_whole && !domain.is_empty() && !namespace.is_empty() && !account.is_empty()).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use pilotage_protos::envoy::protobuf::value::Kind;
    use pilotage_protos::envoy::{Struct, Value};

    use super::*;

    fn node(id: &str, namespace: Option<&str>) -> Node {
        let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let fields = namespace.map(|namespace| [("NAMESPACE".to_owned(), value(namespace))].into());
        Node { id: id.to_owned(), metadata: fields.map(|fields| Struct { fields }), ..Node::default() }
    }

    #[test]
    fn only_a_whole_spiffe_id_has_a_namespace() {
        assert_eq!(spiffe_namespace("spiffe://example.org/ns/shop/sa/web"), Some("shop"));
        for other in [
            "spiffe://example.org/ns/shop",
            "spiffe://example.org/ns/shop/sa/",
            "spiffe://example.org/ns//sa/web",
            "spiffe:///ns/shop/sa/web",
            "spiffe://example.org/ns/shop/sa/web/more",
            "spiffe://example.org/sa/web/ns/shop",
            "https://example.org/ns/shop/sa/web",
        ] {
            assert_eq!(spiffe_namespace(other), None, "{other}");
        }
    }

    #[test]
    fn an_identity_may_be_nodes_of_its_namespace_alone() {
        let identity = Identity::of_account("system:serviceaccount:shop:web", None).expect("it is one");
        assert!(identity.permit(&mut node("any", Some("shop")), Pods::Read).is_ok());
        assert!(
            identity
                .permit(&mut node("sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local", None), Pods::Read)
                .is_ok()
        );
        for other in
            [node("any", Some("bank")), node("any", None), node("sidecar~10.0.0.1~w.bank~bank.svc.x", None)]
        {
            let refused = identity.permit(&mut { other }, Pods::Read).expect_err("another namespace");
            assert_eq!(refused.code(), tonic::Code::PermissionDenied);
            assert!(refused.message().contains("shop"), "{refused}");
        }
        assert_eq!(Identity::of_account("administrator", None), None);
    }

    #[test]
    fn a_token_of_a_pod_is_for_that_pod() {
        let identity =
            Identity::of_account("system:serviceaccount:shop:web", Some("web-1")).expect("it is one");
        for id in ["web-1", "web-1.shop", "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"] {
            assert!(identity.permit(&mut node(id, Some("shop")), Pods::Read).is_ok(), "{id}");
        }
        for id in
            ["web-2", "web-1.bank", "web-10", "web", "sidecar~10.0.0.1~web-2.shop~shop.svc.cluster.local"]
        {
            let refused = identity.permit(&mut node(id, Some("shop")), Pods::Read).expect_err(id);
            assert!(refused.message().contains("--id web-1"), "{refused}");
        }
    }

    #[test]
    fn a_pod_does_not_say_its_own_labels_where_pods_are_read() {
        let of_pod =
            Identity::of_account("system:serviceaccount:shop:web", Some("web-1")).expect("it is one");
        let of_account = Identity::of_account("system:serviceaccount:shop:web", None).expect("it is one");
        let says = |identity: &Identity, pods| {
            let mut node = node("web-1", Some("shop"));
            let fields = &mut node.metadata.as_mut().expect("there are some").fields;
            fields.insert("LABELS".to_owned(), Value { kind: Some(Kind::StructValue(Struct::default())) });
            identity.permit(&mut node, pods).expect("it may");
            node.metadata.is_some_and(|metadata| metadata.fields.contains_key("LABELS"))
        };
        assert!(!says(&of_pod, Pods::Read));
        assert!(says(&of_pod, Pods::Unread) && says(&of_account, Pods::Read));
    }

    #[test]
    fn the_end_is_that_of_what_was_shown() {
        let mut identity = Identity::of_account("system:serviceaccount:shop:web", None).expect("it is one");
        assert_eq!(identity.end(), None);
        identity.ends = Some(crate::pipeline::unix_time() + 60);
        let left = identity.end().map(|end| end.saturating_duration_since(Instant::now()).as_secs());
        assert!(left.is_some_and(|left| (58..=60).contains(&left)), "{left:?}");
        identity.ends = Some(17);
        assert!(identity.end().is_some_and(|end| end <= Instant::now()), "it is over");
    }
}
