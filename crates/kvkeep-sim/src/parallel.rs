//! Independent jobs on several threads, with the results in the order of the jobs.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// Runs `job` for each of `jobs`; threads take them in this order, so long ones belong first.
/// The results do not depend on the number of threads. `done` is told how many are ready.
pub(crate) fn map<J: Sync, R: Send>(
    threads: NonZeroUsize,
    jobs: &[J],
    done: &(dyn Fn(usize) + Sync),
    job: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let (next, ready) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut results = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = jobs.get(at) else { break results };
            results.push((at, job(one)));
            done(ready.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let threads = threads.get().min(jobs.len());
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(ScopedJoinHandle::join);
        results.flat_map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let jobs: Vec<u64> = (0..100).collect();
        for threads in [1, 2, 7, 1_000] {
            let counts = Mutex::new(Vec::new());
            let done = |count| counts.lock().unwrap().push(count);
            let threads = NonZeroUsize::new(threads).unwrap();
            let squares = map(threads, &jobs, &done, |job| job * job);
            assert_eq!(squares, jobs.iter().map(|job| job * job).collect::<Vec<_>>());
            let mut counts = counts.into_inner().unwrap();
            counts.sort_unstable();
            assert_eq!(counts, (1..=100).collect::<Vec<_>>());
        }
        assert_eq!(map(NonZeroUsize::MIN, &[] as &[u8], &|_| (), |_| ()), []);
    }
}
