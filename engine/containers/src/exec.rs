//! Commands that are run beside a container's own, from their making to some time after their end.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use skep_docker_api::ApiError;
use skep_docker_api::json::{ExecCreateRequest, ExecInspect, ExecProcess, ExecStartRequest};
use skep_engine::logs::Stdio;
use skep_engine::{AttachOptions, Container, Error, ExecConfig, Terminal};
use tokio::sync::oneshot;

use crate::attach::Attachment;
use crate::containers::{Result, runtime};
use crate::create::random_id;

/// How many are remembered, of all containers; the oldest that does not run is forgotten first.
const KEPT_MAX: usize = 10_000;

struct Exec {
    container: String,
    request: ExecCreateRequest,
    /// In the order of making.
    number: u64,
    phase: Phase,
    terminal: Option<Terminal>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Made,
    Running { pid: i32 },
    Ended { pid: i32, code: i64 },
}

type Output = BoxStream<'static, io::Result<(Stdio, Bytes)>>;

/// The commands of a node's containers.
#[derive(Clone, Default)]
pub struct Execs(Arc<Mutex<BTreeMap<String, Exec>>>);

fn absent(id: &str) -> ApiError {
    ApiError::not_found(format!("No such exec instance: {id}"))
}

/// Ends when the output has ended and the command's end is known: clients ask for the exit code as
/// soon as there is nothing more to read. The output is let go last, for who keeps the command is
/// then told that nobody reads.
fn until_seen(output: Output, seen: oneshot::Receiver<()>) -> Output {
    let parts = (output, seen);
    futures::stream::unfold(parts, |(mut output, seen)| async {
        if let Some(piece) = output.next().await {
            return Some((piece, (output, seen)));
        }
        // Nothing is ever sent: it comes with the other end's drop.
        let _ = seen.await;
        None
    })
    .boxed()
}

impl Execs {
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Exec>> {
        // Each change of it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a command; it is run later.
    pub fn create(&self, container: &str, request: ExecCreateRequest) -> Result<String> {
        if request.cmd.first().is_none_or(String::is_empty) {
            return Err(ApiError::invalid("no exec command specified"));
        }
        let id = random_id();
        let mut execs = self.held();
        if execs.len() >= KEPT_MAX {
            let idle = execs.iter().filter(|(_, it)| !matches!(it.phase, Phase::Running { .. }));
            let Some(oldest) = idle.min_by_key(|(_, it)| it.number).map(|(id, _)| id.clone())
            else {
                return Err(ApiError::conflict(format!(
                    "{KEPT_MAX} commands run in this host's containers already"
                )));
            };
            execs.remove(&oldest);
        }
        let number = execs.values().map(|it| it.number + 1).max().unwrap_or(0);
        let exec = Exec {
            container: container.to_owned(),
            request,
            number,
            phase: Phase::Made,
            terminal: None,
        };
        execs.insert(id.clone(), exec);
        Ok(id)
    }

    /// The container of a command, and what was asked.
    pub fn get(&self, id: &str) -> Result<(String, ExecCreateRequest)> {
        let execs = self.held();
        let exec = execs.get(id).ok_or_else(|| absent(id))?;
        Ok((exec.container.clone(), exec.request.clone()))
    }

    /// Runs it in its container; None where nobody is to be attached. `ended` is told its code.
    pub async fn start(
        &self,
        id: &str,
        request: &ExecStartRequest,
        container: &Container,
        ended: impl FnOnce(i64) + Send + 'static,
    ) -> Result<Option<Attachment>> {
        let asked = {
            let mut execs = self.held();
            let exec = execs.get_mut(id).ok_or_else(|| absent(id))?;
            match exec.phase {
                // Taken at once: of two who start it, one does.
                Phase::Made => {
                    exec.phase = Phase::Running { pid: 0 };
                    exec.request.clone()
                }
                Phase::Running { .. } => {
                    return Err(ApiError::conflict(format!(
                        "exec command {id} is already running"
                    )));
                }
                Phase::Ended { .. } => {
                    return Err(ApiError::conflict(format!("exec command {id} has already run")));
                }
            }
        };
        let size = |it: [u64; 2]| Some((u16::try_from(it[0]).ok()?, u16::try_from(it[1]).ok()?));
        let detach = request.detach;
        let config = ExecConfig {
            args: asked.cmd.clone(),
            env: asked.env.clone(),
            cwd: Some(asked.working_dir.clone()).filter(|it| !it.is_empty()),
            user: Some(asked.user.clone()).filter(|it| !it.is_empty()),
            privileged: asked.privileged,
            tty: asked.tty,
            attach: AttachOptions {
                stdin: asked.attach_stdin && !detach,
                stdout: asked.attach_stdout && !detach,
                stderr: asked.attach_stderr && !detach,
            },
            console: request.console_size.or(asked.console_size).and_then(size),
        };
        let opened = container.open_exec(config).await;
        let mut session = match opened {
            Ok(session) => session,
            Err(error) => {
                let code = match &error {
                    Error::Failed { exit_code: Some(code), .. } => i64::from(*code),
                    _ => 126,
                };
                self.set(id, Phase::Ended { pid: 0, code });
                return Err(match error {
                    Error::Failed { message, exit_code: Some(_) } => ApiError::invalid(format!(
                        "OCI runtime exec failed: exec failed: unable to start container process: {message}: unknown"
                    )),
                    error => runtime(error),
                });
            }
        };
        let pid = session.pid();
        if let Some(exec) = self.held().get_mut(id) {
            exec.phase = Phase::Running { pid };
            exec.terminal = session.terminal();
        }
        let attached = session.attached();
        let (execs, name) = (self.clone(), id.to_owned());
        let (end, seen) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let code = match session.wait().await {
                Ok(code) => i64::from(code),
                Err(error) => {
                    tracing::warn!(exec = name, %error, "the end of a command was not seen");
                    i64::from(skep_engine::defaults::EXIT_CODE_UNKNOWN)
                }
            };
            execs.set(&name, Phase::Ended { pid, code });
            ended(code);
            drop(end);
        });
        if detach {
            return Ok(None);
        }
        let attached =
            attached.ok_or_else(|| ApiError::system("a command has lost its streams"))?;
        let output = until_seen(attached.output, seen);
        Ok(Some(Attachment { tty: asked.tty, output, input: attached.input }))
    }

    fn set(&self, id: &str, phase: Phase) {
        if let Some(exec) = self.held().get_mut(id) {
            exec.phase = phase;
        }
    }

    pub fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let terminal = {
            let execs = self.held();
            let exec = execs.get(id).ok_or_else(|| absent(id))?;
            if !matches!(exec.phase, Phase::Running { .. }) {
                return Err(ApiError::conflict(format!("exec process {id} is not running")));
            }
            exec.terminal.clone()
        };
        match terminal {
            Some(terminal) => terminal.resize(rows, columns).map_err(runtime),
            None => Err(ApiError::invalid(format!("exec process {id} has no terminal"))),
        }
    }

    pub fn inspect(&self, id: &str) -> Result<ExecInspect> {
        let execs = self.held();
        let exec = execs.get(id).ok_or_else(|| absent(id))?;
        let (asked, mut words) = (&exec.request, exec.request.cmd.iter().cloned());
        let (running, exit_code, pid) = match exec.phase {
            Phase::Made => (false, None, 0),
            Phase::Running { pid } => (true, None, pid),
            Phase::Ended { pid, code } => (false, Some(code), pid),
        };
        Ok(ExecInspect {
            id: id.to_owned(),
            running,
            exit_code,
            process_config: ExecProcess {
                tty: asked.tty,
                entrypoint: words.next().unwrap_or_default(),
                arguments: words.collect(),
                privileged: Some(asked.privileged),
                user: asked.user.clone(),
            },
            open_stdin: asked.attach_stdin,
            open_stderr: asked.attach_stderr,
            open_stdout: asked.attach_stdout,
            can_remove: false,
            container_id: exec.container.clone(),
            detach_keys: asked.detach_keys.clone(),
            pid: i64::from(pid),
        })
    }

    /// Those of a container that have not ended.
    pub fn of(&self, container: &str) -> Vec<String> {
        let execs = self.held();
        let alive = execs.iter().filter(|(_, it)| {
            it.container == container && !matches!(it.phase, Phase::Ended { .. })
        });
        alive.map(|(id, _)| id.clone()).collect()
    }

    /// Forgets those of a container that is gone.
    pub fn forget(&self, container: &str) {
        self.held().retain(|_, it| it.container != container);
    }
}
