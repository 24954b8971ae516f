//! Containers that tests of either command line make over and over.

use crate::command_line::CommandLine;
use crate::single::IMAGE;

impl CommandLine {
    /// A container that stays; gives its name.
    #[track_caller]
    pub fn idle(&self, base: &str, flags: &[&str]) -> String {
        let name = self.name(base);
        self.ok(&[&["run", "-d", "--name", &name], flags, &[IMAGE, "sleep", "1000"]].concat());
        name
    }

    /// What a container prints that is made, runs to its end and is gone.
    #[track_caller]
    pub fn said(&self, flags: &[&str], command: &[&str]) -> String {
        self.ok(&[&["run", "--rm"], flags, &[IMAGE], command].concat())
    }

    /// As [`Self::said`], of a shell's script.
    #[track_caller]
    pub fn script(&self, flags: &[&str], script: &str) -> String {
        self.said(flags, &["sh", "-c", script])
    }

    /// What a shell in a running container prints.
    #[track_caller]
    pub fn inside(&self, name: &str, script: &str) -> String {
        self.ok(&["exec", name, "sh", "-c", script])
    }

    /// A container that cannot be run, and says why; its exit status.
    #[track_caller]
    pub fn refuses(&self, flags: &[&str], why: &str) -> i32 {
        self.fails(&[&["run", "--rm"], flags, &[IMAGE, "true"]].concat(), why)
    }
}
