//! Access logs: whether the calls through a listener are logged, in which form, and which of them.
//!
//! Telemetry objects come before the settings: one that selects the workload, else its namespace's, else the root
//! namespace's. An expression is not handed to the proxy, which would refuse a whole listener for a slip in it.

use std::collections::BTreeMap;

use pilotage_watcher::resources::{AccessLogging, Telemetry, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Severity, World};

use crate::ir::{AccessLog, Comparison, LogEncoding};
use crate::report::{Place, Report};
use crate::settings::LogFormat;
use crate::sidecar::Sidecar;
use crate::{Group, ProxyKind, Settings};

/// The logs of a group's listeners; none where nothing is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logs {
    /// Of calls that go out, at an edge too.
    pub(crate) client: Option<AccessLog>,
    /// Of calls that come in to a workload.
    pub(crate) server: Option<AccessLog>,
}

/// The logs of a group.
pub(crate) fn access_logs(
    world: &World,
    group: &Group,
    settings: &Settings,
    sidecar: &Sidecar<'_>,
    report: &mut Report,
) -> Logs {
    let format = match group.kind {
        ProxyKind::Sidecar { .. } | ProxyKind::Intercepted => settings.access_logs.sidecar,
        ProxyKind::Gateway => settings.access_logs.gateway,
        // A gRPC client logs for itself.
        ProxyKind::Grpc => return Logs::default(),
    };
    let of_settings = match format {
        LogFormat::Off => None,
        LogFormat::Text => Some(LogEncoding::Text),
        LogFormat::Json => Some(LogEncoding::Json),
    };
    let usual = of_settings.map(|encoding| AccessLog { encoding, only: None });
    let mut logs = Logs { client: usual, server: usual };
    let Some((telemetry, place)) = telemetry(world, group, settings, report) else { return logs };
    for (index, logging) in telemetry.spec.access_logging.iter().enumerate() {
        let place = place.field("accessLogging").index(index);
        let (client, server) = sides(logging, &place, group.kind, sidecar, report);
        let log = of_logging(logging, of_settings.unwrap_or(LogEncoding::Text), &place, report);
        if client {
            logs.client = log;
        }
        if server {
            logs.server = log;
        }
    }
    logs
}

/// Whether an entry is for calls that go out, and whether it is for those that come in.
fn sides(
    logging: &AccessLogging,
    place: &Place,
    kind: ProxyKind,
    sidecar: &Sidecar<'_>,
    report: &mut Report,
) -> (bool, bool) {
    let place = place.field("match.mode");
    let mode = logging.r#match.as_ref().and_then(|side| side.mode.as_deref());
    match mode {
        None | Some("CLIENT_AND_SERVER") => (true, true),
        Some("CLIENT") => (true, false),
        Some("SERVER") => {
            let takes_in = kind == ProxyKind::Intercepted || sidecar.ingress().next().is_some();
            if kind == ProxyKind::Gateway {
                let message = "a gateway is a client of what it calls: mode SERVER is for sidecars";
                report.add(place.problem(Code::NoEffect, message).severity(Severity::Info));
            } else if !takes_in {
                let message = "calls to the workload pass the proxy only where they are redirected to it, or where \
                               ingress of a Sidecar lists their port: none are logged";
                let problem = place.problem(Code::NeedsInterception, message);
                report.add(problem.hint("start the sidecar with pilotage bootstrap envoy --intercepted"));
            }
            (false, true)
        }
        Some(other) => {
            let message = format!("{other:?} is not a side of a call; both are meant");
            let problem = place.problem(Code::InvalidValue, message);
            report.add(problem.hint("use CLIENT, SERVER or CLIENT_AND_SERVER"));
            (true, true)
        }
    }
}

fn telemetry<'w>(
    world: &'w World,
    group: &Group,
    settings: &Settings,
    report: &mut Report,
) -> Option<(&'w WithMeta<Telemetry>, Place)> {
    let mut sorted: Vec<_> = world.telemetries().map(|telemetry| &**telemetry).collect();
    sorted.sort_by_key(|telemetry| telemetry.precedence());
    let place = |telemetry: &WithMeta<Telemetry>| {
        let meta = &telemetry.meta;
        Place::new(ObjectKey::new(Kind::Telemetry, meta.namespace.clone(), meta.name.clone()), "spec")
    };
    for telemetry in &sorted {
        let place = place(telemetry);
        let spec = &telemetry.spec;
        let fields = [
            ("tracing", !spec.tracing.is_empty(), "no traces are sent"),
            ("metrics", !spec.metrics.is_empty(), "metrics are those of the proxy itself"),
            ("targetRef", spec.target_ref.is_some(), "the object holds for all of its namespace"),
            ("targetRefs", !spec.target_refs.is_empty(), "the object holds for all of its namespace"),
        ];
        for (field, _, consequence) in fields.into_iter().filter(|(_, set, _)| *set) {
            report.add(place.field(field).not_supported(consequence));
        }
    }
    sorted.retain(|telemetry| !telemetry.spec.access_logging.is_empty());
    let own = || sorted.iter().filter(|telemetry| telemetry.meta.namespace == group.namespace);
    let root = || sorted.iter().filter(|telemetry| *telemetry.meta.namespace == *settings.root_namespace);
    let selected = own().find(|telemetry| labels(telemetry).is_some_and(|labels| group.has_labels(labels)));
    let found = selected.or_else(|| own().find(|telemetry| labels(telemetry).is_none()));
    let found = found.or_else(|| root().find(|telemetry| labels(telemetry).is_none()))?;
    Some((found, place(found)))
}

/// The labels that an object selects workloads by; none where it is for all of its namespace.
fn labels(telemetry: &WithMeta<Telemetry>) -> Option<&BTreeMap<String, String>> {
    let labels = telemetry.spec.selector.as_ref().map(|selector| &selector.match_labels);
    labels.filter(|labels| !labels.is_empty())
}

fn of_logging(
    logging: &AccessLogging,
    usual: LogEncoding,
    place: &Place,
    report: &mut Report,
) -> Option<AccessLog> {
    if logging.disabled == Some(true) {
        return None;
    }
    let mut encoding = if logging.providers.is_empty() { Some(usual) } else { None };
    for (index, provider) in logging.providers.iter().enumerate() {
        encoding = match provider.name.as_str() {
            "envoy" => Some(usual),
            "text" => Some(LogEncoding::Text),
            "json" => Some(LogEncoding::Json),
            other => {
                let message = format!("there is no provider {other:?}: nothing is logged to it");
                let problem = place.field("providers").index(index).problem(Code::NotSupported, message);
                report.add(problem.hint("use envoy, text or json, which log to the standard output"));
                encoding
            }
        };
    }
    let expression = logging.filter.as_ref().map(|filter| filter.expression.trim());
    let only = expression.filter(|expression| !expression.is_empty()).and_then(|expression| {
        let comparison = comparison(expression);
        if comparison.is_none() {
            let message =
                format!("{expression:?} is not among the expressions that are known: every call is logged");
            let problem = place.field("filter.expression").problem(Code::NotSupported, message);
            report.add(problem.hint("compare response.code with a number, such as response.code >= 400"));
        }
        comparison
    });
    encoding.map(|encoding| AccessLog { encoding, only })
}

/// `response.code`, an operator, and a number.
fn comparison(expression: &str) -> Option<Comparison> {
    let rest = expression.strip_prefix("response.code")?.trim_start();
    let (operator, number) = rest.split_at_checked(rest.find(|c: char| !"<>=".contains(c))?)?;
    let number: u32 = number.trim().parse().ok()?;
    match operator {
        ">=" => Some(Comparison::AtLeast(number)),
        ">" => Some(Comparison::AtLeast(number.checked_add(1)?)),
        "<=" => Some(Comparison::AtMost(number)),
        "<" => Some(Comparison::AtMost(number.checked_sub(1)?)),
        "==" => Some(Comparison::Equal(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_of_the_status_are_known_and_nothing_else() {
        assert_eq!(comparison("response.code >= 400"), Some(Comparison::AtLeast(400)));
        assert_eq!(comparison("response.code>399"), Some(Comparison::AtLeast(400)));
        assert_eq!(comparison("response.code < 300"), Some(Comparison::AtMost(299)));
        assert_eq!(comparison("response.code == 503"), Some(Comparison::Equal(503)));
        for other in
            ["", "response.code", "response.code != 1", "response.code >= x", "true", "response.code < 0"]
        {
            assert_eq!(comparison(other), None, "{other}");
        }
    }
}
