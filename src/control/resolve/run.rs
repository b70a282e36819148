//! The task that looks names up as long as the process serves, and the questions to it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::{LookUpAnswer, LookUpResults, LookUps, WatchedNames};
use crate::base::limits;
use crate::base::time::Micros;

/// Names that a change needs for the first time.
#[derive(Debug)]
pub struct LookUpRequest {
    hosts: BTreeSet<String>,
    answers: Vec<LookUpAnswer>,
    reply: oneshot::Sender<Vec<LookUpAnswer>>,
}

/// Has new names looked up, and returns an answer for each. The result is empty if not all names have an answer within
/// [`limits::LOOKUP_ANSWER_SECS`], or if the task has ended.
pub async fn ask(questions: mpsc::Sender<LookUpRequest>, hosts: Vec<String>) -> Vec<LookUpAnswer> {
    let (reply, answers) = oneshot::channel();
    let question = LookUpRequest {
        hosts: hosts.into_iter().collect(),
        answers: Vec::new(),
        reply,
    };
    match questions.send(question).await {
        Ok(()) => {
            let most = Duration::from_secs(limits::LOOKUP_ANSWER_SECS);
            let answers = timeout(most, answers).await;
            answers.ok().and_then(Result::ok).unwrap_or_default()
        }
        Err(_) => Vec::new(),
    }
}

/// Answers that are not delivered yet.
#[derive(Default)]
struct Untold {
    questions: Vec<LookUpRequest>,
    /// Answers about names in force.
    again: Vec<LookUpAnswer>,
    /// When the answers are delivered: after a short wait, so that answers that come together are delivered together.
    due: Micros,
}

impl LookUps {
    /// Looks `names` up repeatedly and answers `questions`, until the receiver of the answers is gone.
    pub async fn run(
        mut self,
        mut names: watch::Receiver<WatchedNames>,
        mut questions: mpsc::Receiver<LookUpRequest>,
        found: mpsc::Sender<LookUpResults>,
    ) {
        let mut untold = Untold::default();
        names.mark_changed();
        loop {
            let now = Micros::now();
            let told = self.step(now);
            untold.take(told, now);
            let is_due = !untold.again.is_empty() && untold.due <= now;
            let mut next = self.next(now);
            if !untold.again.is_empty() && !is_due {
                next = next.min(untold.due);
            }
            tokio::select! {
                ended = self.ended() => {
                    let answer = self.note(ended, Micros::now());
                    untold.take(answer, Micros::now());
                }
                changed = names.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let names = names.borrow_and_update().clone();
                    self.follow(&names, &untold.asked(), Micros::now());
                }
                Some(question) = questions.recv() => {
                    self.look_up_once(question.hosts.iter().cloned(), Micros::now());
                    untold.questions.push(question);
                }
                permit = found.reserve(), if is_due => match permit {
                    Ok(permit) => permit.send(LookUpResults::Again(std::mem::take(&mut untold.again))),
                    Err(_) => return,
                },
                () = sleep(next.until()) => {}
            }
        }
    }
}

impl Untold {
    fn take(&mut self, answers: impl IntoIterator<Item = LookUpAnswer>, now: Micros) {
        for (host, answer) in answers {
            let mut questions = self.questions.iter_mut();
            match questions.find(|question| question.hosts.contains(&host)) {
                Some(question) => {
                    question.hosts.remove(&host);
                    question.answers.push((host, answer));
                }
                None => {
                    if self.again.is_empty() {
                        self.due = now.after(limits::LOOKUP_ANSWERS_TOGETHER);
                    }
                    self.again.push((host, answer));
                }
            }
        }
        let answered = |question: &mut LookUpRequest| question.hosts.is_empty();
        for LookUpRequest { answers, reply, .. } in self.questions.extract_if(.., answered) {
            let _ = reply.send(answers);
        }
    }

    /// The names that callers wait for.
    fn asked(&self) -> BTreeSet<String> {
        let hosts = self.questions.iter().flat_map(|question| &question.hosts);
        hosts.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_and_names_in_force_are_told_together() {
        let addresses = vec![[192, 0, 2, 1].into()];
        let found = addresses.clone();
        let look_ups = LookUps::by(Arc::new(move |host| match host {
            "dead" => Err("no such name".to_owned()),
            _ => Ok(found.clone()),
        }));
        let names = |hosts: &[&str]| WatchedNames {
            hosts: hosts.iter().map(|host| host.to_string()).collect(),
            every: Duration::from_secs(60),
        };
        let in_force = watch::Sender::new(names(&["a", "b"]));
        let (questions, asked) = mpsc::channel(1);
        let (sender, mut told) = mpsc::channel(1);
        let task = tokio::spawn(look_ups.run(in_force.subscribe(), asked, sender));
        let hosts = vec!["c".to_owned(), "dead".to_owned()];
        let mut answers = ask(questions.clone(), hosts).await;
        answers.sort();
        let dead = Err("no such name".to_owned());
        let expected = [
            ("c".to_owned(), Ok(addresses.clone())),
            ("dead".to_owned(), dead),
        ];
        assert_eq!(answers, expected);
        let mut answers = Vec::new();
        while answers.len() < 2 {
            match told.recv().await {
                Some(LookUpResults::Again(more)) => answers.extend(more),
                other => panic!("{other:?}"),
            }
        }
        answers.sort();
        assert_eq!(answers[0], ("a".to_owned(), Ok(addresses.clone())));
        assert_eq!(answers[1], ("b".to_owned(), Ok(addresses)));
        drop(in_force);
        task.await.unwrap();
        assert_eq!(ask(questions, vec!["d".to_owned()]).await, []);
    }
}
