//! Full handshakes of TLS 1.3, several at a time, without a request: connect, shake hands, close.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::client::{self, Connection};
use super::{Options, Result, percentile};

/// Handshakes under way at the same time.
const AT_ONCE: usize = 8;

pub(crate) fn run(options: &Options) -> Result<()> {
    let port: u16 = options.number("port")?;
    let seconds = options.number::<u64>("seconds")?.min(60);
    let group = options.find("group").ok_or("--group is missing")?;
    let config = client::tls_config(group)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let config = Arc::clone(&config);
            thread::spawn(move || shake_hands(port, &config, end))
        })
        .collect();
    let (mut times, mut failed, mut why) = (Vec::new(), 0_u32, None);
    for thread in threads {
        let done = thread.join().map_err(|_| "a thread of the load panicked")?;
        times.extend(done.times);
        failed += done.failed;
        why = why.or(done.why);
    }
    times.sort_unstable();
    if let Some(why) = why {
        eprintln!("{failed} handshakes failed, one of them so: {why}");
    }
    println!("requests {}", times.len());
    println!("failed {failed}");
    println!("p50_us {}", percentile(&times, 50));
    println!("p99_us {}", percentile(&times, 99));
    Ok(())
}

#[derive(Default)]
struct Done {
    /// How long each took, in microseconds.
    times: Vec<u64>,
    failed: u32,
    why: Option<String>,
}

fn shake_hands(port: u16, config: &Arc<ClientConfig>, end: Instant) -> Done {
    let mut done = Done::default();
    while Instant::now() < end && done.failed < 100 {
        let began = Instant::now();
        match Connection::tls(port, config) {
            Ok(connection) => {
                let took = began.elapsed();
                match connection.close() {
                    Ok(()) => done.times.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
                    Err(error) => done.fail(&*error),
                }
            }
            Err(error) => done.fail(&*error),
        }
    }
    done
}

impl Done {
    fn fail(&mut self, error: &(dyn std::error::Error + Send + Sync)) {
        self.failed += 1;
        self.why.get_or_insert_with(|| error.to_string());
    }
}
