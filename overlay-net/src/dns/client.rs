//! The daemon's side of the process that answers names: starts it when the first asker comes, tells
//! it what it is to know, and gives everything back to a new one when it has died.
//!
//! **Invariant:** what is wanted stands here. A process that is lost is told all of it anew, at the
//! ports that rules lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use skep_overlay_kernel::{HostNs, Namespace};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::names::Place;
use super::process::{NAME, build_of};
use super::protocol::{
    Ask, Channel, ForwardWord, Hello, Open, PlaceWord, Quit, Replace, Reply, Request, Say,
    ZoneWord, bytes_of, malformed,
};
use super::zone::{Change, Told};

const SOCKET: &str = "names.sock";
/// Where the process says why it ended.
const LOG: &str = "names.log";
/// A request is answered within this time. The slowest takes a thread and two sockets; a machine
/// out of memory may need seconds.
const REPLY_WITHIN: Duration = Duration::from_secs(10);
/// Attempts to have a process of this build: one that goes on as it, one that is started instead.
const CONNECTS_MAX: usize = 4;
/// The pauses before a process that died is started again: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A process that lived for this long did not die of its start.
const LIVED: Duration = Duration::from_secs(30);
/// How long a process stays when nobody asks it any more: containers often come one after the other.
const IDLE: Duration = Duration::from_secs(5);
/// How often it is tried to take away what was the process's own, while the kernel still counts it,
/// and the pause between.
const LEAVES_TRIED: u32 = 20;
const LEAVES_PAUSE: Duration = Duration::from_millis(50);
/// Processes of which the end is watched: one, and those that it replaced a moment ago.
const WATCHED_MAX: usize = 16;

/// Whose askers and networks are: of each the daemon learns in its own time what is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Tasks on the swarm's networks.
    Swarm,
    /// Containers on networks of this host.
    Host,
}

impl Group {
    /// What the names of its askers and zones begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Swarm => "swarm/",
            Self::Host => "host/",
        }
    }
}

#[derive(Debug, Clone)]
pub struct NameServerConfig {
    /// Where its socket is, until the next boot. One process for each such directory.
    pub run: PathBuf,
    /// The program that is the process when it is called so.
    pub program: PathBuf,
    /// What the program is told besides.
    pub args: Vec<String>,
    /// Directories that the program makes for itself (its cgroup) and that go with it.
    pub leaves: Vec<PathBuf>,
    pub host: HostNs,
}

/// Whom an asker's other questions go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// Who has no way to the outside does not get there by names either.
    Nowhere,
    /// To those that are named in a file of the host's.
    Host(PathBuf),
    /// To these, from the asker's namespace.
    Chosen(Vec<IpAddr>),
}

/// Somebody who asks for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub group: Group,
    pub name: String,
    /// The port follows from it while it is free: the asker's id, or what is as random.
    pub seed: u128,
    /// The networks that it may ask about, in order.
    pub places: Vec<Place>,
    pub forward: Forward,
}

/// A handle; clones are the same.
#[derive(Debug, Clone)]
pub struct NameServer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: NameServerConfig,
    state: Mutex<State>,
    /// To whom the ends of processes are told. Made with the first connection.
    watch: OnceLock<mpsc::Sender<Watched>>,
}

#[derive(Debug, Default)]
struct State {
    zones: BTreeMap<String, Known>,
    askers: BTreeMap<String, Wanted>,
    link: Option<Link>,
    /// Counts connections.
    epoch: u64,
    /// What a process has of an earlier daemon's and nobody has wanted yet.
    left: BTreeSet<(Kind, String)>,
    /// Groups of which all that is wanted is known.
    settled: BTreeSet<Group>,
    pause: Duration,
    /// It will be looked whether anybody asks still.
    idling: bool,
    watcher: JoinSet<()>,
}

#[derive(Debug)]
struct Known {
    told: Told,
    generation: u64,
}

#[derive(Debug)]
struct Wanted {
    place: Namespace,
    open: Open,
}

#[derive(Debug)]
struct Link {
    channel: Channel,
    since: Instant,
}

#[derive(Debug)]
struct Watched {
    epoch: u64,
    stream: UnixStream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Asker,
    Zone,
}

impl NameServer {
    /// Starts nothing yet.
    pub fn new(config: NameServerConfig) -> Self {
        let (state, watch) = (Mutex::default(), OnceLock::new());
        Self(Arc::new(Shared { config, state, watch }))
    }

    /// Serves an asker in its namespace, or otherwise than before, and gives the port that it
    /// listens on there.
    pub async fn open(&self, asker: Asker, place: &Namespace) -> io::Result<u16> {
        let Asker { group, name, seed, places, forward } = asker;
        let name = format!("{}{name}", group.prefix());
        let open = Open {
            asker: name.clone(),
            seed: seed.to_be_bytes().to_vec(),
            places: places.iter().map(PlaceWord::from).collect(),
            forward: forward_word(forward),
            ..Open::default()
        };
        let mut state = self.0.state.lock().await;
        let opened = self.0.open(&mut state, &open, place).await?;
        let open = Open { port: Some(opened.into()), ..open };
        state.left.remove(&(Kind::Asker, name.clone()));
        state.askers.insert(name, Wanted { place: place.clone(), open });
        Ok(opened)
    }

    /// Ends an asker's service; one that has none is no error.
    pub async fn close(&self, group: Group, asker: &str) {
        let name = format!("{}{asker}", group.prefix());
        let mut state = self.0.state.lock().await;
        if state.askers.remove(&name).is_some() {
            state.tell(Ask::Close(name)).await;
            self.0.rest(&mut state);
        }
    }

    /// All that is known of a network now.
    pub async fn set_zone(&self, zone: &str, told: Told) {
        let mut state = self.0.state.lock().await;
        let change = state.zones.get(zone).map(|known| told.since(&known.told));
        match change {
            Some(change) => state.change(zone, change).await,
            None => {
                let known = Known { told, generation: 1 };
                state.left.remove(&(Kind::Zone, zone.to_owned()));
                state.zones.insert(zone.to_owned(), known);
                state.tell_whole(zone).await;
            }
        }
    }

    /// What has changed of a network that was set.
    pub async fn change_zone(&self, zone: &str, change: Change) {
        self.0.state.lock().await.change(zone, change).await;
    }

    pub async fn forget_zone(&self, zone: &str) {
        let mut state = self.0.state.lock().await;
        if state.zones.remove(zone).is_some() {
            state.tell(Ask::Forget(zone.to_owned())).await;
        }
    }

    /// What is known of networks, by their names.
    pub async fn zones(&self, group: Group) -> Vec<String> {
        let state = self.0.state.lock().await;
        state.zones.keys().filter(|it| it.starts_with(group.prefix())).cloned().collect()
    }

    /// All that is wanted of a group is known: what a process has besides goes.
    pub async fn settle(&self, group: Group) {
        let mut state = self.0.state.lock().await;
        state.settled.insert(group);
        if state.link.is_none()
            && let Err(error) = self.0.connect(&mut state, Start::No).await
        {
            tracing::warn!(%error, "the process that answers names is not reached");
        }
        state.drop_left().await;
        self.0.rest(&mut state);
    }
}

impl State {
    fn is_asked(&self) -> bool {
        !self.askers.is_empty() || self.left.iter().any(|(kind, _)| *kind == Kind::Asker)
    }

    /// Says something that a new process need not be told. One that is lost is noticed elsewhere.
    async fn tell(&mut self, ask: Ask) -> Option<Say> {
        self.link.as_ref()?;
        let said = ask_by(&mut self.link, ask, None).await;
        said.inspect_err(|error| {
            tracing::warn!(%error, "the process that answers names does not hear");
        })
        .ok()
    }

    async fn change(&mut self, zone: &str, change: Change) {
        let Some(known) = self.zones.get_mut(zone) else { return };
        if change.is_empty() {
            return;
        }
        let applies_to = known.generation;
        known.generation += 1;
        known.told.take_in(change.clone());
        for part in ZoneWord::parts(zone, applies_to, known.generation, change) {
            match self.tell(Ask::Zone(part)).await {
                Some(Say::Done(_)) => {}
                Some(Say::Stale(_)) => return self.tell_whole(zone).await,
                Some(say) => {
                    tracing::warn!(zone, ?say, "a change of names was not taken");
                    return self.tell_whole(zone).await;
                }
                // It is told the whole when it is there again.
                None => return,
            }
        }
    }

    async fn tell_whole(&mut self, zone: &str) {
        if self.link.is_none() {
            return;
        }
        let Some(known) = self.zones.get(zone) else { return };
        for part in ZoneWord::whole(zone, known.generation, &known.told) {
            match self.tell(Ask::Zone(part)).await {
                Some(Say::Done(_)) => {}
                Some(say) => {
                    return tracing::error!(zone, ?say, "a network's names were not taken");
                }
                None => return,
            }
        }
    }

    async fn drop_left(&mut self) {
        let settled = self.settled.clone();
        let ours = |(_, name): &(Kind, String)| {
            settled.iter().any(|group| name.starts_with(group.prefix()))
        };
        let (gone, left) = std::mem::take(&mut self.left).into_iter().partition(ours);
        self.left = left;
        for (kind, name) in gone {
            self.tell(match kind {
                Kind::Asker => Ask::Close(name),
                Kind::Zone => Ask::Forget(name),
            })
            .await;
        }
    }
}

impl Channel {
    async fn ask(&mut self, ask: Ask, along: Option<BorrowedFd<'_>>) -> io::Result<Say> {
        let request = Request { ask: Some(ask) };
        let replied = timeout(REPLY_WITHIN, async {
            self.send(&request, along).await?;
            self.receive::<Reply>().await
        });
        let reply = replied.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let reply = reply.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        reply.say.ok_or_else(|| malformed("a reply that is not known"))
    }
}

/// Asks by a connection that is good for the next question only if this one was answered: who asks may
/// be ended while he waits, and the reply would be taken for another's.
async fn ask_by(
    link: &mut Option<Link>,
    ask: Ask,
    along: Option<BorrowedFd<'_>>,
) -> io::Result<Say> {
    let Some(mut by) = link.take() else { return Err(io::ErrorKind::NotConnected.into()) };
    let said = by.channel.ask(ask, along).await?;
    *link = Some(by);
    Ok(said)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Yes,
    No,
}

impl Shared {
    async fn open(
        self: &Arc<Self>,
        state: &mut State,
        open: &Open,
        place: &Namespace,
    ) -> io::Result<u16> {
        // One that died a moment ago is not noticed before it is asked.
        for last in [false, true] {
            if state.link.is_none() {
                self.connect(state, Start::Yes).await?;
            }
            if state.link.is_none() {
                break;
            }
            let ask = Ask::Open(open.clone());
            match ask_by(&mut state.link, ask, Some(place.as_fd())).await {
                Ok(Say::Opened(port)) => {
                    return u16::try_from(port).map_err(|_| malformed("a port"));
                }
                Ok(Say::Failed(failed)) => return Err(failed.into()),
                Ok(_) => return Err(malformed("another reply than was asked for")),
                Err(error) if last => return Err(error),
                Err(_) => {}
            }
        }
        Err(io::ErrorKind::NotConnected.into())
    }

    /// Reaches the process, one of this build, and tells it everything. Without one there, and where
    /// none is to be started, there is no connection after.
    async fn connect(self: &Arc<Self>, state: &mut State, start: Start) -> io::Result<()> {
        fs::create_dir_all(&self.config.run)?;
        let build = build_of(&self.config.program)?;
        for _ in 0..CONNECTS_MAX {
            let stream = match self.reach().await {
                Ok(stream) => stream,
                Err(error) if no_process(&error) && start == Start::No => return Ok(()),
                Err(error) if no_process(&error) => {
                    self.start()?;
                    self.reach().await?
                }
                Err(error) => return Err(error),
            };
            let mut channel = Channel::new(stream);
            let held = match channel.ask(Ask::Hello(Hello {}), Some(self.config.host.as_fd())).await
            {
                Ok(Say::Held(held)) => held,
                Ok(_) => return Err(malformed("another reply than was asked for")),
                // It was about to end, or is to be started.
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {
                    tracing::debug!(%error, "the process that answers names has gone");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if held.build != build {
                self.replace(&mut channel).await?;
                continue;
            }
            let askers = held.askers.into_iter().map(|it| (Kind::Asker, it));
            let zones = held.zones.into_iter().map(|it| (Kind::Zone, it));
            let wanted = |(kind, name): &(Kind, String)| match kind {
                Kind::Asker => state.askers.contains_key(name),
                Kind::Zone => state.zones.contains_key(name),
            };
            let left = askers.chain(zones).filter(|it| !wanted(it)).collect();
            state.left = left;
            let watched = self.reach().await?;
            state.epoch += 1;
            state.link = Some(Link { channel, since: Instant::now() });
            self.watch(state, watched);
            return self.give(state).await;
        }
        Err(io::Error::other("the process that answers names ends as soon as it is started"))
    }

    /// Tells a process all that is wanted.
    async fn give(&self, state: &mut State) -> io::Result<()> {
        for zone in state.zones.keys().cloned().collect::<Vec<_>>() {
            state.tell_whole(&zone).await;
        }
        for (name, wanted) in &state.askers {
            if state.link.is_none() {
                break;
            }
            let ask = Ask::Open(wanted.open.clone());
            match ask_by(&mut state.link, ask, Some(wanted.place.as_fd())).await? {
                Say::Opened(_) => {}
                say => tracing::error!(asker = name, ?say, "an asker is without names"),
            }
        }
        state.drop_left().await;
        match state.link {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Has a process of another build go on as this one, with its sockets; else ends it.
    async fn replace(&self, channel: &mut Channel) -> io::Result<()> {
        let program = File::open(&self.config.program)?;
        match channel.ask(Ask::Replace(Replace {}), Some(program.as_fd())).await {
            Ok(Say::Failed(failed)) => {
                let error = io::Error::from(failed);
                tracing::warn!(%error, "the process that answers names does not go on as this build");
                // It has no reply to this.
                let _ = channel.ask(Ask::Quit(Quit {}), None).await;
                Ok(())
            }
            Ok(_) => Err(malformed("another reply than was asked for")),
            // The connection ends with the old program.
            Err(error) if error.kind() != io::ErrorKind::TimedOut => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn reach(&self) -> io::Result<UnixStream> {
        let directory = File::open(&self.config.run)?;
        // By way of a descriptor, for a path may be too long.
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        timeout(REPLY_WITHIN, UnixStream::connect(path)).await?
    }

    /// The socket stands before the process does, so that it can be reached at once.
    fn start(&self) -> io::Result<()> {
        let run = &self.config.run;
        let directory = File::open(run)?;
        let new = format!("{SOCKET}.new");
        remove(&run.join(&new))?;
        let path = format!("/proc/self/fd/{}/{new}", directory.as_raw_fd());
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        fs::set_permissions(run.join(&new), Permissions::from_mode(0o600))?;
        fs::rename(run.join(&new), run.join(SOCKET))?;
        let log = File::create(run.join(LOG))?;
        // Reaped by the runtime.
        tokio::process::Command::new(&self.config.program)
            .arg0(NAME)
            .args(&self.config.args)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(log)
            .env_clear()
            .current_dir("/")
            .spawn()
            .map(drop)
    }

    fn watch(self: &Arc<Self>, state: &mut State, stream: UnixStream) {
        let watch = self.watch.get_or_init(|| {
            let (sender, ends) = mpsc::channel(WATCHED_MAX);
            state.watcher.spawn(watch(Arc::downgrade(self), ends));
            sender
        });
        // A full queue is of processes that died in a row: the last of them is noticed by whoever
        // says something to it.
        let _ = watch.try_send(Watched { epoch: state.epoch, stream });
    }

    /// Ends the process if nobody asks it for a while. The next who comes has one started.
    fn rest(self: &Arc<Self>, state: &mut State) {
        if state.idling || state.link.is_none() || state.is_asked() {
            return;
        }
        state.idling = true;
        let shared = Arc::downgrade(self);
        state.watcher.spawn(async move {
            tokio::time::sleep(IDLE).await;
            let Some(shared) = shared.upgrade() else { return };
            let mut state = shared.state.lock().await;
            state.idling = false;
            if !state.is_asked() {
                shared.end(&mut state).await;
            }
        });
    }

    async fn end(&self, state: &mut State) {
        let Some(mut link) = state.link.take() else { return };
        // Its end is no loss.
        state.epoch += 1;
        // It has no reply to this.
        let _ = link.channel.ask(Ask::Quit(Quit {}), None).await;
        for file in [SOCKET, LOG] {
            if let Err(error) = remove(&self.config.run.join(file)) {
                tracing::debug!(file, %error, "what a process that answered names had is left");
            }
        }
        for leaf in &self.config.leaves {
            for _ in 0..LEAVES_TRIED {
                match fs::remove_dir(leaf) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        tokio::time::sleep(LEAVES_PAUSE).await;
                    }
                    _ => break,
                }
            }
        }
    }

    /// The process of this connection has ended: another one is to take its place.
    async fn lost(self: Arc<Self>, epoch: u64) {
        let mut pause = {
            let mut state = self.state.lock().await;
            if state.epoch != epoch {
                return;
            }
            let lived = state.link.as_ref().is_some_and(|it| it.since.elapsed() >= LIVED);
            state.pause = match lived {
                true => Duration::ZERO,
                false => (state.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX),
            };
            state.link = None;
            state.pause
        };
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            let mut state = self.state.lock().await;
            // Without anybody who asks, the next one who comes has it started.
            if state.epoch != epoch || state.link.is_some() || state.askers.is_empty() {
                return;
            }
            tracing::warn!("the process that answers names has ended: it is started again");
            match self.connect(&mut state, Start::Yes).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "no process answers names"),
            }
            // The end of one that was there for a moment is told anew.
            if state.epoch != epoch {
                return;
            }
        }
    }
}

/// Only the newest connection tells of the process that is wanted; those before it are let go, for the
/// process has room for few.
async fn watch(shared: Weak<Shared>, mut newer: mpsc::Receiver<Watched>) {
    let mut next = newer.recv().await;
    while let Some(Watched { epoch, mut stream }) = next {
        let mut nothing = [0];
        next = tokio::select! {
            next = newer.recv() => next,
            // Nothing is ever said here.
            _ = stream.read(&mut nothing) => {
                let Some(shared) = shared.upgrade() else { return };
                shared.lost(epoch).await;
                newer.recv().await
            }
        };
    }
}

fn no_process(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn forward_word(forward: Forward) -> Option<ForwardWord> {
    match forward {
        Forward::Nowhere => None,
        Forward::Host(file) => {
            let file = file.to_string_lossy().into_owned();
            Some(ForwardWord { file, servers: Vec::new() })
        }
        Forward::Chosen(servers) => {
            let servers = servers.into_iter().map(bytes_of).collect();
            Some(ForwardWord { file: String::new(), servers })
        }
    }
}
