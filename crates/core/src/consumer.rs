//! Who is calling: consumers, their credentials, and the identity that an authenticator proved.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

/// A caller that the document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name in the document.
    pub name: Arc<str>,
    /// The groups it belongs to.
    pub groups: Vec<Arc<str>>,
    /// Free facts about it.
    pub attributes: BTreeMap<String, String>,
}

/// A proved identity. There is no empty one: what could not be proved is not an `Identity`.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The consumer's name, or the subject that a token names.
    pub subject: Arc<str>,
    /// The consumer, where the proof belongs to one.
    pub consumer: Option<Arc<Consumer>>,
    /// The authenticators, as the document names them, that proved it.
    pub proved_by: SmallVec<[Arc<str>; 2]>,
}

impl Identity {
    /// The identity of a consumer; the engine adds which authenticator proved it.
    #[must_use]
    pub fn of(consumer: Arc<Consumer>) -> Self {
        Self {
            subject: Arc::clone(&consumer.name),
            consumer: Some(consumer),
            proved_by: SmallVec::new(),
        }
    }

    /// Whether both proofs speak of the same caller: `all_of` demands it.
    #[must_use]
    pub fn same_caller(&self, other: &Self) -> bool {
        match (&self.consumer, &other.consumer) {
            (Some(mine), Some(theirs)) => mine.name == theirs.name,
            (None, None) => self.subject == other.subject,
            _ => false,
        }
    }
}

/// All credentials of all consumers, in memory. An authenticator takes those of its own kind at
/// build.
#[derive(Default)]
pub struct Directory {
    credentials: Vec<(Arc<Consumer>, Arc<dyn Any + Send + Sync>)>,
}

impl Directory {
    /// Adds a credential (of the type that its authenticator looks for) of a consumer.
    pub fn insert(&mut self, consumer: Arc<Consumer>, credential: Arc<dyn Any + Send + Sync>) {
        self.credentials.push((consumer, credential));
    }

    /// All credentials of type `C` with their consumers.
    pub fn credentials<C: Any + Send + Sync>(&self) -> impl Iterator<Item = (&Arc<Consumer>, &C)> {
        self.credentials.iter().filter_map(|(consumer, credential)| {
            credential.downcast_ref::<C>().map(|credential| (consumer, credential))
        })
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("credentials", &self.credentials.len()).finish()
    }
}
