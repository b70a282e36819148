//! Whatever call on a file fails or hangs, once, at each thing that is asked of the proxy: what was acknowledged is in
//! force and stays so, what was refused is not, requests are answered all the time, and the API and a stop too, for as
//! long as the call hangs.

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
/// The first calls of several on the same file by the same function that are struck.
const SAME_CALLS: usize = 4;
const THREADS: usize = 16;

/// The calls on files at an operation, and how many of each.
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
    // The name of one folder has a port in it, which differs.
    let calls_noted = place.disk.calls().into_iter();
    for call in calls_noted.filter(|call| !call.contains("authority.example-")) {
        *calls.entry(call).or_default() += 1;
    }
    calls
}

/// An unreadable certificate is looked at again after a minute: no test waits so long.
fn is_left_out(round: &Round) -> bool {
    (round.operation, &*round.call) == (Operation::Order, "stat a.example.pem")
}

/// How each call is struck at an operation; `at` counts both, so that a call meets another error at each operation.
/// Whatever writes what is kept meets them all, and hangs twice: until it is let go, and until the proxy has stopped.
fn strikes(operation: Operation, at: usize) -> Vec<Strike> {
    let (errors, hangs) = match operation.is_kept() {
        true => (ERRORS.len(), 2),
        false => (1, 1),
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
    // Those that wait longest begin first.
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
