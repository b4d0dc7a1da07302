//! `completions` and `man`: generated from the grammar.

use std::io;

use clap::error::ErrorKind;
use clap_complete::Shell;
use clap_mangen::Man;

use super::args;
use super::error::{Code, Failure, Result};
use super::output::Out;

/// What clap_mangen begins each section with: a definition for apostrophes.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

pub(super) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::grammar(), "docbuf", &mut script);
    put(&script)
}

pub(super) fn man(names: &[String]) -> Result<()> {
    let mut grammar = args::grammar();
    grammar.build();
    let mut command = &grammar;
    for name in names {
        match command.find_subcommand(name) {
            Some(found) => command = found,
            None => args::grammar()
                .error(
                    ErrorKind::InvalidSubcommand,
                    format!("docbuf has no command {:?}", names.join(" ")),
                )
                .exit(),
        }
    }
    match page(command.clone()) {
        Ok(page) => put(&page),
        Err(error) => Err(Failure::new(Code::Failed, error.to_string())),
    }
}

fn put(text: &[u8]) -> Result<()> {
    let mut out = Out::text();
    out.print(&String::from_utf8_lossy(text))?;
    out.flush()
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let examples = command.get_before_help().map(ToString::to_string);
    let has_commands = command.has_subcommands();
    let has_version = command.get_version().is_some();
    let source = concat!("docbuf ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).manual("docbuf").source(source);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    verbatim(
        "EXAMPLES",
        examples.as_deref().unwrap_or_default(),
        &mut page,
    );
    verbatim("EXIT STATUS", args::EXIT_CODES, &mut page);
    if has_version {
        man.render_version_section(&mut page)?;
    }
    // Every section comes with the same first lines.
    let page = String::from_utf8_lossy(&page).replace(PREAMBLE, "");
    Ok([PREAMBLE, &page].concat().into_bytes())
}

/// A section whose lines stay as they are; the first, a headline of its own, is left out.
fn verbatim(title: &str, text: &str, page: &mut Vec<u8>) {
    let mut lines = text.lines().skip(1).peekable();
    if lines.peek().is_none() {
        return;
    }
    let mut section = format!(".SH \"{title}\"\n.nf\n");
    for line in lines {
        // A line must not begin as a request of roff does.
        let line = line
            .replace('\\', "\\\\")
            .replace('-', "\\-")
            .replace('\'', "\\(aq");
        section.push_str("\\&");
        section.push_str(&line);
        section.push('\n');
    }
    section.push_str(".fi\n");
    page.extend_from_slice(section.as_bytes());
}
