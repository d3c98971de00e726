//! A stream whose tokens are counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::Inference;

pin_project! {
    /// A stream that updates an [`Inference`] for every item. The inference logs its metrics when the stream
    /// ends or is dropped.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct CountedStream<S, F> {
        #[pin]
        stream: S,
        observe: F,
        inference: Option<Inference>,
    }
}

impl Inference {
    /// Returns a stream that calls `observe` for every item of `stream` before it yields the item.
    ///
    /// `observe` updates the inference. It can also change the item, for example to add
    /// [`Inference::metrics`].
    pub fn count<S, F>(self, stream: S, observe: F) -> CountedStream<S, F>
    where
        S: Stream,
        F: FnMut(&mut S::Item, &mut Self),
    {
        CountedStream { stream, observe, inference: Some(self) }
    }
}

impl<S, F> Stream for CountedStream<S, F>
where
    S: Stream,
    F: FnMut(&mut S::Item, &mut Inference),
{
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let mut item = ready!(this.stream.poll_next(context));
        match (&mut item, this.inference.as_mut()) {
            (Some(item), Some(inference)) => {
                inference.first_token();
                (this.observe)(item, inference);
            }
            // Logs the metrics.
            (None, _) => drop(this.inference.take()),
            (Some(_), None) => {}
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}
