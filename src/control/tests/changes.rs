//! Changes by the management API and by signals: their way into force, and the answers.

use std::path::PathBuf;

use super::*;
use crate::control::change_request::Trial;
use crate::control::config_store::Edit;

pub(super) fn add(addr: &str) -> Edit {
    Edit::AddServer {
        pool: "api".to_owned(),
        server: toml::Table::from_iter([("addr".to_owned(), addr.into())]),
    }
}

pub(super) fn reload(trial: Option<Trial>) -> Operation {
    let allow_empty = true;
    Operation::Reload {
        trial,
        allow_empty,
        asked: None,
    }
}

pub(super) fn drain(addr: &str) -> Operation {
    Operation::DrainServer {
        pool: "api".to_owned(),
        addr: addr.to_owned(),
        patience: LONG,
    }
}

pub(super) fn edit(edit: Edit) -> Operation {
    Operation::Edit(edit)
}

#[test]
fn a_change_is_answered_when_every_worker_has_adopted_it() {
    let (outside, control, inputs) = outside(LONG, None);
    run_beside(control, inputs, async || {
        let mut answered = outside.send_request(edit(add("127.0.0.1:1"))).await;
        let snapshot = outside.snapshot(2).await;
        assert_eq!(snapshot.pools[0].backends[1].label, "127.0.0.1:1");
        let adopted = |worker| ToControl::Adopted(WorkerId(worker), 2);
        outside.to_control.post(adopted(0)).unwrap();
        sleep(SHORT).await;
        assert!(answered.try_recv().is_err(), "one worker is not there yet");
        outside.to_control.post(adopted(1)).unwrap();
        let accepted = answered.await.unwrap().unwrap();
        assert_eq!((accepted.revision, accepted.changed), (2, true));
        let in_force = outside.standing.borrow().clone();
        assert_eq!((in_force.revision, in_force.snapshot.generation), (2, 2));
        assert_eq!(in_force.revisions[0].requested_by, "a test");
        outside.stop().await;
    });
}

#[test]
fn what_changes_nothing_is_answered_at_once_and_what_is_wrong_refused() {
    let (outside, control, inputs) = outside(LONG, None);
    run_beside(control, inputs, async || {
        let accepted = outside
            .send_request(edit(add("api.internal:80")))
            .await
            .await;
        let accepted = accepted.unwrap().unwrap();
        assert_eq!((accepted.revision, accepted.changed), (1, false));
        let every = [
            edit(add("127.0.0.1:1")),
            drain("api.internal:80"),
            reload(None),
            Operation::Compare,
            Operation::Confirm,
            Operation::Rollback { revision: 1 },
            Operation::Upgrade {
                force: true,
                allow_empty: false,
            },
        ];
        for operation in every {
            let late = outside
                .send_request_if(operation.clone(), Some(7))
                .await
                .await;
            let kind = late.unwrap().unwrap_err().kind;
            assert_eq!(kind, ProblemKind::Changed, "{operation:?}");
        }
        let rows = [
            (edit(add("nonsense")), ProblemKind::Invalid),
            (Operation::Rollback { revision: 9 }, ProblemKind::Absent),
            (Operation::Confirm, ProblemKind::Conflict),
            (reload(None), ProblemKind::Invalid),
            (Operation::Compare, ProblemKind::Invalid),
        ];
        for (operation, expected) in rows {
            let said = format!("{operation:?}");
            assert_eq!(outside.refusal(operation).await, expected, "{said}");
        }
        assert_eq!(outside.standing.borrow().revision, 1);
        assert!(outside.workers[0].take().is_none());
        outside.stop().await;
    });
}

#[test]
fn new_names_are_looked_up_before_the_change_comes_into_force() {
    let (outside, control, inputs) = outside(LONG, None);
    run_beside(control, inputs, async || {
        let answered = outside.send_request(edit(add("localhost:9"))).await;
        let next = outside.send_request(edit(add("127.0.0.1:1"))).await;
        let snapshot = outside.snapshot(2).await;
        let labels: Vec<_> = snapshot.pools[0].backends[1..]
            .iter()
            .map(|backend| backend.label.clone())
            .collect();
        assert!(!labels.is_empty());
        for label in labels {
            assert!(label.starts_with("localhost ("), "{label}");
        }
        outside.snapshot(3).await;
        for worker in 0..WORKERS as u32 {
            let adopted = ToControl::Adopted(WorkerId(worker), 3);
            outside.to_control.post(adopted).unwrap();
        }
        assert_eq!(answered.await.unwrap().unwrap().revision, 2);
        assert_eq!(next.await.unwrap().unwrap().revision, 3);
        outside.stop().await;
    });
}

/// A file that goes away with its owner.
pub(super) struct ConfigFile(pub PathBuf);

impl ConfigFile {
    pub fn new(name: &str) -> ConfigFile {
        let name = format!("palantir-control-{name}-{}.toml", std::process::id());
        ConfigFile(std::env::temp_dir().join(name))
    }

    pub fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) const CHANGED: &str = "[[pools]]\nname = \"api\"\nbackends = [\"127.0.0.1:1\"]\n";

#[test]
fn a_hang_up_reloads_the_file_and_one_with_mistakes_changes_nothing() {
    let file = ConfigFile::new("hangup");
    let (outside, control, inputs) = outside_of(&file.0, LONG, None);
    run_beside(control, inputs, async || {
        file.write("nonsense = 1\n");
        outside.signals.send(Signal::HangUp).await.unwrap();
        let refused = outside.refusal(Operation::Compare).await;
        assert_eq!(refused, ProblemKind::Invalid);
        assert_eq!(outside.standing.borrow().revision, 1);
        file.write(CHANGED);
        let compared = outside
            .send_request(Operation::Compare)
            .await
            .await
            .unwrap()
            .unwrap();
        assert_eq!(compared.diff.differences.len(), 2);
        assert_eq!(outside.standing.borrow().revision, 1);
        outside.signals.send(Signal::HangUp).await.unwrap();
        let snapshot = outside.adopt(2).await;
        assert_eq!(snapshot.pools[0].backends[0].label, "127.0.0.1:1");
        let revisions = outside.standing.borrow().revisions.clone();
        assert_eq!(revisions[0].requested_by, "SIGHUP");
        outside.stop().await;
    });
}

#[test]
fn a_reload_on_trial_stays_when_confirmed_and_goes_back_by_itself_when_not() {
    let file = ConfigFile::new("trial");
    let (outside, control, inputs) = outside_of(&file.0, LONG, None);
    let trial = |within| Operation::Reload {
        allow_empty: false,
        asked: None,
        trial: Some(Trial {
            within,
            most_failed_percent: 5.0,
        }),
    };
    let first = |snapshot: &Snapshot| snapshot.pools[0].backends[0].label.clone();
    run_beside(control, inputs, async || {
        file.write(CHANGED);
        let answered = outside.send_request(trial(SHORT)).await;
        assert_eq!(first(&*outside.adopt(2).await), "127.0.0.1:1");
        answered.await.unwrap().unwrap();
        assert_eq!(first(&*outside.adopt(3).await), "api.internal:80");
        assert_eq!(
            outside.refusal(Operation::Confirm).await,
            ProblemKind::Conflict
        );

        let answered = outside.send_request(trial(LONG)).await;
        outside.adopt(4).await;
        answered.await.unwrap().unwrap();
        let other = edit(add("127.0.0.1:7"));
        assert_eq!(outside.refusal(other).await, ProblemKind::Conflict);
        for _ in 0..limits::TRIAL_REQUESTS {
            outside.counters[1].answer(4);
            outside.counters[1].fail();
        }
        assert_eq!(first(&*outside.adopt(5).await), "api.internal:80");

        let answered = outside.send_request(trial(LONG)).await;
        outside.adopt(6).await;
        answered.await.unwrap().unwrap();
        let confirmed = outside
            .send_request(Operation::Confirm)
            .await
            .await
            .unwrap()
            .unwrap();
        assert_eq!((confirmed.revision, confirmed.changed), (6, false));
        let answered = outside.send_request(edit(add("127.0.0.1:7"))).await;
        outside.adopt(7).await;
        assert_eq!(answered.await.unwrap().unwrap().revision, 7);
        outside.stop().await;
    });
}

#[test]
fn a_drained_backend_is_taken_out_as_a_revision_of_its_own() {
    let (outside, control, inputs) = outside(LONG, None);
    run_beside(control, inputs, async || {
        let answered = outside.send_request(edit(add("127.0.0.1:1"))).await;
        outside.adopt(2).await;
        answered.await.unwrap().unwrap();
        let answered = outside.send_request_if(drain("127.0.0.1:1"), Some(2)).await;
        assert!(outside.adopt(3).await.pools[0].backends[1].draining);
        assert!(answered.await.unwrap().unwrap().changed);
        assert_eq!(outside.adopt(4).await.pools[0].backends.len(), 1);
        let newest = outside.standing.borrow().revisions[0].clone();
        assert_eq!(
            (newest.number, newest.requested_by.as_str()),
            (4, "a test, drained")
        );
        outside.stop().await;
    });
}
