//! The process that answers names on a node, beside the daemon and outliving it.
//!
//! It is the same program under another name. It holds the sockets in the askers' namespaces and
//! what is told of their networks; a daemon drives it over its socket, and may die and come back.
//! It ends when nobody asks it any more and no daemon is there. A daemon of another build has it
//! go on as that build: sockets stay open across the execve, and what is known is handed on.
//!
//! **Invariant:** one thread answers all askers in turns. What enters a namespace does so on a
//! thread of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{dup2_stdin, execve, setsid};
use skep_overlay_kernel::Namespace;
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::forward::{Forwarder, Forwarding};
use super::names::Place;
use super::protocol::{
    self, Ask, Channel, Done, Failed, ForwardWord, Held, Hello, Open, Reply, Request, Say, Sockets,
    Stale, ZoneWord, malformed,
};
use super::server::{Directory, Listening, Resolver, Scope};
use super::zone::{Change, Zone};

/// What the program is called as to be this process.
pub const NAME: &str = "skep-names";
/// The argument before the number of the file with what the predecessor knew.
const RESUME: &str = "--resume";
/// Ended after all others where memory is short: without it, no container finds another.
const OOM_SCORE_ADJ: &str = "-998";
/// Daemons are one at a time, with two connections each; a daemon that is killed leaves its own for
/// a moment.
const CONNECTIONS_MAX: usize = 16;
/// How long it waits for the daemon that started it, which may have died meanwhile.
const FIRST_WITHIN: Duration = Duration::from_secs(30);

/// Which program a process is: what is written to its file anew is another one.
pub fn build_of(program: &Path) -> io::Result<String> {
    let file = std::fs::metadata(program)?;
    Ok(format!("{}-{}.{}-{}", file.size(), file.mtime(), file.mtime_nsec(), file.ino()))
}

/// The whole life of the process. Its standard input is the socket that it listens on; `args` are
/// the process's own.
pub fn main(args: &[std::ffi::OsString]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[std::ffi::OsString]) -> io::Result<()> {
    nix::sys::prctl::set_name(c"skep-names")?;
    // What ends the daemon's group or session does not end this. Fails where the process leads a
    // group already, which is as good.
    let _ = setsid();
    std::env::set_current_dir("/")?;
    // Three files for each asker, and one for each question that waits.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    // Not allowed inside some containers, and no reason to answer nobody.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    let number = args.iter().skip_while(|it| *it != RESUME).nth(1);
    let number = number.and_then(|it| it.to_str()?.parse::<i32>().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    runtime.block_on(async {
        let process = Names::default();
        if let Some(number) = number {
            // SAFETY: who executed this program left the file open under this number, for this.
            let file = unsafe { OwnedFd::from_raw_fd(number) };
            process.resume(file.into()).await?;
        }
        process.serve(listener).await
    })
}

/// All that the process has.
#[derive(Clone, Default)]
pub struct Names {
    directory: Arc<Directory>,
    forwarding: Arc<Forwarding>,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    host: Option<Namespace>,
    askers: HashMap<String, Asker>,
    generations: HashMap<String, u64>,
    /// Networks of which a part has come.
    pending: HashMap<String, Pending>,
    listener: Option<OwnedFd>,
}

struct Asker {
    place: Namespace,
    resolver: Resolver,
    /// As it was told last.
    open: Open,
}

struct Pending {
    applies_to: u64,
    generation: u64,
    changes: Vec<Change>,
    /// The whole network, while it is told.
    zone: Zone,
}

impl Names {
    /// Serves daemons until nothing is left to do.
    pub async fn serve(&self, listener: OwnedFd) -> io::Result<()> {
        self.book.lock().await.listener = Some(listener.try_clone()?);
        let listener = std::os::unix::net::UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let mut daemons = JoinSet::new();
        // Somebody has started it, and comes.
        let mut patience = Box::pin(tokio::time::sleep(FIRST_WITHIN));
        let mut expected = true;
        loop {
            tokio::select! {
                accepted = listener.accept(), if daemons.len() < CONNECTIONS_MAX => {
                    expected = false;
                    daemons.spawn(self.clone().converse(Channel::new(accepted?.0)));
                }
                ended = daemons.join_next(), if !daemons.is_empty() => {
                    if let Some(Ok(Err(error))) = ended {
                        tracing::debug!(%error, "a daemon's connection broke");
                    }
                }
                () = &mut patience, if expected => expected = false,
            }
            if !expected && daemons.is_empty() && self.book.lock().await.askers.is_empty() {
                return Ok(());
            }
        }
    }

    async fn converse(self, mut channel: Channel) -> io::Result<()> {
        while let Some(request) = channel.receive::<Request>().await? {
            let ask = request.ask.ok_or_else(|| malformed("a request that is not known"))?;
            let say = match self.answer(ask, &mut channel).await {
                Ok(Some(say)) => say,
                Ok(None) => return Ok(()),
                Err(error) => Say::Failed(Failed::from(&error)),
            };
            channel.send(&Reply { say: Some(say) }, None).await?;
        }
        Ok(())
    }

    async fn answer(&self, ask: Ask, channel: &mut Channel) -> io::Result<Option<Say>> {
        let mut book = self.book.lock().await;
        Ok(Some(match ask {
            Ask::Hello(Hello {}) => {
                book.host = Some(Namespace::of_descriptor(channel.descriptor()?, "the host"));
                Say::Held(Held {
                    build: build_of(Path::new("/proc/self/exe"))?,
                    askers: book.askers.keys().cloned().collect(),
                    zones: book.generations.keys().cloned().collect(),
                })
            }
            Ask::Zone(word) => self.take_in(&mut book, word)?,
            Ask::Forget(zone) => {
                book.generations.remove(&zone);
                book.pending.remove(&zone);
                self.zones().remove(&zone);
                Say::Done(Done {})
            }
            Ask::Open(open) => {
                let name = format!("the namespace of {}", open.asker);
                let place = Namespace::of_descriptor(channel.descriptor()?, &name);
                Say::Opened(self.open(&mut book, place, open).await?.into())
            }
            Ask::Close(asker) => {
                if let Some(asker) = book.askers.remove(&asker) {
                    asker.resolver.stop().await;
                }
                Say::Done(Done {})
            }
            Ask::Replace(_) => {
                let program = channel.descriptor()?;
                return Err(self.replace(&book, &program).err().unwrap_or_else(|| {
                    io::Error::other("a program was executed and is not there")
                }));
            }
            // Its files close with it.
            Ask::Quit(_) => std::process::exit(0),
        }))
    }

    fn zones(&self) -> std::sync::MutexGuard<'_, HashMap<String, Zone>> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, book: &mut Book, word: ZoneWord) -> io::Result<Say> {
        let (zone, goes_on) = (word.zone.clone(), word.goes_on);
        let (applies_to, generation) = (word.applies_to, word.generation);
        let known = book.generations.get(&zone).copied().unwrap_or_default();
        if applies_to != 0 && applies_to != known {
            book.pending.remove(&zone);
            return Ok(Say::Stale(Stale {}));
        }
        let change = word.change()?;
        let begun = book.pending.get(&zone);
        if begun.is_none_or(|it| it.generation != generation || it.applies_to != applies_to) {
            let zone_of = Zone::default();
            let pending = Pending { applies_to, generation, changes: Vec::new(), zone: zone_of };
            book.pending.insert(zone.clone(), pending);
        }
        let Some(pending) = book.pending.get_mut(&zone) else { return Ok(Say::Stale(Stale {})) };
        match applies_to {
            0 => pending.zone.take_in(change),
            _ => pending.changes.push(change),
        }
        if goes_on {
            return Ok(Say::Done(Done {}));
        }
        if let Some(pending) = book.pending.remove(&zone) {
            let mut zones = self.zones();
            match applies_to {
                0 => drop(zones.insert(zone.clone(), pending.zone)),
                _ => {
                    let known = zones.entry(zone.clone()).or_default();
                    pending.changes.into_iter().for_each(|change| known.take_in(change));
                }
            }
            book.generations.insert(zone, generation);
        }
        Ok(Say::Done(Done {}))
    }

    /// Serves an asker, by the sockets that it has where it has some in the same namespace.
    async fn open(&self, book: &mut Book, place: Namespace, open: Open) -> io::Result<u16> {
        let scope = self.scope(book, &place, &open)?;
        if let Some(asker) = book.askers.get_mut(&open.asker) {
            let same = asker.place.number()? == place.number()?;
            let port = open.port.is_none_or(|it| it == u32::from(asker.resolver.port()));
            if same && port {
                asker.resolver.rescope(scope);
                asker.open = open;
                return Ok(asker.resolver.port());
            }
        }
        if let Some(before) = book.askers.remove(&open.asker) {
            before.resolver.stop().await;
        }
        let listening = match open.port {
            Some(port) => {
                let port = u16::try_from(port).map_err(|_| malformed("a port"))?;
                Listening::at(&place, port).await?
            }
            None => {
                let seed = open.seed.as_slice().try_into().map_err(|_| malformed("a seed"))?;
                Listening::open(&place, u128::from_be_bytes(seed)).await?
            }
        };
        self.start(book, place, open, listening, scope)
    }

    fn start(
        &self,
        book: &mut Book,
        place: Namespace,
        open: Open,
        listening: Listening,
        scope: Scope,
    ) -> io::Result<u16> {
        let resolver = Resolver::start(listening, scope, self.directory.clone())?;
        let port = resolver.port();
        book.askers.insert(open.asker.clone(), Asker { place, resolver, open });
        Ok(port)
    }

    fn scope(&self, book: &Book, place: &Namespace, open: &Open) -> io::Result<Scope> {
        let forwarder = match &open.forward {
            None => None,
            Some(ForwardWord { file, servers }) if servers.is_empty() => {
                let host =
                    book.host.clone().ok_or_else(|| malformed("no namespace of the host"))?;
                Some(Forwarder::of_host(host, file.into(), self.forwarding.clone())?)
            }
            Some(ForwardWord { servers, .. }) => {
                let servers = servers.iter().map(|it| protocol::address(it));
                let servers: Vec<IpAddr> = servers.collect::<io::Result<_>>()?;
                Some(Forwarder::of_task(place.clone(), &servers, self.forwarding.clone())?)
            }
        };
        let places = open.places.iter().cloned().map(Place::from).collect();
        Ok(Scope { asker: open.asker.clone(), places, forwarder })
    }

    /// Goes on as another program. Comes back only if that cannot be.
    fn replace(&self, book: &Book, program: &OwnedFd) -> io::Result<()> {
        let mut kept = Kept::default();
        let mut file = File::from(memfd_create(c"skep-names", MFdFlags::MFD_CLOEXEC)?);
        let mut write = |ask: Ask| file.write_all(&protocol::frame(&Request { ask: Some(ask) }));
        for (zone, known) in self.zones().iter() {
            let generation = book.generations.get(zone).copied().unwrap_or_default();
            for part in ZoneWord::whole(zone, generation, known.told()) {
                write(Ask::Zone(part))?;
            }
        }
        let host = book.host.as_ref().ok_or_else(|| malformed("no namespace of the host"))?;
        let host = kept.keep(host)?;
        for asker in book.askers.values() {
            let (udp, tcp) = asker.resolver.sockets();
            let sockets = Sockets {
                udp: kept.keep(udp)?,
                tcp: kept.keep(tcp)?,
                place: kept.keep(&asker.place)?,
            };
            write(Ask::Open(Open { sockets: Some(sockets), ..asker.open.clone() }))?;
        }
        file.rewind()?;
        let file = kept.keep(&file)?;
        let listener =
            book.listener.as_ref().ok_or_else(|| malformed("no socket is listened on"))?;
        dup2_stdin(listener)?;
        let text = |text: String| std::ffi::CString::new(text).map_err(io::Error::other);
        let path = text(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
        let own = std::env::args().take_while(|it| it != RESUME);
        let handed = [RESUME.to_owned(), file.to_string(), host.to_string()];
        let args = own.chain(handed).map(text).collect::<io::Result<Vec<_>>>()?;
        let Err(errno) = execve::<_, &std::ffi::CStr>(&path, &args, &[]);
        let null = File::open("/dev/null")?;
        dup2_stdin(&null)?;
        Err(errno.into())
    }

    /// Takes up what a predecessor handed on.
    async fn resume(&self, mut file: File) -> io::Result<()> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        drop(file);
        let mut book = self.book.lock().await;
        // The host's namespace is the last argument.
        let host = std::env::args_os().next_back();
        let host = host.and_then(|it| it.to_str()?.parse::<i32>().ok());
        let host = host.ok_or_else(|| malformed("no namespace of the host"))?;
        book.host = Some(Namespace::of_descriptor(taken(host)?, "the host"));
        while let Some(request) = protocol::unframe::<Request>(&mut bytes)? {
            match request.ask {
                Some(Ask::Zone(word)) => drop(self.take_in(&mut book, word)?),
                Some(Ask::Open(mut open)) => {
                    let sockets = open.sockets.take().ok_or_else(|| malformed("no sockets"))?;
                    let name = format!("the namespace of {}", open.asker);
                    let place = Namespace::of_descriptor(taken(sockets.place)?, &name);
                    let listening = Listening::adopt(taken(sockets.udp)?, taken(sockets.tcp)?);
                    let scope = self.scope(&book, &place, &open)?;
                    self.start(&mut book, place, open, listening, scope)?;
                }
                _ => return Err(malformed("what was handed on")),
            }
        }
        Ok(())
    }
}

/// Descriptors that the next program has; gone again if it does not come.
#[derive(Default)]
struct Kept(Vec<OwnedFd>);

impl Kept {
    fn keep(&mut self, of: &impl AsFd) -> io::Result<i32> {
        let copy = of.as_fd().try_clone_to_owned()?;
        fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let number = copy.as_raw_fd();
        self.0.push(copy);
        Ok(number)
    }
}

fn taken(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: the predecessor left it open under this number for this process, which takes each
    // number once.
    let taken = unsafe { OwnedFd::from_raw_fd(number) };
    if let Err(errno) = fcntl(&taken, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        // It is not open: nothing of ours is to be closed under this number.
        let _ = taken.into_raw_fd();
        return Err(errno.into());
    }
    Ok(taken)
}
