//! Makes a container: prepares what it needs and has libcontainer build it, up to the point where
//! its first process waits to be started.

use skep_types::error_chain;
use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::PosixRlimit;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Gid, Uid, fchown, pipe2, read};

use super::executor::{Command, Privileges};
use super::rooted::Root;
use super::spec::{self, Cgroups, Prepared};
use super::streams::Streams;
use super::terminal::{self, Console};
use super::trees::{self, Tree};
use super::{devices, files, rootfs, thermal, user, userns};
use crate::capabilities;
use crate::cgroup::{Before, Hierarchies};
use crate::config::{ContainerConfig, Namespace};
use crate::defaults::SHIM_OOM_SCORE_ADJ;
use crate::layout::Places;
use crate::logs::Stdio;
use crate::protocol::{Failure, Launch};

impl Failure {
    fn to(what: &str) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure { message: format!("failed to {what}: {error}"), exit_code: None }
    }
}

/// A container whose first process waits to be started.
pub struct Created {
    pub pid: i32,
    pub streams: Streams,
    /// Ends when the command runs; tells why if it cannot.
    pub failures: OwnedFd,
    /// libcontainer's handle, for the start.
    pub container: libcontainer::container::Container,
    pub hierarchies: Hierarchies,
    pub cgroup: PathBuf,
}

/// The contents of the files, one after the other.
pub type Contents = zeroize::Zeroizing<Vec<u8>>;

/// Does it all. On failure nothing is left: mounts end with the shim's namespace, processes and
/// cgroups are removed here.
pub fn create(launch: &Launch, contents: Contents, places: &Places) -> Result<Created, Failure> {
    let hierarchies = Hierarchies::find().map_err(Failure::to("find cgroups"))?;
    let parent = launch.config.cgroup_parent.as_ref().unwrap_or(&launch.cgroup_parent);
    let cgroup = parent.join(&launch.config.id);
    hierarchies
        .join_shims(&launch.cgroup_parent)
        .map_err(Failure::to("move the shim out of the daemon's cgroup"))?;
    let built = build(launch, contents, places, &hierarchies, &cgroup);
    if built.is_err()
        && let Err(error) = hierarchies.destroy(&cgroup)
    {
        eprintln!("failed to remove cgroup {}: {error}", cgroup.display());
    }
    let (pid, streams, failures, container) = built?;
    Ok(Created { pid, streams, failures, container, hierarchies, cgroup })
}

type Built = (i32, Streams, OwnedFd, libcontainer::container::Container);

fn build(
    launch: &Launch,
    contents: Contents,
    places: &Places,
    hierarchies: &Hierarchies,
    cgroup: &Path,
) -> Result<Built, Failure> {
    let config = &launch.config;
    let bundle = places.bundle();
    let ids = config.id_maps.clone().unwrap_or_default();
    // Ties to the host's mounts are lost with its namespace.
    let trees = trees::clone_binds(&config.mounts).map_err(Failure::to("prepare a mount"))?;
    rootfs::enter_namespace().map_err(Failure::to("enter a mount namespace"))?;
    rootfs::mount_bundle(&bundle, ids.root())
        .map_err(Failure::to("mount memory for the bundle"))?;
    let mut sources = attach(&trees, &bundle).map_err(Failure::to("prepare a mount"))?;
    let mut devices = devices::gather(config)?;
    let near = match config.id_maps {
        None => Cow::Borrowed(config),
        Some(_) => userns::bring_near(config, &mut sources, &mut devices, &bundle)
            .map(Cow::Owned)
            .map_err(Failure::to("prepare a mount"))?,
    };
    let config = near.as_ref();
    let shared_memory = shared_memory(&config.ipc, &bundle)
        .map_err(Failure::to("find the shared memory of the other container"))?;
    let root = rootfs::prepare(&config.rootfs, &bundle.join("rootfs"))
        .map_err(Failure::to("mount the root filesystem"))?;
    let files = files::write(launch, &contents, &bundle.join("files"), &ids)
        .map_err(Failure::to("write secrets and configs to memory"))?;
    // Before the fork: the container gets no second copy of them.
    drop(contents);
    let joined = userns::prepare(config, &bundle).map_err(Failure::to("make a namespace"))?;

    let inside = Root::open(&root).map_err(Failure::to("open the root filesystem"))?;
    let text = |path: &str| inside.read(Path::new(path)).map_err(Failure::to("read the users"));
    let identity =
        user::resolve(&config.user, &config.groups, &text("/etc/passwd")?, &text("/etc/group")?)
            .and_then(|identity| userns::check(&identity, &ids).map(|()| identity))
            .map_err(|message| Failure { message, exit_code: None })?;
    if !config.cwd.is_empty() {
        inside
            .make_directories(Path::new(&config.cwd), ids.root())
            .map_err(Failure::to("make the working directory"))?;
    }
    let capabilities = capabilities::of(config)
        .map_err(|error| Failure { message: error.to_string(), exit_code: None })?;
    let prepared = Prepared {
        rootfs: &root,
        identity: &identity,
        capabilities: &capabilities,
        files: &files,
        joined: &joined,
        devices: &devices,
        sources: &sources,
        thermal: thermal::paths(Path::new(thermal::CPUS)),
        shared_memory: shared_memory.as_deref(),
        cgroup,
        cgroups: match hierarchies.unified() {
            true => Cgroups::Unified,
            false => Cgroups::Legacy(hierarchies.names().collect()),
        },
    };
    let mut spec = spec::build(config, &prepared);
    let privileges = Privileges::take(&mut spec, launch.filter.clone())
        .map_err(Failure::to("read the privileges"))?;
    fs::write(bundle.join("config.json"), spec.to_string())
        .map_err(Failure::to("write the specification"))?;

    if config.id_maps.is_some() {
        let limits = serde_json::from_value::<Vec<PosixRlimit>>(spec["process"]["rlimits"].clone());
        limits
            .map_err(io::Error::from)
            .and_then(|limits| userns::raise_limits(&limits))
            .map_err(Failure::to("raise a limit"))?;
    }

    let (failures, failures_writer) =
        pipe2(OFlag::O_CLOEXEC).map_err(|errno| Failure::to("make a pipe")(errno.into()))?;
    let env = spec["process"]["env"].as_array().into_iter().flatten();
    let env = env.filter_map(|variable| variable.as_str().map(str::to_owned)).collect();
    let command = Command::new(config.args.clone(), env, config.init, failures_writer.as_raw_fd())
        .of(privileges);

    let builder = ContainerBuilder::new(config.id.clone(), SyscallType::default())
        .with_executor(command)
        .with_root_path(bundle.join("oci"))
        .map_err(|error| Failure { message: error_chain(&error), exit_code: None })?;
    let owner = identity.outside(&ids);
    let (builder, ends) = give_streams(builder, config, owner, &bundle)
        .map_err(Failure::to("make the standard streams"))?;
    let built = builder
        .validate_id()
        .and_then(|builder| builder.as_init(&bundle).with_systemd(false).with_detach(true).build());
    drop(failures_writer);
    // libcontainer has set the container's score on this process too.
    let _ = fs::write("/proc/self/oom_score_adj", SHIM_OOM_SCORE_ADJ.to_string());
    let container = built.map_err(|error| {
        told(&failures).unwrap_or_else(|| Failure { message: error_chain(&error), exit_code: None })
    })?;
    let pid = container.pid().map(|pid| pid.as_raw()).ok_or_else(|| Failure {
        message: "the container has no process".to_owned(),
        exit_code: None,
    })?;
    // libcontainer gives every container TUN devices; Docker does not.
    if !devices::allow_tun(config, &devices) {
        hierarchies.deny_tun(cgroup).map_err(Failure::to("restrict devices"))?;
    }
    hierarchies
        .limit(cgroup, &config.resources, Before::Defaults)
        .map_err(Failure::to("limit its resources"))?;
    let streams = ends.take(owner).map_err(Failure::to("take the standard streams"))?;
    Ok((pid, streams, failures, container))
}

/// The shim's ends, which a terminal's is only when the container is made.
enum Ends {
    Pipes(Streams),
    Terminal(Console),
}

fn give_streams(
    builder: ContainerBuilder,
    config: &ContainerConfig,
    (uid, gid): (Uid, Gid),
    bundle: &Path,
) -> io::Result<(ContainerBuilder, Ends)> {
    if config.tty {
        let console = Console::listen(bundle)?;
        let builder = builder.with_console_socket(Some(console.path().to_owned()));
        return Ok((builder, Ends::Terminal(console)));
    }
    // So that the container's user may open /dev/stdin, /dev/stdout and /dev/stderr.
    let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        fchown(&writer, Some(uid), Some(gid))?;
        Ok((reader, writer))
    };
    let (stdin, input) = match config.open_stdin {
        true => pipe().map(|(reader, writer)| (reader, Some(writer)))?,
        false => (File::open("/dev/null")?.into(), None),
    };
    let (stdout, stdout_writer) = pipe()?;
    let (stderr, stderr_writer) = pipe()?;
    let builder = builder.with_stdin(stdin).with_stdout(stdout_writer).with_stderr(stderr_writer);
    let outputs = vec![(Stdio::Stdout, stdout), (Stdio::Stderr, stderr)];
    Ok((builder, Ends::Pipes(Streams { input, outputs, terminal: false })))
}

impl Ends {
    fn take(self, (uid, _): (Uid, Gid)) -> io::Result<Streams> {
        let console = match self {
            Ends::Pipes(streams) => return Ok(streams),
            Ends::Terminal(console) => console,
        };
        let master = console.receive()?;
        // As Docker does: the user's own, and the group that its filesystem gives it.
        fchown(terminal::slave(&master)?, Some(uid), None)?;
        let input = Some(master.try_clone()?);
        Ok(Streams { input, outputs: vec![(Stdio::Stdout, master)], terminal: true })
    }
}

/// Mounts what was cloned below the bundle, and says where.
fn attach(trees: &[Option<Tree>], bundle: &Path) -> io::Result<Vec<Option<PathBuf>>> {
    let mount = |(number, tree): (usize, &Option<Tree>)| {
        let Some(tree) = tree else { return Ok(None) };
        let at = bundle.join("mounts").join(number.to_string());
        tree.attach(&at)?;
        Ok(Some(at))
    };
    trees.iter().enumerate().map(mount).collect()
}

/// Where the /dev/shm is that belongs to an IPC namespace that is not the container's own.
fn shared_memory(ipc: &Namespace, bundle: &Path) -> io::Result<Option<PathBuf>> {
    match ipc {
        Namespace::Private => Ok(None),
        Namespace::Host => Ok(Some("/dev/shm".into())),
        Namespace::Of(pid) => {
            let at = bundle.join("shm");
            trees::clone_shared_memory(*pid)?.attach(&at)?;
            Ok(Some(at))
        }
    }
}

/// What the container's first process has written to the pipe, if it has. Does not wait.
pub fn told(failures: &OwnedFd) -> Option<Failure> {
    fcntl(failures, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
    // A pipe takes this much in one piece.
    let mut text = [0; libc::PIPE_BUF];
    let length = read(failures, &mut text).ok()?;
    serde_json::from_slice(&text[..length]).ok()
}
