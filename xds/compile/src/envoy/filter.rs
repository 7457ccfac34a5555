//! The HTTP filters of a listener, and what a route says to them.
//!
//! Every listener has the same filters, idle until a route speaks to them: a fault that is added to a route must not
//! drain a listener.

use std::collections::HashMap;

use pilotage_protos::envoy::core::RuntimeFractionalPercent;
use pilotage_protos::envoy::extensions::filters::common::fault::v3::FaultDelay;
use pilotage_protos::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use pilotage_protos::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy};
use pilotage_protos::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use pilotage_protos::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use pilotage_protos::envoy::extensions::filters::http::grpc_stats::v3::FilterConfig as GrpcStats;
use pilotage_protos::envoy::extensions::filters::http::grpc_stats::v3::filter_config::PerMethodStatSpecifier;
use pilotage_protos::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use pilotage_protos::envoy::extensions::filters::http::router::v3::Router;
use pilotage_protos::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use pilotage_protos::envoy::types::v3::{FractionalPercent, fractional_percent::DenominatorType};
use pilotage_protos::envoy::{pack_any, protobuf};

use super::route::text;
use super::{boolean, duration};
use crate::ir::{self, AbortStatus, Rule, Share};

const FAULT: &str = "envoy.filters.http.fault";
const CORS: &str = "envoy.filters.http.cors";

/// The filters of a listener on a socket, in the order in which they see a request.
pub(super) fn of_proxy(grpc_web: bool) -> Vec<HttpFilter> {
    let web = grpc_web.then(|| filter("envoy.filters.http.grpc_web", pack_any(GrpcWeb::default())));
    // Without the specifier Envoy would make counters of every path that a client thinks up.
    let all_methods = PerMethodStatSpecifier::StatsForAllMethods(boolean(false));
    let stats = GrpcStats {
        emit_filter_state: true,
        per_method_stat_specifier: Some(all_methods),
        ..GrpcStats::default()
    };
    let rest = [
        filter("envoy.filters.http.grpc_stats", pack_any(stats)),
        filter(FAULT, pack_any(HttpFault::default())),
        filter(CORS, pack_any(Cors::default())),
        router(),
    ];
    web.into_iter().chain(rest).collect()
}

/// The filters inside a gRPC client, which knows faults (A33).
pub(super) fn of_client() -> Vec<HttpFilter> {
    vec![filter(FAULT, pack_any(HttpFault::default())), router()]
}

fn router() -> HttpFilter {
    filter("envoy.filters.http.router", pack_any(Router::default()))
}

fn filter(name: &str, config: protobuf::Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

/// What a rule says to the filters.
pub(super) fn overrides(rule: &Rule) -> HashMap<String, protobuf::Any> {
    let fault = rule.fault.as_ref().map(|said| (FAULT.to_owned(), pack_any(fault(said))));
    let cors = rule.cors.as_ref().map(|said| (CORS.to_owned(), pack_any(cors(said))));
    fault.into_iter().chain(cors).collect()
}

fn fault(fault: &ir::Fault) -> HttpFault {
    HttpFault {
        delay: fault.delay.map(|(delay, share)| FaultDelay {
            percentage: Some(percentage(share)),
            fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(delay))),
        }),
        abort: fault.abort.map(|(status, share)| FaultAbort {
            percentage: Some(percentage(share)),
            error_type: Some(match status {
                AbortStatus::Http(status) => ErrorType::HttpStatus(status),
                AbortStatus::Grpc(status) => ErrorType::GrpcStatus(status),
            }),
            ..FaultAbort::default()
        }),
        ..HttpFault::default()
    }
}

fn cors(cors: &ir::Cors) -> CorsPolicy {
    CorsPolicy {
        allow_origin_string_match: cors.origins.iter().filter_map(text).collect(),
        allow_methods: cors.methods.to_string(),
        allow_headers: cors.headers.to_string(),
        expose_headers: cors.exposed.to_string(),
        max_age: cors.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: cors.credentials.map(boolean),
        filter_enabled: Some(fraction(Share::ALL)),
        forward_not_matching_preflights: Some(boolean(cors.forward_unmatched)),
        ..CorsPolicy::default()
    }
}

/// A share as it stands where a runtime key could change it; ours have none.
pub(super) fn fraction(share: Share) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent { default_value: Some(percentage(share)), ..RuntimeFractionalPercent::default() }
}

fn percentage(Share(millionths): Share) -> FractionalPercent {
    FractionalPercent { numerator: millionths, denominator: DenominatorType::Million as i32 }
}
