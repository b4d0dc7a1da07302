//! `docbuf`: looks into document buffers and journals, mends them, and moves documents in and out of them.
//!
//! A user of the library like any other; the code is in `src/cli/`.

#[path = "../cli/mod.rs"]
mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
