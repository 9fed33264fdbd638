//! The control plane: reload, the watch on the document, the operator's endpoints. Never on the
//! request path: the data plane runs on its last good snapshot.

#![warn(missing_docs)]

mod admin;
mod reload;
mod watch;

pub use admin::{Admin, AdminAnswer};
pub use reload::{Apply, Misplaced, Reloader, Status, problems, warn};
pub use watch::Watch;
