//! Virtual hosts as `VirtualHost`, and a `RouteConfiguration` put together from those already encoded.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use pilotage_protos::envoy::core::header_value_option::HeaderAppendAction;
use pilotage_protos::envoy::core::{DataSource, HeaderValue, HeaderValueOption, data_source};
use pilotage_protos::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use pilotage_protos::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use pilotage_protos::envoy::pack_any;
use pilotage_protos::envoy::route::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use pilotage_protos::envoy::route::retry_policy::{
    RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
};
use pilotage_protos::envoy::route::route_action::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
};
use pilotage_protos::envoy::route::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HashPolicy, HostRewriteSpecifier, MaxStreamDuration,
    RequestMirrorPolicy,
};
use pilotage_protos::envoy::route::virtual_host::TlsRequirementType;
use pilotage_protos::envoy::route::weighted_cluster::{ClusterWeight, cluster_weight};
use pilotage_protos::envoy::route::{
    DirectResponseAction, HeaderMatcher, QueryParameterMatcher, RedirectAction, RetryPolicy as Retry, Route,
    RouteAction, RouteConfiguration, RouteMatch, VirtualHost as Message, WeightedCluster, header_matcher,
    query_parameter_matcher, route, route_match,
};
use pilotage_protos::envoy::types::matcher::v3::regex_matcher::{EngineType, GoogleRe2};
use pilotage_protos::envoy::types::matcher::v3::{
    RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher,
};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{MAX_BODY, boolean, duration, filter, fraction, metadata, uint};
use crate::ir::{
    Absent, Action, Backend, Condition, Forward, HashBy, HeaderEdit, Mirror, PathMatch, PathRewrite,
    Redirect, RedirectPath, RedirectStatus, RetryPolicy, Rule, TextMatch, VirtualHost,
};
use crate::pattern;

/// The field number of `RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;

/// How often another endpoint is looked for when the one chosen was tried before.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// A RouteConfiguration without its virtual hosts, which follow it as they are encoded: one that changed costs no more
/// than itself.
pub(crate) fn route_configuration(name: &str, ignore_port: bool) -> Bytes {
    let head = RouteConfiguration {
        name: name.to_owned(),
        // A cluster may come later than its route; a rule that names none must not take the others down.
        validate_clusters: Some(boolean(false)),
        max_direct_response_body_size_bytes: Some(uint(MAX_BODY as u32)),
        ignore_port_in_host_matching: ignore_port,
        ..RouteConfiguration::default()
    };
    head.encode_to_vec().into()
}

/// Adds a virtual host to a RouteConfiguration, or to a part of one.
pub(crate) fn add_virtual_host(host: &Bytes, body: &mut BytesMut) {
    encode_key(VIRTUAL_HOSTS, WireType::LengthDelimited, body);
    encode_varint(host.len() as u64, body);
    body.put_slice(host);
}

pub(crate) fn virtual_host(host: &VirtualHost) -> Message {
    Message {
        name: host.name.to_string(),
        domains: host.domains.iter().map(ToString::to_string).collect(),
        routes: host.rules.iter().map(rule).collect(),
        require_tls: match host.require_tls {
            true => TlsRequirementType::All as i32,
            false => TlsRequirementType::None as i32,
        },
        include_request_attempt_count: true,
        metadata: host.source.as_ref().map(metadata::of_source),
        ..Message::default()
    }
}

fn rule(rule: &Rule) -> Route {
    Route {
        name: rule.name.to_string(),
        r#match: Some(condition(&rule.condition)),
        action: Some(match &rule.action {
            Action::Forward(forward) => route::Action::Route(route_action(forward)),
            Action::Redirect(redirect) => route::Action::Redirect(redirect_action(redirect)),
            Action::Respond { status, body } => route::Action::DirectResponse(respond(*status, body)),
        }),
        metadata: rule.source.as_ref().map(metadata::of_source),
        request_headers_to_add: additions(&rule.headers.request),
        request_headers_to_remove: names(&rule.headers.request.remove),
        response_headers_to_add: additions(&rule.headers.response),
        response_headers_to_remove: names(&rule.headers.response.remove),
        stat_prefix: rule.stat_prefix.to_string(),
        typed_per_filter_config: filter::overrides(rule),
        ..Route::default()
    }
}

fn respond(status: u32, body: &[u8]) -> DirectResponseAction {
    let body = (!body.is_empty()).then(|| match std::str::from_utf8(body) {
        Ok(text) => data_source::Specifier::InlineString(text.to_owned()),
        Err(_) => data_source::Specifier::InlineBytes(body.to_vec()),
    });
    DirectResponseAction {
        status,
        body: body.map(|specifier| DataSource { specifier: Some(specifier), ..DataSource::default() }),
        ..DirectResponseAction::default()
    }
}

fn condition(condition: &Condition) -> RouteMatch {
    let path = match &condition.path {
        PathMatch::Any => route_match::PathSpecifier::Prefix("/".to_owned()),
        PathMatch::Exact(path) => route_match::PathSpecifier::Path(path.to_string()),
        PathMatch::Prefix(prefix) => route_match::PathSpecifier::Prefix(prefix.to_string()),
        // Nothing before the first segment is every path.
        PathMatch::Segments(segments) if segments.is_empty() => {
            route_match::PathSpecifier::Prefix("/".to_owned())
        }
        PathMatch::Segments(segments) => {
            route_match::PathSpecifier::PathSeparatedPrefix(segments.to_string())
        }
        PathMatch::Regex(expression) => route_match::PathSpecifier::SafeRegex(regex(expression)),
    };
    let header = |header: &crate::ir::HeaderMatch| HeaderMatcher {
        name: header.name.to_string(),
        invert_match: header.inverted,
        treat_missing_header_as_empty: header.inverted && header.value != TextMatch::Present,
        header_match_specifier: Some(match text(&header.value) {
            Some(matcher) => header_matcher::HeaderMatchSpecifier::StringMatch(matcher),
            None => header_matcher::HeaderMatchSpecifier::PresentMatch(true),
        }),
    };
    RouteMatch {
        path_specifier: Some(path),
        case_sensitive: Some(boolean(!condition.ignore_path_case)),
        headers: condition.headers.iter().map(header).collect(),
        query_parameters: condition
            .query
            .iter()
            .map(|(name, value)| QueryParameterMatcher {
                name: name.to_string(),
                query_parameter_match_specifier: Some(match text(value) {
                    Some(matcher) => {
                        query_parameter_matcher::QueryParameterMatchSpecifier::StringMatch(matcher)
                    }
                    None => query_parameter_matcher::QueryParameterMatchSpecifier::PresentMatch(true),
                }),
            })
            .collect(),
        ..RouteMatch::default()
    }
}

pub(super) fn text(value: &TextMatch) -> Option<StringMatcher> {
    let pattern = match value {
        TextMatch::Present => return None,
        TextMatch::Exact(text) => string_matcher::MatchPattern::Exact(text.to_string()),
        TextMatch::Prefix(text) => string_matcher::MatchPattern::Prefix(text.to_string()),
        TextMatch::Regex(expression) => string_matcher::MatchPattern::SafeRegex(regex(expression)),
    };
    Some(StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() })
}

#[expect(deprecated, reason = "the runtime key in its place is the bootstrap's, which is not ours to write")]
fn regex(expression: &str) -> RegexMatcher {
    let limit = pattern::needs_limit(expression).then(|| {
        EngineType::GoogleRe2(GoogleRe2 { max_program_size: Some(uint(pattern::MAX_PROGRAM_SIZE)) })
    });
    RegexMatcher { regex: expression.to_owned(), engine_type: limit }
}

fn route_action(forward: &Forward) -> RouteAction {
    let mut action = RouteAction {
        // 0 is no limit; without it Envoy would cut every call after 15 s.
        timeout: Some(duration(forward.timeout.unwrap_or(Duration::ZERO))),
        // The client's own deadline holds, up to the rule's; gRPC clients read nothing but this (A31).
        max_stream_duration: Some(MaxStreamDuration {
            grpc_timeout_header_max: Some(duration(forward.timeout.unwrap_or(Duration::ZERO))),
            ..MaxStreamDuration::default()
        }),
        retry_policy: forward.retries.as_ref().map(retry_policy),
        hash_policy: forward.hash_by.iter().map(hash_policy).collect(),
        request_mirror_policies: forward.mirrors.iter().map(mirror).collect(),
        cluster_not_found_response_code: match forward.absent {
            Absent::Unavailable => ClusterNotFoundResponseCode::ServiceUnavailable as i32,
            Absent::Error => ClusterNotFoundResponseCode::InternalServerError as i32,
        },
        ..RouteAction::default()
    };
    match &forward.path_rewrite {
        Some(PathRewrite::Matched(path)) => action.prefix_rewrite = path.to_string(),
        Some(PathRewrite::Regex { pattern, substitution }) => {
            action.regex_rewrite = Some(RegexMatchAndSubstitute {
                pattern: Some(regex(pattern)),
                substitution: substitution.to_string(),
            });
        }
        None => {}
    }
    let mut authority = forward.authority_rewrite.clone();
    action.cluster_specifier = Some(match &forward.backends[..] {
        [only] if only.headers == crate::ir::HeaderEdits::default() => {
            authority = authority.or_else(|| only.authority_rewrite.clone());
            ClusterSpecifier::Cluster(only.cluster.to_string())
        }
        several => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: several.iter().map(weighted).collect(),
            ..WeightedCluster::default()
        }),
    });
    action.host_rewrite_specifier =
        authority.map(|authority| HostRewriteSpecifier::HostRewriteLiteral(authority.to_string()));
    action
}

fn mirror(mirror: &Mirror) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: mirror.cluster.to_string(),
        runtime_fraction: Some(fraction(mirror.share)),
        // A trace of its own for every copy would double the traces, and `-shadow` is no name that a host knows.
        trace_sampled: Some(boolean(false)),
        disable_shadow_host_suffix_append: true,
        ..RequestMirrorPolicy::default()
    }
}

fn weighted(backend: &Backend) -> ClusterWeight {
    ClusterWeight {
        name: backend.cluster.to_string(),
        weight: Some(uint(backend.weight)),
        request_headers_to_add: additions(&backend.headers.request),
        request_headers_to_remove: names(&backend.headers.request.remove),
        response_headers_to_add: additions(&backend.headers.response),
        response_headers_to_remove: names(&backend.headers.response.remove),
        host_rewrite_specifier: backend
            .authority_rewrite
            .as_ref()
            .map(|authority| cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(authority.to_string())),
        ..ClusterWeight::default()
    }
}

fn retry_policy(policy: &RetryPolicy) -> Retry {
    Retry {
        retry_on: policy.on.join(","),
        num_retries: Some(uint(policy.attempts)),
        retriable_status_codes: policy.status_codes.clone(),
        per_try_timeout: policy.per_try_timeout.map(duration),
        retry_back_off: policy
            .backoff
            .map(|base| RetryBackOff { base_interval: Some(duration(base)), max_interval: None }),
        host_selection_retry_max_attempts: if policy.avoid_tried { HOST_SELECTION_ATTEMPTS } else { 0 },
        retry_host_predicate: policy
            .avoid_tried
            .then(|| RetryHostPredicate {
                name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
                config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack_any(
                    PreviousHostsPredicate::default(),
                ))),
            })
            .into_iter()
            .collect(),
        retry_priority: policy.avoid_tried_localities.then(|| RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(pack_any(PreviousPrioritiesConfig {
                update_frequency: 2,
            }))),
        }),
        ..Retry::default()
    }
}

fn hash_policy(key: &HashBy) -> HashPolicy {
    let specifier = match key {
        HashBy::Header(name) => {
            PolicySpecifier::Header(Header { header_name: name.to_string(), ..Header::default() })
        }
        HashBy::Cookie { name, path, ttl, attributes } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            path: path.to_string(),
            ttl: Some(duration(*ttl)),
            attributes: attributes
                .iter()
                .map(|(name, value)| CookieAttribute { name: name.to_string(), value: value.to_string() })
                .collect(),
        }),
        HashBy::SourceAddress => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashBy::Query(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() }),
    };
    HashPolicy { policy_specifier: Some(specifier), ..HashPolicy::default() }
}

fn redirect_action(redirect: &Redirect) -> RedirectAction {
    let code = match redirect.status {
        RedirectStatus::MovedPermanently => RedirectResponseCode::MovedPermanently,
        RedirectStatus::Found => RedirectResponseCode::Found,
        RedirectStatus::SeeOther => RedirectResponseCode::SeeOther,
        RedirectStatus::TemporaryRedirect => RedirectResponseCode::TemporaryRedirect,
        RedirectStatus::PermanentRedirect => RedirectResponseCode::PermanentRedirect,
    };
    RedirectAction {
        host_redirect: redirect.authority.as_deref().unwrap_or_default().to_owned(),
        port_redirect: u32::from(redirect.port.unwrap_or(0)),
        response_code: code as i32,
        scheme_rewrite_specifier: redirect
            .scheme
            .as_ref()
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_string())),
        path_rewrite_specifier: redirect.path.as_ref().map(|path| match path {
            RedirectPath::Whole(path) => PathRewriteSpecifier::PathRedirect(path.to_string()),
            RedirectPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix.to_string()),
        }),
        ..RedirectAction::default()
    }
}

fn additions(edit: &HeaderEdit) -> Vec<HeaderValueOption> {
    let option = |(key, value): &(std::sync::Arc<str>, std::sync::Arc<str>), action: HeaderAppendAction| {
        HeaderValueOption {
            header: Some(HeaderValue {
                key: key.to_string(),
                value: value.to_string(),
                ..HeaderValue::default()
            }),
            append_action: action as i32,
            ..HeaderValueOption::default()
        }
    };
    let set = edit.set.iter().map(|pair| option(pair, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = edit.add.iter().map(|pair| option(pair, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

fn names(names: &[std::sync::Arc<str>]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
