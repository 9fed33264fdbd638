//! The bounded pool of threads for what would hold a worker up.
//!
//! The queue is bounded, and a full one refuses at once: whoever floods a route with passwords to
//! hash meets refusals, not a queue that grows. A job that panics costs its own exchange only.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use demilune_core::env::{Compute, Saturated};

type Job = Box<dyn FnOnce() + Send>;

/// Threads named `demilune-compute-0` and on, fed from one bounded queue.
///
/// Dropping it ends the threads: jobs under way are finished, queued ones are dropped unrun.
#[derive(Debug)]
pub struct Pool {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    state: Arc<State>,
}

impl Pool {
    /// Starts `threads` threads (one at least) with room for `queue` waiting jobs (one at least).
    ///
    /// # Errors
    /// Where the system refuses a thread; those started already are ended.
    pub fn new(threads: usize, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue.max(1));
        let receiver = Arc::new(Mutex::new(receiver));
        let mut pool =
            Self { queue: Some(sender), threads: Vec::new(), state: Arc::new(State::default()) };
        for number in 0..threads.max(1) {
            let (receiver, state) = (Arc::clone(&receiver), Arc::clone(&pool.state));
            let builder = thread::Builder::new().name(format!("demilune-compute-{number}"));
            pool.threads.push(builder.spawn(move || work(&receiver, &state))?);
        }
        Ok(pool)
    }

    /// How many jobs have panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.state.panics.load(Ordering::Relaxed)
    }
}

impl Compute for Pool {
    fn run(&self, job: Job) -> Result<(), Saturated> {
        let queue = self.queue.as_ref().ok_or(Saturated)?;
        queue.try_send(job).map_err(|_| Saturated)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.state.closing.store(true, Ordering::Relaxed);
        self.queue = None;
        let this = thread::current().id();
        // A job may hold the last reference to the pool: its thread cannot wait for itself.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != this) {
            // Jobs' panics are caught, so a thread never ends by one.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct State {
    closing: AtomicBool,
    panics: AtomicU64,
}

fn work(receiver: &Mutex<Receiver<Job>>, state: &State) {
    loop {
        // One thread waits for a job, the others for the lock. It is free while a job runs.
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if state.closing.load(Ordering::Relaxed) {
            continue;
        }
        // What a job shares with others is guarded by its own lock or channel.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            state.panics.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_run_on_named_threads() {
        let pool = Pool::new(2, 8).unwrap();
        let (sender, receiver) = channel();
        for _ in 0..8 {
            let sender = sender.clone();
            let name = move || thread::current().name().map(str::to_owned);
            pool.run(Box::new(move || sender.send(name()).unwrap())).unwrap();
        }
        drop(sender);
        let names: Vec<_> = receiver.iter().flatten().collect();
        assert_eq!(names.len(), 8);
        assert!(names.iter().all(|name| name.starts_with("demilune-compute-")));
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let pool = Pool::new(1, 2).unwrap();
        let (started, starts) = channel();
        let (release, released) = channel::<()>();
        pool.run(Box::new(move || {
            started.send(()).unwrap();
            let _ = released.recv();
        }))
        .unwrap();
        starts.recv().unwrap();
        assert_eq!(pool.run(Box::new(|| {})), Ok(()));
        assert_eq!(pool.run(Box::new(|| {})), Ok(()));
        assert_eq!(pool.run(Box::new(|| {})), Err(Saturated));
        release.send(()).unwrap();
    }

    #[test]
    fn a_job_that_panics_is_counted_and_its_thread_lives_on() {
        let pool = Pool::new(1, 8).unwrap();
        let (sender, receiver) = channel();
        for _ in 0..3 {
            pool.run(Box::new(|| std::panic::resume_unwind(Box::new("a job's panic")))).unwrap();
        }
        pool.run(Box::new(move || sender.send(7).unwrap())).unwrap();
        assert_eq!(receiver.recv(), Ok(7));
        assert_eq!(pool.panics(), 3);
    }

    #[test]
    fn dropping_the_pool_finishes_what_runs_and_drops_what_waits() {
        let pool = Pool::new(1, 8).unwrap();
        let (started, starts) = channel();
        let (release, released) = channel::<()>();
        let (sender, receiver) = channel();
        let running = sender.clone();
        pool.run(Box::new(move || {
            started.send(()).unwrap();
            let _ = released.recv();
            running.send("running").unwrap();
        }))
        .unwrap();
        starts.recv().unwrap();
        pool.run(Box::new(move || sender.send("waiting").unwrap())).unwrap();
        let state = Arc::clone(&pool.state);
        let dropping = thread::spawn(move || drop(pool));
        while !state.closing.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        release.send(()).unwrap();
        dropping.join().unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["running"]);
    }

    #[test]
    fn a_job_may_hold_the_last_reference_to_the_pool() {
        let pool = Arc::new(Pool::new(1, 1).unwrap());
        let (sender, receiver) = channel();
        let (release, released) = channel::<()>();
        let held = Arc::clone(&pool);
        pool.run(Box::new(move || {
            let _ = released.recv();
            drop(held);
            sender.send(()).unwrap();
        }))
        .unwrap();
        drop(pool);
        release.send(()).unwrap();
        assert_eq!(receiver.recv(), Ok(()));
    }
}
