//! Policies made for these tests.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use demilune_core::{
    Body, ChunkInspection, ChunkRewriting, Denial, Fault, Guard, Hooks, Inspector, Outcome,
    Passage, Request, ResponseBodyInspector, ResponseBodyRewriter, ResponseChunkInspector,
    ResponseChunkRewriter, ResponseHead, Slot, Stage, Verdict,
};
use http::StatusCode;

/// What hooks were shown, in order.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn note(&self, text: impl AsRef<[u8]>) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(text.as_ref()).into_owned());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) fn denial(code: &'static str) -> Denial {
    Denial::new(StatusCode::FORBIDDEN, code, "no")
}

/// Refuses bodies that hold `attack`, cannot decide about those that hold `riddle`, and answers
/// `instead` in the place of those that hold `swap`. It takes its time.
pub(crate) struct Looks {
    pub(crate) notes: Notes,
    pub(crate) limit: u64,
}

impl Looks {
    pub(crate) fn hooks(notes: &Notes, limit: u64) -> Hooks {
        let looks = Arc::new(Self { notes: notes.clone(), limit });
        Hooks::new().response_body_inspector(&looks)
    }

    fn judge(&self, body: &Body) -> Result<Verdict, Fault> {
        let text = String::from_utf8_lossy(&body.decoded).into_owned();
        self.notes.note(&text);
        if text.contains("riddle") {
            return Err(Fault::new("a riddle"));
        }
        if text.contains("swap") {
            return Ok(Verdict::Answer(Box::new(demilune_core::Answer {
                status: StatusCode::IM_A_TEAPOT,
                headers: Vec::new(),
                body: Bytes::from_static(b"instead"),
            })));
        }
        let attack = text.contains("attack");
        Ok(if attack { Verdict::deny(denial("looks.attack")) } else { Verdict::Continue })
    }
}

impl ResponseBodyInspector for Looks {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn inspect<'a>(
        &'a self,
        _: Request<'a>,
        response: &'a ResponseHead,
        body: &'a Body,
        _: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>> {
        assert!(!response.headers.contains_key("content-encoding"));
        Outcome::later(async {
            tokio::task::yield_now().await;
            self.judge(body)
        })
    }
}

impl Inspector for Looks {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn inspect<'a>(
        &'a self,
        _: Request<'a>,
        body: &'a Body,
        _: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>> {
        Outcome::Now(self.judge(body))
    }
}

/// Puts a word in another's place, in the whole body.
pub(crate) struct Replaces {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) limit: u64,
}

impl Replaces {
    pub(crate) fn hooks(from: &'static str, to: &'static str) -> Hooks {
        Hooks::new().response_body_rewriter(&Arc::new(Self { from, to, limit: 1000 }))
    }
}

impl ResponseBodyRewriter for Replaces {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn rewrite<'a>(
        &'a self,
        _: Request<'a>,
        _: &'a ResponseHead,
        body: &'a mut Body,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<(), Fault>> {
        let text = String::from_utf8_lossy(&body.decoded).replace(self.from, self.to);
        let fault = text.contains("riddle");
        slot.set(text.len());
        body.decoded = text.into();
        Outcome::Now(if fault { Err(Fault::new("a riddle")) } else { Ok(()) })
    }
}

/// Masks `secret` as it passes, also where it comes in pieces. Does not understand `enigma`.
pub(crate) struct Masks;

const SECRET: &[u8] = b"secret";

struct Masking {
    held: Vec<u8>,
}

impl ResponseChunkRewriter for Masks {
    fn begin(
        &self,
        _: &Request<'_>,
        response: &ResponseHead,
        _: &mut Slot,
    ) -> Result<Option<Box<dyn ChunkRewriting>>, Fault> {
        match response.headers.get("x-mask").map(|value| value.as_bytes()) {
            Some(b"never") => Ok(None),
            Some(b"cannot") => Err(Fault::new("cannot")),
            _ => Ok(Some(Box::new(Masking { held: Vec::new() }))),
        }
    }
}

impl ChunkRewriting for Masking {
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes, Fault> {
        self.held.extend_from_slice(&chunk);
        if String::from_utf8_lossy(&self.held).contains("enigma") {
            return Err(Fault::new("an enigma"));
        }
        let text = String::from_utf8_lossy(&self.held).replace("secret", "******");
        let mut bytes = text.into_bytes();
        // What may be the beginning of the word waits for what comes next.
        let most = SECRET.len().min(bytes.len());
        let wait = (0..=most).rev().find(|n| bytes.ends_with(SECRET.get(..*n).unwrap()));
        self.held = bytes.split_off(bytes.len() - wait.unwrap());
        Ok(bytes.into())
    }

    fn end(&mut self) -> Result<Bytes, Fault> {
        Ok(std::mem::take(&mut self.held).into())
    }
}

/// Lets so many bytes pass, and no body that ends with `?`; cannot decide about `!`, and panics at
/// `#`. Notes what passed, at its end.
pub(crate) struct Measures {
    pub(crate) notes: Notes,
    pub(crate) most: usize,
}

impl Measures {
    pub(crate) fn hooks(notes: &Notes, most: usize) -> Hooks {
        let measures = Arc::new(Self { notes: notes.clone(), most });
        Hooks::new().response_chunk_inspector(&measures)
    }
}

struct Measuring {
    notes: Notes,
    most: usize,
    seen: Vec<u8>,
}

impl ResponseChunkInspector for Measures {
    fn begin(
        &self,
        _: &Request<'_>,
        _: &ResponseHead,
        _: &mut Slot,
    ) -> Result<Option<Box<dyn ChunkInspection>>, Fault> {
        let (notes, most) = (self.notes.clone(), self.most);
        Ok(Some(Box::new(Measuring { notes, most, seen: Vec::new() })))
    }
}

impl ChunkInspection for Measuring {
    fn chunk(&mut self, chunk: &[u8]) -> Result<Passage, Fault> {
        assert!(!chunk.contains(&b'#'), "a defect");
        if chunk.contains(&b'!') {
            return Err(Fault::new("an exclamation mark"));
        }
        self.seen.extend_from_slice(chunk);
        let cut = self.seen.len() > self.most;
        Ok(if cut { Passage::Cut(Box::new(denial("measures.most"))) } else { Passage::Open })
    }

    fn end(&mut self) -> Result<Passage, Fault> {
        self.notes.note(&self.seen);
        let cut = self.seen.ends_with(b"?");
        Ok(if cut { Passage::Cut(Box::new(denial("measures.end"))) } else { Passage::Open })
    }
}

/// Refuses requests with the header `x-refuse`.
pub(crate) struct Refuses;

impl Refuses {
    /// At the Edge; it passes for a limit by address.
    pub(crate) fn hooks() -> Hooks {
        Hooks::new().guard(Stage::Edge, &Arc::new(Self)).limits_by_address()
    }
}

impl Guard for Refuses {
    fn check(&self, request: &Request<'_>, _: &mut Slot) -> Result<Verdict, Fault> {
        let refused = request.head.headers.contains_key("x-refuse");
        Ok(if refused { Verdict::deny(denial("refuses.it")) } else { Verdict::Continue })
    }
}
