//! What the benchmarks share: synthetic media, the archive that keeps nothing, what a process costs, a client.

pub mod client;
pub mod media;
pub mod nginx;
pub mod process;

use async_trait::async_trait;
use timeline::{Archive, ArchiveError, Object};

/// The broadcast that all of them watch.
pub const BROADCAST: &str = "bench";

/// Takes everything and keeps nothing: what is measured is the origin.
pub struct Void;

#[async_trait]
impl Archive for Void {
    async fn put(&self, _: &str, _: Object) -> Result<(), ArchiveError> {
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        Err(ArchiveError::NotFound(key.to_owned()))
    }

    async fn delete(&self, _: &str) -> Result<(), ArchiveError> {
        Ok(())
    }

    async fn list(&self, _: &str) -> Result<Vec<String>, ArchiveError> {
        Ok(Vec::new())
    }
}

/// The value that a share `q` of the sorted values is not above; 0 of nothing.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * q).round() as usize)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(
            (
                quantile(&values, 0.5),
                quantile(&values, 0.99),
                quantile(&[], 0.5)
            ),
            (50.0, 99.0, 0.0)
        );
    }
}
