use std::collections::VecDeque;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use demilune_backends::SystemClock;
use futures_util::FutureExt as _;

use super::*;

/// What is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Answer = Result<Vec<&'static str>, &'static str>;

/// A resolver that gives these answers, one after the other, and fails when there are no more.
fn resolver(answers: Vec<Answer>) -> (Resolver, Arc<Telemetry>, Log) {
    let answers = Mutex::new(VecDeque::from(answers));
    let look_up = move |host: &str| {
        assert_eq!(host, "shop.internal");
        match answers.lock().unwrap().pop_front() {
            Some(Ok(all)) => Ok(all.into_iter().map(|ip| ip.parse().unwrap()).collect()),
            Some(Err(reason)) => Err(io::Error::other(reason)),
            None => Err(io::Error::other("no more answers")),
        }
    };
    let log = Log::default();
    let clock = Arc::new(SystemClock);
    let telemetry = Telemetry::new(Box::new(log.clone()), clock).unwrap();
    (Resolver::new(Arc::new(look_up), Arc::clone(&telemetry)), telemetry, log)
}

fn name() -> Arc<Name> {
    Arc::new(Name::new("shop.internal".into()))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// The candidates, as far as they are known now.
fn candidates(name: &Name) -> Vec<String> {
    let found = name.candidates().now_or_never().expect("the name was looked up");
    found.unwrap().iter().map(IpAddr::to_string).collect()
}

#[test]
fn every_address_of_a_name_is_a_candidate_and_each_is_the_first_in_turn() {
    let (resolver, ..) = resolver(vec![Ok(vec!["10.0.0.2", "10.0.0.1", "10.0.0.2", "::1"])]);
    let name = name();
    run(resolver.round(&name, &mut 0));
    let all: Vec<_> = (0..3).map(|_| candidates(&name)).collect();
    assert_eq!(all[0], ["10.0.0.1", "10.0.0.2", "::1"]);
    assert_eq!(all[1], ["10.0.0.2", "::1", "10.0.0.1"]);
    assert_eq!(all[2], ["::1", "10.0.0.1", "10.0.0.2"]);
}

#[test]
fn an_address_that_refused_is_tried_last_until_the_next_look_up() {
    let both = || Ok(vec!["10.0.0.1", "10.0.0.2"]);
    let (resolver, ..) = resolver(vec![both(), both()]);
    let name = name();
    run(resolver.round(&name, &mut 0));
    name.tried("10.0.0.1".parse().unwrap(), false);
    assert_eq!([candidates(&name), candidates(&name)], [["10.0.0.2", "10.0.0.1"]; 2]);
    run(resolver.round(&name, &mut 0));
    let first: Vec<_> = (0..2).map(|_| candidates(&name).remove(0)).collect();
    assert_ne!(first[0], first[1]);
}

#[test]
fn the_last_good_addresses_stay_while_look_ups_fail_and_the_operator_is_told_once() {
    let (resolver, telemetry, log) = resolver(vec![
        Ok(vec!["10.0.0.1"]),
        Err("refused"),
        Ok(vec![]),
        Ok(vec!["0.0.0.0", "224.0.0.1", "255.255.255.255", "::"]),
        Ok(vec!["10.0.0.7"]),
    ]);
    let (name, mut failures) = (name(), 0);
    for (expected, failed) in
        [("10.0.0.1", 0), ("10.0.0.1", 1), ("10.0.0.1", 2), ("10.0.0.1", 3), ("10.0.0.7", 0)]
    {
        run(resolver.round(&name, &mut failures));
        assert_eq!((candidates(&name), failures), (vec![expected.to_owned()], failed));
    }
    let metrics = telemetry.render();
    for line in [
        "demilune_upstream_name_look_ups_total{name=\"shop.internal\",result=\"failure\"} 3",
        "demilune_upstream_name_look_ups_total{name=\"shop.internal\",result=\"success\"} 2",
        "demilune_upstream_name_addresses{name=\"shop.internal\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    telemetry.shutdown();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = log.lines().collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains("upstream.name_unresolved") && told[0].contains("refused"), "{log}");
    assert!(told[1].contains("upstream.name_resolved") && told[1].contains("10.0.0.7"), "{log}");
}

#[test]
fn a_name_that_never_had_an_address_says_why() {
    let (resolver, ..) = resolver(vec![Err("no such name"), Ok(vec!["10.0.0.1"])]);
    let (name, mut failures) = (name(), 0);
    run(resolver.round(&name, &mut failures));
    let reason = name.candidates().now_or_never().unwrap().unwrap_err();
    assert_eq!(&*reason, "no such name");
    run(resolver.round(&name, &mut failures));
    assert_eq!((candidates(&name), failures), (vec!["10.0.0.1".to_owned()], 0));
}

#[test]
fn more_addresses_than_are_used_are_cut_off() {
    let look_up = |_: &str| Ok((0..=255).map(|n| IpAddr::from([10, 0, 0, n])).collect());
    let (other, ..) = resolver(Vec::new());
    let resolver = Resolver { look_up: Arc::new(look_up), ..other };
    let name = name();
    run(resolver.round(&name, &mut 0));
    assert_eq!(candidates(&name).len(), ADDRESSES_LIMIT);
}

/// A resolver that answers when it is told to, and says when it is asked.
fn held() -> (Resolver, Sender<()>, Receiver<()>) {
    let ((release, released), (asking, asked)) = (channel::<()>(), channel());
    let both = Mutex::new((released, asking));
    let look_up = move |_: &str| {
        let both = both.lock().unwrap();
        let _ = both.1.send(());
        let _ = both.0.recv();
        Ok(vec![IpAddr::from([10, 0, 0, 1])])
    };
    let (other, ..) = resolver(Vec::new());
    (Resolver { look_up: Arc::new(look_up), ..other }, release, asked)
}

#[test]
fn whoever_comes_before_the_first_answer_waits_for_it_and_asks_nobody() {
    let (resolver, release, asked) = held();
    let name = name();
    run(async {
        let mut failures = 0;
        let waiting = futures_util::future::join_all((0..20).map(|_| name.candidates()));
        let asking = async {
            let mut round = std::pin::pin!(resolver.round(&name, &mut failures));
            assert!((&mut round).now_or_never().is_none());
            asked.recv().unwrap();
            release.send(()).unwrap();
            round.await;
        };
        let (found, ()) = tokio::join!(waiting, asking);
        assert!(found.iter().all(|found| found.as_ref().is_ok_and(|all| all.len() == 1)));
    });
    assert!(asked.try_recv().is_err(), "one look-up for all of them");
}

#[test]
fn a_look_up_that_hangs_takes_nothing_away_and_is_not_repeated_beside() {
    let (resolver, release, asked) = held();
    let name = name();
    name.take(Ok(vec![IpAddr::from([10, 0, 0, 9])]));
    let (stop, interval) = watch::channel(Duration::from_secs(1));
    let local = tokio::task::LocalSet::new();
    run(local.run_until(async {
        let keeping = resolver.keep(Arc::clone(&name), interval);
        let mut keeping = std::pin::pin!(keeping);
        assert!((&mut keeping).now_or_never().is_none());
        asked.recv().unwrap();
        assert!((&mut keeping).now_or_never().is_none());
        assert_eq!(candidates(&name), ["10.0.0.9"]);
        // The document does not name it any more.
        drop(stop);
        keeping.await;
    }));
    assert!(asked.try_recv().is_err());
    drop(release);
}

#[test]
fn connections_to_an_address_that_a_name_lost_are_not_its_any_more() {
    let name = name();
    let place = Place::Name(Arc::clone(&name));
    let [old, new] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
    assert!(place.has(old));
    name.take(Ok(vec![old]));
    assert!(place.has(old) && !place.has(new));
    name.take(Ok(vec![new]));
    assert!(!place.has(old) && place.has(new));
    name.take(Err("gone".into()));
    assert!(place.has(new));
}
