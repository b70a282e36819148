//! The changes that are under way: the one that is being prepared, those in force that some worker may not have adopted
//! yet, the reload on trial, and the operations that palantir itself wants.

use tracing::{error, warn};

use super::{LookingUp, Recipient, Requester, Unanswered};
use crate::base::limits;
use crate::base::time::Micros;
use crate::control::change_request::CompletedOperation;
use crate::control::config_store::Problem;
use crate::control::pending::Pending;
use crate::control::requested_file::RequestedFile;
use crate::control::trial::OnTrial;
use crate::shared::worker_counters::Outcomes;

/// All changes that are under way.
#[derive(Default)]
pub(in crate::control) struct ChangesUnderWay {
    /// The asker of the change that is being prepared. No other change is decided meanwhile.
    pub requester: Option<Requester>,
    /// A change that waits for the look-up of its new names.
    pub looking_up: Option<LookingUp>,
    /// The changes in force whose askers wait until every worker has adopted them.
    pub unanswered: Vec<Unanswered>,
    /// The operations that palantir itself wants.
    pub pending: Pending,
    /// The content of the file that a wanted reload is to load.
    pub requested_file: RequestedFile,
    /// The reload that is taken back unless somebody confirms it.
    pub trial: Option<OnTrial>,
}

impl ChangesUnderWay {
    /// Whether there is room for another change whose asker waits.
    pub fn has_room(&self) -> bool {
        self.unanswered.len() < limits::CHANGE_REQUESTS
    }

    /// Whether somebody still waits for the result of the change that is being prepared.
    pub fn has_recipient(&self) -> bool {
        let requester = self.requester.as_ref();
        requester.is_some_and(|requester| requester.recipient.is_some())
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
    pub fn accept(&mut self, recipient: Option<Recipient>, accepted: CompletedOperation) {
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
    pub fn refuse(&mut self, requester: Requester, problem: Problem, now: Micros) {
        let Requester {
            requested_by,
            recipient,
        } = requester;
        match recipient {
            Some(Recipient::Own(own)) if own.is_final(problem.kind) => {
                log_refusal(&requested_by, &problem);
                self.pending.settle(own);
            }
            Some(Recipient::Own(own)) => {
                let is_told = self.pending.note_refusal(own, &problem.to_string(), now);
                if is_told {
                    log_refusal(&requested_by, &problem);
                    warn!(
                        requested_by,
                        "palantir tries this again until it can be done"
                    );
                }
            }
            Some(Recipient::Caller(answer)) => {
                log_refusal(&requested_by, &problem);
                let _ = answer.send(Err(problem)); // The caller may have left.
            }
            // The caller has heard already that the outcome was open.
            None => log_refusal(&requested_by, &problem),
        }
    }
}

fn log_refusal(requested_by: &str, problem: &Problem) {
    for (_, mistake) in &problem.mistakes {
        error!(audit = "refused", requested_by, "configuration: {mistake}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use tokio::sync::oneshot;

    use super::*;
    use crate::config;
    use crate::control::change_request::InForce;
    use crate::control::config_store::{ConfigStore, Diff, Overrides, ProblemKind};
    use crate::control::pending::PendingOperation;
    use crate::snapshot::sample;

    fn accepted() -> CompletedOperation {
        let config = config::parse("test.toml".as_ref(), String::new()).unwrap();
        let (config_store, _) = ConfigStore::new(config, Overrides::default(), SystemTime::now());
        let snapshot = sample::snapshot(1, Vec::new());
        CompletedOperation {
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
        let mut changes = ChangesUnderWay::default();
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
            let mut changes = ChangesUnderWay::default();
            changes.pending.want(PendingOperation::Reload);
            let requester = Requester {
                requested_by: "SIGHUP".to_owned(),
                recipient: Some(Recipient::Own(PendingOperation::Reload)),
            };
            changes.refuse(requester, refusal(kind), Micros(0));
            let wanted = changes.pending.wanted();
            assert_eq!(
                wanted.is_wanted(PendingOperation::Reload),
                stays,
                "{kind:?}"
            );
            changes.accept(Some(Recipient::Own(PendingOperation::Reload)), accepted());
            assert!(!wanted.is_wanted(PendingOperation::Reload));
        }
    }

    #[test]
    fn a_caller_hears_how_the_change_ended() {
        let mut changes = ChangesUnderWay::default();
        let (answer, mut answered) = oneshot::channel();
        changes.requester = Some(Requester {
            requested_by: "a test".to_owned(),
            recipient: Some(Recipient::Caller(answer)),
        });
        assert!(changes.has_recipient());
        let requester = changes.requester.take().unwrap();
        changes.refuse(requester, refusal(ProblemKind::Conflict), Micros(0));
        let heard = answered.try_recv().unwrap().unwrap_err();
        assert_eq!(heard.kind, ProblemKind::Conflict);
        assert!(!changes.has_recipient());
    }
}
