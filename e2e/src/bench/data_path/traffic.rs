//! One TCP connection that is as busy as it can be: a stream one way, or requests of 64 bytes, each
//! sent when the one before was answered.
//!
//! Client and server of a stream have a processor each. Of requests they share one: where each answer
//! has to wake another processor, that takes several times what is measured, and never the same.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::bench::figures::Unit;

/// Of each write and read of a stream.
const CHUNK_BYTES: usize = 128 << 10;
const REQUEST_BYTES: usize = 64;
/// Between two bytes, and for a connection to stand.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Traffic {
    Stream = b's',
    Requests = b'r',
}

/// The first processors of the machine.
const CLIENTS: usize = 0;
const SERVERS: usize = 1;

/// Keeps this thread on one processor; a machine of one has no choice to make.
fn stay_on(processor: usize) -> Result<()> {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    if online.is_some_and(|it| it > processor as i64) {
        let mut set = CpuSet::new();
        set.set(processor).context("no such processor")?;
        sched_setaffinity(Pid::from_raw(0), &set).context("failed to choose a processor")?;
    }
    Ok(())
}

/// Said in place of a [`Traffic`]: no more connections come.
const END: u8 = b'e';

/// Runs in a network namespace, on a thread that ends with it: it cannot go back.
fn inside<T: Send + 'static>(
    place: &Path,
    act: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<JoinHandle<Result<T>>> {
    let file = File::open(place).with_context(|| format!("failed to open {}", place.display()))?;
    Ok(std::thread::spawn(move || {
        setns(&file, CloneFlags::CLONE_NEWNET).context("failed to enter a network namespace")?;
        act()
    }))
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the benchmark died"))?
}

/// Counts or answers what comes, one connection after the other.
pub struct Server {
    place: PathBuf,
    port: u16,
    thread: JoinHandle<Result<()>>,
}

impl Server {
    /// On all addresses of a namespace, at a port that is free there.
    pub fn start(place: PathBuf) -> Result<Self> {
        Self::start_at(place, 0)
    }

    pub fn start_at(place: PathBuf, port: u16) -> Result<Self> {
        let bind = move || {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
                .with_context(|| format!("failed to listen on port {port}"))
        };
        let listener = join(inside(&place, bind)?)?;
        let port = listener.local_addr().context("a listener without an address")?.port();
        Ok(Self { place, port, thread: std::thread::spawn(move || serve(&listener)) })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// An error that it met meanwhile comes out here.
    pub fn end(self) -> Result<()> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let say = move || {
            let mut stream = TcpStream::connect(to).context("failed to reach the server")?;
            stream.write_all(&[END]).context("failed to end the server")
        };
        join(inside(&self.place, say)?)?;
        join(self.thread)
    }
}

fn serve(listener: &TcpListener) -> Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let (mut stream, _) = listener.accept().context("failed to accept")?;
        patient(&stream)?;
        let mut kind = [0];
        stream.read_exact(&mut kind).context("a client said nothing")?;
        match kind[0] {
            END => return Ok(()),
            kind if kind == Traffic::Stream as u8 => {
                stay_on(SERVERS)?;
                let mut bytes: u64 = 0;
                loop {
                    match stream.read(&mut chunk).context("failed to read a stream")? {
                        0 => break,
                        length => bytes += length as u64,
                    }
                }
                stream.write_all(&bytes.to_be_bytes()).context("failed to tell the sum")?;
            }
            _ => {
                stay_on(CLIENTS)?;
                loop {
                    match stream.read_exact(&mut chunk[..REQUEST_BYTES]) {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                        Err(error) => return Err(error).context("failed to read a request"),
                    }
                    stream.write_all(&chunk[..REQUEST_BYTES]).context("failed to answer")?;
                }
            }
        }
    }
}

fn patient(stream: &TcpStream) -> Result<()> {
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .context("failed to set a connection up")
}

impl Traffic {
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "one stream",
            Self::Requests => "requests of 64 bytes",
        }
    }

    pub fn unit(self) -> Unit {
        match self {
            Self::Stream => Unit::GigabitsPerSecond,
            Self::Requests => Unit::PerSecond,
        }
    }

    /// What came to the other end, in [`Self::unit`].
    pub fn run(self, client: &Path, to: SocketAddr, length: Duration) -> Result<f64> {
        join(inside(client, move || {
            stay_on(CLIENTS)?;
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE)
                .with_context(|| format!("failed to connect to {to}"))?;
            patient(&stream)?;
            stream.write_all(&[self as u8]).context("failed to speak")?;
            match self {
                Self::Stream => send(&mut stream, length),
                Self::Requests => ask(&mut stream, length),
            }
        })?)
    }
}

fn send(stream: &mut TcpStream, length: Duration) -> Result<f64> {
    let chunk = vec![0x5a; CHUNK_BYTES];
    let begin = Instant::now();
    while begin.elapsed() < length {
        stream.write_all(&chunk).context("failed to send")?;
    }
    stream.shutdown(Shutdown::Write).context("failed to end a stream")?;
    let mut sum = [0; 8];
    stream.read_exact(&mut sum).context("the sum of a stream was not told")?;
    let bytes = u64::from_be_bytes(sum);
    ensure!(bytes > 0, "nothing came through");
    Ok(bytes as f64 * 8.0 / 1e9 / begin.elapsed().as_secs_f64())
}

fn ask(stream: &mut TcpStream, length: Duration) -> Result<f64> {
    let (request, mut answer) = ([0x5a; REQUEST_BYTES], [0; REQUEST_BYTES]);
    let (begin, mut answers) = (Instant::now(), 0u64);
    while begin.elapsed() < length {
        stream.write_all(&request).context("failed to ask")?;
        stream.read_exact(&mut answer).context("no answer came")?;
        answers += 1;
    }
    Ok(answers as f64 / begin.elapsed().as_secs_f64())
}
