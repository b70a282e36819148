//! One order (RFC 8555 section 7.4): from a name to a certificate in the folder.

use std::time::{Duration, SystemTime};

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use tokio::time::timeout;

use super::authority::Authority;
use super::outcome::{OrderFailure, OrderOutcome};
use super::store::Store;
use crate::base::limits;
use crate::base::quantity::show_time;
use crate::config::ChallengeKind;
use crate::tls::{OpenChallenge, Validity, unix_secs};

/// Has a certificate for `name` made and keeps it; how long it is good. One name each, so that one that cannot be
/// proven keeps no other from its certificate.
pub async fn order(authority: &Authority, name: &str) -> Result<Validity, OrderFailure> {
    let most = Duration::from_secs(limits::ACME_ORDER_SECS);
    let ordered = timeout(most, order_in_time(authority, name)).await;
    let outcome = ordered.unwrap_or_else(|_| {
        let why = format!("the order took longer than {}", show_time(most));
        Err(OrderFailure::new(OrderOutcome::Unreachable, why))
    });
    if let Err(failure) = &outcome {
        authority.forget(failure.lacks_account).await;
    }
    outcome
}

async fn order_in_time(authority: &Authority, name: &str) -> Result<Validity, OrderFailure> {
    // A certificate that nobody can keep is one of few that an authority gives in a week.
    let not_kept = |why: String| OrderFailure::new(OrderOutcome::NotKept, why);
    authority
        .on_disk(Store::check_room)
        .await?
        .map_err(not_kept)?;
    let account = authority.account().await?;
    let names = [Identifier::Dns(name.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    prove(authority, name, &mut order).await?;
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&patience()).await?;
    let (name, now) = (name.to_owned(), unix_secs(SystemTime::now()));
    let saved = authority.on_disk(move |store| store.save_certificate(&name, &key, &chain, now));
    saved.await?
}

/// Bounded by the order's own time.
fn patience() -> RetryPolicy {
    RetryPolicy::default().timeout(Duration::from_secs(limits::ACME_ORDER_SECS))
}

/// Answers what the authority asks until it is convinced that the name is ours.
async fn prove(authority: &Authority, name: &str, order: &mut Order) -> Result<(), OrderFailure> {
    let mut open = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // The authority may remember an earlier proof.
        if authorization.status != AuthorizationStatus::Valid {
            open.push(answer(authority, name, &mut authorization).await?);
        }
    }
    match order.poll_ready(&patience()).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(why_not_proven(order).await),
        Err(instant_acme::Error::Api(problem)) => match why_not_proven(order).await {
            failure if failure.outcome == OrderOutcome::NotProven => Err(failure),
            _ => Err(OrderFailure::not_proven(&problem)),
        },
        Err(error) => Err(error.into()),
    }
}

/// Opens the challenge and has the authority ask.
async fn answer<'a>(
    authority: &Authority,
    name: &str,
    authorization: &'a mut AuthorizationHandle<'a>,
) -> Result<OpenChallenge, OrderFailure> {
    let kind = match authority.settings.challenge {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let Some(mut challenge) = authorization.challenge(kind) else {
        let why = "the authority does not offer the challenge that [acme] names";
        return Err(OrderFailure::new(OrderOutcome::Refused, why));
    };
    let proof = challenge.key_authorization();
    let challenges = &authority.challenges;
    let open = match authority.settings.challenge {
        ChallengeKind::Http01 => Ok(challenges.answer(&challenge.token, proof.as_str())),
        ChallengeKind::TlsAlpn01 => challenges.show(name, proof.digest().as_ref()),
    };
    let open = open.map_err(|why| OrderFailure::new(OrderOutcome::Refused, why))?;
    challenge.set_ready().await?;
    Ok(open)
}

/// The reason that the authority gives about the name. The authority attaches it to the challenge, which is below the
/// order.
async fn why_not_proven(order: &mut Order) -> OrderFailure {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            break;
        };
        let mut problems = state.challenges.iter().filter_map(|one| one.error.as_ref());
        if let Some(problem) = problems.next() {
            return OrderFailure::not_proven(problem);
        }
    }
    OrderFailure::new(OrderOutcome::Refused, "the authority gives no reason")
}
