//! Loading shared libraries that extend SQLite.
//!
//! Owns nothing: what is loaded belongs to the handle.
//! Thread: the one that uses the handle; the library's code runs on it.
//! Must not know: who allows it.

use std::ffi::{CStr, c_char};
use std::ptr;

use libsql::ffi;

use super::error::Error;
use super::handle::Handle;

impl Handle {
    /// Loads a library and calls its entry point; without a name SQLite tries its own.
    ///
    /// # Errors
    ///
    /// SQLite's: it is not allowed, there is no such file or entry point, or that has failed.
    pub fn load_extension(&mut self, path: &CStr, entry_point: Option<&CStr>) -> Result<(), Error> {
        self.set_has_extensions();
        let mut message: *mut c_char = ptr::null_mut();
        let entry_point = entry_point.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: the handle is open; both names end with NUL; what the library does is the caller's
        // responsibility, who has allowed it.
        let rc = unsafe {
            ffi::sqlite3_load_extension(
                self.database.as_ptr(),
                path.as_ptr(),
                entry_point,
                &raw mut message,
            )
        };
        if rc == ffi::SQLITE_OK {
            return Ok(());
        }
        if message.is_null() {
            return Err(self.database.error(rc));
        }
        // SAFETY: SQLite's text, which ends with NUL.
        let text = unsafe { CStr::from_ptr(message) };
        let error = Error::new(rc, text.to_string_lossy());
        // SAFETY: it is ours to free, and not used any more.
        unsafe { ffi::sqlite3_free(message.cast()) };
        Err(error)
    }
}
