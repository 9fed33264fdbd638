//! Requests that wait for a place at an endpoint: so many, and for so long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use demilune_core::snapshot::Pending;
use tokio::sync::Notify;

/// How often those who wait look by themselves: an endpoint that is well again tells nobody.
const LOOK: Duration = Duration::from_millis(100);

/// One an upstream, over all workers and reloads.
#[derive(Default)]
pub(super) struct Room {
    waiting: AtomicUsize,
    freed: Notify,
}

/// One request that waits.
struct Waiting<'a>(&'a Room);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Room {
    /// A request has ended.
    pub(super) fn free(&self) {
        // Mostly nobody waits. The order of both sides' writes and reads matters: hence `SeqCst`.
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.freed.notify_one();
        }
    }

    /// Waits until `take` gives something; `None` where too many wait already, or after the time.
    pub(super) async fn wait<T>(
        &self,
        pending: Pending,
        mut take: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(self);
        if before >= pending.requests {
            return None;
        }
        let waiting = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // From here on nothing is missed that is freed.
                freed.as_mut().enable();
                if let Some(taken) = take() {
                    return taken;
                }
                let _ = tokio::time::timeout(LOOK, freed).await;
            }
        };
        tokio::time::timeout(pending.time, waiting).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;

    use super::*;

    const PENDING: Pending = Pending { requests: 2, time: Duration::from_secs(60) };

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn no_more_wait_than_may_and_who_leaves_makes_room() {
        run(async {
            let room = Room::default();
            let mut first = Box::pin(room.wait(PENDING, || None::<()>));
            let mut second = Box::pin(room.wait(PENDING, || None::<()>));
            assert!((&mut first).now_or_never().is_none());
            assert!((&mut second).now_or_never().is_none());
            assert_eq!(room.wait(PENDING, || Some(1)).await, None, "a third is refused");
            drop(first);
            assert_eq!(room.wait(PENDING, || Some(1)).await, Some(1));
        });
    }

    #[test]
    fn one_that_is_freed_is_taken_at_once_by_one() {
        run(async {
            let (room, places) = (Room::default(), Cell::new(0_u32));
            let take = || places.get().checked_sub(1).map(|left| places.set(left));
            let mut first = Box::pin(room.wait(PENDING, take));
            let mut second = Box::pin(room.wait(PENDING, take));
            assert!((&mut first).now_or_never().is_none());
            assert!((&mut second).now_or_never().is_none());
            places.set(1);
            room.free();
            assert_eq!((&mut first).now_or_never(), Some(Some(())));
            assert!((&mut second).now_or_never().is_none());
        });
    }

    #[test]
    fn nobody_waits_for_longer_than_the_time() {
        let pending = Pending { requests: 1, time: Duration::from_millis(1) };
        assert_eq!(run(Room::default().wait(pending, || None::<()>)), None);
    }
}
