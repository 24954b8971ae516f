//! The daemon's own options, as flags and as keys of its file: each is seen to hold by what it does
//! to containers, networks and registries, or is refused by its name.

mod containers;
mod logins;
mod networks;
mod places;
mod registries;
mod reload;

use skep_e2e::{CommandLine, Program, Session, Signal, Single};

/// A host whose daemon was started again, told what a test wants.
pub struct Told {
    pub cli: CommandLine,
    pub daemon: Session,
    pub single: Single,
}

/// Flags come last, so that they may name the places anew.
fn command(single: &Single, flags: &str) -> Session {
    let script =
        format!("echo $$ > /tmp/told.pid; exec skep daemon -H unix:///run/skep.sock {flags}");
    let command = single.host().command(&["sh", "-c", &script]).unwrap();
    Session::on_pipes(command).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The daemon of a host of the test's own, told so by flags; none (and SKIP) without root.
pub fn told(flags: &str) -> Option<Told> {
    told_by_file(flags, "")
}

/// By flags, and by a file.
pub fn told_by_file(flags: &str, file: &str) -> Option<Told> {
    let single = Single::own()?;
    let cli = single.command_line(Program::Skep);
    single.host().kill(Signal::SIGKILL).unwrap();
    let file = match file {
        "" => String::new(),
        text => format!("--config-file {}", cli.file("daemon.json", text)),
    };
    let daemon = command(&single, &format!("{file} {flags}"));
    daemon.expect("API listens", 0).unwrap_or_else(|error| panic!("{error:#}"));
    Some(Told { cli, daemon, single })
}

impl Told {
    /// Sends the daemon itself a signal, not who brought it onto its host.
    pub fn signal(&self, signal: &str) {
        self.cli.shell(&format!("kill -{signal} $(cat /tmp/told.pid)"));
    }

    /// Ends the daemon, and starts it with other flags.
    pub fn again(&mut self, flags: &str) {
        self.signal("TERM");
        assert_eq!(self.daemon.wait().unwrap(), 0, "{}", self.daemon.text());
        self.daemon = command(&self.single, flags);
        self.daemon.expect("API listens", 0).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Both command lines where both are there.
    pub fn each(&self, case: impl Fn(&CommandLine)) {
        for program in [Program::Docker, Program::Skep] {
            match program.installed() {
                true => case(&self.single.command_line(program)),
                false => eprintln!("SKIP: no docker command line is installed"),
            }
        }
    }
}

/// Makes what a daemon with nothing in it lacks: the test's image.
pub fn import(told: &Told) {
    let archive = skep_e2e::image_archive();
    let archive = archive.to_str().expect("an archive's path is UTF-8");
    let words = ["image", "import", "--change", "CMD [\"sh\"]", archive, skep_e2e::IMAGE];
    told.cli.ok(&words);
}
