//! A round: one call fails or hangs, and everything that must hold then is checked.

use std::{fs, thread};

use super::operation::{Operation, Outcome};
use super::place::{Place, World};
use crate::support::eventually;
use crate::support::shim::Strike;

/// A call and an operation of one proxy.
#[derive(Clone, Debug)]
pub struct Round {
    pub operation: Operation,
    /// The call, in the form in which it is noted, and which of several equal ones.
    pub call: String,
    pub number: usize,
    pub strike: Strike,
    /// Whether the round is of the half that ends sooner: with a kill instead of another attempt, or with a stop
    /// instead of a wait.
    pub is_short: bool,
}

impl Round {
    /// Runs the round, and returns whether the call was made.
    #[track_caller]
    pub fn run(&self) -> bool {
        let place = Place::new();
        let outcome = match (self.operation, self.strike) {
            (Operation::Start, _) => self.start(&place),
            (Operation::Stop, _) => self.stop(&place),
            (_, Strike::Error(_)) => self.fail(&place),
            (_, Strike::Hang) => self.hang(&place),
        };
        let world = place.start();
        world.has_kept_all();
        if self.operation.is_kept() {
            self.operation.is_as_said(&world, &outcome);
        }
        world.stops();
        place.disk.is_hit()
    }

    fn strike(&self, place: &Place) {
        place.disk.strike(&self.call, self.number, self.strike);
    }

    fn fail(&self, place: &Place) -> Outcome {
        let (world, operation) = (place.start(), self.operation);
        operation.prepare(&world);
        let traffic = world.traffic();
        self.strike(place);
        let mut outcome = operation.perform(&world);
        place.disk.rest();
        world.is_well();
        operation.is_as_said(&world, &outcome);
        if !self.is_short {
            outcome = succeed(operation, &world, outcome);
        }
        traffic.end();
        outcome
    }

    fn hang(&self, place: &Place) -> Outcome {
        let (world, operation) = (place.start(), self.operation);
        operation.prepare(&world);
        let traffic = world.traffic();
        self.strike(place);
        thread::scope(|scope| {
            let asked = scope.spawn(|| operation.perform(&world));
            eventually("the call is made", || {
                place.disk.is_hit() || asked.is_finished()
            });
            world.is_well();
            if self.is_short {
                traffic.end();
                world.stops();
                place.disk.rest();
                return asked.join().expect("its end is told");
            }
            if !operation.answers_at_its_end() {
                place.disk.rest();
            }
            let outcome = asked.join().expect("an answer");
            world.is_well();
            place.disk.rest();
            after_the_hang(&world);
            operation.is_as_said(&world, &outcome);
            let outcome = succeed(operation, &world, outcome);
            traffic.end();
            outcome
        })
    }

    fn start(&self, place: &Place) -> Outcome {
        before_start(place);
        self.strike(place);
        let world = place.launch();
        if self.strike == Strike::Hang {
            eventually("the call is made", || {
                place.disk.is_hit() || world.say("GET /health", "").is_some()
            });
            if self.is_short {
                world.stops();
            }
            place.disk.rest();
        }
        if world.settles() {
            place.disk.rest();
            world.is_well();
            world.has_kept_all();
        }
        place.disk.rest();
        Outcome::Unknown
    }

    fn stop(&self, place: &Place) -> Outcome {
        let world = place.start();
        self.operation.prepare(&world);
        self.strike(place);
        world.stops();
        place.disk.rest();
        Outcome::Unknown
    }
}

/// Every file that a start reads exists, and keys of tickets are due.
#[track_caller]
pub fn before_start(place: &Place) {
    let world = place.start();
    Operation::Start.prepare(&world);
    drop(world);
    fs::remove_file(place.files.path().join("tickets")).unwrap();
}

/// Starts the operation again, if it has not succeeded, now that nothing fails.
#[track_caller]
fn succeed(operation: Operation, world: &World, outcome: Outcome) -> Outcome {
    if outcome == Outcome::Done {
        return outcome;
    }
    let outcome = operation.perform(world);
    assert_eq!(outcome, Outcome::Done, "it succeeds without the failure");
    operation.is_as_said(world, &outcome);
    outcome
}

/// Waits until the hanging work on files is over: the next piece of work is done.
#[track_caller]
fn after_the_hang(world: &World) {
    eventually("files are worked with again", || {
        let answer = world.say("GET /config/diff", "");
        answer.is_some_and(|(status, _)| status == 200)
    });
}
