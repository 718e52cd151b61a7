//! Work done on several threads whose results come out in the order in which the jobs went in.
//!
//! Both ends block: a full queue stops the one who feeds it, so memory is bounded by the number of jobs under way.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// The other end of the queue has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the queue has gone")]
pub struct Gone;

/// A job and the place where its result is waited for.
type Job<T, R> = (T, SyncSender<R>);

/// Where jobs go in. Dropping it ends the workers once they are done.
#[derive(Debug)]
pub struct Jobs<T, R> {
    jobs: SyncSender<Job<T, R>>,
    order: SyncSender<Receiver<R>>,
}

/// Where results come out, in the order of the jobs.
#[derive(Debug)]
pub struct Results<R> {
    order: Receiver<Receiver<R>>,
}

/// One worker a core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Starts `workers` threads, each with a state of its own made by `make`; at most `workers + queued` jobs are under way.
///
/// # Errors
/// When the operating system gives no thread.
pub fn ordered<T, R, W>(
    workers: usize,
    queued: usize,
    mut make: impl FnMut() -> std::io::Result<W>,
) -> std::io::Result<(Jobs<T, R>, Results<R>)>
where
    T: Send + 'static,
    R: Send + 'static,
    W: FnMut(T) -> R + Send + 'static,
{
    let workers = workers.max(1);
    let (jobs, waiting) = sync_channel::<Job<T, R>>(queued);
    let (order, results) = sync_channel(workers + queued);
    let waiting = Arc::new(Mutex::new(waiting));
    for number in 0..workers {
        let (waiting, mut work) = (Arc::clone(&waiting), make()?);
        std::thread::Builder::new()
            .name(format!("codec-{number}"))
            .spawn(move || {
                loop {
                    // The guard is let go before the work begins.
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((job, result)) = next else { return };
                    // Nobody waits for the result of a run that was stopped.
                    let _ = result.send(work(job));
                }
            })?;
    }
    Ok((Jobs { jobs, order }, Results { order: results }))
}

impl<T, R> Jobs<T, R> {
    /// Hands in a job; blocks while the queue is full.
    pub fn push(&self, job: T) -> Result<(), Gone> {
        let (done, result) = sync_channel(1);
        self.order.send(result).map_err(|_| Gone)?;
        self.jobs.send((job, done)).map_err(|_| Gone)
    }
}

/// The results in order; an error where a worker died of a panic.
impl<R> Iterator for Results<R> {
    type Item = Result<R, Gone>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.order.recv().ok()?;
        Some(result.recv().map_err(|_| Gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let (jobs, mut results) = ordered(3, 2, || Ok(|n: u64| n * n)).unwrap();
        let feeder = std::thread::spawn(move || (0..1000).try_for_each(|n| jobs.push(n)));
        for n in 0..1000 {
            assert_eq!(results.next(), Some(Ok(n * n)));
        }
        assert_eq!(results.next(), None);
        assert_eq!(feeder.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_feeder_learns_that_nobody_takes_the_results() {
        let (jobs, results) = ordered(1, 1, || Ok(|n: u64| n)).unwrap();
        drop(results);
        assert_eq!(jobs.push(1), Err(Gone));
    }
}
