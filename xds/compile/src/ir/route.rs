//! Routing: virtual hosts, each an ordered list of rules, of which the first that matches acts.

use std::sync::Arc;
use std::time::Duration;

use pilotage_watcher::ObjectKey;

/// A set of virtual hosts that one listener routes by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteTable {
    pub(crate) name: Arc<str>,
    pub(crate) hosts: Vec<Arc<VirtualHost>>,
    /// Whether a request's authority is compared without its port.
    pub(crate) ignore_port: bool,
}

/// The unit of routing: who it answers for, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VirtualHost {
    pub(crate) name: Arc<str>,
    pub(crate) domains: Vec<Arc<str>>,
    pub(crate) rules: Vec<Rule>,
    /// Answer plaintext requests with a redirect to https.
    pub(crate) require_tls: bool,
    /// The object that the host comes from.
    pub(crate) source: Option<ObjectKey>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) condition: Condition,
    pub(crate) action: Action,
    pub(crate) headers: HeaderEdits,
    /// Prefix for statistics of this rule alone.
    pub(crate) stat_prefix: Arc<str>,
    /// What is made to go wrong on purpose.
    pub(crate) fault: Option<Fault>,
    /// What scripts of other origins may do.
    pub(crate) cors: Option<Cors>,
    /// The object that the rule comes from, where it is not the host itself.
    pub(crate) source: Option<ObjectKey>,
}

impl Rule {
    /// A rule for every request that no operator wrote.
    pub(crate) fn always(name: &str, action: Action) -> Self {
        Self {
            name: name.into(),
            condition: Condition::default(),
            action,
            headers: HeaderEdits::default(),
            stat_prefix: "".into(),
            fault: None,
            cors: None,
            source: None,
        }
    }

    /// The clusters that requests or their copies are sent to.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        let (backends, mirrors) = match &self.action {
            Action::Forward(forward) => (&forward.backends[..], &forward.mirrors[..]),
            Action::Redirect(_) | Action::Respond { .. } => (&[][..], &[][..]),
        };
        let backends = backends.iter().map(|backend| &backend.cluster);
        backends.chain(mirrors.iter().map(|mirror| &mirror.cluster))
    }
}

/// What must hold of a request; everything, all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    pub(crate) path: PathMatch,
    pub(crate) ignore_path_case: bool,
    pub(crate) headers: Vec<HeaderMatch>,
    pub(crate) query: Vec<(Arc<str>, TextMatch)>,
}

impl Condition {
    /// Whether every request satisfies it.
    pub(crate) fn is_always(&self) -> bool {
        let every_path = match &self.path {
            PathMatch::Any => true,
            PathMatch::Prefix(prefix) => &**prefix == "/",
            PathMatch::Segments(segments) => segments.is_empty(),
            PathMatch::Exact(_) | PathMatch::Regex(_) => false,
        };
        every_path && self.headers.is_empty() && self.query.is_empty()
    }
}

/// How a path is matched, without its query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum PathMatch {
    #[default]
    Any,
    Exact(Arc<str>),
    /// A prefix of the text, which may end inside a segment.
    Prefix(Arc<str>),
    /// An RE2 expression for the whole path.
    Regex(Arc<str>),
    /// Whole segments at the beginning, such as `/api/v1`, without a `/` at the end.
    #[cfg_attr(not(test), expect(dead_code, reason = "the routes of the Gateway API match paths so"))]
    Segments(Arc<str>),
}

/// How a piece of text is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TextMatch {
    Present,
    Exact(Arc<str>),
    Prefix(Arc<str>),
    /// An RE2 expression for the whole text.
    Regex(Arc<str>),
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeaderMatch {
    pub(crate) name: Arc<str>,
    pub(crate) value: TextMatch,
    /// Whether the header must not match; a header that is missing does not.
    pub(crate) inverted: bool,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Forward(Box<Forward>),
    Redirect(Redirect),
    Respond { status: u32, body: Arc<[u8]> },
}

/// Sending a request on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Forward {
    /// Where to, by share; never empty.
    pub(crate) backends: Vec<Backend>,
    /// The limit for the whole request, retries included; a client's own deadline holds in any case.
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<RetryPolicy>,
    pub(crate) path_rewrite: Option<PathRewrite>,
    pub(crate) authority_rewrite: Option<Arc<str>>,
    /// What requests are hashed by, for balancers that hash.
    pub(crate) hash_by: Vec<HashBy>,
    /// Where copies go; nobody waits for their answers.
    pub(crate) mirrors: Vec<Mirror>,
    /// The answer for a backend whose cluster is not there; the backend keeps its share.
    pub(crate) absent: Absent,
}

/// What a request is told whose backend does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Absent {
    /// 503, as for one that has no endpoints.
    #[default]
    Unavailable,
    /// 500.
    #[cfg_attr(not(test), expect(dead_code, reason = "the routes of the Gateway API answer so"))]
    Error,
}

/// Copies of a share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mirror {
    pub(crate) cluster: Arc<str>,
    pub(crate) share: Share,
}

/// A share of requests, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Share(pub(crate) u32);

impl Share {
    pub(crate) const ALL: Self = Self(1_000_000);
}

/// Errors and delays that are made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fault {
    /// How long a share of the requests waits.
    pub(crate) delay: Option<(Duration, Share)>,
    /// How a share of the requests is answered.
    pub(crate) abort: Option<(AbortStatus, Share)>,
}

/// The answer to a request that is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AbortStatus {
    Http(u32),
    Grpc(u32),
}

/// What scripts of other origins may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cors {
    pub(crate) origins: Vec<TextMatch>,
    /// Lists as they stand in the headers; empty ones are not sent.
    pub(crate) methods: Arc<str>,
    pub(crate) headers: Arc<str>,
    pub(crate) exposed: Arc<str>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) credentials: Option<bool>,
    /// Whether preflights of origins that are not allowed go to the application.
    pub(crate) forward_unmatched: bool,
}

/// A cluster and its share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Backend {
    pub(crate) cluster: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) headers: HeaderEdits,
    pub(crate) authority_rewrite: Option<Arc<str>>,
}

/// A change of the path before a request is sent on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PathRewrite {
    /// Replaces what the condition matched: a prefix, or a whole path.
    Matched(Arc<str>),
    /// Replaces what an RE2 expression matches.
    Regex { pattern: Arc<str>, substitution: Arc<str> },
}

/// What is tried again, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RetryPolicy {
    /// Tries after the first.
    pub(crate) attempts: u32,
    /// Conditions by the names that proxies know them by.
    pub(crate) on: Vec<Arc<str>>,
    pub(crate) status_codes: Vec<u32>,
    pub(crate) per_try_timeout: Option<Duration>,
    pub(crate) backoff: Option<Duration>,
    /// Whether endpoints that were tried are avoided.
    pub(crate) avoid_tried: bool,
    /// Whether localities that were tried are avoided.
    pub(crate) avoid_tried_localities: bool,
}

/// What a request is hashed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HashBy {
    Header(Arc<str>),
    Cookie { name: Arc<str>, path: Arc<str>, ttl: Duration, attributes: Vec<(Arc<str>, Arc<str>)> },
    SourceAddress,
    Query(Arc<str>),
}

/// Changes to the headers of a request and of its response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HeaderEdits {
    pub(crate) request: HeaderEdit,
    pub(crate) response: HeaderEdit,
}

/// Changes to headers, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HeaderEdit {
    /// Overwritten or added.
    pub(crate) set: Vec<(Arc<str>, Arc<str>)>,
    /// Appended.
    pub(crate) add: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) remove: Vec<Arc<str>>,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Redirect {
    pub(crate) authority: Option<Arc<str>>,
    pub(crate) path: Option<RedirectPath>,
    pub(crate) scheme: Option<Arc<str>>,
    pub(crate) port: Option<u16>,
    pub(crate) status: RedirectStatus,
}

/// The path of a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RedirectPath {
    Whole(Arc<str>),
    /// Replaces the prefix that the condition matched.
    Prefix(Arc<str>),
}

/// The status of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RedirectStatus {
    #[default]
    MovedPermanently,
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}
