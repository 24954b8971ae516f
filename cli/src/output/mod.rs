//! How results look: Docker's tables, templates, sizes and times. It knows nothing of the API's objects.

pub mod display;
pub mod human;
pub mod inspect;
pub mod list;
pub mod natural;
pub mod save;
pub mod tabs;

use std::io::Write;

use crate::failure::Outcome;

/// Writes to standard output at once, so that what is shown before a failure is shown.
pub fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// One line to standard output.
pub fn line(text: impl AsRef<str>) -> Outcome {
    print(&format!("{}\n", text.as_ref()))
}

/// One line to standard error; a closed one is nobody's loss.
pub fn warn(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}
