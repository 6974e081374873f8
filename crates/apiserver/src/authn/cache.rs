//! Remembers which tokens had a good signature, so that it is computed once per token.
//!
//! Only the token's hash is kept, and no longer than the token is valid. Whether the account behind
//! it still exists is not remembered: that is asked on every request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Claims, TokenHash};

/// Enough for every pod of one machine; beyond it the expired, then all, are forgotten.
const CAPACITY: usize = 16_384;

#[derive(Default)]
pub(super) struct TokenCache {
    entries: RwLock<HashMap<TokenHash, Arc<Claims>>>,
}

impl TokenCache {
    /// The claims of a token seen before and not expired since.
    pub(super) fn get(&self, hash: &TokenHash, now: i64) -> Option<Arc<Claims>> {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash)
            .filter(|claims| claims.expires_at > now)
            .cloned()
    }

    pub(super) fn put(&self, hash: TokenHash, claims: Arc<Claims>, now: i64) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.retain(|_, claims| claims.expires_at > now);
        }
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(hash, claims);
    }
}
