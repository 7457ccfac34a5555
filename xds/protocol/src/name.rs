//! Resource names in the form in which they are compared.
//!
//! Plain names are opaque. Names of the form `xdstp://authority/type/id?context` are equal when their components are,
//! whatever the order of their context parameters and whichever characters are percent-encoded (R64).

use std::borrow::Cow;

/// The form of a name in which equal names are equal texts.
pub(crate) fn normalised(name: &str) -> Cow<'_, str> {
    let Some(rest) = name.strip_prefix("xdstp://") else {
        return Cow::Borrowed(name);
    };
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (rest, None),
    };
    let (path, context) = rest.split_once('?').unwrap_or((rest, ""));
    let mut result = String::with_capacity(name.len());
    result.push_str("xdstp://");
    push_decoded(path, &mut result);
    let mut parameters: Vec<String> = context
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let mut decoded = String::with_capacity(parameter.len());
            push_decoded(parameter, &mut decoded);
            decoded
        })
        .collect();
    parameters.sort_unstable();
    for (index, parameter) in parameters.iter().enumerate() {
        result.push(if index == 0 { '?' } else { '&' });
        result.push_str(parameter);
    }
    if let Some(fragment) = fragment {
        result.push('#');
        result.push_str(fragment);
    }
    Cow::Owned(result)
}

/// Copies text, with unreserved characters decoded and the escapes of all others in upper case.
fn push_decoded(text: &str, result: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            // No escape; such a name names nothing, and is as good as any other.
            result.push('%');
            continue;
        };
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                result.push(char::from(byte));
            }
            _ => {
                result.push('%');
                result.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &rest[2..];
    }
    result.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn components_decide() {
        let same = |a: &str, b: &str| normalised(a) == normalised(b);
        assert!(same("xdstp://x/T/id?a=1&b=2", "xdstp://x/T/id?b=2&a=1"));
        assert!(same("xdstp://x/T/%69d?a=%7e", "xdstp://x/T/id?a=~"));
        assert!(same("xdstp://x/T/a%2fb", "xdstp://x/T/a%2Fb"));
        assert!(!same("xdstp://x/T/a%2Fb", "xdstp://x/T/a/b"));
        assert!(!same("xdstp://x/T/id?a=1", "xdstp://y/T/id?a=1"));
        assert!(!same("xdstp://x/T/id?a=1", "xdstp://x/T/id?a=1&b=2"));
        // Other names are opaque.
        assert!(!same("a?b=2&a=1", "a?a=1&b=2"));
        for strange in ["xdstp://", "xdstp://%", "xdstp://%4", "xdstp://?&&=#%zz", "xdstp://x/%é?ü"] {
            assert_eq!(normalised(strange), normalised(&normalised(strange)), "{strange}");
        }
    }
}
