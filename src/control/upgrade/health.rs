//! The states of the backends, as the health thread of the old process knows them and the new process takes them over.

use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::base::limits;
use crate::messages::ToHealth;
use crate::net::{Blob, BlobKind};
use crate::shared::health_record::HealthRecord;
use crate::shared::mailbox::Mailbox;

/// The bytes are a JSON object with the records, see [`HealthRecord`].
pub const HEALTH: BlobKind = BlobKind {
    name: "health",
    version: 1,
};

/// Milliseconds between two attempts to put a question into a full mailbox.
const PAUSE_MILLIS: u64 = 10;

/// The content of the message.
#[derive(Serialize, Deserialize)]
struct Content {
    backends: Vec<HealthRecord>,
}

/// Asks the health thread of this process.
#[derive(Clone, Debug)]
pub struct HealthReport {
    health: Mailbox<ToHealth>,
}

impl HealthReport {
    /// A report of the thread that reads this mailbox.
    pub fn of(health: Mailbox<ToHealth>) -> HealthReport {
        HealthReport { health }
    }

    /// The message to the new process. `None`: the thread does not answer in time, or its answer is too long for a
    /// message; the log says so. Blocks.
    pub fn to_blob(&self) -> Option<Blob> {
        let patience = Duration::from_millis(limits::HEALTH_REPORT_MILLIS);
        let Some(backends) = self.ask(patience) else {
            warn!(
                "the health thread does not answer: the new process begins without the states of the backends that \
                 this one knows"
            );
            return None;
        };
        let bytes = serde_json::to_vec(&Content { backends }).unwrap_or_default();
        let most = limits::HANDOVER_BLOB_BYTES;
        if bytes.len() as u64 > most {
            warn!("the states of the backends take more than {most} bytes and are not handed over");
            return None;
        }
        Some(HEALTH.blob(bytes))
    }

    fn ask(&self, patience: Duration) -> Option<Vec<HealthRecord>> {
        let deadline = Instant::now() + patience;
        let (to, answer) = crossbeam_channel::bounded(1);
        let mut question = ToHealth::Report(to);
        while let Err(refused) = self.health.post(question) {
            if Instant::now() >= deadline {
                return None;
            }
            question = refused;
            thread::sleep(Duration::from_millis(PAUSE_MILLIS));
        }
        answer.recv_deadline(deadline).ok()
    }
}

/// The records that the old process sent; none if it sent none, or in another version, or what it sent cannot be read,
/// which the log then says.
pub fn from_blobs(blobs: &[Blob]) -> Vec<HealthRecord> {
    let Some(bytes) = HEALTH.find(blobs) else {
        return Vec::new();
    };
    let read: Result<Content, _> = serde_json::from_slice(bytes);
    match read {
        Ok(content) if content.backends.len() <= limits::BACKENDS => {
            let down = content.backends.iter().filter(|record| record.is_down);
            let (of, down) = (content.backends.len(), down.count());
            info!("the old process knows {of} backends; {down} of them fail their probes");
            content.backends
        }
        Ok(_) => {
            warn!("the old process knows more backends than there can be; its states are ignored");
            Vec::new()
        }
        Err(error) => {
            warn!("the states of the backends that the old process sent cannot be read: {error}");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::mailbox::{Inbox, mailbox};

    fn records(count: usize) -> Vec<HealthRecord> {
        let record = |number| HealthRecord {
            pool: "api".to_owned(),
            backend: format!("127.0.0.1:{number}"),
            is_down: number % 2 == 0,
            since: -5,
            ..HealthRecord::default()
        };
        (0..count).map(record).collect()
    }

    /// Answers one question, which may have to wait for `blocked` other messages.
    fn answer(inbox: Inbox<ToHealth>, blocked: usize, records: Vec<HealthRecord>) {
        for _ in 0..blocked {
            inbox.take_within(Duration::from_secs(30)).unwrap();
        }
        match inbox.take_within(Duration::from_secs(30)) {
            Some(ToHealth::Report(to)) => to.send(records).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_health_thread_knows_arrives_even_if_its_mailbox_is_full_at_first() {
        for blocked in [0, 1] {
            let (health, inbox) = mailbox(1).unwrap();
            (0..blocked).for_each(|_| health.post(ToHealth::StopProbing).unwrap());
            let known = records(3);
            let sent = known.clone();
            let thread = thread::spawn(move || answer(inbox, blocked, sent));
            let blob = HealthReport::of(health).to_blob().unwrap();
            thread.join().unwrap();
            assert_eq!(from_blobs(&[blob]), known);
        }
    }

    #[test]
    fn a_thread_that_does_not_answer_is_not_waited_for() {
        let (health, inbox) = mailbox(1).unwrap();
        let report = HealthReport::of(health.clone());
        let soon = Duration::from_millis(1);
        assert_eq!(report.ask(soon), None, "the question is not read");
        assert_eq!(report.ask(soon), None, "the mailbox is full");
        drop(inbox);
        assert_eq!(report.ask(soon), None, "the thread is gone");
    }

    #[test]
    fn what_cannot_be_read_counts_as_nothing() {
        let too_many = serde_json::to_vec(&Content {
            backends: records(limits::BACKENDS + 1),
        });
        let good = br#"{"backends": [{"pool": "api", "later": 1}], "later": {}}"#;
        let rows: [(&[u8], usize); 7] = [
            (b"", 0),
            (b"{}", 0),
            (b"{\"backends\": [", 0),
            (b"{\"backends\": [{\"against\": -1}]}", 0),
            (b"\xff\xfe", 0),
            (&too_many.unwrap(), 0),
            (good, 1),
        ];
        for (bytes, count) in rows {
            let blob = HEALTH.blob(bytes.to_vec());
            assert_eq!(from_blobs(&[blob]).len(), count);
        }
        let later = BlobKind {
            version: 2,
            ..HEALTH
        };
        assert_eq!(from_blobs(&[later.blob(good.to_vec())]), []);
        assert_eq!(from_blobs(&[]), []);
    }
}
