//! Entries that come back from the disk, and entries that do not: evictions, ends of processes, removals and purges.

use super::*;
use crate::cache::tags::named_tag;

const DISK: u64 = 64 << 20;

#[test]
fn what_was_evicted_comes_back_whole() {
    let folder = TestFolder::new();
    let store = open(&folder, 8 << 20, DISK);
    let lengths = [0, 1, 100, 20_000, 40_000, 100_000];
    // Far more than memory has room for, whatever the disk does not get.
    for turn in 0..160 {
        for (at, length) in lengths.into_iter().enumerate() {
            let number = turn * lengths.len() + at;
            put(&store, &key(number), &body(number, 0, length));
            settled(&store);
        }
    }
    let known = (0..960).filter(|number| get(&store, &key(*number)).is_some());
    assert!(known.count() < 800, "memory has all");
    let mut lost = 0;
    // Entries that come from the disk in the first pass leave memory unchanged in the second.
    for number in (0..960).rev().chain((0..960).rev()) {
        let Some(found) = fetch(&store, &key(number)) else {
            lost += 1;
            continue;
        };
        assert!(
            body_of(&found) == body(number, 0, lengths[number % 6]),
            "{number}"
        );
        assert_eq!(
            (found.head(), found.facts()),
            (new_entry(None).head, facts(1))
        );
        settled(&store);
    }
    let found = usage(&store);
    assert!(found.recalled > 0 && found.unchanged > 0, "{found:?}");
    assert_eq!((found.errors, found.damaged), (0, 0));
    // Where many entries leave at once, the disk does not get all of them: they are missing in both passes. Memory has
    // no room now and then for what is read.
    let most = 2 * found.dropped + found.recall_misses;
    assert!(lost <= most && lost < 200, "{lost} {found:?}");
    // Each file takes whole blocks: the segments, and the journal.
    let (files, count) = (folder.bytes(), folder.segments().len() as u64 + 1);
    assert!(
        (files..files + count * 4_096).contains(&found.bytes),
        "{found:?} {files}"
    );
}

#[test]
fn an_entry_is_the_same_after_a_restart() {
    let folder = TestFolder::new();
    let store = open(&folder, 8 << 20, DISK);
    let tags = named_tag(b"one");
    let tags = [&(tags.len() as u16).to_be_bytes()[..], &tags].concat();
    // At one request an eighth of memory is read at most: both variants of the largest fit in there.
    let bodies: [&[u8]; 3] = [b"", b"small", &body(1, 1, 400_000)];
    for (at, body) in bodies.iter().enumerate() {
        for trailers in [&b""[..], b"Grade: A\r\n"] {
            for variant in [&b"gzip"[..], b"br"] {
                let new = NewEntry {
                    variant,
                    tags: &tags,
                    facts: facts(at as i64),
                    ..new_entry(Some(body.len() as u64))
                };
                let key = key(at * 2 + trailers.len().min(1));
                let mut filling = begin(&store, &key).store(new).unwrap();
                filling.push(body).unwrap();
                filling.finish(trailers).unwrap();
            }
        }
    }
    end(store);
    let store = open(&folder, 8 << 20, DISK);
    assert_eq!(usage(&store).entries, 12);
    for (at, body) in bodies.iter().enumerate() {
        for trailers in [&b""[..], b"Grade: A\r\n"] {
            let key = key(at * 2 + trailers.len().min(1));
            fetch(&store, &key).unwrap();
            for variant in [&b"gzip"[..], b"br"] {
                let found = store.look_up(store.hash(&key), &key, |known| known == variant);
                let found = found.entry.unwrap();
                assert_eq!((found.tags(), found.trailers()), (&tags[..], trailers));
                assert_eq!(found.facts(), facts(at as i64));
                assert!(body_of(&found) == **body);
            }
            assert!(store.recall(&key).is_none(), "all variants are in memory");
        }
    }
    assert_eq!(usage(&store).recalled, 6);
}

/// Ends the process, in good order or not; returns the next one.
fn restart(
    folder: &TestFolder,
    store: Arc<CacheStore>,
    is_clean: bool,
) -> (TestFolder, Arc<CacheStore>) {
    if is_clean {
        end(store);
    }
    let copy = folder.copy();
    let store = open(&copy, 4 << 20, DISK);
    (copy, store)
}

/// A store whose entries are all on the disk, and half of them in memory.
fn filled(folder: &TestFolder) -> Arc<CacheStore> {
    let store = open(folder, 4 << 20, DISK);
    for number in 0..8 {
        let tag = named_tag(format!("tag {number}").as_bytes());
        let tags = [&(tag.len() as u16).to_be_bytes()[..], &tag].concat();
        let new = NewEntry {
            tags: &tags,
            ..new_entry(Some(100))
        };
        complete(begin(&store, &key(number)), new, &body(number, 0, 100)).unwrap();
    }
    end(store);
    let store = open(folder, 4 << 20, DISK);
    (0..8)
        .step_by(2)
        .for_each(|number| drop(fetch(&store, &key(number)).unwrap()));
    store
}

/// Waits until removals are written: the disk writes them behind one purge and before the next one.
fn written(store: &CacheStore) {
    for _ in 0..2 {
        store.purge(Purge::Url(b"nothing"), PurgeEffect::Hard);
        if let Some(sync) = store.purge_sync() {
            until("the purge is written", || sync.is_done());
        }
    }
}

#[test]
fn what_was_ended_never_comes_back() {
    let prefix = url_of("http://a.test/");
    let tags: Vec<Vec<u8>> = (0..8)
        .map(|n| named_tag(format!("tag {n}").as_bytes()))
        .collect();
    type End<'a> = Box<dyn Fn(&Arc<CacheStore>, usize) + 'a>;
    let ends: [(&str, End<'_>); 7] = [
        (
            "invalidated",
            Box::new(|store, n| store.invalidate(store.hash(&key(n)), &key(n))),
        ),
        (
            "replaced",
            Box::new(|store, n| drop(put(store, &key(n), &body(n, 1, 50)))),
        ),
        (
            "replaced and invalidated",
            Box::new(|store, n| {
                put(store, &key(n), &body(n, 1, 50));
                store.invalidate(store.hash(&key(n)), &key(n));
            }),
        ),
        (
            "URL",
            Box::new(|store, n| {
                store.purge(
                    Purge::Url(&url_of(&format!("http://a.test/{n}"))),
                    PurgeEffect::Hard,
                );
            }),
        ),
        (
            "prefix",
            Box::new(|store, _| {
                store.purge(Purge::Prefix(&prefix), PurgeEffect::Hard);
            }),
        ),
        (
            "tag",
            Box::new(|store, n| {
                store.purge(Purge::Tag(&tags[n]), PurgeEffect::Hard);
            }),
        ),
        (
            "all",
            Box::new(|store, _| {
                store.purge(Purge::All, PurgeEffect::Hard);
            }),
        ),
    ];
    for (name, act) in &ends {
        for is_clean in [true, false] {
            let folder = TestFolder::new();
            let store = filled(&folder);
            (0..8)
                .filter(|n| n % 4 < 2)
                .for_each(|number| act(&store, number));
            written(&store);
            for number in 0..8 {
                let is_ended = number % 4 < 2 || ["prefix", "all"].contains(name);
                let found = fetch(&store, &key(number)).map(|found| body_of(&found));
                let old = body(number, 0, 100);
                assert_eq!(found == Some(old), !is_ended, "{name} {number} before");
            }
            let (_copy, store) = restart(&folder, store, is_clean);
            for number in 0..8 {
                let is_ended = number % 4 < 2 || ["prefix", "all"].contains(name);
                let found = fetch(&store, &key(number));
                let expected = match (is_ended, *name, is_clean) {
                    (true, "replaced", true) => Some(body(number, 1, 50)),
                    (true, ..) => None,
                    _ => Some(body(number, 0, 100)),
                };
                let state = found.as_ref().map(|found| found.state());
                let found = found.map(|found| body_of(&found));
                assert_eq!(found, expected, "{name} {number} {is_clean}");
                assert!(state.is_none_or(|state| state == EntryState::Live));
            }
        }
    }
}

#[test]
fn a_soft_purge_outlasts_the_process() {
    let folder = TestFolder::new();
    let store = filled(&folder);
    store.purge(Purge::Url(&url_of("http://a.test/0")), PurgeEffect::Soft);
    store.purge(Purge::Url(&url_of("http://a.test/1")), PurgeEffect::Soft);
    for is_clean in [false, true] {
        written(&store);
        let (_copy, next) = restart(&folder, store.clone(), is_clean);
        for number in 0..8 {
            let state = fetch(&next, &key(number)).unwrap().state();
            assert_eq!(state == EntryState::Stale, number < 2, "{number}");
        }
    }
}

#[test]
fn what_became_stale_in_memory_is_never_fresh_again() {
    for is_clean in [false, true] {
        let folder = TestFolder::new();
        let store = filled(&folder);
        for number in [0, 2] {
            store.make_stale(&get(&store, &key(number)).unwrap());
        }
        written(&store);
        let (_copy, next) = restart(&folder, store, is_clean);
        for number in 0..8 {
            let found = fetch(&next, &key(number));
            let state = found.map(|found| found.state());
            let expected = match number {
                0 | 2 if !is_clean => None,
                0 | 2 => Some(EntryState::Stale),
                _ => Some(EntryState::Live),
            };
            assert_eq!(state, expected, "{number} {is_clean}");
        }
    }
}

/// An end comes at any moment of a reading.
#[test]
fn what_ends_while_it_is_read_does_not_come_back() {
    const COUNT: usize = 60;
    let folder = TestFolder::new();
    let store = open(&folder, 16 << 20, DISK);
    for number in 0..COUNT {
        put(&store, &key(number), &body(number, 0, 200_000));
    }
    end(store);
    let store = open(&folder, 16 << 20, DISK);
    assert_eq!(usage(&store).entries, COUNT as u64);
    for number in 0..COUNT {
        let key = key(number);
        let recall = store.recall(&key).unwrap();
        thread::sleep(Duration::from_micros(50 * number as u64));
        match number % 2 {
            0 => {
                let url = url_of(&format!("http://a.test/{number}"));
                store.purge(Purge::Url(&url), PurgeEffect::Hard);
            }
            _ => store.invalidate(store.hash(&key), &key),
        }
        assert!(get(&store, &key).is_none(), "{number}");
        until("the recall ends", || {
            !matches!(recall.outcome(), Outcome::Undecided)
        });
        assert!(get(&store, &key).is_none(), "{number}");
    }
}

#[test]
fn what_comes_after_a_purge_stays() {
    let folder = TestFolder::new();
    let mut store = filled(&folder);
    for turn in 1..4 {
        store.purge(Purge::Prefix(&url_of("http://a.test/")), PurgeEffect::Hard);
        for number in 0..8 {
            assert!(fetch(&store, &key(number)).is_none());
            put(&store, &key(number), &body(number, turn, 60));
        }
        end(store);
        store = open(&folder, 4 << 20, DISK);
        for number in 0..8 {
            let found = fetch(&store, &key(number)).unwrap();
            assert_eq!(body_of(&found), body(number, turn, 60));
        }
    }
}

#[test]
fn two_processes_never_use_one_folder() {
    let folder = TestFolder::new();
    let first = filled(&folder);
    let second = beginning(&folder.0, 4 << 20, DISK);
    thread::sleep(Duration::from_millis(200));
    assert!(!usage(&second).is_open);
    assert!(second.recall(&key(1)).is_none());
    // A purge that comes before the folder is open concerns what is in it.
    second.purge(Purge::Url(&url_of("http://a.test/1")), PurgeEffect::Hard);
    second.invalidate(second.hash(&key(2)), &key(2));
    first.freeze().unwrap();
    until("the folder is free", || usage(&second).is_scanned);
    for number in 0..8 {
        let is_ended = number == 1 || number == 2;
        assert_eq!(fetch(&second, &key(number)).is_none(), is_ended, "{number}");
    }
    assert!(!usage(&first).is_open);
    end(second);
    first.thaw();
    until("the folder is used again", || usage(&first).is_scanned);
    assert!(fetch(&first, &key(3)).is_some());
    assert!(fetch(&first, &key(1)).is_none());
}

/// A purge of a process whose folder is another's cannot be answered as one that outlasts the process.
#[test]
fn a_process_does_not_answer_for_the_journal_of_another() {
    let folder = TestFolder::new();
    let store = open(&folder, 4 << 20, DISK);
    written(&store);
    assert!(store.purge_sync().is_none());
    store.freeze().unwrap();
    until("the folder is given up", || !usage(&store).is_open);
    assert!(store.purge_sync().is_none(), "what was ordered before");
    store.purge(Purge::All, PurgeEffect::Hard);
    let sync = store.purge_sync().unwrap();
    assert!(sync.is_hopeless() && !sync.is_done());
    assert!(!matches!(sync.fill().outcome(), Outcome::Undecided));
    store.thaw();
    until("the purge is written", || sync.is_done());
    assert!(store.purge_sync().is_none());
}

/// Two stores with the same memory, the second of which has the folder.
fn two_processes(folder: &TestFolder) -> (Arc<CacheStore>, Arc<CacheStore>) {
    let old = store(4 << 20);
    let HandedStore {
        memory,
        readers,
        state,
    } = old.freeze().unwrap();
    let settings = StoreSettings {
        max_bytes: 4 << 20,
        cores: 2,
    };
    let (new, _) = CacheStore::from_memfd(memory, settings, readers, state).unwrap();
    // The new process has heard of nothing when it takes the folder.
    old.purge(Purge::Url(&url_of("http://a.test/1")), PurgeEffect::Hard);
    let settings = DiskSettings {
        path: folder.0.clone(),
        max_bytes: DISK,
    };
    new.add_disk(settings).unwrap();
    until("the folder is scanned", || usage(&new).is_scanned);
    new.take_over();
    (old, new)
}

#[test]
fn purges_that_another_process_tells_are_written_although_nobody_looks_anything_up() {
    let folder = TestFolder::new();
    end(filled(&folder));
    let (old, new) = two_processes(&folder);
    old.purge(Purge::Url(&url_of("http://a.test/3")), PurgeEffect::Hard);
    old.invalidate(old.hash(&key(5)), &key(5));
    let has = |text: &[u8]| {
        let journal = fs::read(folder.0.join("journal")).unwrap();
        journal.windows(text.len()).any(|part| part == text)
    };
    until("the purges are in the journal", || {
        has(&url_of("http://a.test/1")) && has(&url_of("http://a.test/3"))
    });
    until("the invalidation is heard", || usage(&new).entries == 7);
    for number in [0, 1, 2, 3, 5, 7] {
        let is_ended = [1, 3, 5].contains(&number);
        assert_eq!(fetch(&new, &key(number)).is_none(), is_ended, "{number}");
    }
}

#[test]
fn what_is_on_the_disk_is_stale_where_changes_of_another_process_were_missed() {
    let folder = TestFolder::new();
    end(filled(&folder));
    let (old, new) = two_processes(&folder);
    for _ in 0..20 * limits::CHANGES {
        old.invalidate(old.hash(b"another key"), b"another key");
    }
    for number in [0, 2, 3, 7] {
        let found = fetch(&new, &key(number)).unwrap();
        assert_eq!(found.state(), EntryState::Stale, "{number}");
        assert_eq!(body_of(&found), body(number, 0, 100));
    }
}

#[test]
fn a_record_that_is_too_large_for_memory_goes() {
    let folder = TestFolder::new();
    let store = open(&folder, 8 << 20, DISK);
    put(&store, &key(0), &body(0, 0, 700_000));
    put(&store, &key(1), &body(1, 0, 400_000));
    end(store);
    for memory in [4 << 20, 8 << 20] {
        let store = open(&folder, memory, DISK);
        assert!(fetch(&store, &key(0)).is_none());
        assert!(fetch(&store, &key(1)).is_some());
        assert_eq!(usage(&store).entries, 1);
        end(store);
    }
    // Nor is such a response written.
    let store = open(&folder, 4 << 20, DISK);
    put(&store, &key(0), &body(0, 0, 700_000));
    end(store);
    let store = open(&folder, 8 << 20, DISK);
    assert!(fetch(&store, &key(0)).is_none());
}

#[test]
fn a_key_with_many_variants_comes_back_in_parts() {
    let folder = TestFolder::new();
    let store = open(&folder, 8 << 20, DISK);
    let variants: Vec<String> = (0..20).map(|number| format!("variant {number}")).collect();
    for variant in &variants {
        let new = NewEntry {
            variant: variant.as_bytes(),
            ..new_entry(Some(10))
        };
        let share = Share {
            max_variants: 100,
            ..new.share
        };
        let new = NewEntry { share, ..new };
        complete(begin(&store, &key(0)), new, b"ten bytes!").unwrap();
    }
    end(store);
    let store = open(&folder, 8 << 20, DISK);
    assert_eq!(usage(&store).entries, 20);
    let known = || {
        let is_known = |variant: &&String| {
            let found = store.look_up(store.hash(&key(0)), &key(0), |known| {
                known == variant.as_bytes()
            });
            found.entry.is_some()
        };
        variants.iter().filter(is_known).count()
    };
    for expected in [8, 16, 20] {
        let recall = store.recall(&key(0)).unwrap();
        until("the recall ends", || {
            !matches!(recall.outcome(), Outcome::Undecided)
        });
        assert_eq!(known(), expected);
    }
    assert!(store.recall(&key(0)).is_none());
}
