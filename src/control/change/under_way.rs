//! The changes that are under way: the one that is being prepared, those in force that some worker may not have adopted
//! yet, the reload on trial, and the operations that palantir itself wants.

use tracing::{error, warn};

use super::{Asker, LookingUp, Recipient, Unanswered};
use crate::base::limits;
use crate::base::time::Micros;
use crate::control::ask::Accepted;
use crate::control::asked_file::AskedFile;
use crate::control::config_store::Problem;
use crate::control::pending::Pending;
use crate::control::trial::OnTrial;
use crate::shared::gauges::Outcomes;

/// All changes that are under way.
#[derive(Default)]
pub(in crate::control) struct Changes {
    /// The asker of the change that is being prepared. No other change is decided meanwhile.
    pub asker: Option<Asker>,
    /// A change that waits for the look-up of its new names.
    pub looking_up: Option<LookingUp>,
    /// The changes in force whose askers wait until every worker has adopted them.
    pub unanswered: Vec<Unanswered>,
    /// The operations that palantir itself wants.
    pub pending: Pending,
    /// The content of the file that a wanted reload is to load.
    pub asked_file: AskedFile,
    /// The reload that is taken back unless somebody confirms it.
    pub trial: Option<OnTrial>,
}

impl Changes {
    /// Whether there is room for another change whose asker waits.
    pub fn has_room(&self) -> bool {
        self.unanswered.len() < limits::ASKS
    }

    /// Whether somebody still waits for the result of the change that is being prepared.
    pub fn has_recipient(&self) -> bool {
        let asker = self.asker.as_ref();
        asker.is_some_and(|asker| asker.recipient.is_some())
    }

    /// The reason why the reload on trial is to be taken back now, if there is one.
    pub fn why_back(&self, outcomes: &Outcomes, now: Micros) -> Option<String> {
        let trial = self.trial.as_ref();
        trial.and_then(|trial| trial.why_back(outcomes, now))
    }

    /// Answers for the changes that every worker has adopted: those up to the generation `adopted`.
    pub fn answer_adopted(&mut self, adopted: u64) {
        let is_adopted = |unanswered: &mut Unanswered| unanswered.generation <= adopted;
        for Unanswered {
            accepted, answer, ..
        } in self.unanswered.extract_if(.., is_adopted)
        {
            let _ = answer.send(Ok(accepted)); // The caller may have left.
        }
    }

    /// Gives up the change that waits for names, and answers for every change in force: workers that stop may never
    /// report that they have adopted it.
    pub fn forsake(&mut self) {
        self.looking_up = None;
        self.answer_adopted(u64::MAX);
    }

    /// Tells the recipient that the change was made.
    pub fn accept(&mut self, recipient: Option<Recipient>, accepted: Accepted) {
        match recipient {
            Some(Recipient::Caller(answer)) => {
                let _ = answer.send(Ok(accepted)); // The caller may have left.
            }
            Some(Recipient::Own(own)) => self.pending.settle(own),
            None => {}
        }
    }

    /// Tells the recipient why the change was not made. All mistakes are logged, since a signal has no other recipient.
    /// An operation that palantir itself wants is tried again, unless the reason is final.
    pub fn refuse(&mut self, asker: Asker, problem: Problem, now: Micros) {
        let Asker { origin, recipient } = asker;
        match recipient {
            Some(Recipient::Own(own)) if own.is_final(problem.kind) => {
                log_refusal(&origin, &problem);
                self.pending.settle(own);
            }
            Some(Recipient::Own(own)) => {
                let is_told = self.pending.note_refusal(own, &problem.to_string(), now);
                if is_told {
                    log_refusal(&origin, &problem);
                    warn!(origin, "palantir tries this again until it can be done");
                }
            }
            Some(Recipient::Caller(answer)) => {
                log_refusal(&origin, &problem);
                let _ = answer.send(Err(problem)); // The caller may have left.
            }
            // The caller has heard already that the outcome was open.
            None => log_refusal(&origin, &problem),
        }
    }
}

fn log_refusal(origin: &str, problem: &Problem) {
    for (_, mistake) in &problem.mistakes {
        error!(audit = "refused", origin, "configuration: {mistake}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use tokio::sync::oneshot;

    use super::*;
    use crate::config;
    use crate::control::ask::InForce;
    use crate::control::config_store::{ConfigStore, Diff, Overrides, ProblemKind};
    use crate::control::pending::Operation;
    use crate::snapshot::sample;

    fn accepted() -> Accepted {
        let config = config::parse("test.toml".as_ref(), String::new()).unwrap();
        let (config_store, _) = ConfigStore::new(config, Overrides::default(), SystemTime::now());
        let snapshot = sample::snapshot(1, Vec::new());
        Accepted {
            revision: 1,
            changed: true,
            notes: Vec::new(),
            diff: Diff::default(),
            in_force: Arc::new(InForce::new(&config_store, &snapshot)),
        }
    }

    fn refusal(kind: ProblemKind) -> Problem {
        Problem::new(kind, "not now")
    }

    #[test]
    fn a_change_is_answered_when_the_slowest_worker_has_it_or_nobody_waits_for_workers_any_more() {
        let mut changes = Changes::default();
        let mut callers = Vec::new();
        for generation in [2, 3, 4] {
            let (answer, answered) = oneshot::channel();
            callers.push(answered);
            changes.unanswered.push(Unanswered {
                generation,
                accepted: accepted(),
                answer,
            });
        }
        let mut is_answered = |index: usize| callers[index].try_recv().is_ok();
        changes.answer_adopted(2);
        assert!(is_answered(0) && !is_answered(1));
        changes.forsake();
        assert!(is_answered(1) && is_answered(2));
        assert!(changes.has_room());
    }

    #[test]
    fn an_operation_of_palantir_stays_wanted_until_it_is_done_or_the_reason_is_final() {
        let rows = [
            (ProblemKind::Unavailable, true),
            (ProblemKind::Invalid, false),
        ];
        for (kind, stays) in rows {
            let mut changes = Changes::default();
            changes.pending.want(Operation::Reload);
            let asker = Asker {
                origin: "SIGHUP".to_owned(),
                recipient: Some(Recipient::Own(Operation::Reload)),
            };
            changes.refuse(asker, refusal(kind), Micros(0));
            let wanted = changes.pending.wanted();
            assert_eq!(wanted.is_wanted(Operation::Reload), stays, "{kind:?}");
            changes.accept(Some(Recipient::Own(Operation::Reload)), accepted());
            assert!(!wanted.is_wanted(Operation::Reload));
        }
    }

    #[test]
    fn a_caller_hears_how_the_change_ended() {
        let mut changes = Changes::default();
        let (answer, mut answered) = oneshot::channel();
        changes.asker = Some(Asker {
            origin: "a test".to_owned(),
            recipient: Some(Recipient::Caller(answer)),
        });
        assert!(changes.has_recipient());
        let asker = changes.asker.take().unwrap();
        changes.refuse(asker, refusal(ProblemKind::Conflict), Micros(0));
        let heard = answered.try_recv().unwrap().unwrap_err();
        assert_eq!(heard.kind, ProblemKind::Conflict);
        assert!(!changes.has_recipient());
    }
}
