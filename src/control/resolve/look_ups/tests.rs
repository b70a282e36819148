//! Look-ups that never end, beside those that do.

use std::sync::mpsc as std_mpsc;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Look-ups of names that begin with `dead` never end.
fn look_ups() -> LookUps {
    LookUps::by(Arc::new(|host| match host.starts_with("dead") {
        true => loop {
            thread::park();
        },
        false => Ok(vec![[192, 0, 2, 1].into()]),
    }))
}

fn names(hosts: impl IntoIterator<Item = String>) -> Names {
    Names {
        hosts: hosts.into_iter().collect(),
        every: 30 * SECOND,
    }
}

fn dead(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("dead{number:03}"))
}

fn at(secs: u32) -> Micros {
    Micros(1_000_000).after(secs * SECOND)
}

/// Waits until a look-up has ended, and notes it; the name that it was for.
fn end(look_ups: &mut LookUps, now: Micros) -> String {
    let ended = look_ups.ended.1.blocking_recv().unwrap();
    look_ups.note(ended, now).unwrap().0
}

#[test]
fn room_table() {
    let (all, spare) = (limits::LOOKUPS, limits::LOOKUPS_SPARE);
    let rows = [
        (Last::Never, 0, 0, 0, true),
        (Last::Never, all - spare - 1, 0, 100, true),
        (Last::Never, all - spare, 0, 100, false),
        (Last::Never, all - spare, 0, 0, true),
        (
            Last::Never,
            all - 1,
            all - 1,
            limits::LOOKUPS_OF_CHANGE - 1,
            true,
        ),
        (Last::Never, all, all, 0, false),
        (Last::Failed, 0, 0, 0, true),
        (
            Last::Failed,
            all - spare - 1,
            limits::FAILING_LOOKUPS - 1,
            0,
            true,
        ),
        (
            Last::Failed,
            all - spare - 1,
            limits::FAILING_LOOKUPS,
            0,
            false,
        ),
        (Last::Failed, all - spare, 0, 0, false),
        (Last::Good, all - spare, all - spare, 0, true),
        (Last::Good, all - spare / 2, 0, 0, false),
    ];
    for (last, threads, failing, of_change, expected) in rows {
        let found = has_room(last, threads, failing, of_change);
        assert_eq!(found, expected, "{last:?} {threads} {failing} {of_change}");
    }
}

#[test]
fn a_new_name_does_not_wait_behind_dead_ones() {
    let mut look_ups = look_ups();
    look_ups.follow(&names(dead(200)), &BTreeSet::new(), at(0));
    assert_eq!(look_ups.step(at(0)), []);
    assert_eq!(look_ups.threads, limits::LOOKUPS - limits::LOOKUPS_SPARE);
    for (number, secs) in [1, 6, 40].into_iter().enumerate() {
        look_ups.step(at(secs));
        let good = format!("good{number}");
        look_ups.look_up_once([good.clone()], at(secs));
        look_ups.step(at(secs));
        assert_eq!(end(&mut look_ups, at(secs)), good, "after {secs} s");
    }
}

#[test]
fn whoever_waits_is_told_in_time_and_once() {
    let mut look_ups = look_ups();
    look_ups.follow(&names(dead(40)), &BTreeSet::new(), at(0));
    assert_eq!(look_ups.step(at(0)), []);
    assert_eq!(look_ups.next(at(0)), at(5));
    let told = look_ups.step(at(5));
    assert_eq!(told.len(), 40);
    let begun = limits::LOOKUPS - limits::LOOKUPS_SPARE;
    let is = |words: &str| {
        let texts = told.iter().map(|(_, answer)| answer.as_ref().unwrap_err());
        texts.filter(|text| text.starts_with(words)).count()
    };
    assert_eq!(is("no answer within 5s"), begun);
    assert_eq!(
        is("not looked up within 5s: 24 others that do not answer"),
        40 - begun
    );
    assert_eq!(look_ups.step(at(6)), []);
    assert!(
        look_ups.next(at(6)) > at(6),
        "there is nothing to do before a thread is free"
    );
}

#[test]
fn each_name_is_due_by_itself() {
    let mut look_ups = look_ups();
    look_ups.follow(&names(["a".to_owned()]), &BTreeSet::new(), at(0));
    look_ups.step(at(0));
    assert_eq!(end(&mut look_ups, at(0)), "a");
    // Another name comes and goes all the time.
    for secs in 1..30 {
        let other = (secs % 2 == 0).then(|| "b".to_owned());
        let hosts = ["a".to_owned()].into_iter().chain(other.clone());
        look_ups.follow(&names(hosts), &BTreeSet::new(), at(secs));
        // What is due soon goes with what is due now.
        if secs < 26 {
            look_ups.step(at(secs));
            if let Some(other) = other {
                assert_eq!(end(&mut look_ups, at(secs)), other);
            }
        }
    }
    look_ups.step(at(30));
    assert_eq!(end(&mut look_ups, at(30)), "a");
    // A shorter pause holds at once.
    let shorter = Names {
        every: 2 * SECOND,
        ..names(["a".to_owned()])
    };
    look_ups.follow(&shorter, &BTreeSet::new(), at(31));
    assert_eq!(look_ups.next(at(31)), at(33));
}

#[test]
fn a_late_answer_is_an_answer_and_a_forgotten_one_is_none() {
    let (release, released) = std_mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let mut look_ups = LookUps::by(Arc::new(move |_| {
        let _ = released.lock().unwrap().recv();
        Ok(vec![[192, 0, 2, 1].into()])
    }));
    look_ups.follow(&names(["a".to_owned()]), &BTreeSet::new(), at(0));
    look_ups.step(at(0));
    assert_eq!(look_ups.step(at(5)).len(), 1);
    assert_eq!(look_ups.step(at(50)), [], "one look-up at a time");
    release.send(()).unwrap();
    assert_eq!(end(&mut look_ups, at(50)), "a");
    assert_eq!(look_ups.names["a"].last, Last::Good);
    look_ups.step(at(80));
    look_ups.follow(&names([]), &BTreeSet::new(), at(81));
    release.send(()).unwrap();
    let ended = look_ups.ended.1.blocking_recv().unwrap();
    assert_eq!(look_ups.note(ended, at(82)), None);
    assert_eq!(look_ups.threads, 0);
}
