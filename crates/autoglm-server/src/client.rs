//! Who asks: the name by which clients take turns.

use std::net::IpAddr;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client(String);

impl Client {
    /// A client that is known by its address only.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self(address.to_string())
    }

    /// One of the users that the client asks for.
    pub(crate) fn with_user(self, user: Option<&str>) -> Self {
        match user {
            Some(user) => Self(format!("{}/{user}", self.0)),
            None => self,
        }
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}
