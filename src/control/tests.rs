//! The whole thread against mailboxes, without real signals: those belong to the process, not to one test.

use std::cell::RefCell;
use std::fs;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use super::*;
use crate::base::ids::{PoolId, RequestId, WorkerId};
use crate::config::Resolved;
use crate::shared::access::Texts;
use crate::shared::gauges;
use crate::shared::mailbox::mailbox;
use crate::shared::sample;
use crate::shared::slots::Slots;
use crate::snapshot::{AccessLogFormat, BackendAddr};

const WORKERS: usize = 2;

/// The other side of everything that the thread was given.
struct Outside {
    workers: Vec<Letters<ToWorker>>,
    health: Letters<ToHealth>,
    to_control: Mailbox<ToControl>,
    gauges: AllGauges,
    rings: Vec<crossbeam_channel::Sender<AccessLine>>,
    /// Ends the health thread when dropped.
    health_life: Option<std::sync::mpsc::Sender<()>>,
    signals: mpsc::Sender<Signal>,
    answers: mpsc::Sender<Vec<Answer>>,
}

impl Outside {
    fn say_drained(&self, worker: u32) {
        self.to_control
            .post(ToControl::Drained(WorkerId(worker)))
            .unwrap();
    }
}

/// Everything for one run, with a pool whose only backend is `api.internal`.
fn outside(shutdown_timeout: Duration, log: Option<LogFile>) -> (Outside, Control, Inputs) {
    let mut slots = sample::slots();
    let (workers, worker_letters): (Vec<_>, Vec<_>) =
        (0..WORKERS).map(|_| mailbox(10).unwrap()).unzip();
    let (health, health_letters) = mailbox(10).unwrap();
    let (to_control, letters) = mailbox(10).unwrap();
    let (rings, access_lines) = (0..WORKERS).map(|_| crossbeam_channel::bounded(10)).unzip();
    let (health_life, lives) = std::sync::mpsc::channel::<()>();
    let gauges = gauges::gauges(WORKERS);
    let (signals, signals_taken) = mpsc::channel(4);
    let (answers, answers_taken) = mpsc::channel(4);
    let control = Control::new(Started {
        snapshot: compile(&mut slots, &Resolved::new(), 1, shutdown_timeout)
            .unwrap()
            .into(),
        workers,
        gauges: gauges.clone(),
        access_lines,
        access_log: log,
        health,
        health_thread: std::thread::spawn(move || {
            let _ = lives.recv();
        }),
        letters,
        names: Names {
            hosts: vec!["api.internal".to_owned()],
            every: Duration::from_secs(30),
            resolved: Resolved::new(),
            recompile: Box::new(move |resolved, generation| {
                compile(&mut slots, resolved, generation, shutdown_timeout)
            }),
        },
    });
    let outside = Outside {
        workers: worker_letters,
        health: health_letters,
        to_control,
        gauges,
        rings,
        health_life: Some(health_life),
        signals,
        answers,
    };
    (
        outside,
        control,
        Inputs {
            signals: signals_taken,
            answers: answers_taken,
        },
    )
}

struct Inputs {
    signals: mpsc::Receiver<Signal>,
    answers: mpsc::Receiver<Vec<Answer>>,
}

/// Refuses 192.0.2.13.
fn compile(
    slots: &mut Slots,
    resolved: &Resolved,
    generation: u64,
    shutdown_timeout: Duration,
) -> Result<Snapshot, String> {
    let ips = resolved.get("api.internal").cloned().unwrap_or_default();
    if ips.contains(&IpAddr::from([192, 0, 2, 13])) {
        return Err("unlucky".to_owned());
    }
    let addrs: Vec<_> = ips
        .into_iter()
        .map(|ip| BackendAddr::Tcp((ip, 80).into()))
        .collect();
    let pool = sample::pool(slots, "api", &addrs);
    let mut snapshot = Arc::into_inner(sample::snapshot(generation, vec![pool])).unwrap();
    snapshot.shutdown_timeout = shutdown_timeout;
    Ok(snapshot)
}

/// Runs the thread beside `play`; its exit code.
fn run_beside(control: Control, mut inputs: Inputs, play: impl AsyncFnOnce()) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let wake = UnixStream::from_std(control.letters.wake_stream().unwrap()).unwrap();
        let next_signal = async || match inputs.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        };
        tokio::join!(control.run(wake, inputs.answers, next_signal), play()).0
    })
}

/// Waits for a letter that fits.
async fn expect<T, R>(letters: &Letters<T>, fits: impl Fn(T) -> Option<R>) -> R {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        match letters.take() {
            Some(letter) => {
                if let Some(found) = fits(letter) {
                    return found;
                }
            }
            None => sleep(Duration::from_millis(1)).await,
        }
        assert!(Instant::now() < patience, "no such letter came");
    }
}

fn is_drain(letter: ToWorker) -> Option<()> {
    matches!(letter, ToWorker::Drain).then_some(())
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);
const STOP: Signal = Signal::Stop("SIGTERM");

#[test]
fn a_signal_drains_the_workers_and_ends_when_all_are_done() {
    let (outside, control, inputs) = outside(LONG, None);
    let code = run_beside(control, inputs, async || {
        outside.signals.send(STOP).await.unwrap();
        for (letters, worker) in outside.workers.iter().zip(0..) {
            expect(letters, is_drain).await;
            outside.say_drained(worker);
        }
    });
    assert_eq!(code, 0);
}

#[test]
fn what_still_runs_after_the_timeout_is_cut() {
    let (outside, control, inputs) = outside(SHORT, None);
    outside.gauges[1].begin_exchange();
    let code = run_beside(control, inputs, async || {
        outside.signals.send(STOP).await.unwrap();
        expect(&outside.workers[0], is_drain).await;
        outside.say_drained(0);
    });
    assert_eq!(code, 1);
}

#[test]
fn a_second_signal_does_not_wait_for_anybody() {
    let (outside, control, inputs) = outside(LONG, None);
    outside.gauges[0].begin_exchange();
    let code = run_beside(control, inputs, async || {
        outside.signals.send(STOP).await.unwrap();
        expect(&outside.workers[1], is_drain).await;
        outside.signals.send(Signal::Stop("SIGINT")).await.unwrap();
    });
    assert_eq!(code, 1);
}

#[test]
fn a_worker_that_ends_stops_the_process_after_the_others_are_done() {
    let (outside, control, inputs) = outside(LONG, None);
    let code = run_beside(control, inputs, async || {
        outside
            .to_control
            .post(ToControl::WorkerEnded(WorkerId(0), "panicked".to_owned()))
            .unwrap();
        expect(&outside.workers[1], is_drain).await;
        outside.say_drained(1);
    });
    assert_eq!(code, 1);
}

#[test]
fn a_health_thread_that_ends_stops_the_process_too() {
    let (mut outside, control, inputs) = outside(LONG, None);
    let code = run_beside(control, inputs, async || {
        outside.health_life.take();
        for (letters, worker) in outside.workers.iter().zip(0..) {
            expect(letters, is_drain).await;
            outside.say_drained(worker);
        }
    });
    assert_eq!(code, 1);
}

#[test]
fn new_addresses_become_a_new_snapshot_for_everybody() {
    let (outside, control, inputs) = outside(SHORT, None);
    let answer = |last: u8| {
        vec![(
            "api.internal".to_owned(),
            Ok(vec![IpAddr::from([192, 0, 2, last])]),
        )]
    };
    let seen = Rc::new(RefCell::new(Vec::new()));
    run_beside(control, inputs, async || {
        let first = |letter| match letter {
            ToHealth::Snapshot(snapshot) => Some(snapshot.generation),
            _ => None,
        };
        assert_eq!(expect(&outside.health, first).await, 1);
        // The same twice makes no second snapshot; one that cannot be compiled none at all, but is tried again.
        for last in [1, 1, 13, 2] {
            outside.answers.send(answer(last)).await.unwrap();
        }
        for generation in [2, 3] {
            let snapshot = |letter| match letter {
                ToWorker::Snapshot(snapshot) => Some(snapshot),
                _ => None,
            };
            for letters in &outside.workers {
                let snapshot = expect(letters, snapshot).await;
                assert_eq!(snapshot.generation, generation);
                seen.borrow_mut()
                    .push(snapshot.pools[0].backends[0].label.clone());
            }
            assert_eq!(expect(&outside.health, first).await, generation);
        }
        outside.signals.send(STOP).await.unwrap();
    });
    let labels = [
        "192.0.2.1:80",
        "192.0.2.1:80",
        "192.0.2.2:80",
        "192.0.2.2:80",
    ];
    assert_eq!(*seen.borrow(), labels);
}

#[test]
fn addresses_that_could_not_be_compiled_are_tried_again() {
    let (_outside, mut control, _inputs) = outside(SHORT, None);
    let failures = Rc::new(RefCell::new(1));
    let compiled = control.recompile;
    let (left, mut compiled) = (failures.clone(), compiled);
    control.recompile = Box::new(move |resolved, generation| match left.replace(0) {
        0 => compiled(resolved, generation),
        _ => Err("no room".to_owned()),
    });
    let answer = || {
        vec![(
            "api.internal".to_owned(),
            Ok(vec![IpAddr::from([192, 0, 2, 1])]),
        )]
    };
    control.take_answers(answer());
    assert_eq!(control.snapshot.generation, 1);
    control.take_answers(answer());
    assert_eq!(control.snapshot.generation, 2);
    control.take_answers(answer());
    assert_eq!(control.snapshot.generation, 2);
}

fn access_line(request_id: u64) -> AccessLine {
    AccessLine {
        began: Micros::now(),
        request_id: RequestId(request_id),
        client: None,
        texts: Texts::new(b"GET", b"/", b"", b"", b"", b""),
        version: 11,
        status: 200,
        request_bytes: 0,
        response_bytes: 0,
        generation: 1,
        route: None,
        pool: Some(PoolId(0)),
        backend: None,
        attempts: 0,
        upstream_micros: 0,
        total_micros: 0,
        failure: "",
    }
}

#[test]
fn access_lines_of_all_workers_are_written_up_to_the_last_one() {
    let path = std::env::temp_dir().join(format!("palantir-control-{}.log", std::process::id()));
    let _ = fs::remove_file(&path);
    let settings = crate::snapshot::AccessLog {
        path: path.clone(),
        format: AccessLogFormat::Json,
    };
    let (outside, control, inputs) = outside(LONG, Some(LogFile::open(&settings).unwrap()));
    let read = || fs::read_to_string(&path).unwrap();
    let code = run_beside(control, inputs, async || {
        outside.rings[0].send(access_line(1)).unwrap();
        outside.rings[1].send(access_line(2)).unwrap();
        let patience = Instant::now() + Duration::from_secs(30);
        while read().lines().count() < 2 {
            sleep(Duration::from_millis(1)).await;
            assert!(Instant::now() < patience, "no lines came");
        }
        outside.signals.send(STOP).await.unwrap();
        outside.rings[0].send(access_line(3)).unwrap();
        outside.say_drained(0);
        outside.say_drained(1);
    });
    assert_eq!(code, 0);
    let text = read();
    for (line, id) in text.lines().zip(1..) {
        assert!(
            line.contains(&format!(r#""request_id":"{:016x}""#, id)),
            "{line}"
        );
        assert!(line.contains(r#""pool":"api""#), "{line}");
    }
    assert_eq!(text.lines().count(), 3);
    fs::remove_file(path).unwrap();
}
