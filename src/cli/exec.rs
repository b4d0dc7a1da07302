//! A command of the user's for each document.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{Code, Failure, Result};
use super::line::{self, Form, Item};

pub(super) struct Exec {
    path: PathBuf,
    command: String,
    /// The JSON line goes in instead of the bytes.
    form: Option<Form>,
    scratch: Vec<u8>,
}

impl Exec {
    pub(super) fn new(path: &Path, command: &str, form: Option<Form>) -> Exec {
        Exec {
            path: path.to_owned(),
            command: command.to_owned(),
            form,
            scratch: Vec::new(),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.form.is_some()
    }

    /// Runs the command and waits for it.
    pub(super) fn document(&mut self, item: &Item<'_>) -> Result<()> {
        let failed = |what: &str| {
            Failure::of(
                &self.path,
                Code::Failed,
                format!("--exec at position {}: {what}", item.position),
            )
            .next(format!("go on from there with --from {}", item.position))
        };
        let input = match self.form {
            Some(form) => {
                self.scratch.clear();
                line::encode(item, form, &mut self.scratch)
                    .map_err(|error| failed(&error.to_string()))?;
                &self.scratch
            }
            None => item.bytes,
        };
        let mut child = shell(&self.command)
            .env("DOCBUF_POSITION", item.position.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        let fed = child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(input));
        let status = child.wait().map_err(|error| failed(&error.to_string()))?;
        match fed {
            // A command need not read all that it is given.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(failed(&error.to_string()))
            }
            _ if !status.success() => Err(failed(&status.to_string())),
            _ => Ok(()),
        }
    }
}

#[cfg(not(windows))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell
}

#[cfg(windows)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}
