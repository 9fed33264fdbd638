//! Deadlines of a worker. They are coarse and cheap: setting one is a write to memory, and all of
//! them are looked at together, every [`TICK`]. None fires early.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use demilune_core::Clock;
use http::HeaderValue;
use tokio::sync::Notify;

use crate::worker::Tasks;

/// How often deadlines are looked at: by so much, at most twice, one may fire late.
const TICK: Duration = Duration::from_millis(25);
/// The tick at which what has no deadline is due.
const NEVER: u64 = u64::MAX;
/// The last second of the year 9999, since the UNIX epoch.
const LAST_SECOND: u64 = 253_402_300_799;

/// The deadlines of one worker.
#[derive(Clone)]
pub(crate) struct Timers(Rc<Board>);

struct Board {
    clock: Arc<dyn Clock>,
    /// The time, in ticks, when deadlines were looked at last.
    now: Cell<u64>,
    date: RefCell<Date>,
    late: Cell<(Duration, Duration)>,
    entries: RefCell<Vec<Rc<Entry>>>,
    /// Told when there is something to look at again.
    needed: Notify,
}

/// The wall-clock time, to the second, as HTTP writes it.
#[derive(Default)]
struct Date {
    second: u64,
    value: Option<HeaderValue>,
}

struct Entry {
    due: Cell<u64>,
    /// Where it stands among the entries.
    place: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Timers {
    /// Starts looking at deadlines, as one of `tasks`.
    pub(crate) fn start(clock: Arc<dyn Clock>, tasks: &Tasks) -> Self {
        let timers = Self::new(clock);
        let board = Rc::downgrade(&timers.0);
        tasks.spawn(async move {
            while let Some(timers) = board.upgrade().map(Self) {
                if timers.0.entries.borrow().is_empty() {
                    timers.0.needed.notified().await;
                }
                drop(timers);
                tokio::time::sleep(TICK).await;
                if let Some(timers) = board.upgrade().map(Self) {
                    timers.look();
                }
            }
        });
        timers
    }

    fn new(clock: Arc<dyn Clock>) -> Self {
        let timers = Self(Rc::new(Board {
            clock,
            now: Cell::new(0),
            date: RefCell::default(),
            late: Cell::default(),
            entries: RefCell::default(),
            needed: Notify::new(),
        }));
        timers.read_clock();
        timers
    }

    /// A timer without a deadline yet.
    pub(crate) fn timer(&self) -> Timer {
        let mut entries = self.0.entries.borrow_mut();
        if entries.is_empty() {
            self.read_clock();
            self.0.needed.notify_one();
        }
        let place = Cell::new(entries.len());
        let entry = Rc::new(Entry { due: Cell::new(NEVER), place, waker: RefCell::default() });
        entries.push(Rc::clone(&entry));
        Timer { entry, board: Rc::clone(&self.0) }
    }

    /// The monotonic time, a tick old at most while there is a timer; never a call to the system.
    pub(crate) fn now(&self) -> Duration {
        let millis = u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.0.now.get().saturating_mul(millis))
    }

    /// The date as a `Date` field has it (RFC 9110 section 6.6.1), a tick old at most.
    pub(crate) fn with_date<T>(&self, use_it: impl FnOnce(Option<&HeaderValue>) -> T) -> T {
        use_it(self.0.date.borrow().value.as_ref())
    }

    /// By how much the worker ran behind, each of the last two times that deadlines were looked at.
    pub(crate) fn late(&self) -> Duration {
        let (one, two) = self.0.late.get();
        one.min(two)
    }

    fn read_clock(&self) {
        let now = self.0.clock.now();
        self.0.now.set(ticks(now.monotonic));
        let mut date = self.0.date.borrow_mut();
        let second = now.wall.as_secs();
        if date.second != second || date.value.is_none() {
            date.second = second;
            // The format ends with the year 9999; a clock beyond it is not worth a panic.
            let shown = Duration::from_secs(second.min(LAST_SECOND));
            let text = httpdate::fmt_http_date(std::time::UNIX_EPOCH + shown);
            date.value = HeaderValue::from_str(&text).ok();
        }
    }

    /// Wakes whoever waits for a deadline that has passed.
    fn look(&self) {
        let before = self.0.now.get();
        self.read_clock();
        let passed = self.0.now.get().saturating_sub(before);
        let late = TICK.saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX));
        self.0.late.set((self.0.late.get().1, late.saturating_sub(TICK)));
        let now = self.0.now.get();
        for entry in self.0.entries.borrow().iter() {
            if entry.due.get() <= now
                && let Some(waker) = entry.waker.borrow_mut().take()
            {
                waker.wake();
            }
        }
    }
}

impl Board {
    fn now(&self) -> Duration {
        TICK.saturating_mul(u32::try_from(self.now.get()).unwrap_or(u32::MAX))
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() / TICK.as_nanos()).unwrap_or(NEVER - 1)
}

/// One deadline that is moved about. It belongs to one task at a time.
pub(crate) struct Timer {
    entry: Rc<Entry>,
    board: Rc<Board>,
}

impl Timer {
    /// Due after `limit` from now.
    pub(crate) fn set(&self, limit: Duration) {
        // Now may be almost a tick later than noted, and the limit's last tick a part of one.
        let due = self.board.now.get().saturating_add(ticks(limit)).saturating_add(2);
        self.entry.due.set(due.min(NEVER - 1));
    }

    /// Not due any more.
    pub(crate) fn clear(&self) {
        self.entry.due.set(NEVER);
    }

    /// The time, as [`Timers::now`] has it.
    pub(crate) fn now(&self) -> Duration {
        self.board.now()
    }

    /// Whether a deadline is set.
    pub(crate) fn is_set(&self) -> bool {
        self.entry.due.get() != NEVER
    }

    /// Ready when the deadline has passed; if not, whoever polls is woken when it has.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.entry.due.get() <= self.board.now.get() {
            return Poll::Ready(());
        }
        let mut waker = self.entry.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut entries = self.board.entries.borrow_mut();
        let place = self.entry.place.get();
        if place < entries.len() {
            entries.swap_remove(place);
        }
        if let Some(moved) = entries.get(place) {
            moved.place.set(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use demilune_core::Moment;

    use super::*;

    #[derive(Default)]
    struct Standing(AtomicU64);

    impl Clock for Standing {
        fn now(&self) -> Moment {
            let since = Duration::from_millis(self.0.load(Ordering::Relaxed));
            Moment { monotonic: since, wall: since }
        }
    }

    fn polled(timer: &Timer) -> bool {
        timer.poll(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_deadline_fires_after_its_limit_and_not_before() {
        let clock = Arc::new(Standing::default());
        let timers = Timers::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let timer = timers.timer();
        assert!(!polled(&timer));
        timer.set(Duration::from_millis(100));
        for millisecond in 0..=100 {
            clock.0.store(millisecond, Ordering::Relaxed);
            timers.look();
            assert!(!polled(&timer), "{millisecond}");
        }
        clock.0.store(100 + 2 * 25, Ordering::Relaxed);
        timers.look();
        assert!(polled(&timer));
        timer.clear();
        assert!(!polled(&timer) && !timer.is_set());
    }

    #[test]
    fn the_date_follows_the_clock() {
        let clock = Arc::new(Standing::default());
        let timers = Timers::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let date = || timers.with_date(|date| date.cloned().unwrap());
        assert_eq!(date(), "Thu, 01 Jan 1970 00:00:00 GMT");
        clock.0.store(1_001, Ordering::Relaxed);
        timers.look();
        assert_eq!(date(), "Thu, 01 Jan 1970 00:00:01 GMT");
        clock.0.store(u64::MAX, Ordering::Relaxed);
        timers.look();
        assert_eq!(date(), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn timers_that_go_leave_the_others_in_place() {
        let clock = Arc::new(Standing::default());
        let timers = Timers::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let mut all: Vec<Timer> = (0..5).map(|_| timers.timer()).collect();
        all.iter().for_each(|timer| timer.set(Duration::ZERO));
        for place in [1, 0, 2] {
            all.remove(place);
            assert_eq!(timers.0.entries.borrow().len(), all.len());
        }
        clock.0.store(1000, Ordering::Relaxed);
        timers.look();
        assert!(all.iter().all(polled));
        all.clear();
        assert!(timers.0.entries.borrow().is_empty());
    }
}
