//! The keys of tickets (RFC 8446 section 4.6.1, RFC 5077), by which a connection is resumed on any core, after any
//! reload, and with a file for them after a restart too.
//!
//! A ticket is `key name ‖ nonce ‖ sealed state`, sealed with AES-256-GCM-SIV (RFC 8452): its nonces may be random for
//! any number of tickets, also where several processes have the same key.
//!
//! A ticket stands for the certificate that its client showed, so it is worth no more than that: where clients are
//! asked for one, the chain that was shown is verified again whenever its ticket comes back. If the chain no longer
//! holds, a full handshake is made, in which the client may show another one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{self, SHA256};
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;

use super::ticket_secret::Secret;
use super::{ClientTrust, ticket_file, ticket_state, unix_secs};
use crate::base::limits;

/// Bytes by which a ticket names its key.
const NAME_BYTES: usize = 16;
/// The keys of this process, shared with other processes that use the same file. By default there are no keys, and no
/// tickets are made.
#[derive(Debug, Default)]
pub struct TicketKeys {
    file: Option<PathBuf>,
    /// Newest first. Read for the time of cloning the `Arc`, written once in [`limits::TICKET_KEY_SECS`].
    keys: RwLock<Arc<Vec<Key>>>,
    /// Whether the file could not be read or written when a key was made, so that this must be tried again.
    is_behind: AtomicBool,
}

struct Key {
    secret: Secret,
    name: [u8; NAME_BYTES],
    sealing: RandomizedNonceKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish()
    }
}

/// Checks that a file of keys can be used, or does not exist yet. Errors: why the file cannot be used.
pub fn check_ticket_file(path: &std::path::Path) -> Result<(), String> {
    ticket_file::load(path).map(drop)
}

impl TicketKeys {
    /// Opens the keys of the file, or makes new ones and keeps them in the file; without a file the keys end with the
    /// process. Errors: the file has another content, or cannot be written.
    pub fn open(file: Option<PathBuf>, now: SystemTime) -> Result<Arc<TicketKeys>, String> {
        let keys = TicketKeys {
            file,
            keys: RwLock::default(),
            is_behind: AtomicBool::new(false),
        };
        keys.renew(now)?;
        Ok(Arc::new(keys))
    }

    /// Makes a new key if one is due, and forgets keys whose tickets are too old. Errors: the file cannot be read or
    /// written; the new key is in use all the same, and a later call writes it.
    pub fn renew(&self, now: SystemTime) -> Result<(), String> {
        let now = unix_secs(now);
        let keys = self.keys();
        let was_behind = self.is_behind.load(Relaxed);
        if keys.first().is_some_and(|key| key.secret.is_fresh(now)) && !was_behind {
            return Ok(());
        }
        let mut secrets: Vec<Secret> = keys.iter().map(|key| key.secret.clone()).collect();
        let in_file = self.file.as_deref().map(ticket_file::load);
        let read = in_file.unwrap_or_else(|| Ok(Vec::new()));
        secrets.extend(read.as_ref().ok().cloned().unwrap_or_default());
        // Another process may have made a new key already.
        let is_new = !secrets.iter().any(|secret| secret.is_fresh(now));
        if is_new {
            secrets.push(Secret::random(now)?);
        }
        secrets.retain(|secret| secret.is_accepted(now));
        secrets.sort_by(|a, b| b.made.cmp(&a.made).then(a.bytes.cmp(&b.bytes)));
        secrets.dedup();
        secrets.truncate(limits::TICKET_KEYS);
        debug_assert!(!secrets.is_empty(), "there is a key that seals tickets");
        let keys: Result<Vec<Key>, String> = secrets.iter().cloned().map(Key::new).collect();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys?);
        let kept = match (&self.file, read) {
            (_, Err(why)) => Err(why),
            (Some(path), Ok(_)) if is_new || was_behind => ticket_file::save(path, &secrets),
            (_, Ok(_)) => Ok(()),
        };
        self.is_behind.store(kept.is_err(), Relaxed);
        kept
    }

    /// Makes and takes tickets where clients are trusted like this; `None`: where none is asked for a certificate.
    /// They are good wherever that is the same. (A connection that was resumed is not asked for the client's
    /// certificate again, so one that began where nobody, or somebody else, vouched for the client must not go on
    /// here.)
    pub(super) fn for_clients(
        self: &Arc<TicketKeys>,
        trust: Option<&ClientTrust>,
    ) -> ScopedTickets {
        ScopedTickets {
            keys: self.clone(),
            trust: trust.cloned(),
        }
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        let keys = self.keys.read();
        keys.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Key {
    fn new(secret: Secret) -> Result<Key, String> {
        let sealing = RandomizedNonceKey::new(&AES_256_GCM_SIV, &secret.bytes)
            .map_err(|_| "a ticket key cannot be used".to_owned())?;
        // The name follows from the key, so that all that have the key call it the same; back from it leads no way.
        let mut hashed = digest::Context::new(&SHA256);
        hashed.update(b"palantir: name of a ticket key");
        hashed.update(&secret.bytes);
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&hashed.finish().as_ref()[..NAME_BYTES]);
        Ok(Key {
            secret,
            name,
            sealing,
        })
    }

    fn seal(&self, scope: &[u8], state: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = state.to_vec();
        let aad = Aad::from(scope);
        let nonce = self.sealing.seal_in_place_append_tag(aad, &mut sealed);
        let nonce: [u8; NONCE_LEN] = *nonce.ok()?.as_ref();
        Some([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, scope: &[u8], nonce: [u8; NONCE_LEN], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut state = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self
            .sealing
            .open_in_place(nonce, Aad::from(scope), &mut state);
        let length = opened.ok()?.len();
        state.truncate(length);
        Some(state)
    }
}

/// The keys for one kind of listener.
#[derive(Debug)]
pub(super) struct ScopedTickets {
    keys: Arc<TicketKeys>,
    trust: Option<ClientTrust>,
}

impl ScopedTickets {
    fn scope(&self) -> &[u8] {
        self.trust.as_ref().map_or(&[], |trust| trust.digest())
    }

    /// Whether a client is let in now that showed what is in this state.
    fn holds(&self, state: &[u8]) -> bool {
        self.trust.as_ref().is_none_or(|trust| {
            let chain = ticket_state::client_chain(state);
            chain.is_some_and(|chain| trust.accepts(&chain, UnixTime::now()))
        })
    }
}

impl ProducesTickets for ScopedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        limits::TICKET_KEY_SECS as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.keys().first()?.seal(self.scope(), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.keys();
        // A key's name is no secret: comparing it may take as long as it takes.
        let key = keys.iter().find(|key| key.name == *name)?;
        let state = key.open(self.scope(), *nonce, sealed)?;
        self.holds(&state).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const HOUR: u64 = 3_600;

    fn hours(hours: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + hours * HOUR)
    }

    #[test]
    fn a_ticket_is_good_for_the_time_of_two_keys() {
        let keys = TicketKeys::open(None, hours(0)).unwrap();
        let tickets = keys.for_clients(None);
        let first = tickets.encrypt(b"state").unwrap();
        assert_eq!(tickets.decrypt(&first).as_deref(), Some(&b"state"[..]));
        assert_ne!(tickets.encrypt(b"state").unwrap(), first, "nonces differ");
        keys.renew(hours(11)).unwrap();
        assert_eq!(tickets.encrypt(b"").unwrap()[..16], first[..16]);
        keys.renew(hours(12)).unwrap();
        let second = tickets.encrypt(b"later").unwrap();
        assert_ne!(second[..16], first[..16], "another key");
        assert_eq!(tickets.decrypt(&first).as_deref(), Some(&b"state"[..]));
        keys.renew(hours(24)).unwrap();
        assert_eq!(tickets.decrypt(&first), None, "its key is gone");
        assert_eq!(tickets.decrypt(&second).as_deref(), Some(&b"later"[..]));
    }

    #[test]
    fn nothing_else_is_a_ticket() {
        let keys = TicketKeys::open(None, hours(0)).unwrap();
        let tickets = keys.for_clients(None);
        let ticket = tickets.encrypt(b"state").unwrap();
        let others = TicketKeys::open(None, hours(0)).unwrap();
        assert_eq!(others.for_clients(None).decrypt(&ticket), None, "the key");
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None);
        }
        for at in 0..ticket.len() {
            let mut bent = ticket.clone();
            bent[at] ^= 1;
            assert_eq!(tickets.decrypt(&bent), None, "{at}");
        }
    }

    #[test]
    fn a_clock_that_was_wrong_makes_no_key_that_stays() {
        let keys = TicketKeys::open(None, hours(1000)).unwrap();
        let tickets = keys.for_clients(None);
        let ticket = tickets.encrypt(b"state").unwrap();
        keys.renew(hours(0)).unwrap();
        assert_eq!(tickets.decrypt(&ticket), None);
        assert_ne!(tickets.encrypt(b"").unwrap()[..16], ticket[..16]);
    }

    #[test]
    fn a_file_hands_keys_on_and_the_first_to_renew_does_so_for_all() {
        let path = std::env::temp_dir().join(format!("palantir-tickets-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let open = |at| TicketKeys::open(Some(path.clone()), at).unwrap();
        let (one, other) = (open(hours(0)), open(hours(1)));
        let seal = |keys: &Arc<TicketKeys>| keys.for_clients(None).encrypt(b"x").unwrap();
        let opens = |keys: &Arc<TicketKeys>, ticket: &[u8]| {
            keys.for_clients(None).decrypt(ticket).is_some()
        };
        let first = seal(&one);
        assert!(opens(&other, &first));
        one.renew(hours(12)).unwrap();
        other.renew(hours(13)).unwrap();
        assert_eq!(seal(&one)[..16], seal(&other)[..16]);
        assert!(opens(&other, &first));
        let restarted = open(hours(14));
        assert!(opens(&restarted, &first) && opens(&restarted, &seal(&one)));
        assert!(!crate::base::file::is_public(&path));
        // A key that could not be stored when it was made is stored later, beside the keys that the file holds by then.
        let (held, aside) = (std::fs::read(&path).unwrap(), path.with_extension("aside"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(one.renew(hours(24)).is_err() && one.renew(hours(24)).is_err());
        std::fs::rename(&path, &aside).unwrap();
        std::fs::write(&path, held).unwrap();
        assert_eq!(one.renew(hours(24)), Ok(()));
        let restarted = open(hours(25));
        assert!(opens(&restarted, &seal(&one)) && opens(&one, &seal(&restarted)));
        std::fs::remove_dir(&aside).unwrap();
        std::fs::write(&path, "something else\n").unwrap();
        let error = TicketKeys::open(Some(path.clone()), hours(15)).unwrap_err();
        assert!(error.contains("line 1"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
