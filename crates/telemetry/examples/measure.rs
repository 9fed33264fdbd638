use demilune_core::consumer::*;
use demilune_core::head::*;
use demilune_core::record::*;
use demilune_core::stage::Stage;
use demilune_core::time::*;
use demilune_core::trail::*;
use demilune_telemetry::*;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
struct C;
impl Clock for C {
    fn now(&self) -> Moment {
        Moment::default()
    }
}
fn main() {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    let telemetry = Telemetry::new(Box::new(null), Arc::new(C)).unwrap();
    let threads: usize = std::env::args().nth(1).map_or(1, |s| s.parse().unwrap());
    let hs: Vec<_> = (0..threads)
        .map(|_| {
            let t = telemetry.clone();
            std::thread::spawn(move || run(t))
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    eprintln!(
        "{}",
        telemetry
            .render()
            .lines()
            .filter(|l| l.contains("dropped") || l.contains("http_requests"))
            .collect::<Vec<_>>()
            .join("\n")
    );
}
fn run(telemetry: Arc<Telemetry>) {
    let recorder = telemetry.recorder();
    let downstream = Downstream {
        peer: "198.51.100.7:50123".parse().unwrap(),
        listener: "public".into(),
        tls: Some(TlsFacts { version: "TLSv1.3", server_name: None }),
    };
    let consumer =
        Arc::new(Consumer { name: "acme".into(), groups: vec![], attributes: Default::default() });
    let mut identity = Identity::of(consumer);
    identity.proved_by.push("partners".into());
    for auth in [true, false] {
        let mut trail = Trail::default();
        for (p, s) in [
            ("ip_restriction", Stage::Edge),
            ("request_size", Stage::Edge),
            ("rate_limit", Stage::Edge),
        ] {
            trail.push(Step {
                policy: Cow::Borrowed(p),
                stage: s,
                verdict: StepVerdict::Continue,
                duration: Duration::from_nanos(300),
            });
        }
        if auth {
            trail.push(Step {
                policy: Cow::Owned("partners".into()),
                stage: Stage::Authenticate,
                verdict: StepVerdict::Proved("acme".into()),
                duration: Duration::from_micros(2),
            });
            for (p, s) in [("scopes", Stage::Authorize), ("rate_limit", Stage::Quota)] {
                trail.push(Step {
                    policy: Cow::Borrowed(p),
                    stage: s,
                    verdict: StepVerdict::Continue,
                    duration: Duration::from_nanos(300),
                });
            }
        }
        let mut record = Record {
            id: RequestId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            started: Moment {
                wall: Duration::from_micros(1_800_000_000_000_000),
                monotonic: Duration::ZERO,
            },
            duration: Duration::from_micros(812),
            admitted_after: Duration::from_micros(9),
            downstream: &downstream,
            version: "HTTP/1.1",
            method: "GET",
            host: "api.example.com",
            path: "/v1/customers/42/orders",
            user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            status: 200,
            route: Some("orders"),
            identity: auth.then_some(&identity),
            trail: &trail,
            attempt: Some(Attempt {
                upstream: "shop",
                endpoint: "https://10.0.0.11:8443",
                attempts: 1,
                head_after: Duration::from_micros(640),
            }),
            received: 0,
            sent: 1543,
            end: End::Complete,
        };
        let mut best = u128::MAX;
        for _ in 0..200 {
            let n = 1000u32;
            let at = Instant::now();
            for i in 0..n {
                record.started.wall += Duration::from_micros(7 + u64::from(i));
                record.id.0 = record.id.0.wrapping_mul(6364136223846793005).wrapping_add(1);
                recorder.record(&record);
            }
            best = best.min(at.elapsed().as_nanos() / u128::from(n));
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("auth {auth}: best {best} ns");
    }
}
