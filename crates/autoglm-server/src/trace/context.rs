//! Which trace a request belongs to: W3C Trace Context, in and out.
//!
//! # Source
//! <https://www.w3.org/TR/trace-context/>, level 1; `traceresponse` from the draft of level 2.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue};

/// The longest `tracestate` that is handed on; the recommendation asks for at least 512.
const MOST_STATE_BYTES: usize = 512;

/// The id of a trace, not nought.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TraceId(u128);

/// The id of a span, not nought.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SpanId(u64);

/// What a caller says of its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    /// Whether the caller records it.
    pub(crate) is_sampled: bool,
    /// What systems on the way have added.
    pub(crate) state: Option<String>,
}

/// Where a request stands in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    /// The trace.
    pub(crate) trace: TraceId,
    /// The request's own span.
    pub(crate) span: SpanId,
    /// The caller's span.
    pub(crate) parent: Option<SpanId>,
    /// What systems on the way have added.
    pub(crate) state: Option<String>,
    /// Whether the request is recorded.
    pub(crate) is_sampled: bool,
}

impl TraceId {
    /// An id from random numbers.
    pub(crate) fn new(random: &dyn Fn() -> u64) -> Self {
        let number = u128::from(random()) << 64 | u128::from(random());
        Self(number.max(1))
    }

    /// The half that is random whoever made the id.
    pub(crate) fn random_half(self) -> u64 {
        self.0 as u64
    }
}

impl SpanId {
    /// An id from a random number.
    pub(crate) fn new(random: &dyn Fn() -> u64) -> Self {
        Self(random().max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Parent {
    /// What the headers of a request say. One that is malformed, or given twice, counts as none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all("traceparent").iter();
        let (Some(parent), None) = (given.next(), given.next()) else {
            return None;
        };
        let mut parent = Self::parse(parent.to_str().ok()?)?;
        let states = headers.get_all("tracestate").iter();
        let states: Vec<&str> = states.filter_map(|state| state.to_str().ok()).collect();
        let state = states.join(",");
        let fits = !state.is_empty() && state.len() <= MOST_STATE_BYTES;
        parent.state = fits.then_some(state);
        Some(parent)
    }

    /// Reads `VERSION-TRACE-SPAN-FLAGS`. Of later versions, what version 0 knows.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = number(parts.next()?, 2)?;
        let trace = number(parts.next()?, 32)?;
        let span = number(parts.next()?, 16)?;
        let flags = number(parts.next()?, 2)?;
        let is_whole = parts.next().is_none();
        let is_known = version != 0xff && (is_whole || version > 0);
        (is_known && trace != 0 && span != 0).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span as u64),
            is_sampled: flags & 1 == 1,
            state: None,
        })
    }
}

/// So many hexadecimal digits, small letters alone.
fn number(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let fits = text.len() == digits && text.bytes().all(is_digit);
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl Context {
    /// The header by which answers tell their trace.
    pub(crate) fn response_header(&self) -> HeaderValue {
        let flags = u8::from(self.is_sampled);
        let text = format!("00-{}-{}-{flags:02x}", self.trace, self.span);
        HeaderValue::try_from(text).expect("hexadecimal digits and hyphens")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            let name = axum::http::HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in given.iter().map(header) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_caller_s_trace_is_read() {
        let parent = Parent::of(&headers(&[
            ("traceparent", GIVEN),
            ("tracestate", "congo=t61rcWkgMzE"),
            ("tracestate", "rojo=00f067aa0ba902b7"),
        ]));
        let parent = parent.unwrap();
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span.to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled);
        let state = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";
        assert_eq!(parent.state.as_deref(), Some(state));
    }

    #[test]
    fn what_the_recommendation_calls_invalid_counts_as_no_parent() {
        for given in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            let found = Parent::of(&headers(&[("traceparent", given)]));
            assert_eq!(found, None, "{given}");
        }
        let twice = headers(&[("traceparent", GIVEN), ("traceparent", GIVEN)]);
        assert_eq!(Parent::of(&twice), None);
    }

    #[test]
    fn later_versions_may_say_more() {
        let given = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-more";
        let parent = Parent::of(&headers(&[("traceparent", given)])).unwrap();
        assert!(!parent.is_sampled);
    }

    #[test]
    fn a_state_that_is_too_long_is_not_handed_on() {
        let state = "a=".to_owned() + &"b".repeat(MOST_STATE_BYTES);
        let parent = Parent::of(&headers(&[("traceparent", GIVEN), ("tracestate", &state)]));
        assert_eq!(parent.unwrap().state, None);
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_back(trace in 1_u128.., span in 1_u64.., is_sampled: bool) {
            let context = Context {
                trace: TraceId(trace),
                span: SpanId(span),
                parent: None,
                state: None,
                is_sampled,
            };
            let header = context.response_header();
            let read = Parent::parse(header.to_str().unwrap()).unwrap();
            prop_assert_eq!((read.trace, read.span), (context.trace, context.span));
            prop_assert_eq!(read.is_sampled, is_sampled);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = Parent::parse(&text);
        }
    }
}
