//! Where code memory is refused: slots do without, and it is said once.

use super::Writer;
use super::entry::{Next, Via};
use crate::error::{Error, MemoryError};
use crate::slot::inspect::News;

impl Writer {
    /// What was planned for an entry; where it would have needed code memory that was refused, the way that needs none. An entry
    /// whose calls cannot go back to their stubs has no such way.
    pub(super) fn or_installed(
        &mut self,
        planned: Result<Next, Error>,
        reaches_stubs: bool,
    ) -> Result<Next, Error> {
        match planned {
            Err(Error::Memory(refused)) if reaches_stubs => {
                self.is_refused(&refused);
                Ok(Next { target: None, via: Via::Installed })
            }
            other => other,
        }
    }

    fn is_refused(&mut self, why: &MemoryError) {
        if self.refused.is_none() {
            let reason = why.to_string();
            self.refused = Some(reason.clone());
            self.untold.push(News::CodeRefused { reason });
        }
    }

    /// Why code memory was first refused.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// What has happened to code memory since this was last asked. That it was refused is told once.
    pub(crate) fn news(&mut self) -> Vec<News> {
        let mut news = core::mem::take(&mut self.untold);
        let of_regions: Vec<_> = self.images().regions.iter_mut().flat_map(|region| region.news()).collect();
        for one in of_regions {
            if let News::CodeRefused { reason } = &one {
                if self.refused.is_some() {
                    continue;
                }
                self.refused = Some(reason.clone());
            }
            news.push(one);
        }
        news
    }
}
