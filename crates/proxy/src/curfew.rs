//! Telling connections that no further request may begin: because the gateway ends, or their
//! listener left the document. A look at a flag for each poll, instead of one more future to
//! poll.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Waker};

/// The curfew of one connection.
#[derive(Default)]
pub(crate) struct Curfew {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Curfew {
    /// Whether it was called; if not, whoever polls is woken when it is.
    pub(crate) fn is_called(&self, cx: &Context<'_>) -> bool {
        if !self.called.get() {
            let mut waker = self.waker.borrow_mut();
            if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        self.called.get()
    }

    fn call(&self) {
        self.called.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The curfews of all connections of one listener's socket.
#[derive(Clone, Default)]
pub(crate) struct Curfews(Rc<RefCell<Board>>);

#[derive(Default)]
struct Board {
    called: bool,
    next: u64,
    open: HashMap<u64, Rc<Curfew>>,
}

impl Curfews {
    /// A curfew for one more connection, until the guard is dropped.
    pub(crate) fn register(&self) -> CurfewGuard {
        let curfew = Rc::new(Curfew::default());
        let mut board = self.0.borrow_mut();
        curfew.called.set(board.called);
        board.next = board.next.wrapping_add(1);
        let id = board.next;
        board.open.insert(id, Rc::clone(&curfew));
        CurfewGuard { board: self.clone(), id, curfew }
    }

    /// For all connections, those to come included.
    pub(crate) fn call(&self) {
        self.0.borrow_mut().called = true;
        let open: Vec<_> = self.0.borrow().open.values().cloned().collect();
        open.iter().for_each(|curfew| curfew.call());
    }
}

/// One connection's place on the board.
pub(crate) struct CurfewGuard {
    board: Curfews,
    id: u64,
    curfew: Rc<Curfew>,
}

impl CurfewGuard {
    pub(crate) fn curfew(&self) -> &Curfew {
        &self.curfew
    }
}

impl Drop for CurfewGuard {
    fn drop(&mut self) {
        self.board.0.borrow_mut().open.remove(&self.id);
    }
}
