//! The budget of an upstream's retries: so many for each hundred requests, over all workers. Where
//! everything fails, retries do not multiply what it is asked.

use std::sync::atomic::{AtomicI64, Ordering};

/// One retry, in the budget's unit: a request brings `percent` of a hundred.
const RETRY: i64 = 100;
/// The most retries that are saved up.
const SAVED_LIMIT: i64 = 100;
/// So many retries may be made ahead of the requests that pay for them, of requests of which no
/// endpoint has seen anything, or only one that had ended its connection.
const AHEAD_LIMIT: i64 = 10;

/// See the module.
#[derive(Default)]
pub(super) struct Budget(AtomicI64);

/// What is to be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// What no endpoint has seen.
    Unseen,
    /// What an endpoint may have seen: never more of these than were paid for.
    Seen,
}

impl Budget {
    /// A request pays in.
    pub(super) fn pay(&self, percent: u8) {
        // Mostly there is nothing to write.
        if percent == 0 || self.0.load(Ordering::Relaxed) >= SAVED_LIMIT * RETRY {
            return;
        }
        let before = self.0.fetch_add(i64::from(percent), Ordering::Relaxed);
        if before >= SAVED_LIMIT * RETRY {
            self.0.fetch_sub(i64::from(percent), Ordering::Relaxed);
        }
    }

    /// Takes what a retry costs; false where there is not enough.
    pub(super) fn take(&self, repeat: Repeat) -> bool {
        let least = match repeat {
            Repeat::Unseen => RETRY - AHEAD_LIMIT * RETRY,
            Repeat::Seen => RETRY,
        };
        let take = |saved: i64| (saved >= least).then(|| saved - RETRY);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn retries(budget: &Budget, requests: usize, repeat: Repeat) -> usize {
        let mut retries = 0;
        for _ in 0..requests {
            budget.pay(20);
            // Every one of them would be repeated again and again.
            retries += (0..10).take_while(|_| budget.take(repeat)).count();
        }
        retries
    }

    #[test]
    fn a_fifth_of_the_requests_pays_for_as_many_retries() {
        assert_eq!(retries(&Budget::default(), 1000, Repeat::Seen), 200);
        assert_eq!(retries(&Budget::default(), 4, Repeat::Seen), 0);
    }

    #[test]
    fn what_nobody_has_seen_may_be_repeated_a_little_ahead() {
        assert_eq!(retries(&Budget::default(), 1000, Repeat::Unseen), 210);
        let budget = Budget::default();
        assert_eq!(retries(&budget, 1, Repeat::Unseen), 10);
        assert_eq!(retries(&budget, 50, Repeat::Seen), 0, "what was ahead is paid first");
    }

    #[test]
    fn quiet_times_save_up_so_much_and_no_more() {
        let budget = Budget::default();
        (0..100_000).for_each(|_| budget.pay(20));
        let retries = (0..1000).filter(|_| budget.take(Repeat::Seen)).count();
        assert_eq!(retries, 100);
    }

    #[test]
    fn without_a_share_nothing_seen_is_repeated() {
        let budget = Budget::default();
        (0..1000).for_each(|_| budget.pay(0));
        assert!(!budget.take(Repeat::Seen));
    }

    #[test]
    fn workers_together_do_not_spend_more() {
        let (budget, spent) = (Budget::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let retries = retries(&budget, 10_000, Repeat::Seen);
                    spent.fetch_add(retries, Ordering::Relaxed);
                });
            }
        });
        assert!(spent.into_inner() <= 8000);
    }
}
