//! The files that `tls` names: whether they can be used, and what may make trouble.

use std::path::Path;
use std::time::SystemTime;

use super::acme;
use super::notes::{Notes, Position};
use super::pool::PoolSettings;
use super::settings::Settings;
use super::tls::{ClientTlsSettings, PairPositions, ServerTlsSettings};
use crate::tls::{PairFault, PairFiles, Part, TlsClientSettings, TlsFault, TlsStore, unix_secs};

/// The files of certificates, keys and authorities, each with the place in the configuration that names the file.
/// Certificates that are ordered are named by their folder.
pub(super) fn named(settings: &Settings) -> impl Iterator<Item = (&Path, &Position)> {
    let of_server = servers(settings).flat_map(|tls| {
        let pairs = tls.settings.pairs.iter().zip(&tls.pair_positions);
        let ca = tls.settings.client_ca.as_ref().map(|ca| ca.file.as_path());
        pairs
            .flat_map(|(pair, positions)| of_pair(pair, positions))
            .chain(ca.zip(tls.ca_position.as_ref()))
    });
    let of_client = clients(settings).flat_map(|Client { tls, .. }| {
        let pair = tls.pair.iter();
        pair.flat_map(|pair| of_pair(pair, &tls.pair_positions))
            .chain(tls.ca.as_deref().zip(tls.ca_position.as_ref()))
    });
    of_server.chain(of_client)
}

fn of_pair<'p>(
    pair: &'p PairFiles,
    positions: &'p PairPositions,
) -> impl Iterator<Item = (&'p Path, &'p Position)> {
    let ocsp = pair.ocsp.as_deref();
    let files = [
        (Some(pair.cert.as_path()), Part::Cert),
        (Some(pair.key.as_path()), Part::Key),
        (ocsp, Part::Ocsp),
    ];
    let files = files.into_iter();
    files.filter_map(|(path, part)| Some((path?, positions.of(part))))
}

/// Loads all of them and notes what cannot be used.
pub(super) fn check(settings: &Settings, notes: &Notes<'_>) {
    let mut tls_store = TlsStore::default();
    if let Some(acme) = &settings.acme {
        acme::check_files(acme, &mut tls_store, notes);
    }
    for tls in servers(settings) {
        check_server(tls, &mut tls_store, notes);
    }
    for client in clients(settings) {
        check_client(&client, &mut tls_store, notes);
    }
}

/// Notes what may make trouble. What cannot be used at all is a mistake and no warning.
pub(super) fn warn(settings: &Settings, notes: &Notes<'_>) {
    let mut tls_store = TlsStore::default();
    for tls in servers(settings) {
        for (files, positions) in tls.settings.pairs.iter().zip(&tls.pair_positions) {
            warn_of_pair(files, positions, &mut tls_store, notes);
        }
    }
    for Client { tls, .. } in clients(settings) {
        if let Some(files) = &tls.pair {
            warn_of_pair(files, &tls.pair_positions, &mut tls_store, notes);
        }
        if !tls.verify {
            let what = "backends are not verified: whoever is on the way to them can read and change everything";
            notes.add(&tls.position, what);
        }
    }
}

fn servers(settings: &Settings) -> impl Iterator<Item = &ServerTlsSettings> {
    let listeners = settings.listeners.iter();
    let tls = listeners.filter_map(|listener| listener.tls.as_ref());
    tls.chain(&settings.admin_tls)
}

/// The TLS settings of a pool, or of probes of its backends.
struct Client<'s> {
    pool: &'s PoolSettings,
    tls: &'s ClientTlsSettings,
    settings: TlsClientSettings,
}

fn clients(settings: &Settings) -> impl Iterator<Item = Client<'_>> {
    settings.all_pools().flat_map(|pool| {
        let own = pool.tls.as_deref();
        let own = own.map(|tls| (tls, tls.settings(pool.options.protocol)));
        let backends = pool.backends.iter();
        let checks = backends.flat_map(|backend| &backend.health_check);
        let checks = pool.health_check.iter().chain(checks);
        let of_checks = checks.filter_map(|check| check.own_tls(pool.options.protocol));
        let all = own.into_iter().chain(of_checks);
        all.map(move |(tls, settings)| Client {
            pool,
            tls,
            settings,
        })
    })
}

fn check_server(tls: &ServerTlsSettings, tls_store: &mut TlsStore, notes: &Notes<'_>) {
    let mut can_be_used = true;
    let pairs = tls.settings.pairs.iter().zip(&tls.pair_positions);
    for (index, (files, positions)) in pairs.enumerate() {
        match tls_store.pair(files) {
            Ok(pair) if pair.names.is_empty() && index > 0 => {
                let what =
                    "names no host and so is never chosen; say what it is for with names = [\"…\"]";
                notes.add(&positions.cert, what);
            }
            Ok(_) => {}
            Err(fault) => {
                can_be_used = false;
                note_of_pair(notes, positions, fault);
            }
        }
    }
    if let (Some(ca), Some(position)) = (&tls.settings.client_ca, &tls.ca_position)
        && let Err(why) = tls_store.roots(&ca.file)
    {
        can_be_used = false;
        notes.add_fault(position, why);
    }
    if can_be_used && let Err(why) = tls_store.server(&tls.settings) {
        notes.add_fault(&tls.position, why);
    }
}

/// The place is that of the file.
fn note_of_pair(notes: &Notes<'_>, positions: &PairPositions, fault: PairFault) {
    let (text, may_pass) = (fault.text, fault.may_pass);
    notes.add_fault(positions.of(fault.part), TlsFault { text, may_pass });
}

fn check_client(client: &Client<'_>, tls_store: &mut TlsStore, notes: &Notes<'_>) {
    let Client {
        pool,
        tls,
        settings,
    } = client;
    let mut can_be_used = true;
    if let Some(files) = &tls.pair
        && let Err(fault) = tls_store.pair(files)
    {
        can_be_used = false;
        note_of_pair(notes, &tls.pair_positions, fault);
    }
    if let (Some(ca), Some(position)) = (&tls.ca, &tls.ca_position)
        && let Err(why) = tls_store.roots(ca)
    {
        can_be_used = false;
        notes.add_fault(position, why);
    }
    if can_be_used && let Err(why) = tls_store.client(&pool.name, settings) {
        notes.add_fault(&tls.position, why);
    }
}

fn warn_of_pair(
    files: &PairFiles,
    positions: &PairPositions,
    tls_store: &mut TlsStore,
    notes: &Notes<'_>,
) {
    let Ok(pair) = tls_store.pair(files) else {
        return;
    };
    for (part, what) in pair.warnings(unix_secs(SystemTime::now())) {
        let position: &Position = positions.of(part);
        notes.add(position, what);
    }
}
