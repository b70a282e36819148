//! Checks of `[acme]` against the listeners.

use super::declared::ChallengeKind;
use super::notes::Notes;
use super::settings::Settings;
use super::tls::ServerTlsSettings;
use crate::snapshot::ClientCertificate;

/// Notes the settings of listeners and of `[acme]` that exclude each other.
pub(super) fn check(settings: &Settings, notes: &Notes<'_>) {
    let tls = settings.listeners.iter().filter_map(|one| one.tls.as_ref());
    let automatic: Vec<_> = tls.filter(|tls| !tls.automatic.is_empty()).collect();
    let Some(acme) = &settings.acme else {
        for tls in automatic {
            notes.add(&tls.automatic_position, "needs an [acme] section");
        }
        return;
    };
    match acme.settings.challenge {
        ChallengeKind::Http01 if settings.listeners.iter().all(|one| one.tls.is_some()) => {
            let what = "is answered in cleartext, but every listener speaks TLS";
            notes.add(&acme.positions.challenge, what);
        }
        ChallengeKind::Http01 => {}
        ChallengeKind::TlsAlpn01 => {
            let shuts_out = |tls: &&&_| is_required(tls);
            for tls in automatic.iter().filter(shuts_out) {
                let what = "the authority has no certificate to show when it asks: set challenge = \"http-01\" in [acme], or client_cert = \"optional\"";
                notes.add(&tls.automatic_position, what);
            }
        }
    }
}

fn is_required(tls: &ServerTlsSettings) -> bool {
    tls.client_certificate() == ClientCertificate::Required
}

/// Notes that `[acme]` orders nothing, if no listener has a name to order a certificate for.
pub(super) fn warn(settings: &Settings, notes: &Notes<'_>) {
    let mut tls = settings.listeners.iter().filter_map(|one| one.tls.as_ref());
    if let Some(acme) = &settings.acme
        && tls.all(|tls| tls.automatic.is_empty())
    {
        let what = "nothing is ordered: no listener has tls = { automatic = [\"…\"] }";
        notes.add(&acme.position, what);
    }
}
