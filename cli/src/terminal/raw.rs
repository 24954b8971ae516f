//! A terminal whose keys go through as they are, and how large it is.

use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::failure::{Failure, Outcome};

/// Raw mode while it lives; the settings are put back whatever happens.
pub struct Raw(Termios);

impl Raw {
    /// None where standard input is no terminal.
    pub fn enter() -> Outcome<Option<Self>> {
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let failed = |error: nix::Error| {
            Failure::new(format!("unable to set IO streams as raw terminal: {error}"))
        };
        let before = tcgetattr(std::io::stdin().as_fd()).map_err(failed)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &raw).map_err(failed)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);

/// Rows and columns of the terminal that standard output is; none where it is no terminal.
pub fn size() -> Option<(u16, u16)> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let mut size = nix::libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call fills the one structure it is given, which lives here.
    let done = unsafe { window_size(std::io::stdout().as_raw_fd(), &raw mut size) };
    done.is_ok().then_some((size.ws_row, size.ws_col))
}
