//! Where a database is, and who asks for it. A password is held and never shown.

use std::fmt;
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, SslMode};

use crate::RetrieveError;

/// How long a server may take to answer at all, where the address does not say.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// The address of a database of PostgreSQL.
#[derive(Clone)]
pub struct PostgresAddress {
    pub(super) config: Box<Config>,
}

impl PostgresAddress {
    /// Understands `postgres://USER@HOST:PORT/DATABASE`.
    ///
    /// # Errors
    /// A text that is no such address, or one that asks for TLS, which is not spoken.
    pub fn parse(text: &str) -> Result<Self, RetrieveError> {
        let refuse = |wanted| RetrieveError::StoreAddress { wanted };
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(refuse("postgres://USER@HOST/DATABASE"));
        }
        // What the client says of a text that it does not understand may repeat a part of it.
        let parsed = text.parse::<Config>();
        let mut config = parsed.map_err(|_| refuse("postgres://USER@HOST/DATABASE"))?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(refuse(
                "one without sslmode=require: TLS is not spoken, a tunnel or a socket is safe",
            ));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WAIT);
        }
        if config.get_application_name().is_none() {
            config.application_name("autoglm");
        }
        Ok(Self {
            config: Box::new(config),
        })
    }

    /// Whether it holds a password.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The same with a password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }
}

/// The address without its password.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (n, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            if let Some(port) = ports.get(n).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let text = "postgres://ann:hidden@db.example:5433/docs";
        let address = PostgresAddress::parse(text).unwrap();
        assert!(address.has_password());
        assert_eq!(address.to_string(), "postgres://ann@db.example:5433/docs");
        assert!(!format!("{address:?}").contains("hidden"));
        let plain = PostgresAddress::parse("postgresql://ann@db.example/docs").unwrap();
        assert!(!plain.has_password());
        assert!(plain.with_password("hidden").has_password());
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "mysql://ann:hidden@db/docs",
            "postgres://ann:hidden@db:port/docs",
            "postgres://ann:hidden@db/docs?sslmode=require",
            "postgres://ann:hidden@db/docs?hidden=1",
        ] {
            let error = PostgresAddress::parse(text).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hidden"), "{told}");
            assert!(told.contains("want "), "{told}");
        }
    }
}
