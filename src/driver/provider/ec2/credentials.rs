//! Who asks: credentials from wherever AWS's own tools find them.

use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::Mutex;

use super::config::Config;

/// Finding them may mean to ask a metadata service, an identity service, or a program of the admin's.
const DEADLINE: Duration = Duration::from_secs(30);

/// They are renewed so long before they end, as by AWS's tools.
const MARGIN: Duration = Duration::from_secs(300);

/// Why there are none.
#[derive(Clone, Debug)]
pub(super) struct NoCredentials {
    /// None are set up anywhere: waiting will not help.
    pub absent: bool,
    /// What happened.
    pub words: String,
}

/// Credentials, kept until they end.
#[derive(Debug)]
pub(super) struct Keys {
    region: String,
    profile: Option<String>,
    found: Mutex<Option<Credentials>>,
}

impl Keys {
    pub fn new(config: &Config) -> Self {
        Self { region: config.region.clone(), profile: config.aws_profile.clone(), found: Mutex::new(None) }
    }

    /// Those that are good at that time; `not` are known to be bad.
    pub async fn get(&self, now: SystemTime, not: Option<&str>) -> Result<Credentials, NoCredentials> {
        let mut found = self.found.lock().await;
        let good = |it: &&Credentials| {
            Some(it.access_key_id()) != not && it.expiry().is_none_or(|expiry| expiry > now + MARGIN)
        };
        if let Some(credentials) = found.as_ref().filter(good) {
            return Ok(credentials.clone());
        }
        let credentials = self.find().await?;
        *found = Some(credentials.clone());
        Ok(credentials)
    }

    async fn find(&self) -> Result<Credentials, NoCredentials> {
        let region = aws_config::Region::new(self.region.clone());
        // Its own choice of a client would bring a second cryptographic library.
        let client = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let surroundings = ProviderConfig::default().with_http_client(client);
        // Made anew each time, since it reads the files in ~/.aws only once.
        let mut chain = DefaultCredentialsChain::builder().region(region).configure(surroundings);
        if let Some(profile) = &self.profile {
            chain = chain.profile_name(profile);
        }
        let search = async { chain.build().await.provide_credentials().await };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => Err(NoCredentials::from(&error)),
            Err(_) => {
                let words = format!("looking for credentials was not done after {} s", DEADLINE.as_secs());
                Err(NoCredentials { absent: false, words })
            }
        }
    }
}

impl From<&CredentialsError> for NoCredentials {
    fn from(error: &CredentialsError) -> Self {
        let absent =
            matches!(error, CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_));
        let mut words = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            words = format!("{words}: {cause}");
            source = cause.source();
        }
        Self { absent, words }
    }
}
