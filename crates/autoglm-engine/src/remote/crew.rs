//! Several requests at once: threads that wait for the server, and the caller's thread, which
//! hands out what comes.
//!
//! The threads are the crew of one call. When the caller cancels it does not wait for them: each
//! drops its connection when the next byte comes, or when the server was silent for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use autoglm_spec::{Cancel, Delta};

/// How long the caller's thread does not look whether it is cancelled.
const NAP: Duration = Duration::from_millis(20);

/// News that wait for the caller's thread at most; then the crew waits for it.
const MOST_NEWS: usize = 64;

/// What the threads of a call do.
pub(crate) trait Work<T>: Send + Sync {
    /// Answers the request with this index; what becomes known goes to `on_delta`.
    fn answer(&self, index: usize, on_delta: &mut dyn FnMut(&Delta)) -> T;

    /// Whether an answer says that there is no use in beginning further requests.
    fn is_hopeless(&self, answer: &T) -> bool;
}

/// What has become known of a request.
enum News<T> {
    Delta(usize, Delta),
    Done(usize, T),
}

/// What a request came to.
pub(crate) enum Ended<T> {
    /// It is done.
    Done(T),
    /// The caller cancelled.
    Cancelled,
    /// It was not begun, because another one failed in a way that this one would too.
    NotBegun,
    /// Its thread ended in a panic.
    Panicked,
}

/// Answers `count` requests on at most `threads` threads; results come in the requests' order, each
/// with the text that was handed out.
pub(crate) fn answer_all<T: Send + 'static>(
    (count, threads): (usize, usize),
    work: &Arc<dyn Work<T>>,
    cancel: &Cancel,
    on_delta: &mut dyn FnMut(usize, &Delta),
) -> Vec<(Ended<T>, String)> {
    let (sender, receiver) = mpsc::sync_channel(MOST_NEWS);
    let next = Arc::new(AtomicUsize::new(0));
    let stopped = Arc::new(AtomicBool::new(false));
    for _ in 0..threads.min(count) {
        let hand = Hand {
            work: Arc::clone(work),
            next: Arc::clone(&next),
            stopped: Arc::clone(&stopped),
            count,
            cancel: cancel.clone(),
            sender: sender.clone(),
        };
        thread::spawn(move || hand.run());
    }
    drop(sender);
    let unknown = || (Ended::Cancelled, String::new());
    let mut ended: Vec<(Ended<T>, String)> = (0..count).map(|_| unknown()).collect();
    let mut open = count;
    while open > 0 {
        match receiver.recv_timeout(NAP) {
            Ok(News::Delta(index, delta)) => {
                on_delta(index, &delta);
                ended[index].1.push_str(&delta.text);
            }
            Ok(News::Done(index, answer)) => {
                ended[index].0 = Ended::Done(answer);
                open -= 1;
            }
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => return ended,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let was_stopped = stopped.load(Ordering::Relaxed);
                return without_threads(ended, cancel, was_stopped);
            }
        }
    }
    ended
}

/// All threads are gone: they were cancelled or stopped, or what is missing is lost.
fn without_threads<T>(
    ended: Vec<(Ended<T>, String)>,
    cancel: &Cancel,
    was_stopped: bool,
) -> Vec<(Ended<T>, String)> {
    let lost = |(one, text)| match one {
        Ended::Cancelled if cancel.is_cancelled() => (Ended::Cancelled, text),
        Ended::Cancelled if was_stopped => (Ended::NotBegun, text),
        Ended::Cancelled => (Ended::Panicked, text),
        other => (other, text),
    };
    ended.into_iter().map(lost).collect()
}

/// One thread of a crew.
struct Hand<T> {
    work: Arc<dyn Work<T>>,
    next: Arc<AtomicUsize>,
    /// Raised when there is no use in beginning further requests.
    stopped: Arc<AtomicBool>,
    count: usize,
    cancel: Cancel,
    sender: SyncSender<News<T>>,
}

impl<T> Hand<T> {
    /// Takes one request after the other. Nobody listens any more behind a cancellation.
    fn run(&self) {
        while !self.cancel.is_cancelled() && !self.stopped.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            let mut on_delta = |delta: &Delta| {
                if !delta.is_empty() {
                    let _ = self.sender.send(News::Delta(index, delta.clone()));
                }
            };
            let answer = self.work.answer(index, &mut on_delta);
            if self.work.is_hopeless(&answer) {
                self.stopped.store(true, Ordering::Relaxed);
            }
            if self.sender.send(News::Done(index, answer)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn done<T>(ended: Vec<(Ended<T>, String)>) -> Vec<Option<T>> {
        let answer = |(one, _)| match one {
            Ended::Done(answer) => Some(answer),
            Ended::Cancelled | Ended::NotBegun | Ended::Panicked => None,
        };
        ended.into_iter().map(answer).collect()
    }

    /// Work that a function does; `hopeless` is the answer behind which nothing is begun.
    struct Does<F> {
        work: F,
        hopeless: Option<usize>,
    }

    impl<F: Fn(usize, &mut dyn FnMut(&Delta)) -> usize + Send + Sync> Work<usize> for Does<F> {
        fn answer(&self, index: usize, on_delta: &mut dyn FnMut(&Delta)) -> usize {
            (self.work)(index, on_delta)
        }

        fn is_hopeless(&self, answer: &usize) -> bool {
            self.hopeless == Some(*answer)
        }
    }

    fn does(
        hopeless: Option<usize>,
        work: impl Fn(usize, &mut dyn FnMut(&Delta)) -> usize + Send + Sync + 'static,
    ) -> Arc<dyn Work<usize>> {
        Arc::new(Does { work, hopeless })
    }

    #[test]
    fn results_and_texts_come_under_their_indices() {
        let work = does(None, |index, on_delta| {
            on_delta(&Delta::of_text(format!("a{index}")));
            on_delta(&Delta::of_text("b"));
            index * 10
        });
        let mut texts = vec![String::new(); 20];
        let ended = answer_all((20, 3), &work, &Cancel::default(), &mut |index, delta| {
            texts[index].push_str(&delta.text);
        });
        let wanted: Vec<_> = (0..20).map(|index| Some(index * 10)).collect();
        assert_eq!(done(ended), wanted);
        assert_eq!(texts[7], "a7b");
    }

    #[test]
    fn a_cancelled_call_does_not_wait_for_a_thread_that_hangs() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let (cancel, hanging) = (Cancel::default(), Arc::clone(&gate));
        let work = does(None, move |index, on_delta| {
            on_delta(&Delta::of_text("begun"));
            drop(hanging.lock());
            index
        });
        let raised = cancel.clone();
        let ended = answer_all((2, 1), &work, &cancel, &mut |_, _| raised.cancel());
        assert!(matches!(&ended[0], (Ended::Cancelled, text) if text == "begun"));
        assert!(matches!(&ended[1], (Ended::Cancelled, text) if text.is_empty()));
        drop(closed);
    }

    #[test]
    fn behind_a_hopeless_answer_nothing_is_begun() {
        let work = does(Some(1), |index, _| index);
        let ended = answer_all((4, 1), &work, &Cancel::default(), &mut |_, _| {});
        assert!(matches!(ended[1].0, Ended::Done(1)));
        assert!(matches!(ended[2].0, Ended::NotBegun));
        assert_eq!(done(ended), [Some(0), Some(1), None, None]);
    }

    #[test]
    fn a_panic_loses_its_own_request_alone() {
        let work = does(None, |index, _| {
            assert_ne!(index, 1, "the panic that this test is about");
            index
        });
        let ended = answer_all((3, 2), &work, &Cancel::default(), &mut |_, _| {});
        assert!(matches!(ended[1].0, Ended::Panicked));
        assert_eq!(done(ended), [Some(0), None, Some(2)]);
    }
}
