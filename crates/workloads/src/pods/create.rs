//! Creates many pods in batches that double while all goes well, so that a quota or a bad template costs one refused
//! request and not hundreds.

use std::future::Future;

use futures::future::join_all;

/// Runs `create` for 0..count in batches of 1, 2, 4 …; stops after the first batch with a failure. Answers how many
/// succeeded and the first failure.
pub async fn slow_start<T, E, F, R>(count: usize, create: F) -> (Vec<T>, Option<E>)
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<T, E>>,
{
    let mut created = Vec::with_capacity(count);
    let mut next = 0;
    let mut batch = 1;
    while next < count {
        let end = (next + batch).min(count);
        let mut failure = None;
        for outcome in join_all((next..end).map(&create)).await {
            match outcome {
                Ok(object) => created.push(object),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if failure.is_some() {
            return (created, failure);
        }
        next = end;
        batch *= 2;
    }
    (created, None)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_refusal_stops_further_batches() {
        let tried = Cell::new(0);
        let (created, failure) = slow_start(100, |index| {
            tried.set(tried.get() + 1);
            async move { if index < 3 { Ok(index) } else { Err("quota") } }
        })
        .await;
        assert_eq!(
            (created.len(), failure, tried.get()),
            (3, Some("quota"), 7),
            "batches of 1, 2 and 4"
        );
    }

    #[tokio::test]
    async fn all_are_created_when_nothing_fails() {
        let (created, failure) = slow_start(10, |index| async move { Ok::<_, &str>(index) }).await;
        assert_eq!((created.len(), failure), (10, None));
    }
}
