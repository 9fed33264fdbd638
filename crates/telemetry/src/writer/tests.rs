use std::sync::mpsc::{Receiver, Sender, channel};

use demilune_core::time::Moment;

use super::*;

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Moment {
        Moment::default()
    }
}

type Taken = Arc<Mutex<Vec<u8>>>;

/// A sink that does on each write as it is told, and takes everything once it is told nothing more.
struct Told {
    taken: Taken,
    orders: Receiver<Order>,
}

enum Order {
    Take(usize),
    Fail(io::ErrorKind),
    Wait(Receiver<()>),
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = match self.orders.try_recv() {
            Ok(Order::Take(most)) => most,
            Ok(Order::Fail(kind)) => return Err(kind.into()),
            Ok(Order::Wait(open)) => {
                let _ = open.recv();
                bytes.len()
            }
            Err(_) => bytes.len(),
        };
        let bytes = &bytes[..most.min(bytes.len())];
        lock(&self.taken).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    writer: Writer,
    taken: Taken,
    orders: Sender<Order>,
    dropped: Counter,
    errors: Counter,
}

fn bench() -> Bench {
    let taken = Taken::default();
    let (orders, told) = channel();
    let (dropped, errors) = (Counter::default(), Counter::default());
    let sink = Told { taken: Arc::clone(&taken), orders: told };
    let clock = Arc::new(Epoch);
    let writer = Writer::start(Box::new(sink), clock, dropped.clone(), errors.clone()).unwrap();
    Bench { writer, taken, orders, dropped, errors }
}

impl Bench {
    fn text(&self) -> String {
        self.writer.shutdown();
        String::from_utf8(lock(&self.taken).clone()).unwrap()
    }
}

fn lost(lines: usize) -> String {
    format!(
        "{{\"kind\":\"log\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"warn\",\
         \"code\":\"telemetry.lines_lost\",\
         \"message\":\"lines were lost: the log's sink was too slow or failed\",\
         \"fields\":{{\"lines\":\"{lines}\"}}}}\n"
    )
}

#[test]
fn everything_appended_before_the_end_is_written() {
    let bench = bench();
    let buffers = [bench.writer.buffer(BUFFER_LIMIT), bench.writer.buffer(BUFFER_LIMIT)];
    for number in 0..10_000 {
        for buffer in &buffers {
            buffer.append(|lines| lines.push(&number));
        }
    }
    let text = bench.text();
    assert_eq!(text.lines().count(), 20_000);
    assert_eq!(bench.text(), text, "a second end changes nothing");
}

#[test]
fn lines_beyond_the_limit_are_dropped_counted_and_told_of() {
    let bench = bench();
    let (open, gate) = channel();
    bench.orders.send(Order::Wait(gate)).unwrap();
    let buffer = bench.writer.buffer(100);
    let text = "x".repeat(48);
    // The sink holds the writer up after at most one buffer: not all of these can get through.
    for _ in 0..100 {
        buffer.append(|lines| lines.push(&text));
    }
    let dropped = bench.dropped.get();
    assert!(dropped >= 96, "{dropped}");
    assert!(lock(&buffer.lines).bytes.len() <= 100 + 51);
    open.send(()).unwrap();
    let text = bench.text();
    let lines = text.lines().filter(|line| line.contains("xxx")).count();
    let dropped = usize::try_from(dropped).unwrap();
    assert_eq!(lines + dropped, 100);
    assert!(text.contains("\"code\":\"telemetry.lines_lost\""), "{text}");
    assert_eq!(bench.dropped.get(), u64::try_from(dropped).unwrap());
}

#[test]
fn a_sink_that_fails_loses_lines_but_nothing_else() {
    let bench = bench();
    let buffer = bench.writer.buffer(BUFFER_LIMIT);
    bench.orders.send(Order::Take(5)).unwrap();
    bench.orders.send(Order::Fail(io::ErrorKind::StorageFull)).unwrap();
    buffer.append(|lines| {
        lines.push(&"torn apart");
        lines.push(&"lost");
    });
    while bench.errors.get() == 0 {
        thread::yield_now();
    }
    buffer.append(|lines| lines.push(&"through"));
    assert_eq!(bench.text(), format!("\"torn\n\"through\"\n{}", lost(2)));
    assert_eq!((bench.dropped.get(), bench.errors.get()), (2, 1));
}

#[test]
fn a_sink_that_is_gone_for_good_does_not_stop_the_end() {
    let bench = bench();
    let buffer = bench.writer.buffer(BUFFER_LIMIT);
    for _ in 0..1_000 {
        bench.orders.send(Order::Fail(io::ErrorKind::BrokenPipe)).unwrap();
    }
    buffer.append(|lines| lines.push(&"lost"));
    assert_eq!(bench.text(), "");
    assert_eq!(bench.dropped.get(), 1);
}

#[test]
fn a_sink_that_would_block_or_was_interrupted_is_asked_again() {
    let bench = bench();
    let buffer = bench.writer.buffer(BUFFER_LIMIT);
    bench.orders.send(Order::Fail(io::ErrorKind::Interrupted)).unwrap();
    bench.orders.send(Order::Take(3)).unwrap();
    bench.orders.send(Order::Fail(io::ErrorKind::WouldBlock)).unwrap();
    buffer.append(|lines| lines.push(&"whole"));
    assert_eq!(bench.text(), "\"whole\"\n");
    assert_eq!((bench.dropped.get(), bench.errors.get()), (0, 0));
}

#[test]
fn a_buffer_whose_owner_is_gone_is_emptied_and_forgotten() {
    let bench = bench();
    for number in 0..10 {
        bench.writer.buffer(BUFFER_LIMIT).append(|lines| lines.push(&number));
    }
    assert_eq!(bench.text().lines().count(), 10);
    assert!(lock(&bench.writer.shared.buffers).is_empty());
}
