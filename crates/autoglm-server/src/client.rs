//! Who asks: the name by which clients take turns, and the account that their work is put down to.

use std::net::IpAddr;
use std::sync::Arc;

use crate::ServerError;
use crate::admission::{Admission, Permit};
use crate::auth::Account;

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    name: String,
    /// Whom what is remembered belongs to: the client, whichever of its users it asks for.
    owner: String,
    account: Option<Arc<Account>>,
}

impl Client {
    /// A client that is known by its address only.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::named(address.to_string())
    }

    /// A client that its certificate names.
    pub(crate) fn named(name: String) -> Self {
        Self {
            owner: name.clone(),
            name,
            account: None,
        }
    }

    /// A client with an account.
    pub(crate) fn with_account(account: Arc<Account>) -> Self {
        Self {
            name: account.id().to_owned(),
            owner: account.id().to_owned(),
            account: Some(account),
        }
    }

    /// One of the users that the client asks for.
    pub(crate) fn with_user(self, user: Option<&str>) -> Self {
        match user {
            Some(user) => Self {
                name: format!("{}/{user}", self.name),
                ..self
            },
            None => self,
        }
    }

    /// Whom what is remembered belongs to.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Waits for leave to work on a request; the tokens of the work are put down to the account.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub(crate) async fn admit(&self, admission: &Admission) -> Result<Permit, ServerError> {
        let permit = admission.admit(&self.name).await?;
        Ok(permit.paid_by(self.account.clone()))
    }
}
