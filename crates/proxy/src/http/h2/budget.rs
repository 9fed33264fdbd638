//! How much work a connection may have begun for nothing (CVE-2023-44487, CVE-2025-8671): a
//! request that is reset, by the client or because the client provoked it, cost an upstream a
//! request. No I/O and no clock in here.
//!
//! Two rules. A request begins only while those without an answer, and those that were thrown
//! away lately, are fewer than [`BEGUN_LIMIT`]; else it waits. And who has thrown away too much
//! is sent away. What was thrown away is forgiven by answers that were taken to their end, and by
//! time once the client stops: a browser that leaves a page with a hundred images goes on.

use std::time::Duration;

/// The most requests begun that have no answer, those thrown away included.
const BEGUN_LIMIT: u32 = 96;
/// What a reset costs before the answer's head: the upstream worked for nobody.
const UNANSWERED: u32 = 4;
/// What a reset costs within the answer, or before the request has begun.
const LESS: u32 = 1;
/// The debt at which a connection ends: 120 requests thrown away before their answers.
const DEBT_LIMIT: u32 = 120 * UNANSWERED;
/// How long no request may have been thrown away before time forgives: an attack that goes on
/// earns nothing by taking its time.
const QUIET: Duration = Duration::from_secs(5);
/// How much of the debt each second then forgives.
const FORGIVEN_A_SECOND: u128 = 10 * UNANSWERED as u128;

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its exchange has not begun.
    Waiting,
    /// It has begun.
    Begun,
    /// The answer's head has been sent.
    Answered,
}

/// The account of one connection.
#[derive(Debug, Default)]
pub(super) struct ResetBudget {
    begun: u32,
    debt: u32,
    /// Until when debts are forgiven; from when on, where that is yet to come.
    forgiven: Duration,
}

impl ResetBudget {
    /// Whether one more request may begin; it then has.
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        self.forgive(now);
        let room = self.begun * UNANSWERED + self.debt < BEGUN_LIMIT * UNANSWERED;
        self.begun += u32::from(room);
        room
    }

    /// The head of an answer is on its way.
    pub(super) fn answered(&mut self) {
        self.begun = self.begun.saturating_sub(1);
    }

    /// An answer was handed over to its last byte.
    pub(super) fn completed(&mut self) {
        self.debt = self.debt.saturating_sub(UNANSWERED);
    }

    /// A stream was reset. True where that was one too many.
    pub(super) fn lost(&mut self, standing: Standing, now: Duration) -> bool {
        self.forgive(now);
        if standing == Standing::Begun {
            self.begun = self.begun.saturating_sub(1);
        }
        self.debt += if standing == Standing::Begun { UNANSWERED } else { LESS };
        if standing != Standing::Answered {
            self.forgiven = now + QUIET;
        }
        self.debt > DEBT_LIMIT
    }

    /// Whether time alone can make room.
    pub(super) fn owes(&self) -> bool {
        self.debt > 0
    }

    fn forgive(&mut self, now: Duration) {
        if self.debt == 0 {
            self.forgiven = self.forgiven.max(now);
            return;
        }
        let passed = now.saturating_sub(self.forgiven).as_millis();
        let forgiven = u32::try_from(passed * FORGIVEN_A_SECOND / 1000).unwrap_or(u32::MAX);
        if forgiven > 0 {
            self.debt = self.debt.saturating_sub(forgiven);
            self.forgiven = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    /// Begins all it may, and has them reset; how many began, and whether it was too much.
    fn wave(budget: &mut ResetBudget, streams: u32, now: Duration) -> (u32, bool) {
        let begun = (0..streams).filter(|_| budget.begin(now)).count();
        let begun = u32::try_from(begun).unwrap();
        let mut over = false;
        for stream in 0..streams {
            let standing = if stream < begun { Standing::Begun } else { Standing::Waiting };
            over |= budget.lost(standing, now);
        }
        (begun, over)
    }

    #[test]
    fn waves_of_requests_that_are_thrown_away_begin_fewer_than_a_hundred() {
        let mut budget = ResetBudget::default();
        let mut begun = 0;
        for count in 1.. {
            let (more, over) = wave(&mut budget, 128, NOW);
            begun += more;
            if over {
                assert!(count <= 3, "{count} waves");
                break;
            }
        }
        assert_eq!(begun, 96);
    }

    #[test]
    fn an_attack_that_takes_its_time_begins_no_more() {
        let mut budget = ResetBudget::default();
        let mut now = NOW;
        let mut begun = 0;
        for _ in 0..400 {
            begun += u32::from(budget.begin(now));
            now += Duration::from_millis(1000);
            let standing = if begun > 96 { Standing::Waiting } else { Standing::Begun };
            if budget.lost(standing, now) {
                break;
            }
        }
        assert_eq!(begun, 96);
    }

    #[test]
    fn a_page_that_is_left_with_ninety_images_under_way_costs_nothing_but_a_pause() {
        let mut budget = ResetBudget::default();
        assert_eq!(wave(&mut budget, 90, NOW), (90, false));
        // A few may begin at once, and each that is answered makes room.
        for _ in 0..100 {
            assert!(budget.begin(NOW));
            budget.answered();
            budget.completed();
        }
        assert_eq!(wave(&mut budget, 90, NOW), (90, false));
        assert_eq!(wave(&mut budget, 90, NOW + QUIET + Duration::from_secs(9)), (90, false));
    }

    #[test]
    fn answers_that_are_not_read_to_their_end_cost_little() {
        let mut budget = ResetBudget::default();
        for stream in 0..400 {
            assert!(budget.begin(NOW + Duration::from_millis(stream * 25)), "{stream}");
            budget.answered();
            let over = budget.lost(Standing::Answered, NOW + Duration::from_millis(stream * 25));
            assert!(!over, "{stream}");
        }
    }

    #[test]
    fn who_waits_for_answers_waits_to_begin_more_and_goes_on_when_they_come() {
        let mut budget = ResetBudget::default();
        assert_eq!((0..128).filter(|_| budget.begin(NOW)).count(), 96);
        assert!(!budget.owes());
        budget.answered();
        assert!(budget.begin(NOW));
        assert!(!budget.begin(NOW));
    }
}
