//! dpkg's status, read without starting it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use super::dpkg::Status;
use crate::host::Host;
use crate::host::file_error::FileError;

const STATUS: &str = "/var/lib/dpkg/status";

/// The status, parsed again only when its file has changed.
#[derive(Default)]
pub struct StatusCache(RefCell<Option<(Stamp, Rc<Status>)>>);

type Stamp = Option<(i64, i64)>;

impl StatusCache {
    /// What is installed now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn status(&self, host: &Host) -> Result<Rc<Status>, FileError> {
        let path = Path::new(STATUS);
        let stamp = host.modified(path)?;
        if let Some((known, status)) = &*self.0.borrow()
            && *known == stamp
        {
            return Ok(Rc::clone(status));
        }
        let status = Rc::new(Status::parse(&host.read_text(path)?.unwrap_or_default()));
        *self.0.borrow_mut() = Some((stamp, Rc::clone(&status)));
        Ok(status)
    }
}
