//! A bar on stderr where work is long and somebody watches.

use std::io::Read;

use indicatif::{ProgressBar, ProgressStyle};

use super::input::Source;

/// Below this, work is over before a bar can be read.
const WORTH_A_BAR: u64 = 32 << 20;
/// Bytes between two looks at the clock.
const STEP: u64 = 4 << 20;

/// Gone from the screen when dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    next: u64,
}

impl Progress {
    /// For work over `len` bytes. Hidden where stderr is no terminal.
    pub(super) fn new(len: u64, wanted: bool) -> Progress {
        let bar = if wanted && len >= WORTH_A_BAR {
            let bar = ProgressBar::new(len);
            let style = ProgressStyle::with_template(
                "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        } else {
            ProgressBar::hidden()
        };
        Progress { bar, next: STEP }
    }

    /// Work has come as far as `offset`.
    #[inline]
    pub(super) fn at(&mut self, offset: u64) {
        if offset >= self.next {
            self.bar.set_position(offset);
            self.next = offset.saturating_add(STEP);
        }
    }

    /// `from`, with its bytes counted.
    pub(super) fn over(&self, from: Source) -> Source {
        if self.bar.is_hidden() {
            return from;
        }
        let bar = self.bar.clone();
        let counted: Box<dyn Read + Send> = Box::new(bar.wrap_read(from));
        counted
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
