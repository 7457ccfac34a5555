//! VirtualService.

use super::{Checks, Validate};
use crate::Problem;
use crate::resources::{
    Destination, GRPC_STATUSES, HttpRetry, HttpRoute, PortSelector, RETRY_CONDITIONS, VirtualService,
};

impl Validate for VirtualService {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        if self.http.is_empty() && self.tls.is_empty() && self.tcp.is_empty() {
            checks.missing("spec", "there is no rule: one of `http`, `tls` and `tcp` is needed");
        }
        for (index, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.is_empty()) {
            checks.missing(&format!("spec.hosts[{index}]"), format!("the host is empty: {host:?}"));
        }
        for (index, rule) in self.http.iter().enumerate() {
            http(&mut checks, &format!("spec.http[{index}]"), rule);
        }
        let l4 = [("tls", self.tls.iter().map(|rule| &rule.route).collect::<Vec<_>>())];
        let l4 = l4.into_iter().chain([("tcp", self.tcp.iter().map(|rule| &rule.route).collect())]);
        for (field, rules) in l4 {
            for (index, route) in rules.into_iter().enumerate() {
                let path = format!("spec.{field}[{index}].route");
                if route.is_empty() {
                    checks.missing(&format!("spec.{field}[{index}]"), "the rule has no `route`");
                }
                for (at, target) in route.iter().enumerate() {
                    destination(&mut checks, &format!("{path}[{at}].destination"), &target.destination);
                    checks.range(&format!("{path}[{at}].weight"), target.weight, 0..=u32::MAX.into());
                }
            }
        }
        checks.problems
    }
}

fn http(checks: &mut Checks, path: &str, rule: &HttpRoute) {
    let acts = !rule.route.is_empty()
        || rule.redirect.is_some()
        || rule.direct_response.is_some()
        || rule.delegate.is_some();
    if !acts {
        checks.missing(
            path,
            "the rule does nothing: it needs `route`, `redirect`, `directResponse` or `delegate`",
        );
    }
    checks.span_or_off(&format!("{path}.timeout"), rule.timeout);
    for (index, target) in rule.route.iter().enumerate() {
        destination(checks, &format!("{path}.route[{index}].destination"), &target.destination);
        checks.range(&format!("{path}.route[{index}].weight"), target.weight, 0..=u32::MAX.into());
    }
    if let Some(mirror) = &rule.mirror {
        destination(checks, &format!("{path}.mirror"), mirror);
    }
    for (index, mirror) in rule.mirrors.iter().enumerate() {
        destination(checks, &format!("{path}.mirrors[{index}].destination"), &mirror.destination);
    }
    if let Some(percentage) = rule.mirror_percentage {
        checks.percent(&format!("{path}.mirrorPercentage.value"), percentage.value);
    }
    for (index, alternative) in rule.r#match.iter().enumerate() {
        if let Some(port) = alternative.port {
            checks.port(&format!("{path}.match[{index}].port"), port);
        }
    }
    if let Some(retries) = &rule.retries {
        retry(checks, &format!("{path}.retries"), retries);
    }
    if let Some(redirect) = &rule.redirect {
        let code = redirect.redirect_code.filter(|code| ![301, 302, 303, 307, 308].contains(code));
        if let Some(code) = code {
            let path = format!("{path}.redirect.redirectCode");
            checks.invalid(
                &path,
                format!("{code} is no redirect"),
                "the choices are 301, 302, 303, 307 and 308",
            );
        }
        let choices = &["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"];
        checks.one_of(&format!("{path}.redirect.derivePort"), redirect.derive_port.as_deref(), choices);
    }
    if let Some(answer) = &rule.direct_response {
        checks.range(&format!("{path}.directResponse.status"), Some(answer.status.into()), 200..=600);
    }
    if let Some(fault) = &rule.fault {
        if let Some(delay) = &fault.delay {
            checks.span(&format!("{path}.fault.delay.fixedDelay"), delay.fixed_delay);
            if let Some(percentage) = delay.percentage {
                checks.percent(&format!("{path}.fault.delay.percentage.value"), percentage.value);
            }
        }
        if let Some(abort) = &fault.abort {
            let status = abort.http_status.map(i64::from);
            checks.range(&format!("{path}.fault.abort.httpStatus"), status, 200..=600);
            checks.one_of(
                &format!("{path}.fault.abort.grpcStatus"),
                abort.grpc_status.as_deref(),
                GRPC_STATUSES,
            );
            if let Some(percentage) = abort.percentage {
                checks.percent(&format!("{path}.fault.abort.percentage.value"), percentage.value);
            }
        }
    }
    if let Some(cors) = &rule.cors_policy {
        let choices = &["UNSPECIFIED", "FORWARD", "IGNORE"];
        checks.one_of(
            &format!("{path}.corsPolicy.unmatchedPreflights"),
            cors.unmatched_preflights.as_deref(),
            choices,
        );
    }
}

fn destination(checks: &mut Checks, path: &str, destination: &Destination) {
    if destination.host.is_empty() {
        checks.missing(path, "the destination has no `host`");
    }
    if let Some(PortSelector { number }) = destination.port {
        checks.port(&format!("{path}.port.number"), number);
    }
}

fn retry(checks: &mut Checks, path: &str, retries: &HttpRetry) {
    checks.range(&format!("{path}.attempts"), retries.attempts, 0..=i32::MAX.into());
    checks.span_or_off(&format!("{path}.perTryTimeout"), retries.per_try_timeout);
    checks.span(&format!("{path}.backoff"), retries.backoff);
    let tokens = retries.retry_on.iter().flat_map(|text| text.split(',')).map(str::trim);
    for token in tokens.filter(|token| !token.is_empty()) {
        let is_status = token.parse::<u32>().is_ok_and(|status| (100..600).contains(&status));
        if !is_status {
            checks.one_of(&format!("{path}.retryOn"), Some(token), RETRY_CONDITIONS);
        }
    }
}
