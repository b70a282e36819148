//! Every call on a file fails or hangs, once, during every operation of the proxy. Acknowledged changes are in force
//! and stay so, refused ones are not; requests are always answered, and so are the API and a stop while the call hangs.

mod operation;
mod place;
mod round;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use libc::{EACCES, EIO, EMFILE, ENOSPC};

use crate::support::shim::Strike;
use operation::Operation;
use operation::{ALL, Outcome};
use place::Place;
use round::{Round, before_start};

const ERRORS: [i32; 4] = [EMFILE, ENOSPC, EIO, EACCES];
/// The number of equal calls (one function, one file) that are struck, from the first one on.
const SAME_CALLS: usize = 4;
const THREADS: usize = 8;

/// The calls on files during an operation, each with its number.
fn calls_of(operation: Operation) -> BTreeMap<String, usize> {
    let place = Place::new();
    let note = || place.disk.note_calls();
    if operation == Operation::Start {
        before_start(&place);
        note();
    }
    let mut world = place.start();
    match operation {
        Operation::Start => {}
        Operation::Stop => {
            note();
            assert_eq!(world.proxy.stop(), 0);
        }
        _ => {
            operation.prepare(&world);
            let traffic = world.traffic();
            note();
            assert_eq!(operation.perform(&world), Outcome::Done);
            traffic.end();
        }
    }
    place.disk.rest();
    let mut calls = BTreeMap::new();
    // The name of one folder contains a port, which differs from run to run.
    let calls_noted = place.disk.calls().into_iter();
    for call in calls_noted.filter(|call| !call.contains("authority.example-")) {
        *calls.entry(call).or_default() += 1;
    }
    calls
}

/// An unreadable certificate is read again after a minute, which is too long for a test.
fn is_left_out(round: &Round) -> bool {
    (round.operation, &*round.call) == (Operation::Order, "stat a.example.pem")
}

/// The ways in which each call is struck during an operation. `at` counts calls and operations, so that a call meets
/// another error in each operation. Operations that write lasting files meet every error, and two kinds of hang: until
/// the call is let go, and until the proxy has stopped.
fn strikes(operation: Operation, at: usize) -> Vec<Strike> {
    let (errors, hangs) = if operation.is_kept() {
        (ERRORS.len(), 2)
    } else {
        (1, 1)
    };
    let errors = (0..errors).map(|each| Strike::Error(ERRORS[(at + each) % ERRORS.len()]));
    errors
        .chain([Strike::Hang; 2].into_iter().take(hangs))
        .collect()
}

fn rounds_of(operation: Operation) -> Vec<Round> {
    let mut rounds = Vec::new();
    for (at, (call, count)) in calls_of(operation).into_iter().enumerate() {
        let at = at + operation as usize;
        for (each, strike) in strikes(operation, at).into_iter().enumerate() {
            rounds.push(Round {
                operation,
                call: call.clone(),
                number: 1 + (at + each) % count.min(SAME_CALLS),
                strike,
                is_short: (at + each) % 2 == 1,
            });
        }
    }
    rounds
}

#[test]
fn a_call_on_a_file_that_fails_or_hangs_costs_nobody_anything() {
    let began = Instant::now();
    let mut rounds: Vec<Round> = ALL.into_iter().flat_map(rounds_of).collect();
    // The rounds that wait longest begin first.
    rounds.sort_by_key(|round| round.strike == Strike::Hang && !round.is_short);
    rounds.retain(|round| !is_left_out(round));
    let total = rounds.len();
    let (left, failed, hit) = (
        Mutex::new(rounds),
        Mutex::new(Vec::new()),
        Mutex::new(Vec::new()),
    );
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(round) = left.lock().unwrap().pop() else {
                        return;
                    };
                    match catch_unwind(|| round.run()) {
                        Ok(true) => hit.lock().unwrap().push(round),
                        Ok(false) => eprintln!("MISSED {round:?}"),
                        Err(_) => failed.lock().unwrap().push(round),
                    }
                }
            });
        }
    });
    let (hit, failed) = (hit.into_inner().unwrap(), failed.into_inner().unwrap());
    let calls: BTreeSet<_> = hit
        .iter()
        .map(|round| (round.operation as usize, &round.call))
        .collect();
    let secs = began.elapsed().as_secs();
    let summary = format!(
        "{} operations, {} calls on files, {} of {total} rounds struck, {secs} s",
        ALL.len(),
        calls.len(),
        hit.len()
    );
    eprintln!("{summary}");
    for round in &failed {
        eprintln!("FAILED {round:?}");
    }
    assert!(failed.is_empty(), "{} rounds failed", failed.len());
    assert!(
        calls.len() > 150 && hit.len() * 4 > total * 3,
        "too few: {summary}"
    );
}
