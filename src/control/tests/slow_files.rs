//! Changes whose files do not answer, or answer late.

use super::changes::{CHANGED, ConfigFile, add, edit};
use super::*;

/// A control thread whose compilations hang.
struct Hanging {
    outside: Outside,
    control: Control,
    inputs: Inputs,
    /// Receives a message when a compilation hangs.
    hangs: mpsc::Receiver<()>,
    /// Dropping the sender lets all compilations go on.
    go_on: std::sync::mpsc::Sender<()>,
}

impl Hanging {
    fn new() -> Hanging {
        Hanging::of(Path::new("test.toml"))
    }

    fn of(path: &Path) -> Hanging {
        let (outside, mut control, inputs) = outside_of(path, LONG, None);
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let (told, hangs) = mpsc::channel(4);
        let mut compiler = compiler(LONG);
        compiler.hooks.before.push(Box::new(move |_| {
            let _ = told.try_send(());
            let _ = goes_on.recv();
            Ok(())
        }));
        control.files = FileThread::start(compiler).unwrap();
        Hanging {
            outside,
            control,
            inputs,
            hangs,
            go_on,
        }
    }
}

#[test]
fn a_change_whose_files_do_not_answer_is_refused_and_comes_into_force_never() {
    let Hanging {
        outside,
        control,
        inputs,
        go_on,
        ..
    } = Hanging::new();
    run_beside(control, inputs, async || {
        let refused = outside
            .send_request(edit(add("127.0.0.1:1")))
            .await
            .await
            .unwrap();
        assert_eq!(refused.unwrap_err().kind, ProblemKind::Unavailable);
        let late = outside.refusal(edit(add("127.0.0.1:2"))).await;
        assert_eq!(
            late,
            ProblemKind::Unavailable,
            "the files still do not answer"
        );
        drop(go_on);
        while outside.refusal(Operation::Compare).await == ProblemKind::Unavailable {
            sleep(Duration::from_millis(1)).await;
        }
        let _answered = outside.send_request(edit(add("127.0.0.1:3"))).await;
        let snapshot = outside.adopt(2).await;
        let backends = snapshot.pools[0].backends.iter();
        let labels: Vec<_> = backends.map(|backend| backend.label.as_str()).collect();
        assert_eq!(labels, ["api.internal:80", "127.0.0.1:3"]);
        outside.stop().await;
    });
}

#[test]
fn a_stop_waits_for_no_file_and_refuses_the_change_that_does() {
    let Hanging {
        outside,
        control,
        inputs,
        mut hangs,
        go_on: _go_on,
    } = Hanging::new();
    let code = run_beside(control, inputs, async || {
        let answered = outside.send_request(edit(add("127.0.0.1:1"))).await;
        hangs.recv().await.unwrap();
        outside.stop().await;
        let refused = answered.await.unwrap().unwrap_err();
        assert_eq!(refused.kind, ProblemKind::Unavailable);
    });
    assert_eq!(code, 0);
}

#[test]
fn a_hang_up_that_comes_during_a_reload_is_followed_by_another_one() {
    let file = ConfigFile::new("twice");
    let Hanging {
        outside,
        control,
        inputs,
        mut hangs,
        go_on,
    } = Hanging::of(&file.0);
    run_beside(control, inputs, async || {
        file.write(CHANGED);
        outside.signals.send(Signal::HangUp).await.unwrap();
        hangs.recv().await.unwrap();
        file.write(&CHANGED.replace(":1", ":2"));
        outside.signals.send(Signal::HangUp).await.unwrap();
        while outside.signals.capacity() < outside.signals.max_capacity() {
            sleep(Duration::from_millis(1)).await;
        }
        drop(go_on);
        for (generation, label) in [(2, "127.0.0.1:1"), (3, "127.0.0.1:2")] {
            let snapshot = outside.adopt(generation).await;
            assert_eq!(snapshot.pools[0].backends[0].label, label);
        }
        outside.stop().await;
    });
}
