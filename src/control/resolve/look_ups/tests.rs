//! Look-ups that never end, beside others that do.

use std::sync::{Mutex, mpsc as std_mpsc};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Look-ups of names that begin with `dead` never end.
fn look_ups() -> LookUps {
    LookUps::by(Arc::new(|host| {
        if host.starts_with("dead") {
            loop {
                thread::park();
            }
        } else {
            Ok(vec![[192, 0, 2, 1].into()])
        }
    }))
}

fn names(hosts: impl IntoIterator<Item = String>) -> WatchedNames {
    WatchedNames {
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

/// Waits until a look-up has ended, notes it, and returns its name.
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
        is("not looked up within 5s: 24 other names that get no answer"),
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
    // Another name is added and removed all the time.
    for secs in 1..30 {
        let other = (secs % 2 == 0).then(|| "b".to_owned());
        let hosts = ["a".to_owned()].into_iter().chain(other.clone());
        look_ups.follow(&names(hosts), &BTreeSet::new(), at(secs));
        // A name that is due soon goes with one that is due now.
        if secs < 26 {
            look_ups.step(at(secs));
            if let Some(other) = other {
                assert_eq!(end(&mut look_ups, at(secs)), other);
            }
        }
    }
    look_ups.step(at(30));
    assert_eq!(end(&mut look_ups, at(30)), "a");
    // A shorter pause takes effect at once.
    let shorter = WatchedNames {
        every: 2 * SECOND,
        ..names(["a".to_owned()])
    };
    look_ups.follow(&shorter, &BTreeSet::new(), at(31));
    assert_eq!(look_ups.next(at(31)), at(33));
}

#[test]
fn a_late_answer_is_an_answer_and_a_forgotten_one_is_none() {
    let (release, released) = std_mpsc::channel::<()>();
    let released = Mutex::new(released);
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

/// Look-ups that never end, and the number of look-ups of each name.
fn counted_look_ups() -> (LookUps, Arc<Mutex<BTreeMap<String, usize>>>) {
    let asked = Arc::<Mutex<BTreeMap<String, usize>>>::default();
    let counters = asked.clone();
    let look_ups = LookUps::by(Arc::new(move |host| {
        *counters.lock().unwrap().entry(host.to_owned()).or_default() += 1;
        loop {
            thread::park();
        }
    }));
    (look_ups, asked)
}

#[test]
fn whoever_asks_again_for_names_that_were_given_up_is_told_again() {
    let mut look_ups = look_ups();
    for secs in [0, 6, 20] {
        look_ups.look_up_once(dead(60), at(secs));
        let mut told = look_ups.step(at(secs));
        told.extend(look_ups.step(at(secs + 5)));
        let hosts: BTreeSet<String> = told.into_iter().map(|(host, _)| host).collect();
        assert_eq!(hosts, dead(60).collect(), "asked after {secs} s");
    }
}

#[test]
fn threads_that_hang_are_replaced_up_to_a_bound_and_their_names_are_not_asked_for_again() {
    let (mut look_ups, asked) = counted_look_ups();
    let most = limits::LOOKUPS - limits::LOOKUPS_SPARE + limits::LOOKUPS_REPLACED;
    for round in 0..20 {
        let now = at(round * 6);
        // The names come with a change and are removed again, as after a change that is refused.
        look_ups.look_up_once(dead(200), now);
        look_ups.step(now);
        look_ups.step(at(round * 6 + 5));
        look_ups.follow(&names([]), &BTreeSet::new(), at(round * 6 + 5));
        assert!(
            look_ups.threads <= most + limits::LOOKUPS_SPARE,
            "{}",
            look_ups.threads
        );
    }
    assert!(look_ups.threads >= most, "{}", look_ups.threads);
    assert_eq!(look_ups.hanging().get(), look_ups.threads as u64);
    let threads = look_ups.threads;
    let is_begun = || asked.lock().unwrap().len() == threads;
    while !is_begun() {
        thread::yield_now();
    }
    assert!(asked.lock().unwrap().values().all(|count| *count == 1));
}

#[test]
fn a_thread_that_ends_after_all_makes_room_although_nobody_wants_its_name() {
    let (release, released) = std_mpsc::channel::<()>();
    let released = Mutex::new(released);
    let mut look_ups = LookUps::by(Arc::new(move |_| {
        let _ = released.lock().unwrap().recv();
        Err("too late".to_owned())
    }));
    look_ups.look_up_once(["a".to_owned()], at(0));
    look_ups.step(at(0));
    look_ups.follow(&names([]), &BTreeSet::new(), at(6));
    look_ups.step(at(6));
    assert_eq!((look_ups.threads, look_ups.hanging().get()), (1, 1));
    release.send(()).unwrap();
    let ended = look_ups.ended.1.blocking_recv().unwrap();
    assert_eq!(look_ups.note(ended, at(7)), None);
    look_ups.step(at(7));
    assert_eq!((look_ups.threads, look_ups.hanging().get()), (0, 0));
}

#[test]
fn names_that_hung_last_time_come_after_all_others() {
    let (release, released) = std_mpsc::channel::<()>();
    let released = Mutex::new(released);
    let mut look_ups = LookUps::by(Arc::new(move |host| {
        if host.starts_with("dead") {
            let _ = released.lock().unwrap().recv();
            Err("no name server answers".to_owned())
        } else {
            Ok(vec![[192, 0, 2, 1].into()])
        }
    }));
    look_ups.follow(&names(dead(20)), &BTreeSet::new(), at(0));
    look_ups.step(at(0));
    look_ups.step(at(5));
    for _ in 0..20 {
        release.send(()).unwrap();
        end(&mut look_ups, at(20));
    }
    // One change asks for all of these names and for others.
    let others = ["later".to_owned(), "zebra".to_owned()];
    look_ups.look_up_once(dead(20).chain(others.clone()), at(30));
    let due = look_ups.due(at(30));
    assert_eq!(due[..2], others);
    assert_eq!(due.len(), 22);
}
