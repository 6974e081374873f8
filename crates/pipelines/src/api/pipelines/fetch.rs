//! Fetching a package from a URL without becoming a way into the network: http and https only, no private, loopback or
//! link-local address (each redirect is looked at again), bounded in size and time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt as _;

use crate::api::ApiError;

const LIMIT_BYTES: usize = 32 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;

/// Fetches a package.
pub async fn fetch(url: &str, allows_private: bool) -> Result<Vec<u8>, ApiError> {
    let mut url = parse(url)?;
    for _ in 0..=REDIRECTS {
        let response = get(&url, allows_private).await?;
        if response.status().is_redirection() {
            let target = response
                .headers()
                .get(http::header::LOCATION)
                .and_then(|target| target.to_str().ok());
            let target =
                target.ok_or_else(|| ApiError::invalid(format!("{url} redirects to nowhere")))?;
            url = parse(
                url.join(target)
                    .map_err(|_| ApiError::invalid(format!("{url} redirects to what is no URL")))?
                    .as_str(),
            )?;
            continue;
        }
        if !response.status().is_success() {
            return Err(ApiError::invalid(format!(
                "{url} answered {}",
                response.status()
            )));
        }
        return read(&url, response).await;
    }
    Err(ApiError::invalid(format!(
        "{url}: more than {REDIRECTS} redirects"
    )))
}

fn parse(url: &str) -> Result<reqwest::Url, ApiError> {
    let parsed = reqwest::Url::parse(url)
        .map_err(|problem| ApiError::invalid(format!("{url:?} is not a URL: {problem}")))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(ApiError::invalid(format!(
            "packages are fetched by http or https, not {other}"
        ))),
    }
}

async fn get(url: &reqwest::Url, allows_private: bool) -> Result<reqwest::Response, ApiError> {
    let failed = |problem: &dyn std::fmt::Display| {
        ApiError::invalid(format!("could not fetch {url}: {problem}"))
    };
    let host = url
        .host_str()
        .ok_or_else(|| failed(&"it names no host"))?
        .trim_matches(['[', ']'])
        .to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|problem| failed(&problem))?
        .collect();
    if !allows_private
        && let Some(private) = addresses.iter().find(|address| is_private(address.ip()))
    {
        return Err(ApiError::invalid(format!(
            "{url} leads to {}, which is not a public address; upload the file instead",
            private.ip()
        )));
    }
    // The checked addresses are the ones that are used: a second look-up could give others.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .resolve_to_addrs(&host, &addresses)
        .no_proxy()
        .build();
    client
        .map_err(|problem| failed(&problem))?
        .get(url.clone())
        .send()
        .await
        .map_err(|problem| failed(&problem))
}

async fn read(url: &reqwest::Url, response: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let mut content = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        content
            .extend(chunk.map_err(|problem| {
                ApiError::invalid(format!("could not read {url}: {problem}"))
            })?);
        if content.len() > LIMIT_BYTES {
            return Err(ApiError::invalid(format!("{url} is larger than 32 MiB")));
        }
    }
    Ok(content)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || first == 0
                || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private(v4.into()),
            None => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn private_addresses_and_other_schemes_are_refused_before_anything_is_sent() {
        for url in [
            "http://127.0.0.1:1/x",
            "http://169.254.169.254/latest",
            "http://10.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
        ] {
            let refusal = fetch(url, false).await.unwrap_err();
            assert!(
                refusal.message().contains("not a public address"),
                "{url}: {}",
                refusal.message()
            );
        }
        assert!(
            fetch("file:///etc/passwd", false)
                .await
                .unwrap_err()
                .message()
                .contains("by http or https")
        );
        assert!(fetch("nonsense", false).await.is_err());
    }
}
