#![allow(missing_docs)]
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
static SEEN: AtomicUsize = AtomicUsize::new(0);

use demilune_core::head::{Downstream, RequestId, TlsFacts};
use demilune_core::record::{Attempt, End, Record};
use demilune_core::stage::Stage;
use demilune_core::time::{Clock, Moment};
use demilune_core::trail::{Step, StepVerdict, Trail};
use demilune_telemetry::Telemetry;

struct Gone(usize, Vec<u8>);
impl Write for Gone {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            let end = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
            eprint!("{end}: {}", String::from_utf8_lossy(&bytes[..end]));
        }
        self.0 += bytes.len();
        SEEN.fetch_add(1, Relaxed);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
struct Stopped;
impl Clock for Stopped {
    fn now(&self) -> Moment {
        Moment::default()
    }
}

fn main() {
    let telemetry = Telemetry::new(Box::new(Gone(0, vec![])), Arc::new(Stopped)).unwrap();
    let recorder = telemetry.recorder();
    let downstream = Downstream::new(
        "198.51.100.7:50123".parse().unwrap(),
        "public".into(),
        Some(TlsFacts { version: "TLSv1.3", server_name: None }),
    );
    let ua = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36";
    let ua = if std::env::args().nth(2).is_some() { "bench/1.0" } else { ua };
    let count: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    for number in 0..count {
        let mut trail = Trail::default();
        for (policy, stage) in [
            ("ip_restriction", Stage::Edge),
            ("rate_limit", Stage::Edge),
            ("waf", Stage::Inspect),
            ("headers", Stage::Transform),
        ] {
            let (verdict, duration) =
                (StepVerdict::Continue, Duration::from_nanos(3_000 + number % 20_000));
            trail.push(Step { policy: Cow::Borrowed(policy), stage, verdict, duration });
        }
        recorder.record(&Record {
            id: RequestId(0x0192_8374_6556_4738_2910_0987_6543_2112 + u128::from(number)),
            started: Moment {
                wall: Duration::from_micros(1_800_000_000_000_000 + number * 37),
                monotonic: Duration::from_secs(5),
            },
            duration: Duration::from_micros(150 + number % 1000),
            admitted_after: Duration::from_micros(12 + number % 10),
            downstream: &downstream,
            version: "HTTP/1.1",
            method: "GET",
            host: "api.example.com",
            path: "/v1/orders/4711/items",
            user_agent: ua,
            status: 200,
            route: Some("orders"),
            identity: None,
            trail: &trail,
            attempt: Some(Attempt {
                upstream: "shop",
                endpoint: "http://127.0.0.1:9000",
                attempts: 1,
                head_after: Duration::from_micros(90 + number % 100),
            }),
            received: 0,
            sent: 1024,
            end: End::Complete,
        });
        if number % 512 == 511 {
            let seen = SEEN.load(Relaxed);
            while SEEN.load(Relaxed) == seen {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    telemetry.shutdown();
    let text = telemetry.render();
    for line in
        text.lines().filter(|l| l.contains("dropped_total ") || l.contains("requests_total{"))
    {
        eprintln!("{line}");
    }
}
