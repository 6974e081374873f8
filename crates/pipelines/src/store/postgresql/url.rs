//! Where a database is, and who asks: read from a URL that holds a password, which nothing here shows.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::Host;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Where the database is and who asks, as `postgresql://USER:PASSWORD@HOST:5432/DATABASE`. It shows itself without the
/// password.
#[derive(Clone)]
pub struct Url {
    pub(super) config: Box<tokio_postgres::Config>,
    pub(super) trust: Trust,
}

/// Whom an encrypted connection believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Anybody, as PostgreSQL's own clients do unless told otherwise: it keeps listeners out, not impostors.
    Anybody,
    /// Whom the machine's certificate authorities vouch for.
    System,
    /// Whom the authorities in this file vouch for.
    File(String),
}

/// Why a text is no database URL; says nothing of what the text holds, as that has a password in it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database URL cannot be read: {0}; it has the form postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=…, where characters like @ : / ? # % in a password are written as %40 %3A %2F %3F %23 %25"
)]
pub struct BadUrl(&'static str);

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if !["postgresql://", "postgres://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return Err(BadUrl("it does not begin with postgresql://"));
        }
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let mut kept = Vec::new();
        let (mut trust, mut is_strict) = (Trust::Anybody, false);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", "verify-full")) => is_strict = true,
                Some(("sslmode", "verify-ca" | "allow")) => {
                    return Err(BadUrl(
                        "sslmode is one of disable, prefer, require and verify-full",
                    ));
                }
                Some(("sslrootcert", file)) => trust = Trust::File(file.replace("%2F", "/")),
                _ => kept.push(option),
            }
        }
        match (&trust, is_strict) {
            (Trust::Anybody, true) => trust = Trust::System,
            (Trust::File(_), false) => {
                return Err(BadUrl("sslrootcert needs sslmode=verify-full"));
            }
            _ => {}
        }
        if is_strict {
            kept.push("sslmode=require");
        }
        let text = if kept.is_empty() {
            address.to_owned()
        } else {
            format!("{address}?{}", kept.join("&"))
        };
        let mut config: tokio_postgres::Config = text
            .parse()
            .map_err(|_| BadUrl("an address, a number or an option in it is not a valid one"))?;
        if config.get_hosts().is_empty() {
            return Err(BadUrl("it names no host"));
        }
        if config.get_user().is_none() {
            return Err(BadUrl("it names no user"));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(BadUrl("it names no database"));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        Ok(Self {
            config: Box::new(config),
            trust,
        })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        write!(
            f,
            "{} on {}:{port} as {}",
            self.config.get_dbname().unwrap_or_default(),
            hosts.join(","),
            self.config.get_user().unwrap_or_default()
        )
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verify_full_asks_who_answers() {
        let trust = |query: &str| {
            format!("postgresql://u:p@h/d{query}")
                .parse::<Url>()
                .unwrap()
                .trust
        };
        assert_eq!(trust(""), Trust::Anybody);
        assert_eq!(trust("?sslmode=require"), Trust::Anybody);
        assert_eq!(trust("?sslmode=verify-full"), Trust::System);
        assert_eq!(
            trust("?sslmode=verify-full&sslrootcert=%2Fca.pem"),
            Trust::File("/ca.pem".to_owned())
        );
    }
}
