//! A body that keeps something until it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// A body that keeps something until its last byte has gone or its client has left.
pub(crate) struct Held<T> {
    body: Body,
    kept: T,
    on_frame: fn(&T),
}

impl<T> Held<T> {
    /// A body that keeps this.
    pub(crate) fn until_the_end_of(body: Body, kept: T) -> Self {
        Self::with(body, kept, |_| ())
    }

    /// A body that keeps this and tells it of each piece that goes.
    pub(crate) fn with(body: Body, kept: T, on_frame: fn(&T)) -> Self {
        Self {
            body,
            kept,
            on_frame,
        }
    }
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            (self.on_frame)(&self.kept);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
