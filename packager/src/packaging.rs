//! One broadcast from its line to the air and the archive.

use std::sync::Arc;

use timeline::feed::Consumer;
use timeline::{BroadcastId, Grid, MediaTime, TextRendition, Timeline};

use crate::air::Air;
use crate::archive::{Backlog, Writer};
use crate::assembly::Assembly;
use crate::config::Config;
use crate::error::Error;
use crate::kept::Kept;

/// A broadcast that was packaged to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packaged {
    /// Where its last frame ends, counted from the origin.
    pub duration: MediaTime,
}

/// Everything one broadcast needs.
pub struct Packaging {
    pub broadcast: BroadcastId,
    pub timeline: Timeline,
    pub grid: Grid,
    pub texts: Vec<TextRendition>,
    pub config: Config,
    pub air: Arc<Air>,
    /// What came before, if this line was interrupted.
    pub kept: Kept,
    pub archive: Arc<dyn timeline::Archive>,
}

impl Packaging {
    /// Packages the line until its end. The archive is written beside it, never before it.
    pub async fn run(self, mut line: Consumer) -> Result<Packaged, Error> {
        let backlog = Arc::new(Backlog::new(self.config.max_archive_backlog as usize));
        let (announce, announced) = tokio::sync::oneshot::channel();
        let mut assembly = Assembly::new(&self, backlog.clone(), announce);
        let packaged = async {
            let fault = assembly.follow(&mut line).await.err();
            let duration = assembly.end();
            match fault {
                Some(fault) => {
                    tracing::error!(broadcast = %self.broadcast, %fault, %duration, "the line ended with a fault");
                    Err(fault)
                }
                None => Ok(Packaged { duration }),
            }
        };
        let kept = async {
            match announced.await {
                Ok(presented) => self.writer(backlog).run(presented).await,
                // There was nothing to keep.
                Err(_) => Ok(()),
            }
        };
        let (packaged, kept) = tokio::join!(packaged, kept);
        kept.and(packaged)
    }

    fn writer(&self, backlog: Arc<Backlog>) -> Writer {
        Writer {
            broadcast: self.broadcast.clone(),
            archive: self.archive.clone(),
            meters: self.air.meters.clone(),
            backlog,
            kept: self.air.kept.clone(),
            patience: self.config.archive_patience(),
        }
    }
}
