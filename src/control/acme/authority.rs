//! An authority and our account there: made once, kept in the folder.

use std::sync::Arc;

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::client::AcmeClient;
use super::disk::Disk;
use super::outcome::{OrderFailure, OrderOutcome};
use super::store::Store;
use crate::config::AcmeSettings;
use crate::tls::{Alpn, Challenges, TlsClientSettings, TlsStore};

/// Everything that an order needs.
pub struct Authority {
    /// The settings of the authority: its directory, the contacts, and the folder of the certificates.
    pub settings: AcmeSettings,
    store: Store,
    disk: Arc<Disk>,
    /// The answers that the workers give to the authority.
    pub challenges: Arc<Challenges>,
    /// The account once it was needed. Orders that want it at once wait for the first: there is to be only one.
    account: Mutex<Option<Account>>,
}

/// The account as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    contacts: Vec<String>,
    credentials: AccountCredentials,
}

impl Authority {
    /// The authority of these settings. Nothing is read or asked yet.
    pub fn new(settings: AcmeSettings, challenges: Arc<Challenges>, disk: Arc<Disk>) -> Authority {
        Authority {
            store: Store::new(settings.clone()),
            disk,
            settings,
            challenges,
            account: Mutex::default(),
        }
    }

    /// Runs `work` with the folder of certificates, on the `acme-files` thread. Errors: the disk does not answer in
    /// time.
    pub async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, OrderFailure> {
        let store = self.store.clone();
        self.disk.run(move || work(&store)).await
    }

    /// The account. Errors: there is none to be had.
    pub async fn account(&self) -> Result<Account, OrderFailure> {
        let mut account = self.account.lock().await;
        if let Some(account) = &*account {
            return Ok(account.clone());
        }
        let opened = match self.kept_account().await? {
            Some(kept) => self.open(kept).await?,
            None => self.register().await?,
        };
        Ok(account.insert(opened).clone())
    }

    /// Forgets what is known of the authority after a failure: it is asked anew what it offers. With `lacks_account`,
    /// it is not the one that the account was made at, and gets another one.
    pub async fn forget(&self, lacks_account: bool) {
        let mut account = self.account.lock().await;
        *account = None;
        if !lacks_account {
            return;
        }
        let why = match self.on_disk(Store::forget_account).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(failure) => failure.why,
        };
        warn!("the account is unknown to the authority, but its file cannot be removed: {why}");
    }

    /// The account that the folder holds. A file without an account that can be used is logged, and counts as none.
    async fn kept_account(&self) -> Result<Option<Kept>, OrderFailure> {
        let bytes = self.on_disk(Store::account).await?;
        let Some(bytes) = bytes.map_err(|why| OrderFailure::new(OrderOutcome::NotKept, why))?
        else {
            return Ok(None);
        };
        match serde_json::from_slice(&bytes) {
            Ok(kept) => Ok(Some(kept)),
            Err(why) => {
                let path = self.store.account_path();
                warn!(
                    "{} holds no account, so another one is made: {why}",
                    path.display()
                );
                Ok(None)
            }
        }
    }

    async fn open(&self, kept: Kept) -> Result<Account, OrderFailure> {
        let builder = Account::builder_with_http(Box::new(self.client().await?));
        let account = builder.from_credentials(kept.credentials).await?;
        if kept.contacts != self.settings.contacts {
            account.update_contacts(&self.contacts()).await?;
            // The account took its part of what was kept with it.
            if let Some(kept) = self.kept_account().await? {
                self.keep(kept.credentials).await?;
            }
        }
        Ok(account)
    }

    async fn register(&self) -> Result<Account, OrderFailure> {
        let directory = &self.settings.directory;
        let binding = self.binding().await?;
        // Nothing is registered that could not be kept.
        let has_room = self.on_disk(Store::check_room).await?;
        has_room.map_err(|why| OrderFailure::new(OrderOutcome::NotKept, why))?;
        let wanted = NewAccount {
            contact: &self.contacts(),
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(self.client().await?));
        let registered = builder.create(&wanted, directory.clone(), binding.as_ref());
        let (account, credentials) = registered.await?;
        self.keep(credentials).await?;
        info!("there is an account at {directory} now: {}", account.id());
        Ok(account)
    }

    async fn binding(&self) -> Result<Option<ExternalAccountKey>, OrderFailure> {
        let Some(eab) = self.settings.eab.clone() else {
            return Ok(None);
        };
        let file = eab.clone();
        let key = self.disk.run(move || file.hmac_key()).await?;
        let key = key.map_err(|why| {
            let path = eab.hmac_key_file.display();
            OrderFailure::new(OrderOutcome::Refused, format!("{path} {why}"))
        })?;
        Ok(Some(ExternalAccountKey::new(eab.key_id.clone(), &key)))
    }

    async fn keep(&self, credentials: AccountCredentials) -> Result<(), OrderFailure> {
        let kept = Kept {
            contacts: self.settings.contacts.clone(),
            credentials,
        };
        let not_kept = |why: String| OrderFailure::new(OrderOutcome::NotKept, why);
        let bytes =
            serde_json::to_vec_pretty(&kept).map_err(|error| not_kept(error.to_string()))?;
        let saved = self
            .on_disk(move |store| store.save_account(&bytes))
            .await?;
        saved.map_err(not_kept)
    }

    fn contacts(&self) -> Vec<&str> {
        self.settings.contacts.iter().map(String::as_str).collect()
    }

    /// With the authorities of now: their file may have changed.
    async fn client(&self) -> Result<AcmeClient, OrderFailure> {
        let settings = TlsClientSettings {
            ca: self.settings.ca.clone(),
            pair: None,
            verify: true,
            alpn: Alpn::Http1,
        };
        let load = move || TlsStore::default().client("acme", &settings);
        let config = self.disk.run(load).await?;
        let client = config.map(AcmeClient);
        client.map_err(|why| OrderFailure::new(OrderOutcome::Unreachable, why.text))
    }
}
