//! The whole thread against mailboxes, without real signals: those belong to the process, not to one test.

mod changes;
mod slow_files;

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};

use super::*;
use crate::base::ids::{PoolId, RequestId, WorkerId};
use crate::base::limits;
use crate::config::Resolved;
use crate::config::{self, CannotCompile, TooManyBackends};
use crate::control::access_log::{LogFile, open_in_time};
use crate::control::change_request::{ChangeRequests, CompletedOperation, Operation, Standing};
use crate::control::compiler::Compiler;
use crate::control::config_store::{Overrides, Problem, ProblemKind};
use crate::control::resolve::{KnownAddrs, LookUpRequest, LookUps, WatchedNames};
use crate::control::upgrade::{HealthReport, Program, Upgrades};
use crate::messages::{ToHealth, ToWorker};
use crate::shared::access::{AccessLine, LoggedTexts, RequestFacts, RequestTexts, Tally};
use crate::shared::backend_table::BackendTables;
use crate::shared::mailbox::{Mailbox, mailbox};
use crate::shared::pulse::Watched;
use crate::shared::worker_counters::{self, AllWorkerCounters};
use crate::snapshot::AccessLogFormat;

const WORKERS: usize = 2;

/// The other side of everything that the thread was given.
struct Outside {
    workers: Vec<Inbox<ToWorker>>,
    health: Inbox<ToHealth>,
    to_control: Mailbox<ToControl>,
    counters: AllWorkerCounters,
    rings: Vec<crossbeam_channel::Sender<AccessLine>>,
    /// Ends the health thread when dropped.
    health_life: Option<std::sync::mpsc::Sender<()>>,
    signals: mpsc::Sender<Signal>,
    answers: mpsc::Sender<LookUpResults>,
    change_requests: ChangeRequests,
    standing: Standing,
}

impl Outside {
    fn say_drained(&self, worker: u32) {
        self.to_control
            .post(ToControl::Drained(WorkerId(worker)))
            .unwrap();
    }

    /// Takes the messages of every worker up to the snapshot of this generation, and says that it is adopted.
    async fn adopt(&self, generation: u64) -> Arc<Snapshot> {
        let mut adopted = None;
        for (inbox, worker) in self.workers.iter().zip(0..) {
            adopted = Some(expect(inbox, |message| of_generation(message, generation)).await);
            let adopted = ToControl::Adopted(WorkerId(worker), generation);
            self.to_control.post(adopted).unwrap();
        }
        adopted.unwrap()
    }

    /// Waits until the first worker is told of this generation.
    async fn snapshot(&self, generation: u64) -> Arc<Snapshot> {
        expect(&self.workers[0], |message| {
            of_generation(message, generation)
        })
        .await
    }

    /// Puts a question; what receives the answer.
    async fn send_request(
        &self,
        operation: Operation,
    ) -> oneshot::Receiver<Result<CompletedOperation, Problem>> {
        self.send_request_if(operation, None).await
    }

    /// Asks under the condition that this revision is in force.
    async fn send_request_if(
        &self,
        operation: Operation,
        if_match: Option<u64>,
    ) -> oneshot::Receiver<Result<CompletedOperation, Problem>> {
        let (answer, answered) = oneshot::channel();
        let requested_by = "a test".to_owned();
        let request = ChangeRequest {
            operation,
            if_match,
            requested_by,
            answer,
        };
        self.change_requests.send(request).await.unwrap();
        answered
    }

    async fn refusal(&self, operation: Operation) -> ProblemKind {
        self.send_request(operation)
            .await
            .await
            .unwrap()
            .unwrap_err()
            .kind
    }

    async fn stop(&self) {
        self.signals.send(STOP).await.unwrap();
        (0..WORKERS as u32).for_each(|worker| self.say_drained(worker));
    }
}

fn of_generation(message: ToWorker, generation: u64) -> Option<Arc<Snapshot>> {
    match message {
        ToWorker::Snapshot(snapshot) if snapshot.generation == generation => Some(snapshot),
        _ => None,
    }
}

const FILE: &str = "[[pools]]\nname = \"api\"\nbackends = [\"api.internal:80\"]\n";

/// Everything for one run, with a pool whose only backend is `api.internal`.
fn outside(shutdown_timeout: Duration, log: Option<LogFile>) -> (Outside, Control, Inputs) {
    outside_of(Path::new("test.toml"), shutdown_timeout, log)
}

fn outside_of(
    path: &Path,
    shutdown_timeout: Duration,
    log: Option<LogFile>,
) -> (Outside, Control, Inputs) {
    let mut compiler = compiler(shutdown_timeout);
    let config = config::parse(path, FILE.to_owned()).unwrap();
    let tables = BackendTables::new(WORKERS);
    let (workers, worker_inboxes): (Vec<_>, Vec<_>) =
        (0..WORKERS).map(|_| mailbox(10).unwrap()).unzip();
    let (health, health_inbox) = mailbox(10).unwrap();
    let (to_control, inbox) = mailbox(10).unwrap();
    let (rings, access_lines) = (0..WORKERS).map(|_| crossbeam_channel::bounded(10)).unzip();
    let (health_life, lives) = std::sync::mpsc::channel::<()>();
    let counters = worker_counters::counters(WORKERS);
    let (signals, signals_taken) = mpsc::channel(4);
    let (answers, answers_taken) = mpsc::channel(4);
    let (change_requests, asked) = mpsc::channel(4);
    let (finished, ended) = mpsc::channel(1);
    let (broken, breaks) = mpsc::channel(1);
    let health_report = HealthReport::of(health.clone());
    let started = Started {
        snapshot: compiler
            .compile(&config, &Resolved::new(), 1, 1)
            .unwrap()
            .into(),
        config_store: ConfigStore::new(config, Overrides::default(), SystemTime::now()).0,
        left: StartState::default(),
        known: known(),
        look_ups: LookUps::default(),
        compiler,
        listeners: Listeners::new(WORKERS),
        workers,
        tables,
        counters: counters.clone(),
        store: None,
        access_log: RunningAccessLog::start(log, access_lines, counters.clone()).unwrap(),
        health,
        health_thread: Watched {
            thread: std::thread::spawn(move || {
                let _ = lives.recv();
            }),
            pulse: Default::default(),
        },
        inbox,
        tickets: Default::default(),
        upgrades: Upgrades::new(Program::of_this_process(), health_report, Vec::new()),
        is_alone: true,
        admin: None,
    };
    let (questions, questioned) = mpsc::channel(1);
    let names = NameChannels {
        found: answers.clone(),
        questions,
        hanging: Default::default(),
    };
    let control = Control::new(started, names, Outlets { finished, broken }).unwrap();
    let outside = Outside {
        workers: worker_inboxes,
        health: health_inbox,
        to_control,
        counters,
        rings,
        health_life: Some(health_life),
        signals,
        answers,
        change_requests,
        standing: control.config.standing(),
    };
    let inputs = Inputs {
        signals: signals_taken,
        answers: answers_taken,
        finished: ended,
        change_requests: asked,
        questions: questioned,
        broken: breaks,
    };
    (outside, control, inputs)
}

/// Answers by which the backend's name does not resolve.
fn known() -> KnownAddrs {
    let mut known = KnownAddrs::default();
    known.take_in(vec![("api.internal".to_owned(), Err("unknown".to_owned()))]);
    known
}

struct Inputs {
    signals: mpsc::Receiver<Signal>,
    answers: mpsc::Receiver<LookUpResults>,
    finished: mpsc::Receiver<Finished>,
    change_requests: mpsc::Receiver<ChangeRequest>,
    questions: mpsc::Receiver<LookUpRequest>,
    broken: mpsc::Receiver<&'static str>,
}

fn full() -> CannotCompile {
    let (pool, backend) = ("api".to_owned(), "a:1".to_owned());
    CannotCompile::from(TooManyBackends { pool, backend })
}

/// A compiler that refuses 192.0.2.13, and whose snapshots listen nowhere.
fn compiler(shutdown_timeout: Duration) -> Compiler {
    let mut compiler = Compiler::of_test(WORKERS);
    let refused = IpAddr::from([192, 0, 2, 13]);
    compiler.hooks.before.push(Box::new(move |resolved| {
        let mut ips = resolved.values().flatten();
        if ips.any(|ip| *ip == refused) {
            return Err(full());
        }
        Ok(())
    }));
    compiler.hooks.after = Some(Box::new(move |snapshot| {
        snapshot.shutdown_timeout = shutdown_timeout;
        snapshot.listeners.clear();
    }));
    compiler
}

/// Runs the thread beside `play`; its exit code.
fn run_beside(control: Control, mut inputs: Inputs, play: impl AsyncFnOnce()) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // New names are looked up, and those in force are not.
        let in_force = watch::Sender::new(WatchedNames {
            hosts: Vec::new(),
            every: Duration::from_secs(60),
        });
        let (names, found) = (in_force.subscribe(), control.names.channels.found.clone());
        tokio::spawn(LookUps::default().run(names, inputs.questions, found));
        let inlets = Inlets {
            broken: inputs.broken,
            wake: UnixStream::from_std(control.inbox.wake_stream().unwrap()).unwrap(),
            found: inputs.answers,
            finished: inputs.finished,
            change_requests: inputs.change_requests,
        };
        let next_signal = async || match inputs.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        };
        tokio::join!(control.run(inlets, next_signal), play()).0
    })
}

/// Waits for a message that fits.
async fn expect<T, R>(inbox: &Inbox<T>, fits: impl Fn(T) -> Option<R>) -> R {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        match inbox.take() {
            Some(message) => {
                if let Some(found) = fits(message) {
                    return found;
                }
            }
            None => sleep(Duration::from_millis(1)).await,
        }
        assert!(Instant::now() < patience, "no such message came");
    }
}

fn is_drain(message: ToWorker) -> Option<()> {
    matches!(message, ToWorker::Drain).then_some(())
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);
const STOP: Signal = Signal::Stop("SIGTERM");

#[test]
fn a_signal_drains_the_workers_and_ends_when_all_are_done() {
    let (outside, control, inputs) = outside(LONG, None);
    let code = run_beside(control, inputs, async || {
        outside.signals.send(STOP).await.unwrap();
        for (inbox, worker) in outside.workers.iter().zip(0..) {
            expect(inbox, is_drain).await;
            outside.say_drained(worker);
        }
    });
    assert_eq!(code, 0);
}

#[test]
fn what_still_runs_after_the_timeout_is_cut() {
    let (outside, control, inputs) = outside(SHORT, None);
    outside.counters[1].begin_exchange();
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
    outside.counters[0].begin_exchange();
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
        for (inbox, worker) in outside.workers.iter().zip(0..) {
            expect(inbox, is_drain).await;
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
    run_beside(control, inputs, async || {
        let generation_of = |message| match message {
            ToHealth::Snapshot(snapshot) => Some(snapshot.generation),
            _ => None,
        };
        let find = async |last| {
            let found = LookUpResults::Again(answer(last));
            outside.answers.send(found).await.unwrap();
        };
        // A repeated answer makes no second snapshot, and an answer that cannot be compiled makes none at all.
        for (last, generation) in [(1, 2), (2, 3)] {
            find(last).await;
            let snapshot = outside.adopt(generation).await;
            let label = format!("api.internal (192.0.2.{last}:80)");
            assert_eq!(snapshot.pools[0].backends[0].label, label);
            assert_eq!(expect(&outside.health, generation_of).await, generation);
            find(last).await;
            find(13).await;
        }
        outside.signals.send(STOP).await.unwrap();
    });
}

#[test]
fn addresses_that_could_not_be_compiled_are_tried_again() {
    let (outside, mut control, inputs) = outside(LONG, None);
    let mut compiler = compiler(LONG);
    let mut failures = 1;
    let failing_once = move |_: &Resolved| match std::mem::take(&mut failures) {
        0 => Ok(()),
        _ => Err(full()),
    };
    compiler.hooks.before.push(Box::new(failing_once));
    control.files = FileThread::start(compiler).unwrap();
    run_beside(control, inputs, async || {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let answers = vec![("api.internal".to_owned(), Ok(vec![ip]))];
        outside
            .answers
            .send(LookUpResults::Again(answers))
            .await
            .unwrap();
        outside.adopt(2).await;
        outside.stop().await;
    });
}

fn access_line(request_id: u64) -> AccessLine {
    AccessLine {
        began: Micros::now(),
        request_id: RequestId(request_id),
        generation: 1,
        facts: RequestFacts {
            pool: Some(PoolId(0)),
            ..RequestFacts::default()
        },
        texts: LoggedTexts::new(&RequestTexts {
            method: b"GET",
            target: b"/",
            ..RequestTexts::default()
        }),
        tally: Tally {
            status: 200,
            ..Tally::default()
        },
        total_micros: 0,
        failure: "",
        cache: Default::default(),
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
    let (outside, control, inputs) = outside(LONG, Some(open_in_time(&settings, LONG).unwrap()));
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
