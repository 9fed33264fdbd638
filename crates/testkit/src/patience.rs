//! Waiting for what another process does.

use std::time::{Duration, Instant};

/// The longest that a test waits for something to be said or done. It never decides what is right:
/// a test that has to wait so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer, and panics with `what` where none comes.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}
