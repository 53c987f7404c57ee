//! The trace that a request belongs to, handed on to the server that is asked.
//!
//! # Source
//! <https://www.w3.org/TR/trace-context/>, the header `traceparent`.

use std::cell::RefCell;

/// Gives the trace of what the calling thread works on, as the header has it.
pub type TraceSource = fn() -> Option<String>;

thread_local! {
    static CURRENT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does work whose requests belong to a trace.
pub(crate) fn within<T>(trace: Option<String>, work: impl FnOnce() -> T) -> T {
    let before = CURRENT.replace(trace);
    let done = work();
    CURRENT.set(before);
    done
}

/// The trace of the requests that this thread makes.
pub(crate) fn current() -> Option<String> {
    CURRENT.with_borrow(Clone::clone)
}
