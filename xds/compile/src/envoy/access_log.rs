//! Access logs as `StdoutAccessLog`, with what a gRPC call is understood by.
//!
//! The text is that of Istio's default in the same order, so that what reads such logs reads ours, and then what only
//! gRPC users need: the status in the trailers, which the HTTP status hides, and how often the call was tried.

use std::collections::HashMap;

use pilotage_protos::envoy::accesslog::access_log::ConfigType;
use pilotage_protos::envoy::accesslog::access_log_filter::FilterSpecifier;
use pilotage_protos::envoy::accesslog::comparison_filter::Op;
use pilotage_protos::envoy::accesslog::{
    AccessLog as Message, AccessLogFilter, ComparisonFilter, StatusCodeFilter,
};
use pilotage_protos::envoy::core::substitution_format_string::Format;
use pilotage_protos::envoy::core::{DataSource, RuntimeUInt32, SubstitutionFormatString, data_source};
use pilotage_protos::envoy::extensions::access_loggers::stream::v3::StdoutAccessLog;
use pilotage_protos::envoy::extensions::access_loggers::stream::v3::stdout_access_log::AccessLogFormat;
use pilotage_protos::envoy::protobuf::value::Kind;
use pilotage_protos::envoy::{Struct, Value, pack_any};

use crate::ir::{AccessLog, Comparison, LogEncoding};

/// A line as text.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME% \
grpc_status=%GRPC_STATUS% attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%\n";

/// The fields of a line as JSON.
const FIELDS: &[(&str, &str)] = &[
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("grpc_status", "%GRPC_STATUS%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// The logs of a listener: one, or none.
pub(super) fn access_logs(log: Option<&AccessLog>) -> Vec<Message> {
    let log = log.map(|log| Message {
        name: "envoy.access_loggers.stdout".to_owned(),
        filter: log.only.map(only),
        config_type: Some(ConfigType::TypedConfig(pack_any(StdoutAccessLog {
            access_log_format: Some(AccessLogFormat::LogFormat(format(log.encoding))),
        }))),
    });
    log.into_iter().collect()
}

fn format(encoding: LogEncoding) -> SubstitutionFormatString {
    let format = match encoding {
        LogEncoding::Text => Format::TextFormatSource(DataSource {
            specifier: Some(data_source::Specifier::InlineString(TEXT.to_owned())),
            ..DataSource::default()
        }),
        LogEncoding::Json => {
            let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
            let fields = FIELDS.iter().map(|(name, command)| ((*name).to_owned(), text(command)));
            Format::JsonFormat(Struct { fields: fields.collect::<HashMap<_, _>>() })
        }
    };
    SubstitutionFormatString { format: Some(format), ..SubstitutionFormatString::default() }
}

fn only(comparison: Comparison) -> AccessLogFilter {
    let (op, number) = match comparison {
        Comparison::AtLeast(number) => (Op::Ge, number),
        Comparison::AtMost(number) => (Op::Le, number),
        Comparison::Equal(number) => (Op::Eq, number),
    };
    let value = RuntimeUInt32 {
        default_value: number,
        // Envoy wants a key, though nobody sets it.
        runtime_key: "pilotage.access_log.status".to_owned(),
    };
    let comparison = ComparisonFilter { op: op as i32, value: Some(value) };
    let status = StatusCodeFilter { comparison: Some(comparison) };
    AccessLogFilter { filter_specifier: Some(FilterSpecifier::StatusCodeFilter(status)) }
}
